"""Gradients where they are needed, in whatever mode the caller is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["ordinary", "with_gradients"]

Network = TypeVar("Network", bound=nn.Module)


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


def ordinary(module: Network) -> Network:
    """The module, its tensors replaced by ordinary copies where they were made inside `torch.inference_mode`.

    Those could be computed with, but neither trained nor differentiated through, as long as they live.

    Example:
        >>> with torch.inference_mode():
        ...     layer = nn.Linear(1, 1)
        >>> layer.weight.is_inference(), ordinary(layer).weight.is_inference()
        (True, False)
    """
    copies: dict[int, tuple[Tensor, Tensor]] = {}  # with the former one, so that no other gets its id
    with with_gradients():
        for part in module.modules():
            held: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
            for tensors in held:
                for name, value in tensors.items():
                    if value is not None and value.is_inference():
                        tensors[name] = copies.setdefault(id(value), (value, _copy(value)))[1]
    return module


def _copy(value: Tensor) -> Tensor:
    copy = value.detach().clone()
    return nn.Parameter(copy, value.requires_grad) if isinstance(value, nn.Parameter) else copy
