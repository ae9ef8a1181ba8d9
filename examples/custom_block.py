"""A generator block of your own: the style code chooses how far each channel looks.

    python examples/custom_block.py

A block is a module `(features, style) -> features` of the same shape; `make_block` of a subclass puts it in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.layers import Modulation
from agnlib.models import Generator
from agnlib.testing import check_block


class ReachBlock(nn.Module):
    """Two depthwise filters, a near and a far one, mixed channel by channel in shares that the style code sets."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 3, groups=channels)
        self.far = nn.Conv2d(channels, channels, 3, dilation=3, groups=channels)
        self.share = nn.Linear(style_dim, channels)
        self.modulation = Modulation(channels, style_dim, act="lrelu")
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        share = torch.sigmoid(self.share(style))[:, :, None, None]
        near = self.near(F.pad(features, (1,) * 4, mode="replicate"))
        far = self.far(F.pad(features, (3,) * 4, mode="replicate"))
        filtered = share * near + (1 - share) * far
        return features + self.mix(self.modulation(filtered, style))


class ReachGenerator(Generator):
    """A `Generator` whose deepest stage is made of `ReachBlock`."""

    def make_block(self, channels: int) -> nn.Module:
        return ReachBlock(channels, self.config.style_dim)

    @property
    def reach(self) -> int:
        """How far a pixel is seen, by which tiles are cut: each block's far filter reaches 3 cells of 8 pixels."""
        return super().reach + self.stride * (3 - self.config.kernel // 2) * self.config.blocks[2]


def main() -> None:
    """Check the block and paint with it."""
    torch.manual_seed(0)
    generator = ReachGenerator(channels=(8, 16, 32), blocks=(0, 1, 2)).eval()
    check_block(generator.body[0], channels=32, style_dim=generator.config.style_dim)
    photo, style = torch.rand(1, 3, 40, 56) * 2 - 1, torch.randn(2, generator.config.style_dim)
    with torch.no_grad():
        one, other = (generator(None, s[None], content=photo) for s in style)
    print(f"painted {tuple(one.shape)}; two styles differ by {(one - other).abs().mean():.3f} on average")


if __name__ == "__main__":
    main()
