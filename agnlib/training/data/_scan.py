"""Which files a folder of pictures has: links are followed, and what systems leave behind is passed by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_below", "is_junk"]

# left by macOS in archives, by Synology, QNAP and Windows on their disks, by ext4, by Python
_JUNK = {"__MACOSX", "@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "System Volume Information"}
_JUNK |= {"lost+found", "__pycache__"}


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system rather than a person.

    Example:
        >>> [is_junk(name) for name in (".thumbnails", "@eaDir", "cubism")]
        [True, True, False]
    """
    return name.startswith(".") or name in _JUNK


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files at any depth in the order of their names, and the folders that cannot be listed."""
    files: list[Path] = []
    closed: list[Path] = []
    waiting = [(folder, frozenset([os.path.realpath(folder)]))]
    while waiting:
        place, above = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = [entry for entry in found if not is_junk(entry.name)]
        except OSError:
            closed.append(place)
            continue
        files += [Path(entry.path) for entry in entries if _is(entry, "is_file")]
        waiting += [(path, above | {real}) for path, real in _folders(entries) if real not in above]
    return sorted(files), sorted(closed)


def _folders(entries: list[os.DirEntry[str]]) -> Iterator[tuple[Path, str]]:
    """Folders and links to some, each with where it really is: a link to a folder that it lies in would never end."""
    for entry in entries:
        if _is(entry, "is_dir"):
            yield Path(entry.path), os.path.realpath(entry.path)


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return bool(getattr(entry, kind)())
    except OSError:  # a link whose target may not be looked at
        return False
