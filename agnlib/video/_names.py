"""Which files are clips, told by their names."""

from __future__ import annotations

import os
from pathlib import Path

from agnlib._shared.paths import is_file, is_folder, text_of, why_not
from agnlib.errors import VideoError

__all__ = ["SUFFIXES", "TARGET_SUFFIXES", "check_source", "check_target", "is_clip"]

# The demuxer is chosen by the name and never by the content: a playlist in a clip's clothes would open other files.
SUFFIXES = {
    ".avi": "avi",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".webm": "matroska",
}
TARGET_SUFFIXES = {".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a name ends as those of clips do.

    Example:
        >>> is_clip("holiday.MP4"), is_clip("photo.jpg")
        (True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES


def check_source(path: str | os.PathLike[str]) -> str:
    """The format that a clip's name says; the file is there.

    Raises:
        VideoError: no file, or not the name of a clip.
    """
    name = repr(text_of(path))
    if not is_clip(path):
        raise VideoError(f"{name}: expected a clip that ends in {_listed(SUFFIXES)}; rename or convert it")
    if not is_file(path):
        raise VideoError(f"{name} {why_not(path, 'a file')}; give a clip")
    return SUFFIXES[Path(path).suffix.lower()]


def check_target(path: str | os.PathLike[str]) -> str:
    """The format that a target's name asks for; its folder is there.

    Raises:
        VideoError: not a name for a clip, or a place that cannot be written to.

    Example:
        >>> check_target("painted.mkv")
        'matroska'
    """
    name, target = repr(text_of(path)), Path(path)
    if target.suffix.lower() not in TARGET_SUFFIXES:
        raise VideoError(f"{name}: a painted clip must end in {_listed(TARGET_SUFFIXES)}; choose such a name")
    if is_folder(target):
        raise VideoError(f"{name} is a folder; give the name of a file")
    if not is_folder(target.parent):
        raise VideoError(f"{name}: {str(target.parent)!r} is not an existing folder; create it first")
    return TARGET_SUFFIXES[target.suffix.lower()]


def _listed(suffixes: dict[str, str]) -> str:
    *others, last = suffixes
    return f"{', '.join(others)} or {last}"
