"""Which files are clips, told by their names."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from agnlib._shared.paths import is_file, is_folder, text_of, why_not
from agnlib.errors import VideoError
from agnlib.image._animation import is_animated

__all__ = [
    "SUFFIXES",
    "TARGET_SUFFIXES",
    "can_be_read",
    "check_source",
    "check_target",
    "is_animation",
    "is_clip",
    "painted_name",
    "target_format",
]

# The demuxer is chosen by the name and never by the content: a playlist in a clip's clothes would open other files.
SUFFIXES = {
    ".avi": "avi",
    ".gif": "gif",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".webm": "matroska",
    ".webp": "webp",
}
TARGET_SUFFIXES = {
    ".gif": "gif",
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mp4",
    ".webm": "webm",
    ".webp": "webp",
}
_ANIMATIONS = (".gif", ".webp")


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a name ends as those of clips do; a .webp is one where the file is there and says that it moves.

    Example:
        >>> is_clip("holiday.MP4"), is_clip("sticker.gif"), is_clip("photo.jpg"), is_clip("not-there.webp")
        (True, True, False, False)
    """
    suffix = Path(path).suffix.lower()
    return is_animated(path) if suffix == ".webp" else suffix in SUFFIXES


def is_animation(path: str | os.PathLike[str]) -> bool:
    """Whether it is a GIF or WebP by its name, which need no PyAV."""
    return Path(path).suffix.lower() in _ANIMATIONS


def can_be_read(path: str | os.PathLike[str]) -> bool:
    """Whether what reads such clips is installed."""
    return is_animation(path) or importlib.util.find_spec("av") is not None


def painted_name(name: str) -> str:
    """The name of a clip's painting: its own, or one of .mp4 where no clip is written as what it is.

    Example:
        >>> painted_name("a.GIF"), painted_name("b.avi")
        ('a.GIF', 'b.mp4')
    """
    path = Path(name)
    return name if path.suffix.lower() in TARGET_SUFFIXES else str(path.with_suffix(".mp4"))


def check_source(path: str | os.PathLike[str]) -> str:
    """The format that a clip's name says; the file is there.

    Raises:
        VideoError: no file, or not the name of a clip.
    """
    name = repr(text_of(path))
    if Path(path).suffix.lower() not in SUFFIXES:
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
    form, name, target = target_format(path), repr(text_of(path)), Path(path)
    if is_folder(target):
        raise VideoError(f"{name} is a folder; give the name of a file")
    if not is_folder(target.parent):
        raise VideoError(f"{name}: {str(target.parent)!r} is not an existing folder; create it first")
    return form


def target_format(path: str | os.PathLike[str]) -> str:
    """As `check_target`, of the name alone."""
    suffix = Path(path).suffix.lower()
    if suffix not in TARGET_SUFFIXES:
        raise VideoError(
            f"{text_of(path)!r}: a painted clip must end in {_listed(TARGET_SUFFIXES)}; choose such a name"
        )
    return TARGET_SUFFIXES[suffix]


def _listed(suffixes: dict[str, str]) -> str:
    *others, last = suffixes
    return f"{', '.join(others)} or {last}"
