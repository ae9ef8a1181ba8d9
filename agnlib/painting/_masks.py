"""Which style goes where: styles and masks, as a user gives them, brought together."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture
from agnlib.image._encoded import Encoded, held
from agnlib.image._header import header
from agnlib.image.files import all_bits
from agnlib.image.picture import check_dense
from agnlib.painting._painted_windows import Masks
from agnlib.tiling import Box

__all__ = ["paired", "styles_of"]

_HARDLY_SEEN = 0.02  # of white: a mask of labels, or one of 8 bits kept in 16


def paired(
    style: Any, mask: Any, size: tuple[int, int] | None, limits: Limits = DEFAULT_LIMITS
) -> tuple[list[Any], Masks | None]:
    """The styles, one for each region, and the masks of a picture of this size, or of any.

    Raises:
        InputError: masks and styles do not match in number, or a mask is no single picture.
    """
    styles = styles_of(style, mask)
    if mask is None:
        return styles, None
    given = list(mask) if isinstance(mask, (list, tuple)) else [mask]
    if not given:
        raise InputError("mask: expected a mask or a list of masks, got an empty list")
    if len(styles) not in (len(given), len(given) + 1):
        raise InputError(
            f"mask: got {len(given)} masks for {len(styles)} styles; give each style its mask,"
            " or leave out the last one's, which then takes the rest"
        )
    sources = []
    for number, each in enumerate(given, 1):
        sources.append(
            _Mask.take(each, f"mask {number}", size, limits)
        )  # no comprehension: stacklevel counts the frames
    return styles, Masks(sources, rest=len(styles) > len(given))


def styles_of(style: Any, mask: Any) -> list[Any]:
    """The styles, one for each region; without masks there is one region."""
    return list(style) if mask is not None and _is_list_of_styles(style) else [style]


def _is_list_of_styles(style: Any) -> bool:
    """Whether a list has a style for each region; a list of (picture, weight) is one style, mixed."""
    if not isinstance(style, Sequence) or isinstance(style, (str, bytes, bytearray, memoryview)):
        return False
    return not all(isinstance(entry, tuple) and len(entry) == 2 for entry in style)


@dataclass(frozen=True)
class _Mask:
    """A mask as a source of `(1, 1, h, w)` in [0, 1]; where it is transparent it is black."""

    picture: Picture

    @classmethod
    def take(cls, value: Any, name: str, size: tuple[int, int] | None, limits: Limits) -> _Mask:
        value = held(value, limits, name)
        plain = _plain(value, name, limits)
        picture = Picture.take(plain, name, limits=limits)
        if len(picture.values) != 1:
            raise InputError(f"{name}: expected one picture, got a batch of {len(picture.values)}")
        frames = _said_of_frames(value, limits) if plain is not value else ""  # else it is said already
        for said in (frames, _said_of_values(picture), _said_of_size(picture, size)):
            if said:
                warnings.warn(f"{name} {said}", stacklevel=5)
        return cls(picture)

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size

    def window(self, box: Box) -> Tensor:
        light = self.picture.window(box).mean(1, keepdim=True).add(1).mul(0.5)
        alpha = self.picture.alpha_of(box)
        return (light if alpha is None else light * alpha.to(light.dtype)).cpu()


def _plain(value: Any, name: str, limits: Limits) -> Any:
    """What `Picture.take` takes, booleans as white and black, and files and PIL images with all their bits."""
    if isinstance(value, np.ndarray):
        return value.astype(np.uint8) * 255 if value.dtype == bool else value
    if isinstance(value, Tensor):
        check_dense(value, name)
        value = value.to(torch.uint8) * 255 if value.dtype == torch.bool else value
        return value[None] if value.ndim == 2 else value
    if isinstance(value, (str, os.PathLike, Encoded, Image.Image)):
        deep = all_bits(value, name, limits)
        return value if deep is None else deep
    return value


def _said_of_values(picture: Picture) -> str:
    """What there is to say of a mask that hardly shows: labels of 0 and 1, where 255 is white."""
    white, highest = _white_of(picture.values.dtype), float(_lightness(picture.values).max())
    if not 0 < highest <= white * _HARDLY_SEEN:
        return ""
    eight_bits_in_16 = white == 65535 and 127 < highest < 256
    return (
        f"has no value above {highest:.4g} of {white}, so the style hardly shows;"
        f" give booleans, or multiply it by {257 if eight_bits_in_16 else math.floor(white / highest + 0.01)}"
    )


def _white_of(kind: torch.dtype) -> int:
    return {torch.uint8: 255, torch.uint16: 65535}.get(kind, 1)


def _lightness(values: Tensor) -> Tensor:
    """The channels without alpha; torch computes no maximum of uint16."""
    light = values[:, : 3 if values.shape[1] >= 3 else 1]
    return light if light.is_floating_point() else light.to(torch.int32)


def _said_of_frames(value: Any, limits: Limits) -> str:
    further = header(value, limits=limits).further if isinstance(value, (str, os.PathLike, Encoded)) else ""
    return f"has several {further}; only the first is read" if further else ""


def _said_of_size(picture: Picture, size: tuple[int, int] | None) -> str:
    if size is None or picture.size == size:
        return ""
    (height, width), (wanted_height, wanted_width) = picture.size, size
    return f"has {width} x {height} pixels, the picture {wanted_width} x {wanted_height}; the mask is resized"
