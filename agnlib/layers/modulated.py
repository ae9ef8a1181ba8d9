"""Convolutions that a style code steers through their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agnlib.layers.conv import EqualizedLinear
from agnlib.ops import bias_act, fir_filter, modulated_conv2d

__all__ = ["ModulatedConv2d", "ToRGB"]


class ModulatedConv2d(nn.Module):
    """A convolution whose weight the style scales per input channel and demodulates; optionally to twice the size.

    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, section 2.2.

    Args:
        channels: in.
        out_channels: out.
        kernel: size of the kernel, odd.
        style_dim: of the code.
        up: 2 for twice the size.
        demodulate: whether the result keeps unit deviation.
        act: an activation of `agnlib.ops.bias_act`, with its own gain, or None.
        taps: of the filter behind the inserted zeros.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` -> `(B, out_channels, up * H, up * W)`.

    Example:
        >>> layer = ModulatedConv2d(4, 6, 3, style_dim=8, up=2)
        >>> layer(torch.randn(2, 4, 5, 5), torch.randn(2, 8)).shape
        torch.Size([2, 6, 10, 10])
    """

    filter: Tensor

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        *,
        style_dim: int,
        up: int = 1,
        demodulate: bool = True,
        act: str | None = "lrelu",
        taps: Sequence[float] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        self.up, self.demodulate, self.act, self.padding = up, demodulate, act, kernel // 2
        self.affine = EqualizedLinear(style_dim, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, channels, kernel, kernel, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(out_channels, dtype=torch.float32))
        self.scale = (channels * kernel**2) ** -0.5
        self.register_buffer("filter", fir_filter(taps), persistent=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = modulated_conv2d(
            x,
            self.weight * self.scale,
            self.affine(style),
            demodulate=self.demodulate,
            up=self.up,
            padding=self.padding,
            filter=self.filter if self.up > 1 else None,
        )
        return bias_act(y, self.bias, act=self.act or "linear")


class ToRGB(ModulatedConv2d):
    """Features to a picture: a 1x1 convolution, scaled by the style and not demodulated, so it sets contrast too.

    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, section 4.1 (a picture at
    each size, added to the enlarged one below: `picture`).

    Args:
        channels: of the features.
        style_dim: of the code.
        out_channels: of the picture.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)`, picture `(B, out_channels, H, W)` or None -> `(B, out_channels, H, W)`.

    Example:
        >>> ToRGB(4, style_dim=8)(torch.randn(2, 4, 5, 5), torch.randn(2, 8)).shape
        torch.Size([2, 3, 5, 5])
    """

    def __init__(self, channels: int, *, style_dim: int, out_channels: int = 3) -> None:
        super().__init__(channels, out_channels, 1, style_dim=style_dim, demodulate=False, act=None)

    def forward(self, x: Tensor, style: Tensor, picture: Tensor | None = None) -> Tensor:
        y = super().forward(x, style)
        return y if picture is None else y + picture
