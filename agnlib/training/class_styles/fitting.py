"""Styles by name, from the pictures of a training: read, fitted, calibrated, told apart by a classifier."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib._shared.gradients import with_gradients
from agnlib.engines._device import placed
from agnlib.errors import ImageError
from agnlib.image import Picture, reduced_size
from agnlib.models import Generator, StyleExtractor
from agnlib.styles._reader import STYLE_SIDE
from agnlib.training.class_styles.calibration import calibrate_classes
from agnlib.training.class_styles.classifier import ClassJudge, sharpen_classes
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.data.pairs import PictureFolder

__all__ = ["fit_class_styles"]

_PHOTOS, _PAINTINGS = 12, 100  # that are painted, and paintings of all classes in a round: with many, fewer of each
_SIDE = 252  # of a photo at most: in a larger one strokes are finer, and classes less easily told
_STEPS, _ALL_STEPS = 16, 160  # of sharpening a class, and of all classes


@with_gradients()
def fit_class_styles(
    generator: Generator,
    extractor: StyleExtractor,
    content: PictureFolder,
    style: PictureFolder,
    *,
    steps: int | None = None,
    stopping: Callable[..., bool] = lambda: False,
) -> bool:
    """Fit `generator.sample_style` to the pictures of a folder, and calibrate it on some photos.

    The pictures are read as `Stylizer.encode_style` reads them, so that a style by name is like those by reference.
    Files that cannot be decoded are left out. See `fit_mapping`, `calibrate_classes` and `sharpen_classes`.

    Args:
        generator: whose mapping is replaced.
        extractor: reads pictures and paintings.
        content: of its pictures a dozen are painted, as their largest squares of `content.size`, at most 252 pixels.
        style: with as many classes as the generator has.
        steps: of sharpening each class; None takes 16, and fewer of many classes.
        stopping: asked all the while; once it says yes, this leaves off.

    Returns:
        Whether it is done; else the mapping is as it was, or on its way.

    Raises:
        ImageError: not one of a folder's pictures can be decoded.
    """
    found, labels = [], []
    for statistics, label in _statistics(extractor, style, generator.mapping.weight.device):
        found.append(statistics)
        labels.append(label)
        if stopping():
            return False
    if not found:
        raise _undecodable(style)
    seen, of = torch.cat(found).to(generator.mapping.weight), torch.tensor(labels, device="cpu", dtype=torch.int64)
    fit_mapping(generator, extractor.encode(seen), of, prior=extractor.config.variational)
    classes = generator.config.num_classes
    if classes > 1:
        photos = _photos(content, max(2, min(_PHOTOS, _PAINTINGS // classes)))
        calibrate_classes(generator, extractor, photos, stopping=stopping)
        judge = ClassJudge.fitted(seen, of.to(seen.device), classes)
        usual = max(1, min(_STEPS, _ALL_STEPS // classes))
        sharpen_classes(generator, extractor, photos, judge, steps=usual if steps is None else steps, stopping=stopping)
    return not stopping()


@torch.no_grad()
def _statistics(extractor: StyleExtractor, style: PictureFolder, device: torch.device) -> Iterator[tuple[Tensor, int]]:
    for path, label in zip(style.paths, style.labels, strict=True):
        try:
            picture = Picture.take(path, "style")
        except ImageError:
            continue
        pixels = picture.resized(reduced_size(picture.size, shorter=STYLE_SIDE))
        yield extractor.statistics(placed(pixels, device)), label


def _photos(content: PictureFolder, count: int) -> Tensor:
    """Some of the photos that can be decoded, `(N, 3, side, side)` in [-1, 1], or all where there are fewer."""
    whole = [entry for entry, (_, variant) in enumerate(content.entries) if variant == 0]
    crops: list[Tensor] = []
    for entry in random.Random(content.seed).sample(whole, len(whole)):
        if len(crops) == count:
            break
        try:
            crops.append(torch.from_numpy(content.crop(entry).copy()).permute(2, 0, 1).float() / 127.5 - 1)
        except ImageError:
            continue
    if not crops:
        raise _undecodable(content)
    found = torch.stack(crops)
    if content.size <= _SIDE:
        return found
    return F.interpolate(found, (_SIDE, _SIDE), mode="bicubic", antialias=True).clamp(-1, 1)


def _undecodable(folder: PictureFolder) -> ImageError:
    return ImageError(f"{folder.folder}: not one of its pictures can be decoded; expected whole files")
