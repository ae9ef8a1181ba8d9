"""Pairs of photo crops and style crops, each a function of (seed, step) alone."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from agnlib import image as images
from agnlib._shared.list_files import files_below, is_junk
from agnlib._shared.numbers import are_counts, checked_count, is_count
from agnlib._shared.paths import is_folder, may, text_of
from agnlib.errors import ImageError, InputError
from agnlib.image._header import header
from agnlib.image._suffixes import READ_SUFFIXES, left_out
from agnlib.training.data._batch import Batch
from agnlib.training.distributed import World
from agnlib.training.safety.interrupt import leave_signals_to_parent

__all__ = ["Batch", "PairData", "PictureFolder", "loader"]

_KEY_PARTS = 3


class PictureFolder:
    """The readable pictures below a folder, each with the class that its first subfolder names.

    Without subfolders there are no classes, and `class_names` is empty.
    A picture has one or more *variants*: fixed random crops, more of them the more of the picture one crop leaves out,
    so that large pictures are seen more often. Variant 0 is the largest square.

    Args:
        folder: searched to any depth, through links too. What is hidden (`.ipynb_checkpoints`, `.thumbnails`) or made
            by a system (`__MACOSX`, `@eaDir` and the like) is passed by.
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
        folder: str | os.PathLike[str],
        size: int,
        *,
        variants: tuple[int, int] = (2, 8),
        seed: int = 0,
        classes: bool = True,
    ) -> None:
        if not text_of(folder, "PictureFolder: folder"):  # which would be the current folder
            raise InputError("the name of the folder of pictures is empty; give a folder")
        self.folder, self.size, self.seed = Path(folder), checked_count(size, "PictureFolder: size", 1), seed
        if not isinstance(variants, (tuple, list)) or not are_counts(variants, 1, 2) or variants[0] > variants[1]:
            raise InputError(f"PictureFolder: variants is {variants!r}; expected the least and largest number of crops")
        if not is_folder(self.folder):
            raise InputError(f"{self.folder} is not a folder; expected one with pictures in it")
        if not may(self.folder, os.R_OK | os.X_OK):
            raise InputError(f"{self.folder} cannot be read; allow reading it, or give another folder")
        files, closed = files_below(self.folder)
        unread = left_out(path.name for path in files)
        self.paths: list[Path] = []
        self.unreadable: list[Path] = closed
        in_part = []
        self.enlarged = 0
        counts, digest = [], hashlib.sha256()
        for path in files:
            if path.suffix.lower() not in READ_SUFFIXES:
                continue
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
            digest.update(os.fsencode(f"{path.relative_to(self.folder).as_posix()} {content}\n"))
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
        return f"{self.paths[index]}/{variant}/{self.size}/{self.seed}"  # the file, and _KEY_PARTS more

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


class PairData(Dataset[Batch]):
    """Batches of photos and references by step: `data[step]`, the same whenever it is asked for.

    Every epoch goes through all crops of a folder once, in an order drawn from (seed, epoch). Decoded crops are kept
    while they fit `cache_bytes`. Of several processes that train together each gets its rows of the batches.

    Args:
        content, style: the two folders.
        batch: pairs in a batch, of all processes together.
        accumulate: how many parts a batch is trained in, as in `TrainerConfig`.
        seed: of the order.
        cache_bytes: memory for decoded crops, which the processes and their workers share.

    Raises:
        InputError: a batch below 1, or one that cannot be shared out evenly.
    """

    def __init__(
        self,
        content: PictureFolder,
        style: PictureFolder,
        *,
        batch: int = 4,
        accumulate: int = 1,
        seed: int = 0,
        cache_bytes: int = 2 << 30,
    ) -> None:
        for name, folder in (("content", content), ("style", style)):
            if not isinstance(folder, PictureFolder):
                raise InputError(
                    f"PairData: {name} is a {type(folder).__name__}; expected a PictureFolder(folder, size)"
                )
        if not is_count(seed, -(2**63)):
            raise InputError(f"PairData: seed is {seed!r}; expected a whole number")
        self.batch, self.seed = checked_count(batch, "PairData: batch", 1), int(seed)
        self.content, self.style = content, style
        world = World.current()
        self._mine = world.share(batch, accumulate) if world.size > 1 else list(range(batch))
        self._damaged: set[Path] = set()
        self.cache_bytes = cache_bytes
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._room = cache_bytes // world.size // (3 * content.size**2)  # crops

    def __getitem__(self, step: int) -> Batch:
        content_entries = self._entries(self.content, step, salt=1)
        style_entries = self._entries(self.style, step, salt=2)
        skipped: list[Path] = []
        content, content_keys, _ = self._pictures(self.content, content_entries, skipped)
        style, style_keys, labels = self._pictures(self.style, style_entries, skipped)
        label = torch.tensor(labels, device="cpu", dtype=torch.int64) if self.style.class_names else None
        names = tuple(os.fspath(path) for path in skipped)
        sources = tuple(key.rsplit("/", _KEY_PARTS)[0] for key in style_keys)
        return Batch(content, style, label, content_keys, style_keys, step, sources=sources, skipped=names)

    def _entries(self, folder: PictureFolder, step: int, *, salt: int) -> list[int]:
        positions = [step * self.batch + row for row in self._mine]
        return [self._order(folder, position // len(folder), salt)[position % len(folder)] for position in positions]

    def _order(self, folder: PictureFolder, epoch: int, salt: int) -> Sequence[int]:
        cached = self.__dict__.setdefault("_orders", {})
        if cached.get(salt, (None,))[0] != epoch:
            order = list(range(len(folder)))
            random.Random(f"{self.seed}/{salt}/{epoch}").shuffle(order)
            cached[salt] = (epoch, order)
        orders: Sequence[int] = cached[salt][1]
        return orders

    def _pictures(
        self, folder: PictureFolder, entries: Sequence[int], skipped: list[Path]
    ) -> tuple[Tensor, tuple[str, ...], list[int]]:
        crops, keys, labels = [], [], []
        for entry in entries:
            crop, used = self._readable(folder, entry, skipped)
            crops.append(crop)
            keys.append(folder.key(used))
            labels.append(folder.label(used))
        stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        return stacked.float().div_(127.5).sub_(1), tuple(keys), labels

    def _readable(self, folder: PictureFolder, entry: int, skipped: list[Path]) -> tuple[np.ndarray, int]:
        """The crop of an entry, or of the next one whose file can be decoded; files passed over go to `skipped`."""
        for used in (*range(entry, len(folder)), *range(entry)):
            path = folder.paths[folder.entries[used][0]]
            try:
                if path not in self._damaged:
                    return self._crop(folder, used), used
            except ImageError:
                self._damaged.add(path)
            skipped.append(path)
        raise InputError(f"{folder.folder}: not one of its pictures can be decoded; expected whole files")

    def _crop(self, folder: PictureFolder, entry: int) -> np.ndarray:
        key = folder.key(entry)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        crop = folder.crop(entry)
        worker = get_worker_info()
        room = self._room // worker.num_workers if worker else self._room
        if room > 0:
            self._cache[key] = crop
            if len(self._cache) > room:
                self._cache.popitem(last=False)
        return crop


def loader(data: PairData, *, start: int = 0, workers: int = 0, pin: bool = False) -> Iterable[Batch]:
    """Batches of `data` from step `start` on, without end, read ahead by `workers` processes.

    A resumed run gives `start=trainer.step`, one on a GPU `pin=True`.

    Raises:
        InputError: no `PairData`, or numbers that are none.
    """
    if not isinstance(data, PairData):
        raise InputError(f"loader: got a {type(data).__name__}; expected PairData(content, style)")
    workers = checked_count(workers, "loader: workers")
    return DataLoader(
        data,
        batch_size=None,
        sampler=_Count(checked_count(start, "loader: start")),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_initialise_worker,
        persistent_workers=workers > 0,
    )


def _initialise_worker(_: int) -> None:
    leave_signals_to_parent()


class _Count:
    """Whole numbers from `start` up; a sampler."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _opaque(path: Path) -> Image.Image:
    """The picture as RGB; colours hidden under full transparency give way to those around them."""
    picture = images.load(path)
    if picture.mode == "RGB":  # nearly always, and `Picture`'s way through floats costs time
        return picture
    taken = images.Picture.take(picture)
    opaque: Image.Image = taken.restore(taken.pixels).convert("RGB")
    return opaque
