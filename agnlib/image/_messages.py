"""How messages name a file and a cause: on one line, whatever characters they have."""

from __future__ import annotations

import os

from agnlib._shared.paths import text_of

__all__ = ["quoted", "reason"]


def quoted(path: str | os.PathLike[str]) -> str:
    """The path in quotes.

    Raises:
        InputError: it is none.
    """
    return repr(text_of(path))


def reason(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
