"""How messages name a file and a cause: on one line, whatever characters they have."""

from __future__ import annotations

import os

from agnlib.errors import InputError

__all__ = ["quoted", "reason"]


def quoted(path: str | os.PathLike[str]) -> str:
    """The path in quotes.

    Raises:
        InputError: it is none.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise InputError(f"expected a path as text or pathlib.Path, got {type(path).__name__}")
    return repr(os.fspath(path))


def reason(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
