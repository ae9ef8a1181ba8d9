"""The networks that a run starts with: new ones on a trunk that has seen pictures, or those of other weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from agnlib.errors import ImageError, InputError
from agnlib.models import Discriminator, EfficientNetLiteFeatures, Generator, StyleExtractor, pretrained
from agnlib.models.pretrained import Bundle
from agnlib.training.config import TrainerConfig
from agnlib.training.data.pairs import PictureFolder
from agnlib.training.run.net2net import grown

__all__ = ["Networks", "balance", "kept", "origin", "starting_networks", "whole_pictures"]

_MARGIN = 16  # px around a picture: more than the decoder's zero padding reaches, or it learns to paint a frame
_CANVAS_SLOPE = 1.3  # painted on white noise, flat parts are strewn with strokes, and style is no closer


class Networks(NamedTuple):
    """What is trained together."""

    generator: Generator
    discriminator: Discriminator
    extractor: StyleExtractor


def starting_networks(
    init: Bundle | None,
    style: PictureFolder,
    blocks: Sequence[int] | None = None,
    channels: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
) -> Networks:
    """New networks, or those of `init` with as many classes as there are here, grown to the size that is asked for.

    Of a discriminator for other classes all is kept but what it knew of these. A generator that is given stands in for
    the one of `init`, or a new one.

    Raises:
        InputError: fewer blocks or channels than `init` has; or a generator that is given for other classes, to be
            grown, or of another width of styles.
    """
    classes, wanted = len(style.class_names), len(style.class_names) or None
    if generator is not None:
        _check_given(generator, classes, grows=blocks is not None or channels is not None)
    if init is None and generator is not None:
        width = generator.config.style_dim
        return Networks(generator, Discriminator(wanted, style_dim=width), _new_extractor(style, width))
    if init is None:
        sizes = {"blocks": blocks, "channels": channels}
        options: dict[str, Any] = {name: tuple(value) for name, value in sizes.items() if value is not None}
        generator = Generator(num_classes=classes, margin=_MARGIN, canvas_slope=_CANVAS_SLOPE, **options)
        return Networks(generator, Discriminator(wanted), _new_extractor(style))
    discriminator, width = init.discriminator, init.extractor.config.style_dim
    if discriminator is None:
        discriminator = Discriminator(wanted, style_dim=width)
    elif discriminator.config.num_classes != wanted or init.class_names not in ((), style.class_names):
        discriminator = _with_labels(discriminator, wanted)
    if generator is not None:
        if generator.config.style_dim != width:
            raise InputError(
                f"generator has style_dim {generator.config.style_dim}, the extractor of {init.name} {width}; give a"
                " generator of that width"
            )
        return Networks(generator, discriminator, init.extractor)
    generator = init.generator
    if generator.config.num_classes != classes:
        generator = _with_classes(generator, classes)
    return Networks(grown(generator, blocks=blocks, channels=channels), discriminator, init.extractor)


def _check_given(generator: Generator, classes: int, *, grows: bool) -> None:
    if generator.config.num_classes != classes:
        raise InputError(
            f"generator has num_classes {generator.config.num_classes}, the pictures with the style {classes};"
            f" make it with num_classes={classes}"
        )
    if grows:
        raise InputError("blocks and channels are of a generator that is made here; expected none with generator=")


def origin(init: Bundle | None) -> dict[str, Any]:
    """The weights that a training begins with: their name and version, and what was before them."""
    if init is None:
        return {"init": None, "before": []}
    training = init.info.get("training", {})
    said = {name: training[name] for name in ("init", "steps", "minutes", "crop", "batch") if name in training}
    return {"init": f"{init.name} {init.version}", "before": [*training.get("before", []), said] if said else []}


def balance(init: Bundle | None, *, style_weight: float | None, adversarial: float | None) -> dict[str, float]:
    """Weights of style and adversary: those asked for, else those that `init` says it was trained with, else the usual.

    Else going on from weights with strong strokes would weaken them.
    """
    training = init.info.get("training", {}) if init else {}
    usual = {"style_weight": 1.0, "adversarial": TrainerConfig.adversarial}
    known = {
        "style_weight": training.get("style_weight"),
        "adversarial": training.get("trainer", {}).get("adversarial"),
    }
    asked = {"style_weight": style_weight, "adversarial": adversarial}
    return {name: next(v for v in (asked[name], known[name], usual[name]) if v is not None) for name in usual}


def _with_classes(generator: Generator, classes: int) -> Generator:
    """The same generator for another number of classes; their styles by name are fitted after training."""
    other = Generator(**{**asdict(generator.config), "num_classes": classes})
    state = {k: v for k, v in generator.state_dict().items() if not k.startswith("mapping.")}
    other.load_state_dict(state, strict=False)
    return other


def _with_labels(discriminator: Discriminator, classes: int | None) -> Discriminator:
    """The same discriminator for other labels: all but what it knew of the old ones, and of the new ones nothing."""
    other = type(discriminator)(**{**asdict(discriminator.config), "num_classes": classes})
    state = {k: v for k, v in discriminator.state_dict().items() if not k.startswith("label_projection.")}
    other.load_state_dict(state, strict=False)
    for embedding in other.label_projection:
        torch.nn.init.zeros_(cast("torch.nn.Embedding", embedding).weight)
    return other


def kept(before: Discriminator | None, after: Discriminator) -> str:
    """What of a discriminator another one has, in words."""
    if before is None:
        return "discriminator: new, the weights have none"
    mine, theirs = after.state_dict(), before.state_dict()
    same = sum(key in theirs and torch.equal(value, theirs[key]) for key, value in mine.items())
    new = ", the classes are new" if same < len(mine) and after.config.num_classes else ""
    return f"discriminator: {same} of {len(mine)} tensors kept{new}"


def _new_extractor(style: PictureFolder, style_dim: int | None = None) -> StyleExtractor:
    """A new extractor, calibrated on the styles, on a trunk that has seen pictures: published, or shipped with us."""
    extractor = StyleExtractor() if style_dim is None else StyleExtractor(style_dim=style_dim)
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
