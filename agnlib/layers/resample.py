"""Upsampling that leaves no grid behind."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.ops import fir_filter, upfirdn2d

__all__ = ["SubPixelUpsample", "Upsample"]


class Upsample(nn.Module):
    """A 1x1 convolution, then bilinear interpolation to twice the size; it cannot make a checkerboard.

    Shapes:
        `(B, channels, H, W)` -> `(B, out_channels, 2 H, 2 W)`.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 1)

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
        self.conv = nn.Conv2d(channels, out_channels * 4, 3, padding=1)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[::4].repeat_interleave(4, dim=0))
        self.register_buffer("filter", fir_filter([1, 2, 1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pixel_shuffle(self.conv(x), 2)
        return upfirdn2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), self.filter)
