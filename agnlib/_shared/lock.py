"""Locks on open files and folders, which end with the process in whatever way."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["lock", "locked_folder"]


def lock(descriptor: int, *, wait: bool, shared: bool = False) -> bool:
    """Lock an open file until it is closed or the process ends, in whatever way; whether that succeeded.

    Where the system or the file system knows no such locks it does as if it had.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def locked_folder(folder: str | os.PathLike[str]) -> Iterator[bool]:
    """Lock a folder for the time inside; False where another process has it."""
    if sys.platform == "win32":  # a folder cannot be opened there
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield lock(descriptor, wait=False)
    finally:
        os.close(descriptor)
