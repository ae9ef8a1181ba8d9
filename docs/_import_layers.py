"""The figure of the package: its subpackages in layers, drawn from the imports.

    python docs/_import_layers.py   # as the build does, into docs/_generated/import-layers.svg

A subpackage lies one layer above the highest of those that it imports. Imports for type checkers alone do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "agnlib"
WIDTH, HEIGHT, GAP, LEFT = 118, 34, 10, 20
_INK, _PAPER = "#334155", "#f8fafc"


def subpackages(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Room -> the subpackages that it imports."""
    found: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        subpackage = file.relative_to(package).with_suffix("").parts[0]
        if subpackage != "__init__":
            reached = {name for name in _imported(ast.parse(file.read_text("utf-8"))) if name != subpackage}
            found.setdefault(subpackage, set()).update(reached)
    return {subpackage: reached & found.keys() for subpackage, reached in found.items()}


def layers(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The subpackages of each layer, from the bottom up.

    Raises:
        graphlib.CycleError: subpackages import each other.

    Example:
        >>> layers({"roof": {"wall"}, "wall": {"ground"}, "ground": set(), "lamp": {"ground"}})
        [['ground'], ['lamp', 'wall'], ['roof']]
    """
    level: dict[str, int] = {}
    for subpackage in TopologicalSorter(graph).static_order():
        level[subpackage] = 1 + max((level[below] for below in graph[subpackage]), default=-1)
    return [
        sorted(subpackage for subpackage in level if level[subpackage] == layer)
        for layer in range(max(level.values()) + 1)
    ]


def drawn(stack: list[list[str]]) -> str:
    """The layers as SVG, the lowest at the bottom."""
    wide = LEFT + max(len(layer) for layer in stack) * (WIDTH + GAP) + GAP
    tall = len(stack) * (HEIGHT + GAP) + GAP
    boxes = [
        _box(subpackage, LEFT + GAP + place * (WIDTH + GAP), tall - (number + 1) * (HEIGHT + GAP))
        for number, layer in enumerate(stack)
        for place, subpackage in enumerate(layer)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}"'
        f' font-family="sans-serif" font-size="14" fill="{_INK}"><title>Subpackages of agnlib in layers</title>'
        f'<rect width="{wide}" height="{tall}" fill="white"/>{"".join(boxes)}</svg>\n'
    )


def builder_inited(app: Any) -> None:
    """Draw the figure before the pages are read."""
    folder = HERE / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "import-layers.svg").write_text(drawn(layers(subpackages())), "utf-8")


def _box(subpackage: str, left: int, top: int) -> str:
    middle = f'x="{left + WIDTH / 2:g}" y="{top + HEIGHT / 2 + 5:g}" text-anchor="middle"'
    frame = f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{_PAPER}" stroke="{_INK}"/>'
    return f"{frame}<text {middle}>{escape(subpackage)}</text>"


def _imported(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.module and child.module.split(".")[0] == "agnlib":
            parts = child.module.split(".")[1:]
            yield from parts[:1] or [alias.name for alias in child.names]
        else:
            yield from _imported(child)


if __name__ == "__main__":
    builder_inited(None)
