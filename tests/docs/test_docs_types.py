"""The README's and the docs' python, checked as a reader's strict project would check it: a page is a module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def module_of(text: str) -> str:
    """A page's blocks of python where they stand; the lines between them are empty."""
    kept = ["" for _ in text.splitlines()]
    for block in _BLOCK.finditer(text):
        first = text[: block.start()].count("\n") + 1
        lines = block[1].splitlines()
        kept[first : first + len(lines)] = lines
    return "\n".join(kept) + "\n"


def checked(modules: dict[str, str], folder: Path) -> list[str]:
    """What `mypy --strict` says of the modules, without the notes."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    others = ["--untyped-calls-exclude=torch", "--allow-subclassing-any"]  # packages with few types or none
    command = [sys.executable, "-m", "mypy", "--strict", *others, "--no-pretty", "--config-file", str(config(folder))]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line.removeprefix(f"{folder}/") for line in done.stdout.splitlines() if ": error:" in line]


def config(folder: Path) -> Path:
    """Other people's packages may be without types, or not installed; ours is neither."""
    path = folder / "mypy.ini"
    others = "[mypy-torchvision.*,kornia.*,lightning.*,lpips.*,onnxruntime.*,ray.*,fastapi.*]"
    path.write_text(f"[mypy]\n{others}\nignore_missing_imports = True\n")
    return path


def test_the_pages_are_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    texts = {page: page.read_text("utf-8") for page in PAGES if "inventories" not in page.parts}
    modules = {
        re.sub(r"\W", "_", str(page.relative_to(CHECKOUT).with_suffix(""))): module_of(text)
        for page, text in texts.items()
        if _BLOCK.search(text)
    }
    assert len(modules) > 15
    errors = checked(modules, tmp_path)
    assert not errors, "\n".join(errors)


def test_a_mistake_is_found_on_its_line(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    blocks = ("from agnlib import Stylizer", "Stylizer.from_pretrained(1.5)")
    page = "# Page\n\n" + "\nand then\n\n".join(f"```python\n{block}\n```\n" for block in blocks)
    (error,) = checked({"page": module_of(page)}, tmp_path)
    assert "page.py:10: error:" in error
