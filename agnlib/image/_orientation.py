"""The EXIF orientation of a picture, read and applied."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image, ImageOps

__all__ = ["METADATA_ERRORS", "orientation", "turned_upright", "upright"]

METADATA_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except METADATA_ERRORS:  # the pixels are already decoded: only the metadata can be at fault
        return 1
    return found if found in range(1, 9) else 1


def upright(image: Image.Image) -> Image.Image:
    """A copy with the EXIF orientation applied and its tag gone; an unreadable EXIF block counts as none."""
    try:
        return ImageOps.exif_transpose(image)
    except METADATA_ERRORS:
        return image.copy()


def turned_upright(image: Image.Image) -> Image.Image:
    """Upright: the image itself where it is that already."""
    return image if orientation(image) == 1 else upright(image)
