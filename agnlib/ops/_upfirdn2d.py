"""Resampling with a finite impulse response filter: zeros in, filter, every n-th sample out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["fir_filter", "upfirdn2d"]


def fir_filter(taps: Sequence[float], *, normalize: bool = True) -> Tensor:
    """A 1-D filter `(taps,)`, to be used in both directions; with `normalize` its sum is 1.

    Raises:
        InputError: no taps, or taps that sum to zero and so cannot be normalised.

    Example:
        >>> fir_filter([1, 2, 1])
        tensor([0.2500, 0.5000, 0.2500])
    """
    filter = torch.tensor([float(t) for t in taps])
    if filter.numel() == 0:
        raise InputError("fir_filter: got no taps; expected at least one number")
    if not normalize:
        return filter
    if filter.sum() == 0:
        raise InputError(f"fir_filter: the taps {list(taps)} sum to zero; expected another sum, or normalize=False")
    return filter / filter.sum()


def upfirdn2d(
    x: Tensor,
    filter: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: int | tuple[int, int, int, int] = 0,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad, filter (a true convolution) and keep every `down`-th sample.

    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020 (the operation);
    Crochiere and Rabiner, "Multirate digital signal processing", 1983 (the theory).

    Args:
        x: pictures or features `(B, C, H, W)`.
        filter: taps `(n,)`, used along both axes, or `(n, m)`.
        up: each sample is followed by `up - 1` zeros.
        down: every `down`-th sample of the filtered signal is kept.
        padding: zeros around the upsampled picture: one number or (left, right, top, bottom).
        gain: the result is multiplied by this.

    Returns:
        `(B, C, (H * up + top + bottom - n) // down + 1, ...)`.

    Raises:
        InputError: a rank that does not fit, a factor below 1, or a filter larger than the padded picture.

    Example:
        >>> x = torch.ones(1, 1, 4, 4)
        >>> upfirdn2d(x, fir_filter([1, 1]), down=2).shape
        torch.Size([1, 1, 2, 2])
    """
    left, right, top, bottom = (padding,) * 4 if isinstance(padding, int) else padding
    if x.ndim != 4 or filter.ndim not in (1, 2):
        raise InputError(
            f"upfirdn2d: x is {tuple(x.shape)} and filter {tuple(filter.shape)};"
            " expected (B, C, H, W) and (n,) or (n, m)"
        )
    if up < 1 or down < 1:
        raise InputError(f"upfirdn2d: up is {up} and down is {down}; expected both to be at least 1")
    x = F.pad(_insert_zeros(x, up), (left, right, top, bottom))
    high, wide = filter.shape[0], filter.shape[-1]
    if x.shape[2] < high or x.shape[3] < wide:
        raise InputError(
            f"upfirdn2d: the filter is {high} x {wide}, the padded picture {x.shape[2]} x {x.shape[3]};"
            " expected the filter to fit: add padding"
        )
    kernels = [filter.flip((0, 1))] if filter.ndim == 2 else [filter.flip(0)[None, :], filter.flip(0)[:, None]]
    strides = [(down, down)] if filter.ndim == 2 else [(1, down), (down, 1)]
    for kernel, stride in zip(kernels, strides, strict=True):
        weight = kernel.to(x).expand(x.shape[1], 1, *kernel.shape)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1])
    return x if gain == 1.0 else x * gain


def _insert_zeros(x: Tensor, up: int) -> Tensor:
    if up == 1:
        return x
    b, c, h, w = x.shape
    y = x.new_zeros(b, c, h, up, w, up)
    y[:, :, :, 0, :, 0] = x
    return y.reshape(b, c, h * up, w * up)
