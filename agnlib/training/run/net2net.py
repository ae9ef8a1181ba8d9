"""A larger generator that begins by painting as a smaller one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import torch
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.layers import Modulation, StyledBottleneck
from agnlib.models import Generator

__all__ = ["grown"]


@torch.no_grad()
def grown(
    generator: Generator, *, blocks: Sequence[int] | None = None, channels: Sequence[int] | None = None
) -> Generator:
    """A generator with more blocks or channels, which add nothing before they are trained.

    A new block's last convolution is zero. New channels look at the old ones as they happen to be initialized, and the
    old look at none of the new ones; every channel is normalized by itself, so the old ones stay what they are.
    Paper: Chen et al., "Net2Net: accelerating learning via knowledge transfer", ICLR 2016.

    Args:
        generator: which is not changed.
        blocks, channels: at 1/2, 1/4 and 1/8 of the size; as they are without them.

    Raises:
        InputError: fewer blocks or channels than the generator has.

    Example:
        >>> small = Generator(8, 16, channels=(4, 4, 8), blocks=(0, 1, 1)).eval()
        >>> large = grown(small, blocks=(1, 1, 2), channels=(4, 6, 12)).eval()
        >>> photo, style = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
        >>> torch.allclose(large(None, style, content=photo), small(None, style, content=photo), atol=1e-5)
        True
    """
    config = generator.config
    wanted = {"blocks": tuple(blocks or config.blocks), "channels": tuple(channels or config.channels)}
    for name, now in wanted.items():
        then = getattr(config, name)
        if any(a < b for a, b in zip(now, then, strict=True)):
            raise InputError(f"--{name}: {now} asked for, the weights have {then}; {name} can only be added")
    if wanted == {"blocks": config.blocks, "channels": config.channels}:
        return generator
    other = Generator(**{**asdict(config), **wanted})
    modulated = {f"{name}.affine" for name, module in other.named_modules() if isinstance(module, Modulation)}
    old = generator.state_dict()
    for name, value in other.state_dict().items():
        if name in old:
            _embed(old[name], value, parts=2 if name.rpartition(".")[0] in modulated else 1)
    for stage, count in zip((other.body_half, other.body_quarter, other.body), config.blocks, strict=True):
        for block in list(stage)[count:]:
            last = block.project if isinstance(block, StyledBottleneck) else block.conv
            for parameter in cast("nn.Module", last).parameters():
                nn.init.zeros_(parameter)
    return other


def _embed(old: Tensor, new: Tensor, *, parts: int) -> None:
    """Write a tensor into the front of a larger one; its rows take nothing from the larger one's other columns.

    Args:
        old, new: of as many axes, `new` is changed.
        parts: of which the rows consist, each of which grew: means and deviations.
    """
    for narrow, wide in zip(old.chunk(parts), new.chunk(parts), strict=True):
        wide[: len(narrow)] = 0
        wide[tuple(slice(side) for side in narrow.shape)] = narrow
