"""What of a photo's EXIF block may go along with its painting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from PIL import ExifTags, Image

from agnlib.errors import ImageError, InputError
from agnlib.image._encoded import PictureFile
from agnlib.image._orientation import METADATA_ERRORS
from agnlib.image._targets import Target, check_exif
from agnlib.image.files import DEFAULT_LIMITS, Limits, open_file

__all__ = ["add_recipe", "kept_exif", "read_recipe", "with_recipe"]

_ASCII = b"ASCII\0\0\0"  # how a user's comment begins, by the EXIF standard
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
    path: PictureFile, metadata: Literal["none", "no-gps", "all"], *, limits: Limits = DEFAULT_LIMITS
) -> Image.Exif:
    """The part of a file's EXIF that is written along with its painting; empty where it cannot be read.

    Args:
        path: the photo; see `load`.
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
            if _recipe_in(camera.get(_BASE.UserComment)):
                del camera[_BASE.UserComment]  # of the painting that the photo is
            place = found.get_ifd(ExifTags.IFD.GPSInfo) if metadata == "all" else {}
        except METADATA_ERRORS:
            return kept
    for tag, value in chosen.items():
        kept[tag] = value
    for directory, values in ((ExifTags.IFD.Exif, camera), (ExifTags.IFD.GPSInfo, place)):
        if values:
            kept.get_ifd(directory).update({tag: value for tag, value in values.items() if tag not in _DROPPED})
    return kept if _can_be_written(kept) else Image.Exif()


def add_recipe(exif: Image.Exif, recipe: Mapping[str, Any]) -> None:
    """Note in an EXIF block what a painting was made with, as JSON in the user's comment, where there is none yet."""
    exif.setdefault(_BASE.Software, f"agnlib {recipe['agnlib']}")
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    camera.setdefault(_BASE.UserComment, _ASCII + json.dumps(recipe).encode("ascii"))


def with_recipe(exif: Image.Exif, recipe: Mapping[str, Any], target: Target) -> Image.Exif:
    """The EXIF block with what a painting was made with, where the target's format has room for it."""
    without = exif.tobytes() if len(exif) else b""
    add_recipe(exif, recipe)
    try:
        check_exif(exif, target)
    except ImageError:
        exif = Image.Exif()
        exif.load(without)
    return exif


def read_recipe(path: PictureFile, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any] | None:
    """What a painting was made with: weights, styles and options, as its file says; None where it says nothing.

    Args:
        path: a JPEG, PNG, WebP or TIFF file that agnlib wrote, or its bytes; see `load`.
        limits: see `load`.

    Raises:
        ImageError: as `probe`.

    Example:
        >>> from agnlib import Stylizer
        >>> from agnlib.models import Generator, StyleExtractor
        >>> import tempfile
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photo = f"{folder}/photo.png"
        ...     Image.new("RGB", (20, 20), "navy").save(photo)
        ...     _ = stylizer.stylize_file(photo, f"{folder}/painted.jpg", photo, strength=0.5)
        ...     read_recipe(f"{folder}/painted.jpg")
        {'agnlib': '0.1.0', 'weights': None, 'style': ['photo.png'], 'strength': 0.5}
    """
    with open_file(path, limits) as image:
        try:
            comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(_BASE.UserComment)
        except METADATA_ERRORS:
            return None
    return _recipe_in(comment)


def _recipe_in(comment: object) -> dict[str, Any] | None:
    """The recipe that a user's comment is, if it is one."""
    if not isinstance(comment, (bytes, str)):
        return None
    text = (comment.encode("ascii", "replace") if isinstance(comment, str) else comment).removeprefix(_ASCII)
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) and "agnlib" in recipe else None


def _can_be_written(exif: Image.Exif) -> bool:
    """Values that were read from a damaged block may be of no type that can be written."""
    try:
        exif.tobytes()
    except METADATA_ERRORS:
        return False
    return True
