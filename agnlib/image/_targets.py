"""Where a picture is written: a file, by the format of its suffix, or a binary file object, by a format given."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard

from PIL import Image

from agnlib._shared.paths import is_folder, may, refuse_taken, why_not
from agnlib.errors import ImageError, InputError
from agnlib.image._messages import quoted, reason

__all__ = [
    "DEEP",
    "SUFFIXES",
    "AnyTarget",
    "BinaryWriter",
    "Target",
    "check_exif",
    "check_output",
    "check_place",
    "check_size",
    "free_target",
    "holds_16_bits",
    "is_writer",
]

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
DEEP = ("PNG", "TIFF")
_JPEG_EXIF = 65_533  # bytes, with their header
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels a side, of libjpeg and libwebp
_ANY_LENGTH = 2**31 - 1


class BinaryWriter(Protocol):
    """A file object in binary mode: `open(path, "wb")`, `io.BytesIO`, a socket's stream."""

    def write(self, data: bytes, /) -> Any: ...


AnyTarget: TypeAlias = "str | os.PathLike[str] | BinaryWriter | Target"


@dataclass(frozen=True)
class Target:
    """A path or file object, and the format to write there.

    Attributes:
        path: None for a file object.
        file: None for a path.
        format: as Pillow calls it.
        name: what messages call it.
    """

    path: Path | None
    file: BinaryWriter | None
    format: str
    name: str

    @classmethod
    def of(cls, target: AnyTarget, format: str | None = None) -> Target:
        """What was given for a target.

        Raises:
            InputError: neither a path nor a file object that takes bytes; or a format for a path, an unknown one or
                none for a file object.
            ImageError: a path with an unknown suffix.
        """
        if isinstance(target, Target):
            return target
        if is_writer(target):
            return cls.of_file(target, format)
        path: Any = target
        if format is not None:
            raise InputError(f"format is for file objects, got {format!r} for {quoted(path)}, whose suffix says it")
        found = _format_of(path)
        return cls(Path(path), None, found, quoted(path))

    @classmethod
    def of_file(cls, file: BinaryWriter, format: str | None) -> Target:
        """A file object that takes bytes; of format "" it is for no picture.

        Raises:
            InputError: see `of`.
        """
        _check_writer(file)
        return cls(None, file, format if format == "" else named_format(format), "<file object>")

    def write(self, data: bytes) -> None:
        """Write all of it to the file object.

        Raises:
            ImageError: it does not take them.
        """
        assert self.file is not None
        try:
            while (written := self.file.write(data)) != len(data):
                if not written:  # of a raw file: it takes no more; others may say nothing
                    _check_taken(self.file, written)
                    return
                data = data[written:]
        except (OSError, ValueError, TypeError) as error:
            raise ImageError(
                f"{self.name} cannot be written ({reason(error)}); open it for writing, in binary"
            ) from error


def free_target(target: AnyTarget, format: str | None, *, overwrite: bool) -> Target:
    """What was given for a target, where it can be written to.

    Raises:
        InputError: see `Target.of`; or a file or link is there already, and `overwrite` not given.
        ImageError: see `check_output`.
    """
    found = Target.of(target, format)
    if isinstance(target, (str, os.PathLike)):
        check_place(target)
        refuse_taken([target], overwrite=overwrite)
    return found


def named_format(format: str | None) -> str:
    """The format by its own name or a suffix, in any case, as Pillow calls it.

    Raises:
        InputError: it is none, or none that is written.

    Example:
        >>> named_format("jpg"), named_format("TIFF")
        ('JPEG', 'TIFF')
    """
    found = _FORMAT_OF.get(f".{format.lower().removeprefix('.')}") if isinstance(format, str) else None
    if found is None:
        names = ", ".join(f'"{suffix[1:]}"' for suffix in SUFFIXES)
        raise InputError(f"format of a file object must be one of {names}, got {format!r}")
    return found


def _check_taken(file: Any, written: int | None) -> None:
    if written == 0 or isinstance(file, io.RawIOBase):
        raise OSError("it takes no more")


def is_writer(target: object) -> TypeGuard[BinaryWriter]:
    """Whether it is something to write to, and no path."""
    return not isinstance(target, (str, os.PathLike)) and callable(getattr(target, "write", None))


def _check_writer(file: Any) -> None:
    if isinstance(file, io.TextIOBase):
        raise InputError('<file object> is in text mode, not in binary; open it by open(path, "wb")')
    if getattr(file, "closed", False) is True:
        raise InputError("<file object> is closed; give it while it is open")
    if not getattr(file, "writable", lambda: True)():
        raise InputError('<file object> is not open for writing; open it by open(path, "wb")')


def check_output(path: str | os.PathLike[str]) -> None:
    """Say beforehand what would keep `save` from writing to `path`.

    Raises:
        InputError: no path.
        ImageError: unknown suffix, a folder of that name, or a parent folder that is missing, no folder or read-only.

    Example:
        >>> check_output("picture.gif")
        Traceback (most recent call last):
        ...
        agnlib.errors.ImageError: 'picture.gif' has the suffix '.gif', which cannot be written; \
use .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp
    """
    _format_of(path)
    check_place(path)


def holds_16_bits(path: str | os.PathLike[str]) -> bool:
    """Whether the format of the path's suffix keeps 16 bits a channel."""
    return _format_of(path) in DEEP


def check_exif(exif: Image.Exif, target: Target) -> None:
    """Raise `ImageError` where the target's format has no room for this EXIF block."""
    if target.format == "JPEG" and len(exif) and (length := len(exif.tobytes())) > _JPEG_EXIF:
        raise ImageError(
            f"{target.name} cannot be written: the photo's EXIF has {length:,} bytes, and JPEG holds "
            f'{_JPEG_EXIF:,}; write PNG, TIFF or WebP, or leave it out: metadata="none"'
        )


def check_size(height: int, width: int, target: Target) -> None:
    """Raise `ImageError` where the target's format holds no picture of that size."""
    longest = _LONGEST.get(target.format, _ANY_LENGTH)
    if max(height, width) > longest:
        raise ImageError(
            f"{target.name} cannot be encoded as {target.format}: it holds at most {longest:,} pixels a side, and the "
            f"picture is {width} x {height}; choose another format"
        )


def _format_of(path: Any) -> str:
    shown, written = quoted(path), Path(path).suffix
    suffix = written.lower()
    if suffix not in _FORMAT_OF:
        *most, last = _FORMAT_OF
        got = f"the suffix {written!r}" if suffix else "no suffix"
        note = ", which cannot be written" if suffix else ""
        raise ImageError(f"{shown} has {got}{note}; use {', '.join(most)} or {last}")
    return _FORMAT_OF[suffix]


def check_place(path: str | os.PathLike[str]) -> None:
    """Say beforehand what would keep `write_file` from writing to `path`.

    Raises:
        ImageError: a folder of that name, or a parent folder that is missing, no folder or read-only.

    Example:
        >>> check_place("missing/model.onnx")
        Traceback (most recent call last):
        ...
        agnlib.errors.ImageError: 'missing/model.onnx' cannot be written: the folder 'missing' does not exist; \
create it first
    """
    shown, target = quoted(path), Path(path)
    folder = target.parent
    if not is_folder(folder):
        wrong = why_not(folder, "a folder")
        remedy = "create it first" if wrong == "does not exist" else "choose another place"
        raise ImageError(f"{shown} cannot be written: the folder {quoted(folder)} {wrong}; {remedy}")
    if is_folder(target):
        raise ImageError(f"{shown} cannot be written: it is a folder; give a file name")
    if not may(folder, os.W_OK | os.X_OK):
        raise ImageError(f"{shown} cannot be written: the folder {quoted(folder)} is read-only; choose another place")
    if (wrong := why_not(target, "a file")) not in ("does not exist", "is not a file"):
        raise ImageError(f"{shown} {wrong}; choose another name")
