"""`agnlib stylize DIR -o DIR`: killed at random, stopped by signals, in shards at once; its options and exit codes."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy import in_new_process, program, start_process

import agnlib
from agnlib.cli import main as cli
from agnlib.folder._tree import NOTES
from agnlib.painting import _rendering
from agnlib.stylizer import Stylizer

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def fill(folder: Path, count: int, *, seed: int = 0) -> list[str]:
    """So many pictures of 8 to 16 pixels a side, in folders; their names."""
    rng, names = np.random.default_rng(seed), []
    for number in range(count):
        name = f"{number % 7}/{number % 3}/{number:05}{('.png', '.jpg', '.bmp')[number % 3]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(8, 17, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
        names.append(name)
    return sorted(names)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with nine photographs and a style."""
    fill(tmp_path / "photos", 9)
    fill(tmp_path / "styles", 1, seed=1)
    shutil.move(tmp_path / "styles" / "0" / "0" / "00000.png", tmp_path / "style.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(weights: Path, *more: object) -> list[str]:
    return ["stylize", *map(str, more), "--style", "style.png", "--weights", str(weights), "--device", "cpu"]


def test_clips_are_left_out_where_that_is_asked_for(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.mp4", "sea/a.MOV"):
        (place / "photos" / name).parent.mkdir(exist_ok=True)
        (place / "photos" / name).write_bytes(b"never opened")
    assert cli.main([*arguments(weights, "photos", "-o", "out"), "--no-clips"]) == 0
    assert "left out: 2 clips, such as 'b.mp4': as it was asked for" in capsys.readouterr().err
    report = json.loads((place / "out" / "agnlib-report.json").read_text())
    assert report["skipped"] == dict.fromkeys(("b.mp4", "sea/a.MOV"), "a clip: as it was asked for")
    assert (report["painted"], report["failed"]) == (9, {})
    assert not list((place / "out").rglob("*.mp4"))
    shutil.copytree(place / "photos" / "sea", place / "clips")
    assert cli.main([*arguments(weights, "clips", "-o", "out2"), "--no-clips"]) == 2
    assert "no photographs in 'clips'" in (said := capsys.readouterr().err)
    assert "it has 1 clip, such as 'a.MOV'" in said


def paintings(out: Path) -> dict[str, int]:
    """Their names and times of change."""
    found = (path for path in out.rglob("*") if path.is_file() and path.suffix not in (".json", ".tmp"))
    return {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in sorted(found) if NOTES not in path.parts
    }


def noted(out: Path) -> Counter[str]:
    """How often each painting was noted as done; torn lines apart."""
    found: Counter[str] = Counter()
    for path in (out / NOTES).glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            if line.startswith(b'{"line": "done"') and line.endswith(b"}"):
                found[json.loads(line)["painting"]] += 1
    return found


def count_noted(out: Path) -> int:
    """As `noted`, quickly, of a run that goes on."""
    return sum(path.read_bytes().count(b'{"line": "done"') for path in (out / NOTES).glob("*.jsonl"))


def assert_whole(photos: Path, out: Path, names: list[str]) -> None:
    assert sorted(paintings(out)) == names
    for name in names:
        with Image.open(photos / name) as photo, Image.open(out / name) as painting:
            assert painting.size == photo.size
            painting.load()
    assert not list(out.rglob("*.tmp"))


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def run(command: list[str], log: Path) -> int:
    """The program in the folder of its log, in a process that has nothing of this one."""
    os.chdir(log.parent)
    return program(command, log)


def slowly(command: list[str], log: Path) -> int:
    """The program, with a short sleep before every painting."""
    inner = _rendering.rows

    def rows(painting: Any) -> Any:
        time.sleep(0.05)
        return inner(painting)

    _rendering.rows = rows
    return run(command, log)


# -- kills -------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(("count", "kills"), [(300, 5), pytest.param(10_000, 40, marks=pytest.mark.slow)])
def test_killed_at_random_it_goes_on(weights: Path, tmp_path: Path, count: int, kills: int) -> None:
    """SIGKILL, again and again: every painting whole, none missing, none done twice beyond those in flight."""
    photos, out, log = tmp_path / "photos", tmp_path / "out", tmp_path / "log.txt"
    names = fill(photos, count)
    fill(tmp_path, 1)
    shutil.move(tmp_path / "0" / "0" / "00000.png", tmp_path / "style.png")
    command, rng, before = arguments(weights, "photos", "-o", "out", "--quiet"), random.Random(count), {}
    for kill in range(kills):
        until = len(before) + rng.randrange(1, 3 * (count - len(before)) // (2 * (kills + 1 - kill)))
        process = start_process(run, command, log)
        wait_for(lambda until=until, process=process: count_noted(out) >= until or not process.is_alive())
        time.sleep(rng.uniform(0, 0.02))
        assert process.is_alive(), log.read_text()
        process.kill()
        process.join()
        there = paintings(out)
        assert {name: there[name] for name in before} == before, "what was there is painted again"
        before = there
    assert in_new_process(run, command, log, timeout=1200) == 0, log.read_text()
    there = paintings(out)
    assert {name: there[name] for name in before} == before
    assert_whole(photos, out, names)
    assert noted(out) == dict.fromkeys(names, 1)
    report = json.loads((out / "agnlib-report.json").read_bytes())
    assert (report["painted"], report["kept"]) == (count - len(before), len(before))


@posix
def test_shards_at_once_in_one_folder(weights: Path, tmp_path: Path) -> None:
    """One of them is killed on the way; the others do not notice."""
    photos, out, log = tmp_path / "photos", tmp_path / "out", tmp_path / "log.txt"
    names = fill(photos, 60)
    shutil.copy(photos / names[0], tmp_path / "style.png")
    commands = [arguments(weights, "photos", "-o", "out", "--quiet", "--shard", f"{number}/3") for number in (1, 2, 3)]
    processes = [start_process(slowly, command, log) for command in commands]
    wait_for(lambda: count_noted(out) > 6)
    processes[1].kill()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL, 0], log.read_text()
    assert in_new_process(run, commands[1], log) == 0, log.read_text()
    assert_whole(photos, out, names)
    assert noted(out) == dict.fromkeys(names, 1)
    reports = [json.loads((out / f"agnlib-report-{number}-of-3.json").read_bytes()) for number in (1, 2, 3)]
    assert [report["chosen"] for report in reports] == [20, 20, 20]
    assert [report["painted"] + report["kept"] for report in reports] == [20, 20, 20]


# -- signals -----------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_same_command_goes_on(weights: Path, place: Path, number: int) -> None:
    names, log = fill(place / "photos", 60), place / "log.txt"
    command = arguments(weights, "photos", "-o", "out")
    process = start_process(slowly, command, log)
    wait_for(lambda: count_noted(place / "out") > 2)
    os.kill(process.pid or 0, number)
    process.join(240)
    assert process.exitcode == 128 + number, log.read_text()
    there = paintings(place / "out")
    said = log.read_text().splitlines()[-1]
    name = signal.Signals(number).name
    assert said == f"agnlib: stopped ({name}) with {60 - len(there)} photographs left; the same command goes on"
    assert noted(place / "out") == dict.fromkeys(there, 1)
    assert in_new_process(run, command, log) == 0, log.read_text()
    assert f"{60 - len(there)} painted, {len(there)} kept" in log.read_text().splitlines()[-1]
    assert_whole(place / "photos", place / "out", names)
    assert {name: paintings(place / "out")[name] for name in there} == there


# -- the program -------------------------------------------------------------------------------------------------------


def test_options_arrive(weights: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--strength", 0.6, "--scale", 2, "--tile", 16, "--seed", 5, "--color-only", "--size", 9)
    more = ("--format", "png", "--shard", "2/4", "--report", "mine.json")
    assert cli.main(arguments(weights, "photos", "-o", "out", *given, *more)) == 0
    names = sorted(path.relative_to("photos").as_posix() for path in Path("photos").rglob("*.*"))[1::4]
    assert list(paintings(place / "out")) == [str(Path(name).with_suffix(".png")) for name in names]
    options: Any = {"strength": 0.6, "scale": 2, "tile": 16, "seed": 5, "color_only": True, "size": 9}
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    for name in names:
        stylizer.stylize_file(Path("photos") / name, "alone.png", "style.png", overwrite=True, **options)
        assert Path("alone.png").read_bytes() == (place / "out" / name).with_suffix(".png").read_bytes()
    report = json.loads(Path("mine.json").read_bytes())
    assert (report["found"], report["chosen"], report["shard"]) == (9, len(names), [2, 4])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"agnlib: {place / 'out'}: {len(names)} painted, ")
    assert "%|" not in err  # no progress bar where nobody looks


def test_masks_and_a_saved_style(weights: Path, place: Path) -> None:
    Image.fromarray(np.tile(np.arange(7) < 3, (5, 1))).save("mask.png")
    given = ("--mask", "mask.png", "--metadata", "all", "--no-recipe", "--quiet")
    command = arguments(weights, "photos", "-o", "out", "--save-style", "code.safetensors")
    assert cli.main([*command, *given]) == 0
    stylizer, name = Stylizer.from_pretrained(weights, device="cpu"), "1/1/00001.jpg"
    with pytest.warns(UserWarning, match="resized"):
        stylizer.stylize_file(place / "photos" / name, "alone.jpg", "code.safetensors", mask="mask.png", recipe=False)
    assert Path("alone.jpg").read_bytes() == (place / "out" / name).read_bytes()


def test_a_format_for_several_photographs(weights: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = sorted(map(str, Path("photos").rglob("*.*")))[:2]
    assert cli.main(arguments(weights, *photos, "-o", "out/", "--format", "webp", "--quiet")) == 0
    assert list(paintings(place / "out")) == [f"{Path(photo).stem}.webp" for photo in photos]
    assert cli.main(arguments(weights, photos[0], "-o", "out.png", "--format", "webp")) == 2
    assert "--format" in capsys.readouterr().err


def test_quiet_says_nothing_but_errors(weights: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments(weights, "photos", "-o", "out", "--quiet")) == 0
    assert capsys.readouterr() == ("", "")
    Path("photos/broken.png").write_text("a letter")
    assert cli.main(arguments(weights, "photos", "-o", "out", "--quiet")) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("agnlib: error: broken.png: ")


def test_the_progress_bar_of_a_terminal(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos/broken.png").write_text("a letter")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(arguments(weights, "photos", "-o", "out")) == 1
    assert "10/10" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Path("out/1/1/00001.jpg").unlink()
    assert cli.main(arguments(weights, "photos", "-o", "out")) == 1
    err = capsys.readouterr().err
    assert "8/10" in err  # what was done before counts
    assert "10/10" in err


OF_FILES = ("png", "JPE", "heic", "gif", "mp4", "safetensors", "json")


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["photos", "-o", "photos"], ["lie in the output folder"]),
        (["photos", "style.png", "-o", "out"], ["one folder", "got 2"]),
        (["photos", "styles", "-o", "out"], ["one folder", "got 2"]),
        (["styles", "-o", "out"], ["no photographs in 'styles'"]),
        (["photos", "-o", "out", "--format", "gif"], ["--format", "gif"]),
        (["photos", "-o", "out", "--shard", "3/2"], ["--shard", "I/N", "'3/2'"]),
        (["photos", "-o", "out", "--shard", "1"], ["--shard", "I/N", "'1'"]),
        (["photos", "-o", "out", "--report", "missing/r.json"], ["missing/r.json", "create it first"]),
        (
            ["photos", "-o", "out", "--save-style", "a.safetensors", "--report", "a.safetensors"],
            ["--report", "--save-style"],
        ),
        (
            ["photos", "-o", "out", "--preserve-color", "--color", "0.5", "--save-style", "a.safetensors"],
            ["--preserve-color", "--color is 0.5"],
        ),
        (["photos", "-o", "taken"], ["2 files are in the way", "agnlib did not write it", "--overwrite"]),
        (["photos", "-o", "style.png"], ["is a file, expected a folder"]),
        (["style.png", "-o", "out.png", "--shard", "1/2"], ["--shard", "is for a folder"]),
        (["style.png", "-o", "out.png", "--report", "r.json"], ["--report", "is for a folder"]),
        *((["photos", "-o", f"out.{kind}"], ["has the name of a file", f"'out.{kind}/'"]) for kind in OF_FILES),
        *((["style.png", "photos/1/1/00001.jpg", "-o", f"out.{kind}"], [f"'out.{kind}/'"]) for kind in OF_FILES),
    ],
)
def test_mistakes_are_2_and_write_nothing(
    weights: Path, place: Path, more: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1/1/00001.jpg", "2/2/00002.bmp"):
        Path("taken", name).parent.mkdir(parents=True)
        shutil.copy(Path("photos", name), Path("taken", name))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert cli.main(arguments(weights, *more)) == 2
    err = capsys.readouterr().err
    assert err.startswith("agnlib: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_the_report_may_go_into_the_folder_that_the_run_makes(weights: Path, place: Path) -> None:
    assert cli.main(arguments(weights, "photos", "-o", "made", "--report", "made/r.json", "--shard", "1/10")) == 0
    assert json.loads(Path("made/r.json").read_text())["painted"] == 1


def test_a_style_in_the_output_folder_is_not_overwritten(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(weights, "photos", "-o", ".", "--overwrite")
    assert cli.main(command) == 2  # the photographs lie in it
    Path("out").mkdir()
    shutil.copy("style.png", "out/style.png")
    shutil.copy("style.png", "photos/style.png")
    before = Path("out/style.png").read_bytes()
    command[command.index("style.png")] = "out/style.png"
    command[command.index(".")] = "out"
    assert cli.main(command) == 2
    assert "is the input 'out/style.png' itself" in capsys.readouterr().err
    assert Path("out/style.png").read_bytes() == before


def test_exit_codes_of_a_process(weights: Path, place: Path) -> None:
    def code(*more: str) -> tuple[int, str]:
        environment = os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1])}
        command = [sys.executable, "-m", "agnlib", *arguments(weights, "photos", "-o", "out", *more)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        return done.returncode, done.stderr

    Path("photos/broken.png").write_text("a letter")
    status, said = code()
    assert (status, said.count("\n")) == (1, 2)
    assert f"agnlib: {place / 'out'}: 9 painted, 1 failed, " in said
    status, said = code("--strength", "0.5")
    assert status == 2
    assert "strength was 1.0, is 0.5" in said


def test_mistakes_import_no_torch(place: Path) -> None:
    (place / "styles" / "notes.txt").touch()
    code = f"""
import sys
from agnlib.cli.main import main
assert main({arguments(place, "styles", "-o", "out")!r}) == 2
assert "torch" not in sys.modules
"""
    environment = os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no photographs in 'styles'" in done.stderr


# -- the guide ---------------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "folders.md"


def blocks(language: str) -> list[str]:
    text = GUIDE.read_text("utf-8")
    return [block.partition("```")[0] for block in text.split(f"```{language}\n")[1:]]


def test_the_guide_runs(place: Path) -> None:
    shutil.copy("style.png", "painting.png")
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) > 3
    for command in commands:
        program_, *rest = shlex.split(command)
        assert program_ == "agnlib"
        assert cli.main(rest) == 0, command
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, str(GUIDE), "exec"), {})
