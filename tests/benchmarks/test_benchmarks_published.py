"""The measured tables: what the pages show is what was measured, and what is kept is small enough to be read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from benchmarks import publish
from benchmarks._common import rounded

BENCHMARKS = publish.CHECKOUT / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("page", publish.pages(), ids=lambda page: page.relative_to(publish.CHECKOUT).as_posix())
def test_a_page_shows_what_was_measured(page: Path) -> None:
    text = page.read_text("utf-8")
    assert publish.published(text) == text, "run python benchmarks/publish.py"


def test_every_result_is_shown_or_is_the_whole_of_one_that_is() -> None:
    shown = {name for page in publish.pages() for name in re.findall(r"<!-- begin (\w+) -->", page.read_text("utf-8"))}
    tables = {file.stem for file in publish.RESULTS.glob("*.md")}
    assert {name for name in tables - shown if f"{name}_short" not in shown} == set()


def test_there_is_not_more_than_one_wants_to_read() -> None:
    assert sum(len(script.read_text("utf-8").splitlines()) for script in SCRIPTS) <= 4250
    assert sum(file.stat().st_size for file in publish.RESULTS.rglob("*") if file.is_file()) <= 700_000
    pages = (publish.CHECKOUT / "docs" / "reference" / "measurements").glob("*.md")
    assert {page.name for page in pages if len(page.read_text("utf-8").splitlines()) >= 200} == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.relative_to(BENCHMARKS).as_posix())
def test_a_benchmark_imports_what_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks."):
            text = (publish.CHECKOUT / f"{node.module.replace('.', '/')}.py").read_text("utf-8")
            assert [alias.name for alias in node.names if not re.search(rf"\b{alias.name}\b", text)] == []


def test_numbers_are_kept_with_eight_digits() -> None:
    assert rounded({"a": [1 / 3, (2e9 / 3,)], "b": "text"}) == {"a": [0.33333333, [666666670.0]], "b": "text"}
