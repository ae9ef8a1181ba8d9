"""Which files a folder of pictures has: links are followed, and what systems leave behind is passed by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_below", "is_junk"]

_JUNK = {  # in lower case, since not all systems tell cases apart
    *("__macosx", "network trash folder", "temporary items"),  # macOS, in archives and on disks of others
    *("@eadir", "@tmp", "@sharebin", "@sharesnap", "#recycle", "#snapshot"),  # Synology
    *("@recycle", "@recently-snapshot", "@transcode", "@__thumb"),  # QNAP
    *("~tmp", "~snapshot"),  # other network disks
    *("$recycle.bin", "system volume information", "recycler", "found.000"),  # Windows
    *("lost+found", "__pycache__"),  # ext4, Python
}


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system rather than a person: the one rule for all.

    Names are known in full, not by how they begin: "@somebody" may well be a class.

    Example:
        >>> [is_junk(name) for name in (".thumbnails", "@eaDir", "cubism", "@somebody")]
        [True, True, False, False]
    """
    return name.startswith(".") or name.casefold() in _JUNK


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
