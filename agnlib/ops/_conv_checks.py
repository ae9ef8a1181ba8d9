"""What the convolutions share: checks of shapes and options before anything runs, and their epilogue."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._bias_act import ACTIVATIONS, bias_act_reference
from agnlib.ops._checks import check_companion, check_map, format_of

__all__ = [
    "activated",
    "autocasted",
    "check_convolution",
    "dense_like",
    "gradient_before_epilogue",
    "keeps_output",
    "pair",
    "reference_epilogue",
]

Pair = tuple[int, int]
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu_, "lrelu": lambda y: F.leaky_relu_(y, 0.2)}


def pair(op: str, name: str, value: int | Sequence[int], *, least: int) -> Pair:
    """One whole number for both axes, or (vertical, horizontal), each at least `least`.

    Raises:
        InputError: too small, or another number of them.
        TypeError: no whole numbers.
    """
    if type(value) is int and value >= least:  # nearly every call
        return value, value
    try:
        both = tuple(operator.index(v) for v in (value if isinstance(value, Sequence) else (value, value)))
    except TypeError:
        raise TypeError(f"{op}: {name} is {value!r}; expected a whole number, or two of them") from None
    if len(both) != 2 or min(both) < least:
        raise InputError(f"{op}: {name} is {value!r}; expected a whole number of at least {least}, or two of them")
    return both


def check_convolution(
    op: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    groups: int,
    act: str | None,
    transposed: bool = False,
) -> str:
    """Ranks, dtypes, devices, channels and the activation fit together; returns the activation's name."""
    check_map(op, "x", x)
    layout = "(C, O / groups, k, k)" if transposed else "(O, C / groups, k, k)"
    check_companion(op, "weight", weight, x)
    if weight.ndim != 4 or weight.numel() == 0:
        raise InputError(f"{op}: weight has shape {tuple(weight.shape)}; expected {layout}, none of them zero")
    if type(groups) is not int:
        raise TypeError(f"{op}: groups is {groups!r}; expected a whole number")
    channels, first = x.shape[1], weight.shape[0]
    if groups < 1 or channels % groups or first % groups:
        raise InputError(
            f"{op}: groups is {groups}, x has {channels} channels, weight {tuple(weight.shape)};"
            f" expected groups that divide {channels} and {first}"
        )
    takes = first if transposed else weight.shape[1] * groups
    if channels != takes:
        raise InputError(
            f"{op}: x has {channels} channels, weight {tuple(weight.shape)} with {groups} groups takes {takes};"
            f" expected weight {layout}"
        )
    if bias is not None:
        check_companion(op, "bias", bias, x, shape=(weight.shape[1] * groups if transposed else first,))
    if act is not None and act not in ACTIVATIONS:
        raise InputError(f"{op}: act is {act!r}; expected None, {', '.join(ACTIVATIONS)}")
    return act or "linear"


def autocasted(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Under `torch.autocast` a convolution runs in the 16-bit dtype, ours as PyTorch's."""
    if not isinstance(x, Tensor) or not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x, weight, bias
    dtype = torch.get_autocast_dtype(x.device.type)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def reference_epilogue(y: Tensor, act: str, gain: float) -> Tensor:
    """`gain * act(y)`, the specification."""
    return y if act == "linear" and gain == 1.0 else bias_act_reference(y, None, act, 0.2, gain, None)


def activated(
    convolution: Callable[[Tensor, Tensor | None], Tensor], weight: Tensor, bias: Tensor | None, act: str, gain: float
) -> Tensor:
    """`gain * act(convolution(weight, bias))` without a second map of that size: gain in the weights, act in place."""
    if gain <= 0 or (act not in _IN_PLACE and act != "linear") or weight.dtype in (torch.float16, torch.bfloat16):
        return reference_epilogue(convolution(weight, bias), act, gain)
    if gain != 1.0:
        weight, bias = weight * gain, None if bias is None else bias * gain
    y = convolution(weight, bias)
    return y if act == "linear" else _IN_PLACE[act](y)


def dense_like(y: Tensor, x: Tensor) -> Tensor:
    """`y` in the memory format of `x`, with exactly the strides that the kernels' results have."""
    dense = torch.empty(y.shape, dtype=y.dtype, device=y.device, memory_format=format_of(x))
    return y if y.stride() == dense.stride() else dense.copy_(y)


def gradient_before_epilogue(grad: Tensor, output: Tensor | None, again: Callable[[], Tensor], options: Any) -> Tensor:
    """The gradient with respect to what came into the epilogue.

    The rectifiers' slope shows in the sign of their output; for the other activations their input is computed again.
    """
    act, gain = options
    if act == "linear" and gain == 1.0:
        return grad
    seen = output if output is not None else again()
    backward = torch.ops.agnlib.bias_act_backward.default
    return cast(Tensor, backward(grad, seen, None, act, 0.2, gain, None, 1))


def keeps_output(act: str, gain: float) -> bool:
    """Whether the output alone tells the epilogue's slope."""
    return act in _IN_PLACE and gain > 0
