"""How every photograph of a folder is painted: the style, the effect and the files, checked and prepared once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from agnlib._shared.numbers import own_number
from agnlib._shared.progress import Listener
from agnlib.errors import ImageError, InputError
from agnlib.folder._tree import Job
from agnlib.image import Limits, probe, reduced_size
from agnlib.image._writing import check_quality
from agnlib.painting._photo import Photo, Rows, write_rows

if TYPE_CHECKING:
    from torch import Tensor

    from agnlib.painting._painted_windows import Masks
    from agnlib.stylizer import Stylizer

__all__ = ["Recipe", "differences"]

# Style codes that differ by less, relative to their largest number, are the same: other processors round otherwise.
_SAME_STYLE = 1e-2
# What settings do nothing, to photographs and to clips.
_WITHOUT_EFFECT: dict[bool, set[str]] = {False: {"smoothing"}, True: {"metadata", "quality", "recipe"}}


class Recipe:
    """The steps for one photograph, and `settings`: all that decides how a painting looks, as JSON has it.

    Args:
        stylizer: paints.
        style: see `Stylizer.__call__`, as `options`.
        metadata: see `Stylizer.stylize_file`, as `recipe`, `quality` and `limits`.
        smoothing: see `Stylizer.stylize_video`; None where there are no clips.

    Raises:
        InputError: an argument outside its range, or of a wrong type or number.
        ImageError: a style or mask cannot be read.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        style: Any,
        options: Mapping[str, Any],
        *,
        metadata: Literal["none", "no-gps", "all"],
        recipe: bool = True,
        quality: int,
        limits: Limits,
        smoothing: float | None = None,
    ) -> None:
        import torch

        from agnlib.painting._effect import Effect
        from agnlib.painting._masks import styles_of
        from agnlib.painting._neighbor_painter import NeighborPainter
        from agnlib.painting._recipe import recipe_of, style_names
        from agnlib.painting._temporal_smoothing import Smoothing
        from agnlib.styles._reader import pictured

        self._of_clips = {"style": style, **options, "smoothing": smoothing}
        given = {"mask": None, "seed": None, "size": None, **options}
        mask, seed, self._size = (own_number(given.pop(name)) for name in ("mask", "seed", "size"))
        if self._size is not None:
            reduced_size((1, 1), longer=self._size)
        check_quality(quality)
        if smoothing is not None:
            Smoothing(smoothing)  # which checks it
        if metadata not in ("none", "no-gps", "all"):
            raise InputError(f"metadata must be one of none, no-gps, all, got {metadata!r}")
        method, drawing, on_step = (given.pop(name, None) for name in ("method", "drawing", "on_step"))
        self._stylizer, self._effect = stylizer, Effect(**given)
        self._metadata, self._quality = metadata, own_number(quality)
        self._limits = replace(limits, reduced_to=self._size)
        self._latent = stylizer._styles.latent(seed)
        if method == "neighbors":
            style = pictured(style, seed)
        styles, method = styles_of(style, mask), method or "network"
        by_method = {"drawing": drawing, "on_step": on_step, "limits": limits}
        self._painter = NeighborPainter.chosen(method, styles, stylizer.device, **by_method)
        self.styles = style_names(styles)
        drawing = None if self._painter is None else self._painter.plan.drawing
        noted = recipe_of(stylizer.name, styles, self._effect, drawing=drawing, seed=seed, size=self._size)
        self._noted = noted if recipe else None
        codes = [stylizer._style_vector(each, seed, limits) for each in styles]
        self._codes, self._masks = torch.cat(codes), _masks(codes, mask, limits)
        self._warned = False
        self.in_part: dict[str, str] = {}  # photographs with frames or pages of which the first is painted
        self.settings = {
            "weights": _weights(stylizer),
            "style": [[round(value, 4) for value in code] for code in self._codes.tolist()],
            "masks": _digests(self._masks),
            **{name: value for name, value in vars(self._effect).items() if name != "tile"},
            **{"seed": seed, "size": self._size, "metadata": metadata, "quality": self._quality},
            **({} if recipe else {"recipe": False}),
            **({} if self._painter is None else self._painter.settings),
            **({} if smoothing is None else {"smoothing": float(smoothing)}),
        }

    def pixels(self, job: Job) -> int:
        """Of a photograph, by its header."""
        width, height = probe(job.source, limits=self._limits)
        return width * height

    def open(self, job: Job) -> Photo:
        """Decode a photograph."""
        photo = Photo.open(job.source, job.target, metadata=self._metadata, limits=self._limits)
        if photo.further:
            self.in_part[job.name] = photo.further
        if self._noted is not None:
            photo.note(self._noted, job.target)
        return photo

    def partial_summary(self) -> list[str]:
        """What there is to say of frames and pages that are not painted."""
        if not self.in_part:
            return []
        count = f"{len(self.in_part):,} photograph{'s' * (len(self.in_part) > 1)}"
        return [f"all frames and pages but the first of {count}, such as {min(self.in_part)!r}"]

    def paint(self, photo: Photo) -> Rows:
        """The painting, not yet painted."""
        from agnlib.painting._painted_windows import Painting
        from agnlib.painting._rendering import rows

        stylizer, picture = self._stylizer, photo.picture
        if self._size is not None:
            picture = picture.reduced(longer=self._size)
        self._say_once_that_masks_are_resized(picture.size)
        models = stylizer.generator, stylizer.extractor
        given = *models, picture, self._codes, self._masks, self._latent, self._effect
        return rows(Painting(*given, engine=stylizer._engine, painter=self._painter))

    def write(self, job: Job, photo: Photo, rows: Rows, parts: Iterable[npt.NDArray[Any]]) -> None:
        """Write the painting, whole or not at all."""
        write_rows(job.target, rows, parts, quality=self._quality, exif=photo.exif)

    def paint_clip(self, job: Job, progress: Listener) -> tuple[int, int]:
        """Paint a clip and write it, whole or not at all; height and width of its frames.

        Raises:
            VideoError: it cannot be read or written.
        """
        given: dict[str, Any] = {**self._of_clips, "progress": progress, "overwrite": True}
        _, height, width = self._stylizer.stylize_video(job.source, job.target, **given)
        return height, width

    def may_be(self, size: tuple[int, int], job: Job) -> bool:
        """Whether a painting of the photograph or clip could have this height and width."""
        if job.is_clip:
            return True  # even sizes, and a turned film that becomes a GIF: any that can be decoded
        with suppress(ImageError):
            width, height = probe(job.source, limits=self._limits)
            whole = (height, width)
            return sorted(reduced_size(whole, longer=self._size) if self._size else whole) == sorted(size)
        return False

    def _say_once_that_masks_are_resized(self, size: tuple[int, int]) -> None:
        if self._masks is None or self._warned or all(source.size == size for source in self._masks.sources):
            return
        self._warned = True
        warnings.warn("a mask has another size than a photograph; masks are resized to each", stacklevel=2)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, of_clips: bool = False) -> str:
    """What is different between the settings of two paintings, in words; nothing where they are the same."""
    found = []
    for name in sorted((old.keys() | new.keys()) - _WITHOUT_EFFECT[of_clips]):
        before, now = old.get(name), new.get(name)
        if name == "style" and _same_style(before, now):
            continue
        if before != now:
            plain = name not in ("style", "masks", "weights")
            found.append(f"{name} was {before}, is {now}" if plain else f"other {name}")
    return ", ".join(found)


def _same_style(before: Any, now: Any) -> bool:
    with suppress(TypeError, ValueError):
        one, other = np.asarray(before, np.float64), np.asarray(now, np.float64)
        return one.shape == other.shape and bool(np.abs(one - other).max() <= _SAME_STYLE * np.abs(other).max())
    return False


def _masks(codes: Sequence[Tensor], mask: Any, limits: Limits) -> Masks | None:
    """The masks, read once; they are brought to each photograph's size."""
    from agnlib.painting._masks import paired

    _, masks = paired(list(codes) if mask is not None else codes[0], mask, None, limits)
    return masks


def _digests(masks: Masks | None) -> list[str]:
    from agnlib.tiling import Box

    return [] if masks is None else [_digest([each.window(Box(0, 0, *each.size))]) for each in masks.sources]


def _weights(stylizer: Stylizer) -> str:
    return _digest([*stylizer.generator.state_dict().values(), *stylizer.extractor.state_dict().values()])


def _digest(tensors: Iterable[Tensor]) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
