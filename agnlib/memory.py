"""Where large tensors on the CPU get their memory from."""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from agnlib.errors import InputError

__all__ = ["freed_memory_kept", "keep_freed_memory"]

# malloc.h of the GNU C library
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**30  # bytes of a block that is kept; older versions allow less
_LARGEST_OF_OLD = 2**25
_NEVER = 2**31 - 1  # bytes at the heap's end from which on it would be given back
_LARGEST_MAP = 2**26  # bytes: no feature map of a window on the CPU is larger
_HEAP = 2**26  # bytes of each piece of a thread's heap
_ADAPTED = {_M_MMAP_THRESHOLD: 2**25, _M_TRIM_THRESHOLD: 2**26, _M_TOP_PAD: 2**17}  # where it stops adapting by itself

_VARIABLE, _IDLE = "AGNLIB_KEEP_MEMORY", 10.0  # seconds


def keep_freed_memory() -> bool:
    """Have this process keep the memory that tensors free, for the next ones, for good.

    A feature map of a large picture is a block of its own that the GNU C library asks the system for and returns each
    time, and the system fills it with zeros, page by page. While a `Stylizer` paints, and for some seconds after, that
    is so without asking: see `freed_memory_kept`. The command line calls this; a program that is there to paint, and
    has pauses between its paintings, may call it once at its start. The process then keeps about as much memory as it
    once needed. CUDA is not concerned: PyTorch keeps its memory anyway.

    Returns:
        Whether it took effect: True with the GNU C library (Linux), False elsewhere, where nothing is changed.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not _is_glibc():
        return False
    with _pool.lock:
        _pool.for_good = True
        libc = ctypes.CDLL(None)
        kept = any(libc.mallopt(_M_MMAP_THRESHOLD, size) == 1 for size in (_LARGEST, _LARGEST_OF_OLD))
        libc.mallopt(_M_TOP_PAD, _HEAP)  # of threads: the pieces of their heaps stay
        return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER) == 1)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, and for ten seconds after, memory that is freed stays with this process, for the next tensors.

    `Stylizer` paints inside it on the CPU, so that a second picture does not wait for the system's memory again. It may
    be nested and entered by several threads at once. The variable `AGNLIB_KEEP_MEMORY` says how many seconds memory is
    kept after the last one has left; with 0, nothing of this is done.

    What is changed, with the GNU C library (Linux) alone, is how its allocator treats the whole process:

    * From entering on, blocks of up to 64 MiB come from the heap, nothing of the heap is given back to the system, and
      it grows by 64 MiB at a time, of which only what is used takes memory.
    * When nobody has been inside for so long, a thread of ours gives back to the system all memory that is free, also
      what other parts of the program had freed (`malloc_trim`), and sets the three thresholds to where the allocator
      stops when it adapts them by itself: 32 MiB, 64 MiB and 128 KiB. It adapts them no more: that alone remains.

    Where the program has thresholds of its own in the environment (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`,
    `MALLOC_TOP_PAD_`, or `glibc.malloc` in `GLIBC_TUNABLES`), or has called `keep_freed_memory`, nothing is changed.
    Thresholds that it set by `mallopt` itself cannot be seen: it wants `AGNLIB_KEEP_MEMORY=0`. A child that is forked
    has the thresholds that are left afterwards.

    Raises:
        InputError: `AGNLIB_KEEP_MEMORY` is no number of seconds.

    Example:
        >>> import torch
        >>> with freed_memory_kept():
        ...     [float(torch.ones(2**20).mean()) for _ in range(3)]
        [1.0, 1.0, 1.0]
    """
    if not _pool.enter():
        yield
        return
    try:
        yield
    finally:
        _pool.leave()


class _Pool:
    """Who is inside, and until when memory is kept."""

    def __init__(self) -> None:
        self.for_good = self._sees_forks = False
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.Lock()
        self._inside, self._last, self._seconds = 0, 0.0, _IDLE
        self._kept = self._is_watched = False

    def enter(self) -> bool:
        """Whether there is something to leave again."""
        seconds = _seconds()
        if seconds == 0 or self.for_good or not _may_be_set():
            return False
        with self.lock:
            self._see_forks()
            self._inside, self._seconds = self._inside + 1, seconds
            if not self._kept:
                self._kept = True
                _set({_M_MMAP_THRESHOLD: _LARGEST_MAP, _M_TRIM_THRESHOLD: _NEVER, _M_TOP_PAD: _HEAP})
        return True

    def leave(self) -> None:
        """Where nobody comes for so long, all is given back."""
        with self.lock:
            self._inside, self._last = max(0, self._inside - 1), time.monotonic()  # a child forked inside has 0
            if not self._kept or self._is_watched:
                return
            self._is_watched = True
        try:
            threading.Thread(target=self._wait, name="agnlib-memory", daemon=True).start()
        except RuntimeError:  # none can be had: the process is ending, or has too many
            self._give_back()

    def _wait(self) -> None:
        while (rest := self._rest()) > 0:
            time.sleep(rest)
        self._give_back()

    def _rest(self) -> float:
        with self.lock:
            return self._seconds if self._inside else self._last + self._seconds - time.monotonic()

    def _give_back(self) -> None:
        with self.lock:
            self._is_watched = False
            if self._inside or self.for_good:  # who leaves last sees to it, or nobody is to
                return
            self._kept = False
            _set(_ADAPTED)
            ctypes.CDLL(None).malloc_trim(0)

    def _see_forks(self) -> None:
        if not self._sees_forks:
            self._sees_forks = True
            os.register_at_fork(
                before=lambda: self.lock.acquire(),  # noqa: PLW0108 - a child has another lock, and may fork too
                after_in_parent=lambda: self.lock.release(),  # noqa: PLW0108
                after_in_child=self._begin_in_child,
            )

    def _begin_in_child(self) -> None:
        """Neither who was inside is here, nor the thread that would give back."""
        kept = self._kept and not self.for_good
        self._begin()
        if kept:
            _set(_ADAPTED)


_pool = _Pool()


def _set(thresholds: dict[int, int]) -> None:
    libc = ctypes.CDLL(None)
    for which, size in thresholds.items():
        if libc.mallopt(which, size) != 1:  # more than an older version allows
            libc.mallopt(which, _LARGEST_OF_OLD)


def _seconds() -> float:
    given = os.environ.get(_VARIABLE, "")
    try:
        seconds = float(given) if given else _IDLE
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{_VARIABLE} is {given!r}; expected how many seconds freed memory is kept, 0 for not at all")
    return seconds


@cache
def _may_be_set() -> bool:
    """Whether there is something to set, and nobody else has."""
    own = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
    set_by_others = any(name in os.environ for name in own) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return _is_glibc() and not set_by_others


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
