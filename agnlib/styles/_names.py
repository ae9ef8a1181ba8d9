"""Styles by name: what tells a name from a file."""

from __future__ import annotations

from pathlib import PurePath

from agnlib._paths import exists

__all__ = ["ANY", "is_name"]

ANY = "random"  # the name of a style of no class


def is_name(text: str) -> bool:
    """Whether a text can only be a style's name: it has no folder and no suffix, and there is no such file."""
    path = PurePath(text)
    return path.name == text and not path.suffix and not exists(text)
