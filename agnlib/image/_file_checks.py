"""What can be said of a picture file before it is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agnlib.errors import ImageError, TooLargeError
from agnlib.image._messages import quoted, reason

__all__ = ["RAISE_LIMIT", "check_file", "check_length"]

RAISE_LIMIT = "reduce the picture first or, if you trust it, raise the limit: limits=Limits(...), or --max-pixels"


def check_file(path: str | os.PathLike[str], limit: int) -> None:
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
    check_length(status.st_size, limit, shown)


def check_length(length: int, limit: int, shown: str) -> None:
    """Raise `ImageError` unless a file of so many bytes is read."""
    if length == 0:
        raise ImageError(f"{shown} is empty (0 bytes); get the picture again from its source")
    if length > limit:
        raise TooLargeError(f"{shown} has {length:,} bytes, more than the limit of {limit:,}; {RAISE_LIMIT}")
