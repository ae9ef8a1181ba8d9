"""The photo goes before the style, or by keyword: wherever a public function takes both."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from api_snapshot import public_modules

PHOTOS = {"content", "photo", "photos"}
STYLES = {"style", "styles", "reference", "references"}
ENCODERS = {"agnlib.evaluation.Judge"}  # whose arguments of these names are encoders
PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def functions() -> Iterator[tuple[str, Any]]:
    """Every public function and method, those of classes by the names that the classes have."""
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                members = inspect.getmembers(value, inspect.isroutine)
                public = [(key, each) for key, each in members if not key.startswith("_") or key == "__call__"]
                yield from ((f"{module.__name__}.{name}.{key}", each) for key, each in public)
            if callable(value):
                yield f"{module.__name__}.{name}", value


def takes_both() -> dict[str, list[str]]:
    """Name of a function -> its arguments by place, of those that take a photo and a style by place."""
    found = {}
    for name, function in functions():
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            continue
        placed = [each.name for each in parameters if each.kind in PLACED]
        if PHOTOS & set(placed) and STYLES & set(placed) and name not in ENCODERS:
            found[name] = placed
    return found


def test_photos_come_first() -> None:
    known = takes_both()
    assert {"agnlib.stylizer.Stylizer.__call__", "agnlib.training.train", "agnlib.neighbors.paint"} <= known.keys()
    for name, placed in known.items():
        photo, style = (min(placed.index(each) for each in kind & set(placed)) for kind in (PHOTOS, STYLES))
        assert photo < style, f"{name}({', '.join(placed)})"
