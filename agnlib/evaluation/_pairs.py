"""Photographs and the references that they are painted after."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from agnlib import image
from agnlib._shared.list_files import files_below
from agnlib._shared.paths import is_folder, real, why_not
from agnlib.errors import InputError
from agnlib.image._suffixes import READ_SUFFIXES, left_out

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

    def open(self, *, shorter: bool = False) -> tuple[Image.Image, Image.Image]:
        """The photograph with a longer side of 384 px, and the reference as it is; both RGB.

        Args:
            shorter: 384 px are the photograph's shorter side.

        Raises:
            ImageError: one of the files cannot be read.
        """
        photo = image.load(self.photo).convert("RGB")
        scale = PHOTO_SIDE / (min if shorter else max)(photo.size)
        width, height = (max(1, round(length * scale)) for length in photo.size)
        return photo.resize((width, height), Image.Resampling.LANCZOS), image.load(self.reference).convert("RGB")


Pictures: TypeAlias = "str | os.PathLike[str] | Sequence[Path]"


def choose_pairs(photos: Pictures, references: Pictures, count: int, *, seed: int = 0) -> list[Pair]:
    """Seeded pairs that use all photographs and all references before any comes again; n pairs begin n + 1 pairs.

    No pair comes twice, and no picture is paired with itself; to that end a reference may wait for the next photograph.

    Args:
        photos, references: folders of pictures, searched to any depth, through links too, or lists of files. What is
            hidden or left by systems is passed by; folders that cannot be listed are named in a warning.
        count: how many pairs, at least 1; where there are fewer, all of them.
        seed: of the shuffling.

    Raises:
        InputError: a folder without pictures, one picture that is all there is in both, or a count below 1.
    """
    if count < 1:
        raise InputError(f"pairs: got {count}, expected at least 1")
    files = [_pictures(some) if isinstance(some, (str, os.PathLike)) else list(some) for some in (photos, references)]
    if not all(files):
        raise InputError("choose_pairs: an empty list of pictures; give at least one photo and one reference")
    times = [Counter(real(file) for file in some) for some in files]  # a link is the picture that it leads to
    there = len(files[0]) * len(files[1]) - sum(times[0][file] * times[1][file] for file in times[0])
    if there == 0:
        raise InputError(f"the only picture in {str(photos)!r} is the only reference, too; give another folder of one")
    dealt = (_deal(some, seed + i) for i, some in enumerate(files))
    return list(itertools.islice(_paired(*dealt), min(count, there)))


def _deal(files: Sequence[Path], seed: int) -> Iterator[Path]:
    """The files, shuffled again and again without end."""
    shuffler = random.Random(seed)
    while True:
        yield from shuffler.sample(files, len(files))


def _paired(photos: Iterator[Path], references: Iterator[Path]) -> Iterator[Pair]:
    """One of each at a time; where that would be a pair again, or one picture, the reference waits for the next."""
    seen = set[Pair]()
    waiting: list[Path] = []
    for photo in photos:
        waiting.append(next(references))
        for place, reference in enumerate(waiting):
            pair = Pair(photo, reference)
            if pair not in seen and real(photo) != real(reference):
                seen.add(pair)
                del waiting[place]
                yield pair
                break


def _pictures(folder: str | os.PathLike[str]) -> list[Path]:
    if not is_folder(folder):
        raise InputError(f"{str(folder)!r} {why_not(folder, 'a folder')}; give a folder of pictures")
    files, closed = files_below(Path(folder))
    found = [file for file in files if file.suffix.lower() in READ_SUFFIXES]
    others = left_out(file.name for file in files)
    if not found:
        kinds = ", ".join(READ_SUFFIXES)
        raise InputError(
            f"no pictures in {str(folder)!r}; expected a folder with files of the kinds {kinds}"
            + "".join(f"; it has {said}" for said in (others, _closed_summary(closed)) if said)
        )
    for said in (others, _closed_summary(closed)):
        if said:
            warnings.warn(f"{str(folder)!r} has {said}", stacklevel=3)
    return found


def _closed_summary(closed: Sequence[Path]) -> str:
    """Folders that cannot be listed, counted and named."""
    if not closed:
        return ""
    many = f"{len(closed)} folders" if len(closed) > 1 else "a folder"
    return f"{many} that cannot be listed, {', '.join(repr(str(path)) for path in closed[:3])}; left out"
