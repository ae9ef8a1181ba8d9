"""The networks that a run starts with: new ones on a trunk that has seen pictures, or those of other weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from agnlib.errors import ImageError
from agnlib.models import Discriminator, EfficientNetLiteFeatures, Generator, StyleExtractor, pretrained
from agnlib.training.data import PictureFolder

__all__ = ["Networks", "starting_networks", "whole_pictures"]


class Networks(NamedTuple):
    """What is trained together."""

    generator: Generator
    discriminator: Discriminator
    extractor: StyleExtractor


def starting_networks(init: str | None, style: PictureFolder) -> Networks:
    """New networks, or those of `init` with as many classes as there are here."""
    classes, wanted = len(style.class_names), len(style.class_names) or None
    if init is None:
        return Networks(Generator(num_classes=classes), Discriminator(wanted), _new_extractor(style))
    bundle = pretrained.load(init)
    generator, discriminator = bundle.generator, bundle.discriminator
    if discriminator is None or discriminator.config.num_classes != wanted:
        discriminator = Discriminator(wanted, style_dim=generator.config.style_dim)
    if generator.config.num_classes != classes:
        generator = _with_classes(generator, classes)
    return Networks(generator, discriminator, bundle.extractor)


def _with_classes(generator: Generator, classes: int) -> Generator:
    """The same generator for another number of classes; their styles by name are fitted after training."""
    other = Generator(**{**asdict(generator.config), "num_classes": classes})
    state = {k: v for k, v in generator.state_dict().items() if not k.startswith("mapping.")}
    other.load_state_dict(state, strict=False)
    return other


def _new_extractor(style: PictureFolder) -> StyleExtractor:
    """A new extractor, calibrated on the styles, on a trunk that has seen pictures: published, or shipped with us."""
    extractor = StyleExtractor()
    try:
        trunk = EfficientNetLiteFeatures.pretrained(0, extractor.config.taps).state_dict()
    except ImportError:
        trunk = pretrained.load("agn-small").extractor.trunk.state_dict()
    extractor.trunk.load_state_dict(trunk)
    with torch.no_grad():
        statistics = torch.cat([extractor.statistics(picture) for picture, _ in whole_pictures(style)])
    if len(statistics) > 1:
        extractor.calibrate(statistics)
    return extractor


def whole_pictures(style: PictureFolder) -> Iterator[tuple[Tensor, int]]:
    """Every picture's largest square, `(1, 3, size, size)` in [-1, 1], and its label; damaged files are left out."""
    for entry, (_, variant) in enumerate(style.entries):
        if variant != 0:
            continue
        try:
            pixels = torch.from_numpy(style.crop(entry).copy())
        except ImageError:
            continue
        yield pixels.permute(2, 0, 1)[None].float() / 127.5 - 1, style.label(entry)
