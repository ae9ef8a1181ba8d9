"""The documentation builds without a warning, offline, and has every public name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from api_snapshot import public_modules

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, of a copy of the checkout's docs, with every warning an error."""
    for name in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(name, reason="the documentation needs the extra docs")
    target = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_every_public_name_is_in_the_reference(built: Path) -> None:
    sphobjinv = pytest.importorskip("sphobjinv", reason="reads the inventory; of the extra docs")
    shown = {entry.name for entry in sphobjinv.Inventory(str(built / "objects.inv")).objects}
    paths: dict[int, list[str]] = {}
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.ismodule(value) and name != "__version__":
                paths.setdefault(id(value), []).append(f"{module.__name__}.{name}")
    missing = [names for names in paths.values() if not shown & set(names)]
    assert len(paths) > 100
    assert not missing


def test_no_warning_is_silenced() -> None:
    settings = (DOCS / "conf.py").read_text("utf-8")
    assert "nitpicky = True" in settings
    assert "nitpick_ignore" not in settings
    assert "suppress_warnings" not in settings


def test_the_readme_is_read_in_two_minutes() -> None:
    lines = (DOCS.parent / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 130
    assert max(len(line) for line in lines) <= 110
