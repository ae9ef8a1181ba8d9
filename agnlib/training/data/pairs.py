"""Pairs of photo crops and style crops, each a function of (seed, step) alone."""

from __future__ import annotations

import itertools
import os
import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from agnlib._shared.numbers import checked_count, is_count
from agnlib.errors import ImageError, InputError
from agnlib.training.data._batch import Batch
from agnlib.training.data.crops import PictureFolder
from agnlib.training.distributed import World
from agnlib.training.safety.interrupt import leave_signals_to_parent

__all__ = ["Batch", "PairData", "PictureFolder", "loader"]

_KEY_PARTS = 3


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
        worker_init_fn=_initialize_worker,
        persistent_workers=workers > 0,
    )


def _initialize_worker(_: int) -> None:
    leave_signals_to_parent()


class _Count:
    """Whole numbers from `start` up; a sampler."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)
