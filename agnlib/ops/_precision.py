"""What is measured is measured in float32 at least: 16 bits, and what autocast makes of them, are coarser than it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeGuard

import torch
from torch import Tensor

__all__ = ["in_full_precision"]

Given = ParamSpec("Given")


def in_full_precision(measure: Callable[Given, Tensor]) -> Callable[Given, Tensor]:
    """A function of floating-point tensors that gets all of them in float32, or float64 if one is, autocast off."""

    @functools.wraps(measure)
    def measured(*args: Given.args, **kwargs: Given.kwargs) -> Tensor:
        floats = [value for value in (*args, *kwargs.values()) if _is_float(value)]
        if not floats:
            return measure(*args, **kwargs)
        wide = torch.float64 if any(value.dtype == torch.float64 for value in floats) else torch.float32
        with torch.autocast(floats[0].device.type, enabled=False):
            positional = tuple(value.to(wide) if _is_float(value) else value for value in args)
            named = {name: value.to(wide) if _is_float(value) else value for name, value in kwargs.items()}
            return measure(*positional, **named)  # type: ignore[arg-type] # mypy knows no ParamSpec that was mapped

    return measured


def _is_float(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.is_floating_point()
