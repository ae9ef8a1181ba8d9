"""Blocks whose feature statistics are set by a style code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.layers._border import extend
from agnlib.layers.conv import Conv2d
from agnlib.layers.window import current_window
from agnlib.ops import adain
from agnlib.ops._exporting import is_exporting

__all__ = ["Modulation", "StyledBottleneck", "StyledConv"]


class Modulation(nn.Module):
    """Normalize features and give them the mean and deviation that a style code asks for.

    Paper: Huang and Belongie, ICCV 2017; predicted from a code as by Dumoulin et al., ICLR 2017.

    Args:
        channels: of the features.
        style_dim: of the code.
        act: activation after it, see `agnlib.ops.adain`.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` -> `(B, channels, H, W)`.

    Example:
        >>> Modulation(4, 8)(torch.randn(2, 4, 6, 6), torch.randn(2, 8)).shape
        torch.Size([2, 4, 6, 6])
    """

    def __init__(self, channels: int, style_dim: int, *, act: str | None = None) -> None:
        super().__init__()
        self.act = act
        self.affine = nn.Linear(style_dim, 2 * channels, dtype=torch.float32)
        nn.init.normal_(self.affine.weight, std=0.5 / style_dim**0.5)
        with torch.no_grad():
            self.affine.bias.copy_(
                torch.cat([torch.zeros(channels, dtype=torch.float32), torch.ones(channels, dtype=torch.float32)])
            )

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        window = current_window()
        if window is not None:
            return window.modulate(self, self.affine, x, style, self.act)
        mean, std = self.affine(style).to(x.dtype).chunk(2, dim=1)
        return adain(x, mean, std, act=self.act)


class StyledBottleneck(nn.Module):
    """Expand, filter each channel by itself, modulate, project, add.

    The modulation stands between filtering and mixing, so the style weighs a palette of stroke-shaped filters:
    the effective kernel from channel to channel is a mixture that the code chooses. Beyond the border is what lies on
    this side of it, mirrored: zeros, or the border again and again, would tell every place how far it is from the
    border, and colors would come to depend on it.
    Paper: the inverted bottleneck of Sandler et al., "MobileNetV2", CVPR 2018.

    Args:
        channels: in and out.
        style_dim: of the code.
        kernel: size of the depthwise filters, odd.
        expansion: how many times wider the middle is.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` -> `(B, channels, H, W)`.
    """

    def __init__(self, channels: int, style_dim: int, *, kernel: int = 5, expansion: int = 2) -> None:
        super().__init__()
        wide = channels * expansion
        self.border = kernel // 2
        self.expand = Conv2d(channels, wide, 1)
        self.depthwise = Conv2d(wide, wide, kernel, groups=wide, bias=False)
        self.modulation = Modulation(wide, style_dim, act="lrelu")
        self.project = Conv2d(wide, channels, 1)
        nn.init.normal_(self.project.weight, std=0.3 / wide**0.5)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y: Tensor = self.project(self.modulation(self.depthwise(self.expand(_framed(x, self.border))), style))
        return y.add_(x)


class StyledConv(nn.Module):
    """Modulate, then a full 3x3 convolution, added to the input where the channels agree.

    Args:
        channels: in.
        out_channels: out; the same as `channels` makes it residual.
        style_dim: of the code.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` -> `(B, out_channels, H, W)`.
    """

    def __init__(self, channels: int, out_channels: int, style_dim: int) -> None:
        super().__init__()
        self.residual = channels == out_channels
        self.modulation = Modulation(channels, style_dim, act="lrelu")
        self.conv = Conv2d(channels, out_channels, 3, padding=1)
        if self.residual:
            nn.init.normal_(self.conv.weight, std=0.3 / (9 * channels) ** 0.5)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y: Tensor = self.conv(self.modulation(x, style))
        return y.add_(x) if self.residual else y


def _framed(x: Tensor, border: int) -> Tensor:
    """Mirrored at the borders, as far as there is something."""
    if is_exporting() and border <= 2:  # which always fits: a picture is at least three cells high and wide
        return F.pad(x, (border,) * 4, mode="reflect")
    return extend(x, (border,) * 4)
