"""Crops of the pictures below a folder, each a function of the folder's seed and the picture's name."""

from __future__ import annotations

import hashlib
import os
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agnlib import image as images
from agnlib._shared.list_files import files_below, is_junk
from agnlib._shared.numbers import are_counts, checked_count
from agnlib._shared.paths import is_folder, may, text_of
from agnlib.errors import ImageError, InputError
from agnlib.image._header import header
from agnlib.image._suffixes import READ_SUFFIXES, left_out

__all__ = ["PictureFolder"]


class PictureFolder:
    """The readable pictures below a folder, each with the class that its first subfolder names.

    Without subfolders there are no classes, and `class_names` is empty.
    A picture has one or more *variants*: fixed random crops, more of them the more of the picture one crop leaves out,
    so that large pictures are seen more often. Variant 0 is the largest square.

    Args:
        folder: searched to any depth, through links too. What is hidden (`.ipynb_checkpoints`, `.thumbnails`) or made
            by a system (`__MACOSX`, `@eaDir` and the like) is passed by. Or picture files, of no class.
        size: side of the crops in pixels; smaller pictures are enlarged.
        variants: least and largest number of crops of a picture.
        seed: of the crops.
        classes: whether the first subfolders are classes; False for photos, whose folders mean nothing.

    Raises:
        InputError: not a folder, or no readable picture in it, or a class folder without any, or loose pictures beside
            class folders.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        size: int,
        *,
        variants: tuple[int, int] = (2, 8),
        seed: int = 0,
        classes: bool = True,
    ) -> None:
        self.size, self.seed = checked_count(size, "PictureFolder: size", 1), seed
        if not isinstance(variants, (tuple, list)) or not are_counts(variants, 1, 2) or variants[0] > variants[1]:
            raise InputError(f"PictureFolder: variants is {variants!r}; expected the least and largest number of crops")
        self.folder, files, self.unreadable, unread = _found(folder)
        self.listed = not isinstance(folder, (str, os.PathLike))  # picture files were given, no folder
        classes = classes and not self.listed
        self.paths: list[Path] = []
        in_part = []
        self.enlarged = 0
        counts, digest = [], hashlib.sha256()
        for path in files:
            try:
                found, content = header(path), _hash_of(path)
            except (ImageError, OSError):
                self.unreadable.append(path)
                continue
            width, height = found.width, found.height
            self.paths.append(path)
            in_part += [path] if found.further else []
            self.enlarged += min(width, height) < size
            counts.append(min(variants[1], max(variants[0], round(width * height / size**2))))
            digest.update(os.fsencode(f"{_name_in(self.folder, path)} {content}\n"))
        if not self.paths:
            kinds = ", ".join(READ_SUFFIXES)
            there = f"{len(self.unreadable)} unreadable ones" if self.unreadable else "none"
            others = f"; it has {unread}" if unread else ""
            raise InputError(
                f"{self.folder} has no readable pictures ({there}); expected files of the kinds {kinds}{others}"
            )
        if unread:
            warnings.warn(f"{self.folder}: left out are {unread}", stacklevel=2)
        if in_part:
            warnings.warn(
                f"{self.folder}: only the first frame or page is seen of {len(in_part):,} pictures with several,"
                f" such as {in_part[0].name!r}",
                stacklevel=2,
            )
        self.fingerprint = digest.hexdigest()  # of names and contents, by which a run knows its pictures again
        self.class_names, self.labels = self._classes() if classes else ((), [0] * len(self.paths))
        self.entries = [(index, variant) for index, count in enumerate(counts) for variant in range(count)]

    def __len__(self) -> int:
        return len(self.entries)

    def crop(self, entry: int) -> np.ndarray:
        """The crop of an entry: uint8 `(size, size, 3)`.

        Raises:
            ImageError: the file cannot be decoded.
        """
        index, variant = self.entries[entry]
        picture = _opaque(self.paths[index])
        rng = random.Random(os.fsencode(f"{self.seed}/{self.paths[index].name}/{variant}"))
        short = min(picture.size)
        side = short if variant == 0 else round(rng.uniform(max(0.65 * min(short, 1.5 * self.size), 1), short))
        left, top = (round(rng.random() * (length - side)) for length in picture.size)
        box = (left, top, left + side, top + side)
        shrunk = picture.resize((self.size, self.size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
        pixels = np.asarray(shrunk)
        return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels

    def key(self, entry: int) -> str:
        """A name for an entry's crop that no other crop has, of whatever folder."""
        index, variant = self.entries[entry]
        return f"{self.paths[index]}/{variant}/{self.size}/{self.seed}"  # the file, and pairs._KEY_PARTS more

    def label(self, entry: int) -> int:
        """The index into `class_names` of an entry's picture; 0 where there are no classes."""
        return self.labels[self.entries[entry][0]]

    def _classes(self) -> tuple[tuple[str, ...], list[int]]:
        parts = [path.relative_to(self.folder).parts for path in self.paths]
        names = [part[0] if len(part) > 1 else "" for part in parts]
        classes = sorted(set(names))
        if classes == [""]:
            return (), [0] * len(names)
        if "" in classes:
            loose = [path.name for path, name in zip(self.paths, names, strict=True) if not name]
            raise InputError(
                f"{self.folder}: {len(loose)} loose pictures ({', '.join(loose[:3])}) beside the class folders"
                f" {', '.join(classes[1:4])}; move them into one, or remove them (in Python classes=False has none)"
            )
        folders = {p.name for p in self.folder.iterdir() if is_folder(p) and not is_junk(p.name)}
        empty = sorted(folders - set(classes)) if len(classes) > 1 else []
        if empty:
            raise InputError(
                f"{self.folder}: the class folders {', '.join(empty)} have no readable picture; fill or remove them"
            )
        return tuple(classes), [classes.index(name) for name in names]


def _found(folder: Any) -> tuple[Path, list[Path], list[Path], str]:
    """The folder, the files that may be pictures, what cannot be opened, and in words what is left out.

    Raises:
        InputError: no folder that can be read; or no list of files.
    """
    if isinstance(folder, (list, tuple)) and folder:
        listed = [Path(text_of(path, "PictureFolder: a picture")) for path in folder]
        return listed[0].parent, listed, [], ""
    if not text_of(folder, "PictureFolder: folder"):  # which would be the current folder
        raise InputError("the name of the folder of pictures is empty; give a folder")
    folder = Path(folder)
    if not is_folder(folder):
        raise InputError(f"{folder} is not a folder; expected one with pictures in it")
    if not may(folder, os.R_OK | os.X_OK):
        raise InputError(f"{folder} cannot be read; allow reading it, or give another folder")
    files, closed = files_below(folder)
    read = [path for path in files if path.suffix.lower() in READ_SUFFIXES]
    return folder, read, closed, left_out(path.name for path in files)


def _name_in(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _opaque(path: Path) -> Image.Image:
    """The picture as RGB; colors hidden under full transparency give way to those around them."""
    picture = images.load(path)
    if picture.mode == "RGB":  # nearly always, and `Picture`'s way through floats costs time
        return picture
    taken = images.Picture.take(picture)
    opaque: Image.Image = taken.restore(taken.pixels).convert("RGB")
    return opaque
