"""The article's data: MNIST from its own files, and folders of pictures by class."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from agnlib._shared.list_files import files_below, is_junk
from agnlib._shared.optional import require
from agnlib._shared.paths import is_file, is_folder, text_of
from agnlib.errors import InputError

__all__ = ["IdxDigits", "class_folders", "mnist", "read_idx"]

_UNSIGNED_BYTES = 8  # the idx format's code of the element type
_LAYOUTS = (".", "raw", "MNIST/raw")  # torchvision unpacks into the last


class IdxDigits(Dataset[tuple[Any, int]]):
    """Digits from a pair of idx files, as `(picture, label)`.

    Args:
        data: uint8 `(N, H, W)`, white ink on black paper as MNIST has it.
        targets: int64 `(N,)`.
        transform: of each PIL picture.

    Example:
        >>> digits = IdxDigits(torch.zeros(3, 28, 28, dtype=torch.uint8), torch.tensor([7, 2, 1]))
        >>> picture, label = digits[0]
        >>> picture.size, label, len(digits)
        ((28, 28), 7, 3)
    """

    def __init__(self, data: Tensor, targets: Tensor, transform: Callable[[Any], Any] | None = None) -> None:
        self.data, self.targets, self.transform = data, targets, transform

    @property
    def classes(self) -> list[str]:
        """The digits' names, as torchvision's classes have it."""
        return [str(digit) for digit in range(int(self.targets.max()) + 1)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture: Any = Image.fromarray(self.data[index].numpy())
        return self.transform(picture) if self.transform else picture, int(self.targets[index])


def mnist(
    folder: str | os.PathLike[str],
    *,
    train: bool = True,
    transform: Callable[[Any], Any] | None = None,
    download: bool = False,
) -> Any:
    """MNIST as `(picture, label)`, with `data` uint8 `(N, 28, 28)` and `targets` int64 `(N,)`.

    The four idx files, packed with gzip or not, lie in the folder, in `raw` or in `MNIST/raw` below it. With `download`
    torchvision's own `MNIST` class fetches what is missing and is what comes back.

    Args:
        folder: with the files; torchvision's `root` where it downloads.
        train: the 60,000 pictures to train with, else the 10,000 to test with.
        transform: of each PIL picture.
        download: fetch the files where they are missing.

    Raises:
        InputError: no such files, or damaged ones.
        MissingDependencyError: `download` without torchvision.

    Example:
        >>> mnist("no/such/folder")
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: no/such/folder has no train-images-idx3-ubyte, packed (.gz) or not; expected ...
    """
    folder = text_of(folder, "mnist: folder")
    if download:
        datasets = require("torchvision.datasets", extra="", purpose="mnist(download=True)")
        try:
            return datasets.MNIST(folder, train=train, transform=transform, download=True)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"MNIST could not be downloaded into {folder} ({error}); put its four idx files there by hand"
            ) from error
    part = "train" if train else "t10k"
    data = read_idx(_find(Path(folder), f"{part}-images-idx3-ubyte"))
    targets = read_idx(_find(Path(folder), f"{part}-labels-idx1-ubyte"))
    if data.ndim != 3 or targets.ndim != 1 or len(data) != len(targets):
        raise InputError(
            f"{folder}: pictures are {data.shape} and labels {targets.shape}; expected (N, H, W) and (N,):"
            " take both files from the same set"
        )
    return IdxDigits(torch.from_numpy(data), torch.from_numpy(targets.astype(np.int64)), transform)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The bytes of an idx file, packed with gzip or not: uint8 of the shape that its header tells.

    Format: http://yann.lecun.com/exdb/mnist, LeCun, Cortes and Burges, "The MNIST database", 1998.

    Raises:
        InputError: the file cannot be read, is no idx file of unsigned bytes, or is cut off.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "labels-idx1-ubyte"
        ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(file)
        array([5, 0, 4], dtype=uint8)
    """
    path = Path(text_of(path, "read_idx"))
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: a NUL, which no name can have
        raise InputError(f"{str(path)!r} cannot be read ({error}); expected a whole idx file, packed or not") from error
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or len(content) < start or dimensions == 0:
        raise InputError(f"{path} begins with {content[:4].hex()}; expected an idx file of unsigned bytes, 000008..")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", dimensions, offset=4))
    if len(content) - start != math.prod(shape):
        raise InputError(f"{path} holds {len(content) - start} bytes; its header says {math.prod(shape)}: get it again")
    values: np.ndarray = np.frombuffer(content, np.uint8, offset=start)
    return np.array(values.reshape(shape))


def class_folders(folder: str | os.PathLike[str], transform: Callable[[Any], Any] | None = None) -> Any:
    """torchvision's `ImageFolder`: `(picture, label)`, a class for each folder in `folder`.

    Args:
        folder: holds one folder of pictures for each class. What is hidden (`.thumbnails`) or left by systems
            (`@eaDir`, `lost+found` and the like) is no class and no picture.
        transform: of each PIL picture.

    Raises:
        InputError: no folder, no class folders in it, or some without a picture.
        MissingDependencyError: torchvision is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cats", "dogs"):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("RGB", (8, 8)).save(Path(folder) / name / "1.png")
        ...     class_folders(folder).classes
        ['cats', 'dogs']
    """
    folder = Path(text_of(folder, "class_folders"))
    expected = f"expected {folder / 'CLASS' / 'PICTURE.png'} and the like"
    if not is_folder(folder):
        raise InputError(f"{folder} is not a folder; {expected}")
    entries = _listed(folder)
    classes = [entry for entry in entries if is_folder(entry)]
    if not classes:
        loose = sum(is_file(entry) for entry in entries)
        raise InputError(
            f"{folder} has no class folders ({loose} loose files); {expected}: make a folder for each class"
        )
    datasets = require("torchvision.datasets", extra="", purpose="class_folders")
    kinds = datasets.folder.IMG_EXTENSIONS
    empty = [c.name for c in classes if not any(file.suffix.lower() in kinds for file in files_below(c)[0])]
    if empty:
        raise InputError(
            f"{folder}: {len(empty)} of {len(classes)} class folders have no picture ({', '.join(empty[:5])});"
            f" {expected}, of the kinds {' '.join(kinds)}: fill or remove them"
        )

    def is_picture(path: str) -> bool:
        return path.lower().endswith(kinds) and not any(map(is_junk, Path(path).relative_to(folder).parts))

    found = datasets.ImageFolder(folder, transform, is_valid_file=is_picture, allow_empty=True)
    numbers = {entry.name: number for number, entry in enumerate(classes)}  # without what is no class
    found.samples = [(path, numbers[found.classes[number]]) for path, number in found.samples]
    found.imgs, found.targets = found.samples, [number for _, number in found.samples]
    found.classes, found.class_to_idx = list(numbers), numbers
    return found


def _listed(folder: Path) -> list[Path]:
    """What a person put there, by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not is_junk(entry.name))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}); allow reading it, or give another") from error


def _find(folder: Path, name: str) -> Path:
    for layout in _LAYOUTS:
        for suffix in ("", ".gz"):
            path = folder / layout / (name + suffix)
            if is_file(path):
                return path
    raise InputError(
        f"{folder} has no {name}, packed (.gz) or not; expected MNIST's four idx files there or in MNIST/raw:"
        " give their folder, or download=True"
    )
