"""Half precision where the hardware gains by it; what comes out is in single precision again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["autocast", "full"]


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which a GPU multiplies in bfloat16; on other devices nothing changes, most CPUs are slower in it."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def full(x: Tensor) -> Tensor:
    """The tensor in single precision at least: losses are sums of many.

    Example:
        >>> full(torch.ones(1, dtype=torch.bfloat16)).dtype, full(torch.ones(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
