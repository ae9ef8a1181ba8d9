"""How messages name a file and a cause: on one line, whatever characters they have."""

from __future__ import annotations

import os

from agnlib._shared.paths import text_of
from agnlib.image._encoded import Encoded

__all__ = ["quoted", "reason"]


def quoted(path: str | os.PathLike[str] | Encoded) -> str:
    """The path in quotes; what bytes are called.

    Raises:
        InputError: it is none.
    """
    return path.name if isinstance(path, Encoded) else repr(text_of(path))


def reason(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
