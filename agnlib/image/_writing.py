"""Picture files, written whole or not at all, row by row where the format allows it; needs no torch."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from agnlib._shared.atomic import replacing, write_bytes
from agnlib._shared.numbers import is_count, own_number
from agnlib.errors import ImageError, InputError
from agnlib.image._decoding import decode
from agnlib.image._format_writers import Encoder, JpegEncoder, PillowEncoder, PngEncoder, TiffEncoder
from agnlib.image._icc_16_bits import srgb_profile
from agnlib.image._messages import quoted, reason
from agnlib.image._sixteen_bits import array_of, check_pixels, eight_bits, needs_all_bits, shallow
from agnlib.image._targets import DEEP, BinaryWriter, Target, check_exif, check_place, check_size, is_writer
from agnlib.image._tiff import levels

__all__ = ["check_quality", "encode", "save", "write_file", "writing", "writing_to"]

Rows = npt.NDArray[Any]

_CHANNELS_OF = {"JPEG": (1, 3), "PNG": (1, 2, 3, 4), "WEBP": (3, 4), "TIFF": (1, 3, 4), "BMP": (1, 3)}
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "I;16")
_SAYS_MORE = {"icc_profile", "transparency", "exif", "gamma", "chromaticity", "cicp"}


def save(
    image: Image.Image | npt.NDArray[Any],
    path: str | os.PathLike[str] | BinaryWriter,
    *,
    format: str | None = None,
    quality: int = 95,
) -> None:
    """Write an image in the format of the path's suffix, whole or not at all.

    The pixels are written upright and in sRGB, with the sRGB profile (BMP holds none) and no other metadata. JPEG is
    written without chroma subsampling. JPEG and BMP hold no transparency: there the picture is laid on white. PNG and
    TIFF keep 16 bits, the others round to 8.

    Args:
        image: a PIL image of any mode, or an array `(H, W)` or `(H, W, 1 to 4)`, uint8 or uint16, in sRGB.
        path: .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp; an existing file is replaced. Or a binary file object,
            which is written to once, when all is encoded, and stays open.
        format: of a file object, and only of one: one of these suffixes without its dot.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        InputError: `quality` is outside 1 to 100, no pixels, an array of another shape or dtype, or an unknown format.
        ImageError: unknown suffix, or the file cannot be written there; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("RGBA", (4, 3)), f"{folder}/a.webp")
        ...     os.listdir(folder)
        ['a.webp']
    """
    check_quality(quality)
    target = Target.of(path, format)
    if target.path is not None:
        check_place(target.path)
    if not isinstance(image, (np.ndarray, Image.Image)):
        raise InputError(f"save: expected a PIL image or an array, got {type(image).__name__}; convert it first")
    pixels = _checked(image) if isinstance(image, np.ndarray) else _pixels_of(image, "the image")
    with writing_to(target, pixels.shape, pixels.dtype, quality=quality) as write:
        write(pixels)


def encode(image: Image.Image | npt.NDArray[Any], format: str = "png", *, quality: int = 95) -> bytes:
    """The bytes of a picture file, as `save` writes it.

    Args:
        image: see `save`.
        format: "jpg", "jpeg", "png", "webp", "tif", "tiff" or "bmp".
        quality: see `save`.

    Raises:
        InputError: as `save`.
        ImageError: the format cannot hold the image.

    Example:
        >>> encode(Image.new("RGB", (4, 3), "gold"), "png")[:4]
        b'\x89PNG'
    """
    file = io.BytesIO()
    save(image, file, format=format, quality=quality)
    return file.getvalue()


@contextmanager
def writing(
    path: str | os.PathLike[str] | BinaryWriter,
    shape: tuple[int, ...],
    kind: npt.DTypeLike,
    *,
    format: str | None = None,
    quality: int = 95,
    exif: Image.Exif | None = None,
) -> Iterator[Callable[[Rows], None]]:
    """A function that takes the rows of a picture from the top; the file appears, whole, when the block ends.

    PNG, TIFF and JPEG are encoded as the rows come, so that a picture of any size needs no memory. For a file object
    what is encoded is held until the end.

    Args:
        path: see `save`, as `format`.
        shape: `(H, W, C)`, C from 1 to 4.
        kind: uint8 or uint16, of the rows.
        quality: see `save`.
        exif: written along; none by default.

    Raises:
        InputError: see `save`.
        ImageError: see `save`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with writing(f"{folder}/a.png", (4, 5, 3), np.uint8) as write:
        ...         for _ in range(2):
        ...             write(np.zeros((2, 5, 3), np.uint8))
        ...     Image.open(f"{folder}/a.png").size
        (5, 4)
    """
    with writing_to(Target.of(path, format), shape, kind, quality=quality, exif=exif) as write:
        yield write


@contextmanager
def writing_to(
    target: Target, shape: tuple[int, ...], kind: npt.DTypeLike, *, quality: int, exif: Image.Exif | None = None
) -> Iterator[Callable[[Rows], None]]:
    """As `writing`."""
    check_quality(quality)
    name, exif = target.format, exif or Image.Exif()
    if target.path is not None:
        check_place(target.path)
    check_size(shape[0], shape[1], target)
    check_exif(exif, target)
    stored = _stored_channels(shape[2], name)
    depth = np.dtype(np.uint16 if name in DEEP and np.dtype(kind) == np.uint16 else np.uint8)
    body: BaseException | None = None  # what goes wrong in the caller's block is not for us to explain
    ours: list[Exception] = []

    def write(rows: Rows) -> None:
        try:
            encoder.write(_fitted(rows, stored, depth))
        except Exception as error:
            ours.append(error)
            raise

    try:
        with _opened(target) as file:
            given = file, name, (shape[0], shape[1], stored), depth
            encoder = _encoder(*given, exif=exif, quality=own_number(quality))
            try:
                yield write
            except BaseException as error:
                body = error
                raise
            encoder.close()
    except Exception as error:  # encoders raise OSError, ValueError or struct.error
        if isinstance(error, ImageError) or (error is body and error not in ours):
            raise
        raise _explained(error, target.name, name) from error


@contextmanager
def _opened(target: Target) -> Iterator[BinaryIO]:
    """A file to write and seek in, which goes where the target says when the block ends well."""
    if target.path is not None:
        with replacing(target.path) as file:
            yield file
        return
    held = io.BytesIO()
    yield held
    target.write(held.getvalue())


def write_file(path: str | os.PathLike[str] | BinaryWriter, data: bytes) -> None:
    """Write a file whole or not at all, or to a binary file object.

    Raises:
        ImageError: the folder is missing or cannot be written to; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/note", b"whole")
        ...     Path(folder, "note").read_bytes()
        b'whole'
    """
    if is_writer(path):
        Target.of_file(path, "").write(data)
        return
    place: Any = path  # no file object
    check_place(place)
    try:
        write_bytes(Path(place), data)
    except OSError as error:
        raise _explained(error, quoted(place), "") from error


def _explained(error: Exception, shown: str, format_name: str) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not the encoder's
        said = error.strerror or reason(error)  # without its file name, which is the temporary file's
        return ImageError(f"{shown} cannot be written ({said}); check space and permissions or choose another place")
    return ImageError(f"{shown} cannot be encoded as {format_name} ({reason(error)}); choose another format")


def _encoder(
    file: BinaryIO, name: str, shape: tuple[int, int, int], depth: np.dtype[Any], *, exif: Image.Exif, quality: int
) -> Encoder:
    if name in DEEP:
        return (PngEncoder if name == "PNG" else TiffEncoder)(file, shape, depth, srgb_profile(), exif)
    if name == "JPEG":
        return JpegEncoder(file, shape, srgb_profile(), exif, quality=quality)
    if name == "WEBP":
        return PillowEncoder(file, shape, name, srgb_profile(), exif, quality=quality)
    return PillowEncoder(file, shape, name, b"", Image.Exif())


def _stored_channels(given: int, format_name: str) -> int:
    """How many channels a format stores for a picture of so many."""
    possible = _CHANNELS_OF[format_name]
    if given in possible:
        return given
    return 4 if given in (2, 4) and 4 in possible else 3


def _fitted(rows: Rows, channels: int, depth: np.dtype[Any]) -> Rows:
    """The rows as they are stored; without room for alpha the picture is laid on white."""
    if rows.dtype == np.uint16 and depth == np.uint8:
        rows = shallow(rows)
    given = rows.shape[2]
    if given == channels:
        return rows
    color, alpha = (rows[..., :3], rows[..., 3:]) if given >= 3 else (rows[..., :1].repeat(3, 2), rows[..., 1:])
    if given in (1, 3):
        return color
    if channels == 4:
        return np.concatenate([color, alpha], axis=2)
    share = alpha / np.float32(255)  # only formats of 8 bits lack alpha
    white: Rows = np.rint(color * share + 255 * (1 - share)).astype(np.uint8)
    return white


def _pixels_of(image: Image.Image, name: str) -> Rows:
    """The pixels `(H, W, C)` of a PIL image, in sRGB."""
    check_pixels(image, name)
    if needs_all_bits(image):
        return eight_bits(image, name)
    decode(image, name)
    if image.mode not in _PLAIN_MODES or _SAYS_MORE & image.info.keys():
        return eight_bits(image, name)
    if image.mode == "I;16":
        return levels(image).astype(np.uint16)[..., None]
    return array_of(image)


def _checked(array: npt.NDArray[Any]) -> Rows:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise InputError(f"save: expected an array of uint8 or uint16, got {array.dtype}; scale it and convert it")
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise InputError(f"save: expected an array (H, W) or (H, W, 1 to 4), got the shape {array.shape}")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def check_quality(quality: int) -> None:
    """Raise `InputError` unless this is a quality of JPEG and WebP."""
    if not is_count(quality, 1, 100):
        raise InputError(f"quality must be a whole number from 1 to 100, got {quality!r}")
