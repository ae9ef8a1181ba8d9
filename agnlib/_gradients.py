"""Gradients where they are needed, in whatever mode the caller is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["with_gradients"]


@contextmanager
def with_gradients() -> Iterator[None]:
    """Inside, gradients are recorded and tensors are ordinary ones: servers wrap whole handlers in `inference_mode`.

    Example:
        >>> with torch.inference_mode(), with_gradients():
        ...     torch.is_grad_enabled(), torch.ones(1).is_inference()
        (True, False)
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield
