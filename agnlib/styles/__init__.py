"""What a style is given by, and its code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnlib.styles import code as code
    from agnlib.styles import picture_style as picture_style
    from agnlib.styles import works as works

_MODULES = ("code", "picture_style", "works")

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'agnlib.styles' has no attribute {name!r}; it has {', '.join(_MODULES)}")
        return import_module(f"agnlib.styles.{name}")


def __dir__() -> list[str]:
    return list(_MODULES)
