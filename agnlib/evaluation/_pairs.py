"""Photographs and the references that they are painted after."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from agnlib import image
from agnlib.errors import InputError

__all__ = ["PHOTO_SIDE", "Pair", "choose_pairs"]

PHOTO_SIDE = 384


@dataclass(frozen=True)
class Pair:
    """A photograph and a reference.

    Args:
        photo, reference: picture files.
    """

    photo: Path
    reference: Path

    @property
    def key(self) -> str:
        """What the pair is, whatever the files are called."""
        return hashlib.sha256(self.photo.read_bytes() + b"|" + self.reference.read_bytes()).hexdigest()[:24]

    def open(self) -> tuple[Image.Image, Image.Image]:
        """The photograph with a longer side of 384 px, and the reference as it is; both RGB.

        Raises:
            ImageError: one of the files cannot be read.
        """
        photo = image.load(self.photo).convert("RGB")
        scale = PHOTO_SIDE / max(photo.size)
        width, height = (max(1, round(length * scale)) for length in photo.size)
        return photo.resize((width, height), Image.Resampling.LANCZOS), image.load(self.reference).convert("RGB")


def choose_pairs(
    photos: str | os.PathLike[str], references: str | os.PathLike[str], count: int, *, seed: int = 0
) -> list[Pair]:
    """Seeded pairs that use all photographs and all references before any comes again; n pairs begin n + 1 pairs.

    Args:
        photos, references: folders of pictures, searched to any depth.
        count: how many pairs, at least 1.
        seed: of the shuffling.

    Raises:
        InputError: a folder without pictures, or a count below 1.
    """
    if count < 1:
        raise InputError(f"pairs: got {count}, expected at least 1")
    dealt = (_deal(_pictures(folder), count, seed + i) for i, folder in enumerate((photos, references)))
    return [Pair(photo, reference) for photo, reference in zip(*dealt, strict=True)]


def _deal(files: Sequence[Path], count: int, seed: int) -> list[Path]:
    """The first `count` of the files, shuffled again and again."""
    shuffler = random.Random(seed)
    rounds = range(count // len(files) + 1)
    return [file for _ in rounds for file in shuffler.sample(files, len(files))][:count]


def _pictures(folder: str | os.PathLike[str]) -> list[Path]:
    files = Path(folder).rglob("*")
    found = sorted(file for file in files if file.suffix.lower() in image.SUFFIXES and file.is_file())
    if not found:
        raise InputError(
            f"no pictures in {str(folder)!r}; expected a folder with files of the kinds {', '.join(image.SUFFIXES)}"
        )
    return found
