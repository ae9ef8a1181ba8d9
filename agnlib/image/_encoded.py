"""The content of a picture file that is no path: bytes, or a binary file object, which is read once."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from agnlib.errors import ImageError, InputError, TooLargeError

__all__ = ["BinaryReader", "Encoded", "Limited", "PictureFile", "Source", "held", "is_encoded"]

_AT_ONCE = 2**20  # bytes, so that a limit is noticed before all is read


class BinaryReader(Protocol):
    """A file object in binary mode: `open(path, "rb")`, `io.BytesIO`, an upload, a socket's stream."""

    def read(self, size: int, /) -> bytes: ...


PictureFile: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader


@dataclass(frozen=True)
class Encoded:
    """The bytes of a picture file, and what messages call them: never by a path, which may be a temporary file's."""

    data: bytes = field(repr=False)
    name: str


Source: TypeAlias = str | os.PathLike[str] | Encoded


class Limited(Protocol):
    """As `agnlib.image.Limits`."""

    @property
    def bytes(self) -> int: ...


def is_encoded(value: object) -> bool:
    """Whether it is bytes, or something to read bytes from, and no path.

    Example:
        >>> [is_encoded(value) for value in (b"", io.BytesIO(), "a.png", None)]
        [True, True, False, False]
    """
    if isinstance(value, (bytes, bytearray, memoryview, Encoded)):
        return True
    return not isinstance(value, (str, os.PathLike)) and callable(getattr(value, "read", None))


def held(value: Any, limits: Limited, name: str = "") -> Any:
    """Bytes and file objects as `Encoded`; whatever else as it is.

    A file object is read from its beginning and left as it was; one that cannot seek is read from where it is.

    Args:
        value: what was given.
        limits: of which one is for bytes: no more are read.
        name: of the argument, for messages.

    Raises:
        ImageError: a file object cannot be read, or has more bytes than the limit.
        InputError: a file object that is closed, in text mode or asynchronous.
    """
    if isinstance(value, Encoded) or not is_encoded(value):
        return value
    said = f"{name}: " if name else ""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Encoded(bytes(value), f"{said}<bytes>")
    shown = f"{said}<file object>"
    _check_reader(value, shown)
    return Encoded(_content(value, limits.bytes, shown), shown)


def _check_reader(file: Any, shown: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise InputError(f'{shown} is in text mode, not in binary; open it by open(path, "rb")')
    if inspect.iscoroutinefunction(file.read):
        raise InputError(f"{shown} is read asynchronously; await its read() and give the bytes")
    if getattr(file, "closed", False) is True:
        raise InputError(f"{shown} is closed; give it while it is open, or its bytes")


def _content(file: Any, limit: int, shown: str) -> bytes:
    with _rewound(file):
        return _read_all(file, limit, shown)


def _read_all(file: Any, limit: int, shown: str) -> bytes:
    parts, count = [], 0
    while part := _read(file.read, min(_AT_ONCE, limit + 1 - count), shown):
        parts.append(part)
        count += len(part)
        if count > limit:
            raise TooLargeError(
                f"{shown} has more bytes than the limit of {limit:,}; raise it: limits=Limits(bytes=...)"
            )
    return b"".join(parts)


@contextmanager
def _rewound(file: Any) -> Iterator[None]:
    try:
        place = file.tell()
        file.seek(0)
    except (OSError, AttributeError, NotImplementedError):  # a pipe or a socket
        yield
    else:
        try:
            yield
        finally:
            file.seek(place)


def _read(read: Callable[[int], Any], size: int, shown: str) -> bytes:
    try:
        part = read(size)
    except (OSError, EOFError, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{shown} cannot be read ({said}); open it for reading, or give its bytes") from error
    except TypeError as error:
        raise InputError(f"{shown} has no read(size) that gives bytes ({error}); give its bytes") from error
    if not isinstance(part, (bytes, bytearray, memoryview)):
        raise InputError(f"{shown}: its read() gave {type(part).__name__}, expected bytes; give its bytes")
    return bytes(part)
