"""Every message that the page on troubleshooting has as a heading is one that agnlib gives."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "troubleshooting.md"
HEADINGS = re.findall(r"^### `(.+)`$", PAGE.read_text("utf-8"), re.MULTILINE)


def texts() -> str:
    """All texts of the sources, literals that stand beside each other joined as Python joins them."""
    trees = (ast.parse(file.read_text("utf-8")) for file in sorted((ROOT / "agnlib").rglob("*.py")))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


TEXTS = texts()


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_is_the_text_of_an_error(heading: str) -> None:
    parts = [part.strip() for part in heading.split("…")]
    missing = [part for part in parts if part not in TEXTS]
    assert not missing, f"no message has {missing}; put its new text into docs/reference/troubleshooting.md"


def test_there_are_headings() -> None:
    assert len(HEADINGS) > 20
