"""Each block of python and bash in the README and the docs is run; of what takes hours, the options are checked."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agnlib.errors import MissingDependencyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "examples" / "images"
PEERS = {"fastapi", "gradio", "kornia", "lightning"}  # whose recipes we give; run where they are installed
# a reader's minutes are not a test's
HURRIED = (
    (r"--minutes [\d.]+", "--minutes 0.01"),
    (r"\bminutes=[\d.]+", "minutes=0.01"),
    ("--method neighbors", "--method neighbors --size 48"),
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = re.finditer(r"^```(python|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [Block(each[1], each[2], text[: each.start()].count("\n") + 2) for each in found]


def pages() -> Iterator[str]:
    for page in [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]:
        if blocks(page) and "inventories" not in page.parts:
            yield page.relative_to(CHECKOUT).as_posix()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of, and the command line."""

    def put(name: str, target: str, side: int = 96) -> None:
        with Image.open(IMAGES / f"{name}.jpg") as opened:
            opened.thumbnail((side, side))
            path = tmp_path / target
            path.parent.mkdir(parents=True, exist_ok=True)
            opened.save(path)

    for target in ("photo.jpg", "my_photos/one.jpg"):
        put("castle", target)
    for target in ("painting.jpg", "painting.png", "my_pictures/one.jpg"):
        put("poppies", target)
    for name in ("astronaut", "city", "coffee"):
        put(name, f"photos/{name}.jpg")
        put(name, f"my_photos/{name}.jpg", side=224)
    for name in ("auvers", "spring", "mackerel"):
        put(name, f"paintings/{name}.jpg")
        put(name, f"my_pictures/{name}.jpg", side=224)
    for name in ("astronaut", "castle", "city", "poppies", "auvers", "spring"):
        put(name, f"examples/images/{name}.jpg")
    commands = tmp_path / ".commands"
    commands.mkdir()
    (commands / "agnlib").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agnlib "$@"\n')
    (commands / "agnlib").chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT), prepend=":")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clip(target: Path) -> None:
    """Eight frames, where PyAV is there to write them."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    with av.open(str(target), "w") as opened:
        stream = opened.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        with Image.open(IMAGES / "castle.jpg") as photo:
            frame = av.VideoFrame.from_image(photo.convert("RGB").resize((64, 48)))
        for _ in range(8):
            opened.mux(stream.encode(frame))
        opened.mux(stream.encode())


@pytest.mark.parametrize("page", list(pages()))
def test_the_blocks_of_a_page_run_one_after_another(page: str, desk: Path) -> None:
    if page == "docs/howto/video.md":
        clip(desk / "clip.mp4")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(CHECKOUT / page):
        code = block.code
        for pattern, replacement in HURRIED:
            code = re.sub(pattern, replacement, code)
        if block.language == "bash":
            run_shell(code)
        else:
            run_python(code.replace('"CHECKOUT"', repr(str(CHECKOUT))), f"{page}:{block.line}", namespace)


def run_python(code: str, where: str, namespace: dict[str, Any]) -> None:
    try:
        exec(compile(code, where, "exec"), namespace)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in PEERS:
            raise
        pytest.skip(f"{where}: {error}")
    except MissingDependencyError as error:
        pytest.skip(f"{where}: {error}")


def run_shell(code: str) -> None:
    """Ours are run; a script that takes hours must exist and have the options; what is installed must be an extra."""
    left = []
    for line in code.replace("\\\n", " ").splitlines():
        if script := re.search(r"\bpython ((?:benchmarks|examples)/[\w/]+\.py)([^|>;#]*)", line):
            check_options(script[1], shlex.split(script[2]))
        elif "pip install" in line:
            check_extras(line)
            left += [line.split("&&", 1)[1]] if "&& agnlib" in line else []
        elif line.split(" ")[0] not in ("git", "for", "done", ""):
            left.append(line)
    if left:
        subprocess.run(["bash", "-ec", "\n".join(left)], check=True, stdout=subprocess.DEVNULL)


def check_options(script: str, words: list[str]) -> None:
    assert (CHECKOUT / script).is_file()
    text = (CHECKOUT / script).read_text("utf-8")
    for word in words:
        if word.startswith("--"):
            assert f'"{word}"' in text, f"{script} has no option {word}"


def check_extras(line: str) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    for extras in re.findall(r"\[([\w,]+)\]", line):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_a_block_that_fails_is_seen(desk: Path) -> None:
    with pytest.raises(NameError):
        run_python("missing", "here:1", {})
    with pytest.raises(subprocess.CalledProcessError):
        run_shell("agnlib stylize missing.jpg --style painting.jpg -o out.png\n")
    with pytest.raises(AssertionError):
        run_shell("python benchmarks/quality/quality.py --wieghts agn-small\n")
    with pytest.raises(AssertionError):
        check_extras("pip install 'agnlib[nothing]'")
