"""Folders that are made for what is written into them, and taken back where nothing came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agnlib._shared.paths import exists

__all__ = ["made", "nearest"]


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there, be it a file.

    Example:
        >>> nearest(Path("/no/such/folder"))
        PosixPath('/')
    """
    return next(each for each in (folder, *folder.parents, Path()) if exists(each))


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """For the block, the folder and those above it are there; after an error what was made and is empty goes again.

    Raises:
        OSError: one of them cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not exists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise
