"""`examples/space`: the page that a Space would show, launched as a Space does it."""

from __future__ import annotations

import json
import re
import runpy
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

SPACE = Path(__file__).resolve().parents[2] / "examples" / "space"
CHECKOUT = SPACE.parents[1]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_app_serves_the_demo_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gradio = pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    launch, opened = gradio.Blocks.launch, []

    def launched(blocks: Any) -> None:
        launch(blocks, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        opened.append(blocks)

    monkeypatch.setattr(gradio.Blocks, "launch", launched)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(SPACE / "app.py"))
    (page,) = opened
    try:
        with urllib.request.urlopen(f"{page.local_url.rstrip('/')}/config") as answer:
            assert json.load(answer)["title"] == "agnlib"
    finally:
        page.close()


def test_it_is_three_lines_and_needs_what_there_is() -> None:
    lines = [line for line in (SPACE / "app.py").read_text("utf-8").splitlines() if line]
    assert len(lines) == 3
    (requirement,) = (SPACE / "requirements.txt").read_text("utf-8").splitlines()
    name, extra = re.fullmatch(r"(\w+)\[(\w+)\]", requirement).groups()  # type: ignore[union-attr]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    assert name == project["name"]
    assert extra in project["optional-dependencies"]
    card = (SPACE / "README.md").read_text("utf-8")
    assert "sdk: gradio" in card
    assert (SPACE / re.search(r"app_file: (\S+)", card)[1]).is_file()  # type: ignore[index]
