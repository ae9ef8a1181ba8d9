"""Styles by name that are read back as asked for: what a painting shows of a code is less than the code itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.engines._device import placed
from agnlib.image import reduced_size
from agnlib.models import Generator, StyleExtractor
from agnlib.styles._reader import STYLE_SIDE

__all__ = ["as_style", "at_most", "calibrate_classes", "farthest"]

_AT_ONCE = 4  # paintings


@torch.no_grad()
def calibrate_classes(
    generator: Generator,
    extractor: StyleExtractor,
    photos: Tensor,
    *,
    rounds: int = 4,
    rate: float = 0.7,
    reach: float = 1.0,
    seconds: float = math.inf,
    stopping: Callable[..., bool] = lambda: False,
) -> None:
    """Move the means of the classes' maps until paintings in a class's random styles are read as the class on average.

    A painting keeps something of its photo, and the network answers to a code with less than the code asks for: its
    style, read again, lies nearer to the middle of all. So each round paints the photos in every class, reads the
    paintings, and moves a class's mean by what is missing of that with which `fit_mapping` left it. No class's
    covariance changes, and neither does the map without a class. Of fewer than two classes there is nothing to tell
    apart, and nothing is done. The same photos give the same maps.

    Args:
        generator: whose mapping is changed, after `fit_mapping`.
        extractor: reads what is painted.
        photos: `(N, 3, H, W)` in [-1, 1], each to be painted once a round and class, in a style of its own.
        rounds: of painting all classes.
        rate: how much of what is missing a round makes up for, above 0 to 1.
        reach: how far a class's mean may go from the middle of the classes, in root mean squares of the distance that
            its codes had before. A class that the network cannot paint would go ever further otherwise, to codes unlike
            all that it has seen.
        seconds: no round begins after so many.
        stopping: asked before each class of a round; once it says yes, the maps stay as they are then.

    Example:
        >>> generator, extractor = Generator(8, 16, num_classes=2), StyleExtractor(16)
        >>> before = generator.mapping.weight.clone()
        >>> calibrate_classes(generator, extractor, torch.zeros(2, 3, 40, 30), rounds=1)
        >>> (generator.mapping.weight != before).any(1)
        tensor([False,  True,  True])
    """
    config = generator.config
    if config.num_classes < 2:
        return
    maps = generator.mapping.weight.view(-1, config.style_dim, config.latent_dim + 1)[1:]
    asked = maps[:, :, -1].clone()
    middle, most = farthest(maps, reach)
    rng = torch.Generator().manual_seed(0)
    end = time.monotonic() + seconds
    for _ in range(rounds):
        if time.monotonic() > end:
            return
        z = torch.randn(len(photos), config.latent_dim, generator=rng, device="cpu", dtype=torch.float32)
        z -= z.mean(0)  # so that only a class's mean moves what is read on average
        for label, mean in enumerate(maps[:, :, -1]):
            if stopping():
                return
            missing = asked[label] - _read(generator, extractor, photos, z, label)
            mean.copy_(middle + at_most(mean + rate * missing - middle, most[label]))


def _read(generator: Generator, extractor: StyleExtractor, photos: Tensor, z: Tensor, label: int) -> Tensor:
    """The mean code, `(style_dim,)`, of the photos painted in a class."""
    device = generator.mapping.weight.device
    styles = generator.sample_style(z.to(device), torch.full((len(z),), label, device=device, dtype=torch.int64))
    codes = []
    for photo, style in zip(torch.split(photos, _AT_ONCE), torch.split(styles, _AT_ONCE), strict=True):
        painted: Tensor = generator(None, style, content=placed(photo, device)).clamp(-1, 1)
        codes.append(extractor(as_style(painted)))
    return torch.cat(codes).mean(0)


def as_style(painted: Tensor) -> Tensor:
    """Paintings as small as pictures with a style are read."""
    size = reduced_size((painted.shape[2], painted.shape[3]), shorter=STYLE_SIDE)
    return painted if size == painted.shape[2:] else F.interpolate(painted, size, mode="bilinear", antialias=True)


def farthest(maps: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """The middle of the classes' means, `(style_dim,)`, and how far from it each may go, `(classes,)`."""
    means, spreads = maps[:, :, -1], maps[:, :, :-1]
    middle = means.mean(0)
    return middle, reach * ((means - middle).square().sum(1) + spreads.square().sum((1, 2))).sqrt()


def at_most(offset: Tensor, length: Tensor) -> Tensor:
    """The offset, shortened to a length where it is longer."""
    factor: Tensor = (length / offset.norm().clamp_min(1e-12)).clamp_max(1)
    return offset * factor
