"""From whatever a style is given by, a picture, a list, a file or a name, to its code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from agnlib.engines._device import placed
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, PictureLike, load, reduced_size
from agnlib.image._encoded import Encoded, held, is_encoded
from agnlib.models import Generator, StyleExtractor
from agnlib.styles import works
from agnlib.styles._names import CODE_FORMAT, PICTURES_FORMAT, as_known, is_code, is_name, named_source, picture_by_name
from agnlib.styles._sampling import latent, sampled
from agnlib.styles._stored import format_in
from agnlib.styles._weights_of_codes import check_fits
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import PictureStyle

__all__ = [
    "STYLE_SIDE",
    "MixedStyle",
    "OneStyle",
    "StyleReader",
    "changed",
    "decoded",
    "listed",
    "one_picture",
    "opened",
    "pictured",
    "weighted",
]

# Style pictures are read with their shorter side reduced to so many pixels, near the size of a training crop. Larger,
# the same picture looks smoother, and less of its style is painted: docs/explanation/tried.md has several sides.
STYLE_SIDE = 208

OneStyle: TypeAlias = "PictureLike | StyleCode | PictureStyle"
MixedStyle: TypeAlias = "OneStyle | Sequence[OneStyle | tuple[OneStyle, float]]"


@dataclass(frozen=True)
class StyleReader:
    """Reads styles for one pair of networks.

    Args:
        generator: makes styles by name, and takes the codes.
        extractor: reads pictures.
        class_names: the names that the generator knows.
        device: where the networks are.
        limits: of picture files.
        weights: their name.
        weights_hash: see `StyleCode`; both are kept in the codes that are made.
    """

    generator: Generator
    extractor: StyleExtractor
    class_names: Sequence[str]
    device: torch.device
    limits: Limits = DEFAULT_LIMITS
    weights: str = ""
    weights_hash: str = ""

    def code(self, style: Any, seed: int | None) -> StyleCode:
        """The code of one thing, or the weighted mean of several: see `Stylizer.encode_style`."""
        pairs = [self._weighted(entry, seed) for entry in listed(style)]
        if not pairs:
            raise InputError("style: expected at least one picture, got an empty list")
        return StyleCode.mix(pairs)

    def vector(self, code: StyleCode) -> Tensor:
        """The code as `(1, style_dim)` on the device."""
        wanted = self.generator.config.style_dim
        check_fits(code, style_dim=wanted, weights=self.weights, weights_hash=self.weights_hash)
        return code.vector.to(self.device).unsqueeze(0)

    def latent(self, seed: int | None) -> Tensor | None:
        """z as `(1, latent_dim)` on the device."""
        return None if seed is None else latent(self.generator, seed).to(self.device)

    def pixels(self, picture: Any, name: str, shorter: int) -> Tensor:
        """One picture as `(1, 3, h, w)` in [-1, 1] on the device, its shorter side reduced."""
        taken = Picture.take(picture, name, limits=self.limits)
        if len(taken.values) != 1:
            raise InputError(f"{name}: expected one picture, got a batch of {len(taken.values)}; give them in a list")
        return placed(taken.resized(reduced_size(taken.size, shorter=shorter)), self.device)

    def _weighted(self, entry: Any, seed: int | None) -> tuple[StyleCode, float]:
        picture, weight = weighted(entry)
        return self._single(picture, seed), float(weight)

    def _single(self, style: Any, seed: int | None) -> StyleCode:
        style = decoded(style, self.limits)
        if isinstance(style, StyleCode):
            return style
        if isinstance(style, str) and is_name(style):
            style = as_known(style, [*self.class_names, *works.available()])
            if style in works.available() and style not in self.class_names:
                return replace(self._single(picture_by_name(style), seed), source=style)
            return self.signed(sampled(self.generator, self.class_names, style, seed))
        if isinstance(style, (str, os.PathLike)) and is_code(style):
            if not PictureStyle.is_in(style):
                return StyleCode.load(style)
            style = PictureStyle.load(style)
        if isinstance(style, PictureStyle):
            codes = [self._single(each, seed) for each in style.pictures]
            return replace(StyleCode.mix(zip(codes, style.weights, strict=True)), source=style.source)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            vector = self.extractor(self.pixels(style, "style", STYLE_SIDE))[0]
        return self.signed(StyleCode(vector, named_source(style)))

    def signed(self, code: StyleCode) -> StyleCode:
        """The code with these weights as what made it."""
        return replace(code, weights=self.weights, weights_hash=self.weights_hash)


def listed(style: Any) -> list[Any]:
    """The entries of a style: pictures, or pairs of a picture and its weight.

    Raises:
        InputError: a dict, or one pair alone.
    """
    if isinstance(style, Mapping) or _is_pair(style):
        got = "a dict" if isinstance(style, Mapping) else "one pair alone"
        raise InputError(f"style: expected a picture or a list, got {got}; give a list of pairs: [(picture, weight)]")
    return list(style) if _is_listing(style) else [style]


def weighted(entry: Any) -> tuple[Any, float]:
    """An entry of a style as a picture and its weight.

    Raises:
        InputError: the weight is no number.
    """
    picture, weight = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, 1.0)
    if not _is_number(weight):
        raise InputError(f"style: a weight must be a number, got {weight!r}; write (picture, weight)")
    return picture, float(weight)


def opened(style: Any, limits: Limits) -> Any:
    """A style with its picture files read within these limits; names, codes and pictures stay as they are."""

    def read(each: Any) -> Any:
        if is_encoded(each):
            found = decoded(each, limits)
            return found if isinstance(found, (StyleCode, PictureStyle)) else load(found, limits=limits)
        is_file = isinstance(each, os.PathLike) or (isinstance(each, str) and not is_name(each))
        return load(each, limits=limits) if is_file and not is_code(each) else each

    return changed(style, read)


def pictured(style: Any, seed: int | None, limits: Limits = DEFAULT_LIMITS) -> Any:
    """A style, or a list of styles, with names replaced by the files of works that come with agnlib.

    File objects are read, since the pictures of a style are seen more than once.

    Raises:
        InputError: a name without a work.
    """

    def of(each: Any) -> Any:
        is_work = isinstance(each, str) and is_name(each)
        return picture_by_name(each, seed) if is_work else decoded(each, limits)

    return changed(style, of)


def decoded(style: Any, limits: Limits) -> Any:
    """Bytes and file objects that are a style's file as its style, others as `Encoded`; whatever else as it is."""
    style = held(style, limits, "style")
    found = format_in(style.data) if isinstance(style, Encoded) else ""
    kinds: dict[str, type[StyleCode | PictureStyle]] = {CODE_FORMAT: StyleCode, PICTURES_FORMAT: PictureStyle}
    return kinds[found].load(style.data, limits=limits) if found in kinds else style


def one_picture(style: Any, limits: Limits) -> Any:
    """A style where one picture alone will do; bytes and file objects are read.

    Raises:
        InputError: a code, a `PictureStyle`, the file of one, or a mixture.
    """
    style = decoded(style, limits)
    is_path = isinstance(style, (str, os.PathLike))
    if (is_path and is_code(style)) or isinstance(style, (StyleCode, PictureStyle, Mapping)) or _is_listing(style):
        got = repr(os.fspath(style)) if is_path else f"a {type(style).__name__}"
        raise InputError(f"style: refining needs one picture, got {got}; give one, not a mixture nor a style code")
    return style


def changed(style: Any, change: Callable[[Any], Any]) -> Any:
    """A style, or a list of styles, with each of the things that it is given by changed; weights stay."""
    if not _is_listing(style) or _is_pair(style):
        return _entry_changed(style, change)
    return [changed(each, change) if isinstance(each, list) else _entry_changed(each, change) for each in style]


def _entry_changed(entry: Any, change: Callable[[Any], Any]) -> Any:
    picture, weight = weighted(entry)
    return (change(picture), weight) if isinstance(entry, tuple) else change(picture)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _is_number(value[1])


def _is_listing(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))
