"""What lies at a path, asked so that no name and no permission ends in an error of the system's.

`Path.is_dir` and its like raise where a folder may not be looked into and where a name is too long, and some versions
where it has a NUL. Here such a path is neither a file nor a folder, and `why_not` has the words for the message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from agnlib.errors import InputError

__all__ = [
    "exists",
    "is_closed",
    "is_file",
    "is_folder",
    "is_same",
    "is_there",
    "may",
    "real",
    "refuse_taken",
    "text_of",
    "utf8_name",
    "why_not",
]

AnyPath: TypeAlias = "str | os.PathLike[str]"


def text_of(path: Any, what: str = "") -> str:
    """The path as text.

    Args:
        path: what was given for one.
        what: the name of the argument, for the message.

    Raises:
        InputError: it is neither text nor a `pathlib.Path`: None, a number, bytes.

    Example:
        >>> text_of(None, "folder")
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: folder: expected a path as text or pathlib.Path, got NoneType
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        said = f"{what}: " if what else ""
        raise InputError(f"{said}expected a path as text or pathlib.Path, got {type(path).__name__}")
    return text


def exists(path: AnyPath) -> bool:
    """Whether there is something that can be looked at; links are followed."""
    return _mode(path) is not None


def is_there(path: AnyPath) -> bool:
    """Whether the name is taken, be it by a link that leads nowhere."""
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def is_folder(path: AnyPath) -> bool:
    """Whether there is a folder that can be looked at; links are followed."""
    return stat.S_ISDIR(_mode(path) or 0)


def is_file(path: AnyPath) -> bool:
    """Whether there is a regular file that can be looked at; links are followed."""
    return stat.S_ISREG(_mode(path) or 0)


def is_closed(path: AnyPath) -> bool:
    """Whether permissions keep it from being looked at."""
    try:
        os.stat(path)  # noqa: PTH116 - for any text
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return False


def is_same(path: AnyPath, other: AnyPath) -> bool:
    """Whether both are there and are one file or folder."""
    try:
        return os.path.samefile(path, other)  # noqa: PTH121 - for any text
    except (OSError, ValueError):
        return False


def may(path: AnyPath, mode: int) -> bool:
    """Whether the process may use a path so (`os.R_OK` and the like), as the user that it acts for."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def refuse_taken(targets: Iterable[AnyPath], *, overwrite: bool) -> None:
    """The one rule for files in the way: what is there, be it a link that leads nowhere, is replaced if that is asked.

    Raises:
        InputError: a target is taken, and `overwrite` not given.

    Example:
        >>> refuse_taken(["not-there.png"], overwrite=False)
    """
    taken = [] if overwrite else [os.fspath(target) for target in targets if is_there(target)]
    if taken:
        count = f"{len(taken):,} files are there already, such as " if len(taken) > 1 else ""
        verb = "" if count else " is there already"
        raise InputError(
            f"{count}{taken[0]!r}{verb}; choose another name, or give overwrite=True (--overwrite) to replace it"
        )


def why_not(path: AnyPath, expected: str) -> str:
    """Why a path is not what was expected there, in words to follow its name.

    Example:
        >>> why_not("missing", "a folder"), why_not(os.curdir, "a file")
        ('does not exist', 'is not a file')
    """
    try:
        os.stat(path)  # noqa: PTH116 - for any text
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    return f"is not {expected}"


def real(path: AnyPath) -> Path:
    """The path without links, as far as it is there.

    Raises:
        InputError: it has a NUL, which no name can have.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise InputError(f"{os.fspath(path)!r} cannot be the name of a file ({error}); give another one") from error


@contextmanager
def utf8_name(path: AnyPath) -> Iterator[str]:
    """A name of a file for libraries that take UTF-8 alone: its own, or else one of the open file."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:  # noqa: PTH123 - for any text
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name


def _mode(path: AnyPath) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - for any text
    except (OSError, ValueError):
        return None
