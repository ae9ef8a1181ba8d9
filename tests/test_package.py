"""`import agnlib` is enough: its modules and classes are there, loaded when they are first asked for."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import agnlib
import agnlib.styles

PACKAGE = Path(agnlib.__file__).parent
REFERENCE = PACKAGE.parent / "docs" / "reference"
MODULES = [each.name for each in pkgutil.iter_modules(agnlib.__path__) if not each.name.startswith("_")]
PAGES = sorted(path.stem for path in REFERENCE.glob("*.md") if f"automodule:: agnlib.{path.stem}\n" in path.read_text())


def fresh(program: str) -> str:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_an_attribute() -> None:
    program = "import sys, agnlib; print(*(getattr(agnlib, name).__name__ for name in sys.argv[1:]))"
    found = fresh(program.replace("sys.argv[1:]", repr(MODULES))).split()
    assert found == [f"agnlib.{name}" for name in MODULES]


@pytest.mark.parametrize("page", [page for page in PAGES if "." in page])
def test_what_the_reference_names_needs_no_other_import(page: str) -> None:
    assert fresh(f"import agnlib; print(agnlib.{page}.__name__)") == f"agnlib.{page}\n"


def test_there_are_pages_to_look_at() -> None:
    assert {"errors", "image", "styles.code", "training", "memory"} <= set(PAGES)


@pytest.mark.parametrize("package", ["agnlib", "agnlib.styles"])
def test_dir_shows_what_there_is(package: str) -> None:
    module = importlib.import_module(package)
    inside = {each.name for each in pkgutil.iter_modules(module.__path__) if not each.name.startswith("_")}
    assert set(dir(module)) == inside | set(getattr(module, "__all__", ()))
    for name in dir(module):
        getattr(module, name)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'; it has .*(works|video)"):
        _ = module.nothing


def test_a_module_is_loaded_when_it_is_asked_for_and_no_other() -> None:
    program = (
        "import sys, agnlib; loaded = lambda: sorted(n for n in sys.modules if n.startswith('agnlib.')); "
        "print(loaded()); agnlib.memory; print(loaded()); print('torch' in sys.modules)"
    )
    assert fresh(program).splitlines() == ["[]", "['agnlib.errors', 'agnlib.memory']", "False"]


@pytest.mark.parametrize("package", ["agnlib", "agnlib.styles"])
def test_type_checkers_are_told_the_same(package: str) -> None:
    """They read the imports under `TYPE_CHECKING`, and no `__getattr__` that would hide a mistake from them."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    (told,) = (each for each in tree.body if isinstance(each, ast.If) and not isinstance(each.test, ast.UnaryOp))
    names = {alias.name for each in told.body if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert names == set(dir(module)) - {"__version__"}
    assert not any(isinstance(each, ast.FunctionDef) and each.name == "__getattr__" for each in tree.body)
