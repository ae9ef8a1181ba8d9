"""From a picture whose header is read to its pixels, whatever the data do to the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from agnlib.errors import ImageError, InputError
from agnlib.image._color_tags import note_cicp
from agnlib.image._jpeg_end_marker import load_jpeg
from agnlib.image._messages import reason
from agnlib.image._png_transparency import note_transparency
from agnlib.image._tiff import load_tiff

__all__ = ["decode", "decoded"]

Result = TypeVar("Result")


def decode(image: Image.Image, name: str) -> None:
    """Decode the pixels.

    Raises:
        ImageError: the data are damaged, the image was closed before, or it is of high dynamic range.
    """
    try:
        note_cicp(image)
    except InputError as error:
        raise ImageError(f"{name} cannot be read: {error}") from error
    note_transparency(image)
    decoded(lambda: _load(image), image, name)


def decoded(step: Callable[[], Result], image: Image.Image, name: str) -> Result:
    """What a step of decoding gives.

    Raises:
        ImageError: as `decode`.
    """
    try:
        return step()
    except Exception as error:  # decoders of damaged data raise OSError, SyntaxError, struct.error, zlib.error, ...
        if _is_closed(image, error):
            raise ImageError(
                f"{name} is a PIL image that was closed before its pixels were read; use it inside its `with` block,"
                " call its load() there, or give the path"
            ) from error
        raise ImageError(
            f"{name} cannot be decoded ({reason(error)}); it is damaged or incomplete, get it again from its source"
        ) from error


def _load(image: Image.Image) -> None:
    if isinstance(image, TiffImageFile) and image.tile:
        load_tiff(image)
    elif isinstance(image, JpegImageFile) and image.tile:
        load_jpeg(image)
    else:
        image.load()


def _is_closed(image: Image.Image, error: Exception) -> bool:
    """Whether the file behind a lazily decoded image, or the image itself, is closed."""
    if isinstance(image, ImageFile.ImageFile) and image.tile and (image.fp is None or image.fp.closed):
        return True
    return isinstance(error, ValueError) and "closed image" in str(error)
