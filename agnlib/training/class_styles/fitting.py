"""Styles by name, from the pictures of a training: read, fitted, calibrated, told apart by a classifier."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from agnlib.training.class_styles.classifier import BATCH, ClassJudge, sharpen_classes
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.class_styles.unfinished import Unfinished
from agnlib.training.data.pairs import PictureFolder

__all__ = ["fit_class_styles", "paintings_for", "statistics_of"]

_PHOTOS, _PAINTINGS = 12, 100  # that are painted, and paintings of all classes in a round: with many, fewer of each
_SIDE = 252  # of a photo at most: in a larger one strokes are finer, and classes less easily told
_STEPS, _ALL_STEPS = 16, 160  # of sharpening a class, and of all classes
_ROUNDS = 4  # of calibration
_LEAST = 4  # pictures of every class that are read, however little time there is


@with_gradients()
def fit_class_styles(
    generator: Generator,
    extractor: StyleExtractor,
    content: PictureFolder,
    style: PictureFolder,
    *,
    steps: int | None = None,
    seconds: float = math.inf,
    unfinished: Unfinished | None = None,
    progress: Callable[[float, float], None] = lambda done, total: None,
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
        seconds: about how long it may take. With too few of them fewer pictures are read, some of every class, and
            classes are sharpened less.
        unfinished: where what has been learned is kept meanwhile, and what was left there is taken from.
        progress: called as `progress(done, total)`.
        stopping: asked all the while; once it says yes, this leaves off.

    Returns:
        Whether it is done; else the mapping is as it was, or on its way.

    Raises:
        ImageError: not one of a folder's pictures can be decoded.
    """
    unfinished = unfinished or Unfinished(None)
    classes = generator.config.num_classes
    usual = _usual_steps(classes) if steps is None else steps
    work = _Work(generator, extractor, usual, unfinished, _Clock(seconds), progress, stopping)
    known = unfinished.read()
    seen, of = (known["statistics"], known["labels"]) if known else work.read(style)
    if stopping():
        return False
    if not known:
        unfinished.keep(statistics=seen, labels=of)
    seen = seen.to(generator.mapping.weight)
    if "mapping" in known:
        with torch.no_grad():
            generator.mapping.weight.copy_(known["mapping"])
    else:
        fit_mapping(generator, extractor.encode(seen), of, prior=extractor.config.variational)
    if classes > 1:
        photos = _photos(content, _photos_for(classes))
        if "mapping" not in known:
            calibrate_classes(
                generator, extractor, photos, rounds=_ROUNDS, seconds=work.clock.left(0.6), stopping=stopping
            )
        if not stopping():
            work.sharpen(photos, seen, of, known)
    return not stopping()


def paintings_for(classes: int) -> int:
    """About how many paintings so many classes take, those that are gone through backwards counted as three.

    Example:
        >>> paintings_for(8), paintings_for(1)
        (2432, 0)
    """
    sharpening = _usual_steps(classes) * BATCH * 4  # a painting as it was beside it
    return 0 if classes < 2 else classes * (_ROUNDS * _photos_for(classes) + sharpening)


def _usual_steps(classes: int) -> int:
    return max(1, min(_STEPS, _ALL_STEPS // max(classes, 1)))


def _photos_for(classes: int) -> int:
    return max(2, min(_PHOTOS, _PAINTINGS // classes))


class _Clock:
    """How much is left of so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.monotonic()

    def left(self, share: float = 1.0) -> float:
        """Seconds until that share of all is gone; below 0 where it is."""
        return share * self._seconds - (time.monotonic() - self._begun)


@dataclass(frozen=True)
class _Work:
    """The two parts of it that take long."""

    generator: Generator
    extractor: StyleExtractor
    steps: int
    unfinished: Unfinished
    clock: _Clock
    progress: Callable[[float, float], None]
    stopping: Callable[..., bool]

    def _tell(self, pictures: int, of: int, classes: int) -> None:
        """A step counts as a picture; calibration comes with the first class."""
        whole = self.generator.config.num_classes
        several = whole > 1
        self.progress(pictures + classes * self.steps * several, of + whole * self.steps * several)

    def read(self, style: PictureFolder) -> tuple[Tensor, Tensor]:
        """Statistics of pictures and their labels, of all or as many as there is time for."""
        found, labels, least = [], [], _LEAST * max(1, self.generator.config.num_classes)
        for statistics, label in statistics_of(self.extractor, style, self.generator.mapping.weight.device):
            found.append(statistics)
            labels.append(label)
            self._tell(len(found), len(style.paths), 0)
            if self.stopping() or (self.clock.left(0.4) < 0 and len(found) >= least):
                break
        if not found:
            raise _undecodable(style)
        return torch.cat(found), torch.tensor(labels, device="cpu", dtype=torch.int64)

    def sharpen(self, photos: Tensor, seen: Tensor, of: Tensor, known: Mapping[str, Tensor]) -> None:
        """Those classes that are not known yet; after each, all that is known is kept."""
        first = int(known["classes"]) if "classes" in known else 0
        begun = known["begun"] if "begun" in known else self.generator.mapping.weight.detach().clone()

        def on_class(label: int) -> None:
            self._tell(len(seen), len(seen), label + 1)
            done = torch.tensor(label + 1, device="cpu", dtype=torch.int64)
            mapping = self.generator.mapping.weight
            self.unfinished.keep(statistics=seen, labels=of, begun=begun, mapping=mapping, classes=done)

        on_class(first - 1)
        sharpen_classes(
            self.generator,
            self.extractor,
            photos,
            ClassJudge.fitted(seen, of.to(seen.device), self.generator.config.num_classes),
            steps=self.steps,
            seconds=self.clock.left(),
            first=first,
            begun=begun,
            on_class=on_class,
            stopping=self.stopping,
        )


@torch.no_grad()
def statistics_of(
    extractor: StyleExtractor, style: PictureFolder, device: torch.device
) -> Iterator[tuple[Tensor, int]]:
    """Of each picture that can be decoded, the classes by turns."""
    for path, label in _by_turns(style):
        try:
            picture = Picture.take(path, "style")
        except ImageError:
            continue
        pixels = picture.resized(reduced_size(picture.size, shorter=STYLE_SIDE))
        yield extractor.statistics(placed(pixels, device)), label


def _by_turns(style: PictureFolder) -> list[tuple[Path, int]]:
    """The pictures with their labels, shuffled, the first of every class before any second."""
    order = list(zip(style.paths, style.labels, strict=True))
    random.Random(0).shuffle(order)
    seen: Counter[int] = Counter()
    ranked = []
    for path, label in order:
        ranked.append((seen[label], label, path))
        seen[label] += 1
    return [(path, label) for _, label, path in sorted(ranked, key=lambda each: each[:2])]


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
