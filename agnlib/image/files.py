"""Picture files: read and written whole or not at all, within limits; needs no torch."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from agnlib._atomic import write_bytes
from agnlib.errors import ImageError, InputError
from agnlib.image._srgb import upright_srgb
from agnlib.image._words import quoted, reason

__all__ = ["SUFFIXES", "Limits", "check_output", "load", "probe", "save", "write_file"]

_READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_READABLE_TEXT = "JPEG, PNG, WebP, TIFF or BMP"
_FORMAT_OF = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
SUFFIXES = tuple(_FORMAT_OF)
# Modes that a format stores as they are; every other mode is first turned into RGB or RGBA.
_MODES_OF = {
    "JPEG": ("L", "RGB"),
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "I;16"),
    "BMP": ("L", "RGB"),
}


@dataclass(frozen=True)
class Limits:
    """What a picture file may claim before it is decoded.

    Args:
        pixels: width times height; the default, 64 Mi, lets a 64-megapixel camera through.
        side: pixels along the longer side.
        bytes: size of the file.

    Example:
        >>> Limits(pixels=1_000_000).side
        16384
    """

    pixels: int = 64 * 2**20
    side: int = 16_384
    bytes: int = 256 * 2**20


DEFAULT_LIMITS = Limits()


# Reading


def probe(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a picture file as stored, from its header alone: nothing is decoded.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, or larger than `limits`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("RGB", (4, 3)), f"{folder}/a.png")
        ...     probe(f"{folder}/a.png")
        (4, 3)
    """
    with _open(path, limits) as image:
        width, height = image.size
    return width, height


def load(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read a picture file as 8-bit sRGB: mode RGB, or RGBA where the file has transparency.

    EXIF orientation is applied to the pixels, an ICC profile is converted to sRGB, and no metadata is kept. Of a file
    with several frames the first is read. A colour profile that cannot be understood is ignored.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.
        limits: checked before decoding.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, damaged, or larger than `limits`; one line that
            names the file and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("L", (4, 3), 128), f"{folder}/grey.png")
        ...     load(f"{folder}/grey.png").mode
        'RGB'
    """
    with _open(path, limits) as image:
        return upright_srgb(image, quoted(path))


def _check_file(path: str | os.PathLike[str], limits: Limits) -> None:
    """A regular, non-empty file of acceptable length, or an `ImageError`."""
    shown = quoted(path)
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise ImageError(f"{shown} does not exist; check the name and the folder") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown} cannot be reached ({reason(error)}); check the name and the permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{shown} is a folder, expected a picture file; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{shown} is not a regular file; copy the picture to a file first")
    if status.st_size == 0:
        raise ImageError(f"{shown} is empty (0 bytes); get the picture again from its source")
    if status.st_size > limits.bytes:
        raise ImageError(
            f"{shown} has {status.st_size:,} bytes, more than the limit of {limits.bytes:,}; reduce the picture first"
        )


def _open(path: str | os.PathLike[str], limits: Limits) -> Image.Image:
    """The file with its header read and checked, its pixels not yet decoded."""
    _check_file(path, limits)
    shown = quoted(path)
    try:
        image = Image.open(path, formats=_READABLE)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{shown} claims too many pixels ({reason(error)}); reduce the picture first") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{shown} is not a picture that can be read; expected {_READABLE_TEXT}, convert it to one of these"
        ) from error
    except Exception as error:  # a hostile header makes Pillow's readers fail in many ways, not only with OSError
        closed = isinstance(error, OSError) and error.errno is not None  # the system says no, not the decoder
        remedy = "check its permissions" if closed else "it is damaged, get it again from its source"
        raise ImageError(f"{shown} cannot be read ({reason(error)}); {remedy}") from error
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        image.close()
        raise ImageError(
            f"{shown} is {width} x {height} pixels, more than the limit of {limits.pixels:,} pixels and "
            f"{limits.side:,} a side; reduce the picture first"
        )
    return image


# Writing


def check_output(path: str | os.PathLike[str]) -> None:
    """Say beforehand what would keep `save` from writing to `path`.

    Raises:
        ImageError: unknown suffix, a folder of that name, or a parent folder that is missing, no folder or read-only.

    Example:
        >>> check_output("picture.gif")
        Traceback (most recent call last):
        ...
        agnlib.errors.ImageError: 'picture.gif' has the suffix '.gif', which cannot be written; \
use .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp
    """
    _format_of(Path(path))
    _check_place(Path(path))


def save(image: Image.Image, path: str | os.PathLike[str], *, quality: int = 95) -> None:
    """Write an image in the format of the path's suffix, whole or not at all.

    The pixels are written upright and in sRGB, without metadata. JPEG is written without chroma subsampling. JPEG and
    BMP hold no transparency: there the picture is laid on white.

    Args:
        image: any mode; modes that the format cannot hold are converted to RGB or RGBA.
        path: .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp; an existing file is replaced.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        InputError: `quality` is outside 1 to 100.
        ImageError: unknown suffix, or the file cannot be written there; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("RGBA", (4, 3)), f"{folder}/a.webp")
        ...     os.listdir(folder)
        ['a.webp']
    """
    if not 1 <= quality <= 100:
        raise InputError(f"quality must be from 1 to 100, got {quality}")
    target = Path(path)
    format_name = _format_of(target)
    prepared = _prepared(image, format_name, quoted(path))
    per_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_lzw"},
    }
    encoded = io.BytesIO()
    try:
        prepared.save(encoded, format=format_name, **per_format.get(format_name, {}))
    except Exception as error:  # encoders raise OSError, ValueError or struct.error
        raise ImageError(
            f"{quoted(path)} cannot be encoded as {format_name} ({reason(error)}); choose another format"
        ) from error
    write_file(target, encoded.getvalue())


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ImageError: the folder is missing or cannot be written to; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/note", b"whole")
        ...     Path(folder, "note").read_bytes()
        b'whole'
    """
    _check_place(Path(path))
    try:
        write_bytes(Path(path), data)
    except OSError as error:
        raise ImageError(
            f"{quoted(path)} cannot be written ({reason(error)}); check space and permissions or choose another place"
        ) from error


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _FORMAT_OF:
        *most, last = _FORMAT_OF
        got = f"the suffix {path.suffix!r}" if suffix else "no suffix"
        note = ", which cannot be written" if suffix else ""
        raise ImageError(f"{quoted(path)} has {got}{note}; use {', '.join(most)} or {last}")
    return _FORMAT_OF[suffix]


def _check_place(target: Path) -> None:
    folder, shown = target.parent, quoted(target)
    try:
        if not folder.exists():
            raise ImageError(f"{shown} cannot be written: the folder {quoted(folder)} does not exist; create it first")
        if not folder.is_dir():
            raise ImageError(f"{shown} cannot be written: {quoted(folder)} is not a folder; choose another place")
        if target.is_dir():
            raise ImageError(f"{shown} cannot be written: it is a folder; give a file name")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ImageError(
                f"{shown} cannot be written: the folder {quoted(folder)} is read-only; choose another place"
            )
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{shown} cannot be written ({reason(error)}); choose another place") from error


def _prepared(image: Image.Image, format_name: str, name: str) -> Image.Image:
    """The image in a mode that the format holds, without metadata that would be written along."""
    if image.mode in _MODES_OF[format_name] and not {"icc_profile", "transparency", "exif"} & image.info.keys():
        prepared = image.copy()
        prepared.info = {}
    else:
        prepared = upright_srgb(image, name)
    if prepared.mode == "RGBA" and "RGBA" not in _MODES_OF[format_name]:
        white = Image.new("RGBA", prepared.size, "white")
        prepared = Image.alpha_composite(white, prepared).convert("RGB")
    return prepared
