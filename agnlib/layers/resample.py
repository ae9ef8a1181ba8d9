"""Upsampling that leaves no grid behind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.layers.conv import Conv2d
from agnlib.ops import fir_filter, upfirdn2d

__all__ = ["BlurDownsample", "BlurUpsample", "SubPixelUpsample", "Upsample"]


class BlurDownsample(nn.Module):
    """Every second sample, after a filter that removes what the coarser grid cannot hold.

    Paper: Zhang, "Making convolutional networks shift-invariant again", ICML 2019.

    Args:
        taps: of the filter along each axis, an even number; their sum is made 1.

    Shapes:
        `(B, C, H, W)` -> `(B, C, ceil(H / 2), ceil(W / 2))`; borders are repeated.

    Raises:
        InputError: an odd number of taps, which would move the picture by half a sample.

    Example:
        >>> BlurDownsample()(torch.ones(1, 3, 6, 6)).shape
        torch.Size([1, 3, 3, 3])
    """

    filter: Tensor

    def __init__(self, taps: Sequence[float] = (1, 3, 3, 1)) -> None:
        super().__init__()
        self.border = _half("BlurDownsample", taps) - 1
        self.register_buffer("filter", fir_filter(taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        border = self.border
        odd = x.shape[3] % 2, x.shape[2] % 2
        framed = F.pad(x, (border, border + odd[0], border, border + odd[1]), mode="replicate")
        return upfirdn2d(framed, self.filter, down=2)


class BlurUpsample(nn.Module):
    """Twice the size: zeros between the samples, and a filter that removes the copies of the spectrum they bring.

    Paper: Karras et al., "A style-based generator architecture for generative adversarial networks", CVPR 2019.

    Args:
        taps: of the filter along each axis, an even number; their sum is made 1.

    Shapes:
        `(B, C, H, W)` -> `(B, C, 2 H, 2 W)`; borders are repeated.

    Raises:
        InputError: an odd number of taps, which would move the picture by half a sample.

    Example:
        >>> BlurUpsample()(torch.ones(1, 3, 3, 3)).shape
        torch.Size([1, 3, 6, 6])
    """

    filter: Tensor

    def __init__(self, taps: Sequence[float] = (1, 3, 3, 1)) -> None:
        super().__init__()
        self.reach = _half("BlurUpsample", taps)
        self.border = (self.reach + 1) // 2  # samples beyond the border that the filter reaches
        self.register_buffer("filter", fir_filter(taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        framed = F.pad(x, (self.border,) * 4, mode="replicate")
        y = upfirdn2d(framed, self.filter, up=2, padding=(self.reach, self.reach - 1) * 2, gain=4.0)
        cut = slice(2 * self.border, -2 * self.border)
        return y[:, :, cut, cut]


def _half(layer: str, taps: Sequence[float]) -> int:
    if len(taps) % 2 or len(taps) == 0:
        raise InputError(f"{layer}: got {len(taps)} taps; expected an even number")
    return len(taps) // 2


class Upsample(nn.Module):
    """A 1x1 convolution, then bilinear interpolation to twice the size; it cannot make a checkerboard.

    Shapes:
        `(B, channels, H, W)` -> `(B, out_channels, 2 H, 2 W)`.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)


class SubPixelUpsample(nn.Module):
    """A 3x3 convolution to four sub-pixels, shuffled into place and smoothed by [1, 2, 1].

    The sub-pixels start equal (ICNR), and the filter has a zero at the grid's own frequency, so constant features
    give a constant picture whatever the weights become.
    Papers: Shi et al., CVPR 2016 (sub-pixel convolution); Aitken et al., 2017 (ICNR); Sugawara et al., 2018 (the
    filter).

    Shapes:
        `(B, channels, H, W)` -> `(B, out_channels, 2 H, 2 W)`.
    """

    filter: Tensor

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, out_channels * 4, 3, padding=1)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[::4].repeat_interleave(4, dim=0))
        self.register_buffer("filter", fir_filter([1, 2, 1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pixel_shuffle(self.conv(x), 2)
        return upfirdn2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), self.filter)
