"""What the ops share: checks of their tensors before anything runs, and float32 for the halves."""

from __future__ import annotations

import torch
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["check_companion", "check_map", "format_of", "in_format_of", "narrowed", "widened"]


def check_map(op: str, name: str, x: Tensor, *, least: int = 4, most: int = 4, expected: str = "(B, C, H, W)") -> None:
    """`x` is a tensor of floats with the right number of dimensions.

    Raises:
        TypeError: it is no tensor.
        InputError: another number of dimensions, or a dtype that is not a floating one.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: {name} is a {type(x).__name__}; expected a tensor {expected}")
    if not least <= x.ndim <= most:
        raise InputError(f"{op}: {name} has {x.ndim} dimensions {tuple(x.shape)}; expected {expected}")
    if not x.dtype.is_floating_point:
        raise InputError(f"{op}: {name} is {x.dtype}; expected a floating dtype")


def check_companion(
    op: str, name: str, value: Tensor, x: Tensor, *, shape: tuple[int, ...] | None = None, wide: bool = False
) -> None:
    """`value` is a tensor on the device of `x`, of its dtype (with `wide`, float32 is taken too) and of `shape`.

    Raises:
        TypeError: it is no tensor.
        InputError: another device, dtype or shape.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name} is a {type(value).__name__}; expected a tensor")
    if shape is not None and value.shape != shape:
        raise InputError(f"{op}: {name} has shape {tuple(value.shape)}; expected {tuple(shape)}")
    if value.dtype != x.dtype and not (wide and value.dtype == torch.float32):
        raise InputError(f"{op}: {name} is {value.dtype}; expected {x.dtype}, as x is: convert one of them")
    if value.device != x.device:
        raise InputError(f"{op}: {name} is on {value.device}; expected {x.device}, where x is: move one of them")


def widened(x: Tensor) -> Tensor:
    """Float32 for the 16-bit dtypes, the others as they are; without an operator in traced graphs for nothing."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def narrowed(y: Tensor, like: Tensor) -> Tensor:
    """`y` in the dtype of `like`."""
    return y if y.dtype == like.dtype else y.to(like.dtype)


def is_channels_last(x: Tensor) -> bool:
    """Whether `x` is stored so; inside `torch.func.vmap`, where that cannot be asked, it counts as not."""
    if torch._C._functorch.is_batchedtensor(x):
        return False
    return x.is_contiguous(memory_format=torch.channels_last)


def format_of(x: Tensor) -> torch.memory_format:
    """Channels_last where `x` is stored so, contiguous for everything else: the format of what the ops return."""
    last = x.ndim == 4 and not x.is_contiguous() and is_channels_last(x)
    return torch.channels_last if last else torch.contiguous_format


def in_format_of(x: Tensor, y: Tensor) -> Tensor:
    """`y` stored in the format of `x`."""
    return y.contiguous(memory_format=format_of(x))
