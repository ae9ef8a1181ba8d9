"""Resampling with a filter, and a convolution, as one operation."""

from __future__ import annotations

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import check_companion
from agnlib.ops._conv2d import conv2d
from agnlib.ops._conv_checks import autocasted, check_convolution
from agnlib.ops._conv_transpose2d import conv_transpose2d
from agnlib.ops._upfirdn2d import upfirdn2d

__all__ = ["conv2d_resample", "conv2d_resample_reference"]

Margins = tuple[int, int, int, int]


def conv2d_resample(
    x: Tensor,
    weight: Tensor,
    *,
    filter: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | tuple[int, int, int, int] = 0,
    groups: int = 1,
) -> Tensor:
    """Insert zeros, smooth with a filter, convolve, keep every `down`-th sample: one linear operation.

    The filter keeps the size and the brightness, whatever `up` is, and stands so that the picture does not move. The
    operation is linear, so it runs in whichever order is cheapest.
    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, section 3 and appendix B.

    Args:
        x: features `(B, C, H, W)`.
        weight: `(O, C / groups, k, k)`, of the dtype of `x`.
        filter: taps `(n,)`, used along both axes, or `(n, m)`, with sum 1; None inserts and drops samples unfiltered.
        up: each sample is followed by `up - 1` zeros.
        down: every `down`-th sample of the result is kept.
        padding: zeros around the upsampled features, for the convolution: one number or (left, right, top, bottom).
        groups: of the convolution.

    Returns:
        `(B, O, (H * up + top + bottom - k) // down + 1, ...)`, of the dtype of `x`.

    Raises:
        InputError: shapes, dtypes, devices or options that do not fit; the message names the argument.
        TypeError: an argument of a wrong type.

    Example:
        >>> from agnlib.ops import fir_filter
        >>> x, weight = torch.randn(1, 16, 8, 8), torch.randn(3, 16, 3, 3)
        >>> conv2d_resample(x, weight, filter=fir_filter([1, 3, 3, 1]), up=2, padding=1).shape
        torch.Size([1, 3, 16, 16])
    """
    x, weight, _ = autocasted(x, weight, None)
    check_convolution("conv2d_resample", x, weight, None, groups=groups, act=None)
    margins = check_resampling("conv2d_resample", x, weight, filter, up=up, down=down, padding=padding)
    if up == down == 1 and filter is None and len(set(margins)) == 1:
        return conv2d(x, weight, padding=margins[0], groups=groups)
    taps = filter if filter is not None else x.new_ones(1)
    around = _with_filter(margins, filter, up, down)
    if weight.shape[2:] == (1, 1):  # a mixture of channels commutes with all of it: mix at the lower resolution
        if down > 1:
            return conv2d(upfirdn2d(x, taps, up=up, down=down, padding=around, gain=up**2), weight, groups=groups)
        return upfirdn2d(conv2d(x, weight, groups=groups), taps, up=up, padding=around, gain=up**2)
    if up > 1 and down == 1:
        return _deconvolve(x, weight, taps, up=up, around=around, groups=groups)
    return conv2d(upfirdn2d(x, taps, up=up, padding=around, gain=up**2), weight, stride=down, groups=groups)


def conv2d_resample_reference(
    x: Tensor,
    weight: Tensor,
    *,
    filter: Tensor | None,
    up: int,
    down: int,
    padding: int | tuple[int, int, int, int],
    groups: int,
) -> Tensor:
    """The specification of `conv2d_resample`."""
    taps = filter if filter is not None else x.new_ones(1)
    margins = (padding,) * 4 if isinstance(padding, int) else padding
    smooth = upfirdn2d(x, taps, up=up, padding=_with_filter(margins, filter, up, down), gain=up**2)
    return torch.nn.functional.conv2d(smooth, weight, stride=down, groups=groups)


def check_resampling(
    op: str,
    x: Tensor,
    weight: Tensor,
    filter: Tensor | None,
    *,
    up: int,
    down: int,
    padding: int | tuple[int, int, int, int],
) -> Margins:
    """The options fit and the result is not empty; returns the padding of all four sides."""
    for name, value in (("up", up), ("down", down)):
        if type(value) is not int:
            raise TypeError(f"{op}: {name} is {value!r}; expected a whole number")
        if value < 1:
            raise InputError(f"{op}: {name} is {value}; expected at least 1")
    if filter is not None:
        check_companion(op, "filter", filter, x, wide=True)
        if filter.ndim not in (1, 2) or filter.numel() == 0:
            raise InputError(f"{op}: filter has shape {tuple(filter.shape)}; expected (n,) or (n, m)")
    margins = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
    if len(margins) != 4 or not all(type(margin) is int and margin >= 0 for margin in margins):
        raise InputError(f"{op}: padding is {padding!r}; expected a number of at least 0 or (left, right, top, bottom)")
    left, right, top, bottom = margins
    high, wide = x.shape[2] * up + top + bottom, x.shape[3] * up + left + right
    if high < weight.shape[2] or wide < weight.shape[3]:
        raise InputError(
            f"{op}: x is {tuple(x.shape)}, up {up}, padding {padding}, weight {tuple(weight.shape)}:"
            f" {high} x {wide} after padding; expected at least the size of the kernel"
        )
    return left, right, top, bottom


def _with_filter(margins: Margins, taps: Tensor | None, up: int, down: int) -> Margins:
    """What the filter needs besides, to keep the size; it stands so that the centers of old and new samples agree.

    Where half a sample is left over, old and new samples share their first position.
    """
    if taps is None:
        return margins
    left, right, top, bottom = margins
    high, wide = taps.shape[0], taps.shape[-1]
    above, before = (max(0, (n + up - 2) // 2 - (down - 1) // 2) for n in (high, wide))
    return left + before, right + wide - 1 - before, top + above, bottom + high - 1 - above


def _deconvolve(x: Tensor, weight: Tensor, taps: Tensor, *, up: int, around: Margins, groups: int) -> Tensor:
    """Convolve while zeros are inserted, which multiplies none of them, then filter: both are linear and commute."""
    outputs, inputs, high, wide = weight.shape
    turned = weight.view(groups, outputs // groups, inputs, high, wide).transpose(1, 2).flip(3, 4)
    y = conv_transpose2d(x, turned.reshape(groups * inputs, outputs // groups, high, wide), stride=up, groups=groups)
    left, right, top, bottom = around
    rest = (left - wide + 1, right - wide + up, top - high + 1, bottom - high + up)
    y = y[:, :, max(0, -rest[2]) : y.shape[2] - max(0, -rest[3]), max(0, -rest[0]) : y.shape[3] - max(0, -rest[1])]
    left, right, top, bottom = (max(0, margin) for margin in rest)
    return upfirdn2d(y, taps, padding=(left, right, top, bottom), gain=up**2)
