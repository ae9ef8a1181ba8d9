"""What a painting was made with, as `agnlib.painting._recipe` notes it."""

from __future__ import annotations

from typing import Any

from agnlib import __version__
from agnlib._exported._program import Program
from agnlib.styles._names import without_folders

__all__ = ["recipe_of"]

_LONGEST = 500  # characters of a style's name


def recipe_of(program: Program, style: str, size: int | None) -> dict[str, Any]:
    """Weights, style and options; where the style's files lie is nobody's business."""
    more = {} if size is None else {"size": size}
    return {"agnlib": __version__, "weights": program.weights, "style": [without_folders(style)[:_LONGEST]], **more}
