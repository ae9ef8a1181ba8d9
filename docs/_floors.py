"""The figure of the house: rooms of the package on floors, drawn from the imports.

    python docs/_floors.py   # as the build does, into docs/_generated/floors.svg

A room stands one floor above the highest of those that it imports. Imports for type checkers alone do not count.
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


def rooms(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        room = file.relative_to(package).with_suffix("").parts[0]
        if room != "__init__":
            reached = {name for name in _imported(ast.parse(file.read_text("utf-8"))) if name != room}
            found.setdefault(room, set()).update(reached)
    return {room: reached & found.keys() for room, reached in found.items()}


def floors(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The rooms of each floor, from the ground up.

    Raises:
        graphlib.CycleError: rooms import each other.

    Example:
        >>> floors({"roof": {"wall"}, "wall": {"ground"}, "ground": set(), "lamp": {"ground"}})
        [['ground'], ['lamp', 'wall'], ['roof']]
    """
    level: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        level[room] = 1 + max((level[below] for below in graph[room]), default=-1)
    return [sorted(room for room in level if level[room] == floor) for floor in range(max(level.values()) + 1)]


def drawn(stack: list[list[str]]) -> str:
    """The floors as SVG, the ground at the bottom."""
    wide = LEFT + max(len(floor) for floor in stack) * (WIDTH + GAP) + GAP
    tall = len(stack) * (HEIGHT + GAP) + GAP
    boxes = [
        _box(room, LEFT + GAP + place * (WIDTH + GAP), tall - (number + 1) * (HEIGHT + GAP))
        for number, floor in enumerate(stack)
        for place, room in enumerate(floor)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}"'
        f' font-family="sans-serif" font-size="14" fill="{_INK}"><title>Rooms of agnlib on floors</title>'
        f'<rect width="{wide}" height="{tall}" fill="white"/>{"".join(boxes)}</svg>\n'
    )


def builder_inited(app: Any) -> None:
    """Draw the figure before the pages are read."""
    folder = HERE / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "floors.svg").write_text(drawn(floors(rooms())), "utf-8")


def _box(room: str, left: int, top: int) -> str:
    middle = f'x="{left + WIDTH / 2:g}" y="{top + HEIGHT / 2 + 5:g}" text-anchor="middle"'
    frame = f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{_PAPER}" stroke="{_INK}"/>'
    return f"{frame}<text {middle}>{escape(room)}</text>"


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
