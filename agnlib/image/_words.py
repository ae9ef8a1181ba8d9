"""How messages name a file and a cause: on one line, whatever characters they have."""

from __future__ import annotations

import os

__all__ = ["quoted", "reason"]


def quoted(path: str | os.PathLike[str]) -> str:
    """The path in quotes."""
    return repr(os.fspath(path))


def reason(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
