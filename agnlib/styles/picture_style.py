"""`PictureStyle`: a style that keeps its pictures, so that their strokes can be painted with."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agnlib._shared.numbers import is_number
from agnlib._shared.paths import text_of
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, PictureFile, PictureLike, reduced_size, write_file
from agnlib.image._targets import BinaryWriter
from agnlib.styles._names import (
    PICTURES_FORMAT,
    file_format,
    is_code,
    is_name,
    named_source,
    picture_by_name,
    refuse_code,
)
from agnlib.styles._stored import stored

__all__ = ["PictureStyle", "unpacked"]

_MOST_SIDE = 1536  # pixels of a picture's shorter side that are kept
_REMEDY = "give a file that PictureStyle.save wrote"


@dataclass(frozen=True, eq=False)
class PictureStyle:
    """One or more pictures with their weights, as one style for either method of a `Stylizer`.

    A `StyleCode` has a few numbers of a picture; `method="neighbors"` paints with what lies in its pixels, so these are
    kept. Make one with `of`.

    Args:
        pictures: uint8 `(3, h, w)` each, at least one; kept on the CPU.
        weights: as many, from 0 with a positive sum.
        source: where they came from, for people to read.

    Raises:
        InputError: no pictures, something else, or weights that do not fit.

    Example:
        >>> style = PictureStyle((torch.zeros(3, 8, 12, dtype=torch.uint8),), (1.0,), "black")
        >>> style
        PictureStyle(1 picture, source='black')
    """

    pictures: tuple[Tensor, ...]
    weights: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        for each in self.pictures:
            if not isinstance(each, Tensor) or each.dtype != torch.uint8 or each.ndim != 3 or each.shape[0] != 3:
                raise InputError("pictures: expected uint8 tensors (3, h, w); make the style by PictureStyle.of")
        total = sum(self.weights)
        if len(self.weights) != len(self.pictures) or not (0 < total < math.inf) or min(self.weights) < 0:
            raise InputError(
                f"weights: expected {len(self.pictures)} from 0 with a positive sum, got {list(self.weights)}"
            )

    def __repr__(self) -> str:
        count = len(self.pictures)
        return f"PictureStyle({count} picture{'s' * (count > 1)}, source={self.source!r})"

    @classmethod
    def of(
        cls,
        pictures: PictureLike | Sequence[PictureLike | tuple[PictureLike, float]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> PictureStyle:
        """The style of one picture, or of a list of (picture, weight).

        Args:
            pictures: paths, PIL images, arrays or tensors, as a `Stylizer` takes them, or works of art by name; a
                shorter side of more than 1,536 pixels is reduced.
            limits: of picture files, checked before they are decoded.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: something that is no picture, an unknown name, or weights that do not fit.

        Example:
            >>> PictureStyle.of([(torch.rand(3, 8, 8), 2.0), (torch.rand(1, 8, 8), 1.0)])
            PictureStyle(2 pictures, source='Tensor, Tensor')
        """
        pairs: list[Any] = list(pictures) if isinstance(pictures, list) else [(pictures, 1.0)]
        pairs = [pair if isinstance(pair, tuple) else (pair, 1.0) for pair in pairs]
        if any(len(pair) != 2 or not is_number(pair[1], 0) for pair in pairs):
            got = [pair[1:] if len(pair) != 2 else pair[1] for pair in pairs]
            raise InputError(f"pictures: expected a list of (picture, weight), weights from 0, got the weights {got}")
        pairs = [part for pair in pairs for part in unpacked(*pair)]
        named = [named_source(each) for each, _ in pairs]
        taken = tuple(_bytes(_of_name(each), limits) for each, _ in pairs)
        return cls(taken, tuple(float(weight) for _, weight in pairs), ", ".join(named))

    def save(self, path: str | os.PathLike[str] | BinaryWriter) -> None:
        """Write the pictures as one safetensors file, whole or not at all.

        Args:
            path: or a binary file object, such as `io.BytesIO()`.

        Raises:
            InputError: the file cannot be written there.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     PictureStyle.of(torch.rand(3, 8, 8)).save(f"{folder}/style.safetensors")
            ...     PictureStyle.load(f"{folder}/style.safetensors")
            PictureStyle(1 picture, source='Tensor')
        """
        from safetensors.torch import save

        source = self.source.encode("utf-8", "backslashreplace").decode()
        tensors = {f"picture{index}": each.contiguous().clone() for index, each in enumerate(self.pictures)}
        weights = torch.tensor(self.weights, dtype=torch.float64, device="cpu")
        metadata = {"format": PICTURES_FORMAT, "source": source}
        write_file(path, save({**tensors, "weights": weights}, metadata=metadata))

    @classmethod
    def load(cls, path: PictureFile, *, limits: Limits = DEFAULT_LIMITS) -> PictureStyle:
        """Read a style that `save` wrote.

        Args:
            path: of the file, or its bytes, or a binary file object.
            limits: of a file object no more than `limits.bytes` are read.

        Raises:
            InputError: the file is missing, damaged or of another kind, such as a style code.
        """
        file = stored(path, "pictures", PICTURES_FORMAT, _REMEDY, limits)
        try:
            weights = file.tensors["weights"].tolist()
            count = max(len(weights), len(file.tensors) - 1)  # of the pictures: none is left out
            pictures = tuple(file.tensors[f"picture{index}"] for index in range(count))
        except (KeyError, TypeError) as error:  # len() of a number
            raise InputError(f"{file.name} cannot be read as pictures ({error}); {_REMEDY}") from error
        try:
            return cls(pictures, tuple(weights), file.notes.get("source", ""))
        except (InputError, TypeError) as error:
            raise InputError(f"{file.name}: {error}") from error

    @staticmethod
    def is_in(path: str | os.PathLike[str]) -> bool:
        """Whether a file says of itself that it holds such a style.

        Raises:
            InputError: `path` is none.
        """
        return file_format(text_of(path)) == PICTURES_FORMAT


def unpacked(style: Any, weight: float) -> list[tuple[Any, float]]:
    """A `PictureStyle`, or the file of one, as its pictures with their parts of the weight; else the style alone.

    Raises:
        InputError: a style code's file, or a damaged one.
    """
    if isinstance(style, (str, os.PathLike)) and is_code(style):
        refuse_code(style)
        style = PictureStyle.load(style)
    if not isinstance(style, PictureStyle):
        return [(style, weight)]
    whole = sum(style.weights)
    return [(each, weight * part / whole) for each, part in zip(style.pictures, style.weights, strict=True)]


def _of_name(picture: Any) -> Any:
    """The file of a work, where its name was given."""
    return picture_by_name(picture) if isinstance(picture, str) and is_name(picture) else picture


def _bytes(picture: PictureLike, limits: Limits) -> Tensor:
    taken = Picture.take(picture, "style", limits=limits)
    if len(taken.values) != 1:
        raise InputError(f"style: expected one picture, got a batch of {len(taken.values)}; give them in a list")
    pixels = taken.resized(reduced_size(taken.size, shorter=_MOST_SIDE))[0]
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)
