"""A convolution of four sub-pixels at a time, by one that sees the pixels where they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.layers.conv import Conv2d

__all__ = ["UnshuffledConv2d"]


class UnshuffledConv2d(Conv2d):
    """Pixels of each 2 x 2 become channels, then a 3x3 convolution.

    Where nothing is learned or traced, on the CPU, it is one convolution 6x6 of every second pixel, which has the same
    weights in other places: to move the pixels takes a third of its time.

    Shapes:
        `(B, channels, H, W)`, both even -> `(B, out_channels, H / 2, W / 2)`.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels * 4, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            return super().forward(F.pixel_unshuffle(x, 2))
        return self._convolved(x, self._weight_of_pixels(), stride=2, padding=2)

    def _weight_of_pixels(self) -> Tensor:
        outputs, inputs = self.weight.shape[:2]
        cells = self.weight.view(outputs, inputs // 4, 2, 2, 3, 3)  # the last: pixel y and x, cell y and x
        pixels = cells.permute(0, 1, 4, 2, 5, 3).reshape(outputs, inputs // 4, 6, 6)
        return pixels.contiguous(memory_format=torch.channels_last)
