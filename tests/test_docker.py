"""The Dockerfile without a builder: what it copies is there and enough, what it runs is a command of agnlib's."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agnlib.cli.main import _parser

CHECKOUT = Path(__file__).resolve().parents[1]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each, with continued lines joined."""
    text = (CHECKOUT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def all_of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def copied() -> list[str]:
    return [source for rest in all_of("COPY") for source in shlex.split(rest)[:-1]]


def test_it_runs_as_a_user_without_privileges() -> None:
    names = [name for name, _ in instructions()]
    (user,) = all_of("USER")
    made = next(rest for rest in all_of("RUN") if "useradd" in rest)
    assert user not in ("root", "0")
    assert made.split()[-1] == user
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))


def test_the_demo_listens_on_loopback_by_default() -> None:
    parser, _ = _parser()
    (program,), command = json.loads(all_of("ENTRYPOINT")[0]), json.loads(all_of("CMD")[0])
    assert program == "agnlib"
    arguments = parser.parse_args(command)
    assert (arguments.host, str(arguments.port)) == ("127.0.0.1", all_of("EXPOSE")[0])
    assert arguments.no_browser


def test_the_commands_of_the_docs_are_commands() -> None:
    text = (CHECKOUT / "docs" / "howto" / "other-programs.md").read_text("utf-8")
    runs = [shlex.split(line) for line in re.findall(r"^\$ (docker run .*)$", text, re.MULTILINE)]
    assert len(runs) == 3
    for words in runs:
        if given := words[words.index("agnlib") + 1 :]:
            _parser()[0].parse_args(given)
    published = [word for words in runs for word in words if re.fullmatch(r"[\d.]+:\d+:\d+", word)]
    assert published == ["127.0.0.1:7860:7860"]
    assert set(re.findall(r"TORCH_\w+", text)) == {rest.split("=")[0] for rest in all_of("ARG")}


def test_what_is_installed_is_there() -> None:
    (line,) = (rest for rest in all_of("RUN") if '".[' in rest)
    extras = re.search(r"\.\[([\w,]+)\]", line)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert [name for name in copied() if not (CHECKOUT / name).exists()] == []
    kept = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert kept == set(copied())


def test_pip_is_given_another_index_only_when_there_is_one() -> None:
    (line,) = (rest for rest in all_of("RUN") if "torchvision" in rest)
    for index, expected in (("", "torch torchvision"), ("ADDRESS", "--index-url ADDRESS torch torchvision")):
        script = f'TORCH_INDEX={index!r}; pip() {{ echo "$@"; }}; {line}'
        said = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout
        assert said == f"install --no-cache-dir {expected}\n"


def test_what_is_copied_is_enough_for_a_wheel_with_all_that_is_data(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the wheel")
    pytest.importorskip("hatch_fancy_pypi_readme", reason="builds the wheel")
    source = tmp_path / "source"
    source.mkdir()
    for name in copied():
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheel")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "web/assets/index.html",
        "web/assets/worker.js",
        "web/assets/onnxruntime-web.txt",
        "demo/assets/page.css",
    ):
        assert f"agnlib/{name}" in names
