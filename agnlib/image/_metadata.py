"""What of a photo's EXIF block may go along with its painting."""

from __future__ import annotations

import os
from typing import Any, Literal

from PIL import ExifTags, Image

from agnlib.errors import InputError
from agnlib.image._orientation import METADATA_ERRORS
from agnlib.image.files import DEFAULT_LIMITS, Limits, open_file

__all__ = ["kept_exif"]

_CHOICES = ("none", "no-gps", "all")
_BASE = ExifTags.Base
# Everything else in the first directory is about the file that the photo was in, or is a thumbnail of it.
_KEPT = (
    _BASE.ImageDescription,
    _BASE.Make,
    _BASE.Model,
    _BASE.Software,
    _BASE.DateTime,
    _BASE.Artist,
    _BASE.Copyright,
)
# Of the camera's directory: the size that the photo had, and notes whose pointers break when they are moved.
_DROPPED = (_BASE.ExifImageWidth, _BASE.ExifImageHeight, _BASE.MakerNote, _BASE.ExifInteroperabilityOffset)


def kept_exif(
    path: str | os.PathLike[str], metadata: Literal["none", "no-gps", "all"], *, limits: Limits = DEFAULT_LIMITS
) -> Image.Exif:
    """The part of a file's EXIF that is written along with its painting; empty where it cannot be read.

    Args:
        path: the photo.
        metadata: "none", "no-gps" (camera, date, author, but not the place) or "all".
        limits: see `load`.

    Raises:
        InputError: another word.
        ImageError: as `probe`.
    """
    if metadata not in _CHOICES:
        raise InputError(f"metadata must be one of {', '.join(_CHOICES)}, got {metadata!r}")
    kept = Image.Exif()
    if metadata == "none":
        return kept
    with open_file(path, limits) as image:
        try:
            found = image.getexif()
            chosen: dict[int, Any] = {tag: found[tag] for tag in _KEPT if tag in found}
            camera = found.get_ifd(ExifTags.IFD.Exif)
            place = found.get_ifd(ExifTags.IFD.GPSInfo) if metadata == "all" else {}
        except METADATA_ERRORS:
            return kept
    for tag, value in chosen.items():
        kept[tag] = value
    for directory, values in ((ExifTags.IFD.Exif, camera), (ExifTags.IFD.GPSInfo, place)):
        if values:
            kept.get_ifd(directory).update({tag: value for tag, value in values.items() if tag not in _DROPPED})
    return kept if _can_be_written(kept) else Image.Exif()


def _can_be_written(exif: Image.Exif) -> bool:
    """Values that were read from a damaged block may be of no type that can be written."""
    try:
        exif.tobytes()
    except METADATA_ERRORS:
        return False
    return True
