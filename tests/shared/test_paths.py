"""Paths that may not be looked at, that are too long, that no file can have or that are no UTF-8."""

from __future__ import annotations

import argparse
import ast
import contextlib
import ctypes
import io
import json
import os
import re
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_imports import modules
from toy import batches as toy_batches
from toy import in_new_process, make_folders, make_start, picture, train_arguments

from agnlib import Stylizer
from agnlib._shared.paths import may
from agnlib.cli import main as cli
from agnlib.errors import ImageError, InputError
from agnlib.folder import FolderReport
from agnlib.folder._tree import make_plan
from agnlib.image._writing import check_place
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import PictureStyle
from agnlib.training import PictureFolder, class_folders, mnist
from agnlib.training.callbacks import LogScalars, SaveCheckpoints, SaveSamples
from agnlib.training.data.datasets import read_idx
from agnlib.training.safety.checkpoint import load_state, save_state
from agnlib.video import check_source

ASK_THE_SYSTEM = {"is_dir", "is_file", "exists", "samefile", "is_mount"}
IS_PATH = re.compile("FILE|FOLDER|DIR|PATH|PHOTO|PICTURE")
SUFFIXES = ("", ".png", ".safetensors", ".json", ".mp4")  # of what is read and written
CLOSED, LATIN = "closed", os.fsdecode(b"caf\xe9")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs names of bytes, and permissions")


def is_entry(call: ast.Call) -> bool:
    """`entry.is_dir(follow_symlinks=False)`, of `os.scandir`, which asks nothing again."""
    return any(keyword.arg == "follow_symlinks" for keyword in call.keywords)


def test_files_are_looked_at_by_one_module() -> None:
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and name != "agnlib._shared.paths":
                assert node.func.attr not in ASK_THE_SYSTEM or is_entry(node), (
                    f"{name}:{node.lineno}: see agnlib._shared.paths"
                )


# -- what is no path --------------------------------------------------------------------------------------------------

TINY = Generator(style_dim=4, channels=(4, 4, 8), blocks=(0, 0, 1))
TAKERS: dict[str, Callable[[Any], object]] = {
    "StyleCode.load": StyleCode.load,
    "StyleCode.save": StyleCode(torch.ones(4)).save,
    "PictureStyle.load": PictureStyle.load,
    "PictureStyle.is_in": PictureStyle.is_in,
    "save_pretrained": TINY.save_pretrained,
    "from_pretrained": Generator.from_pretrained,
    "pretrained.load": pretrained.load,
    "Stylizer.from_pretrained": Stylizer.from_pretrained,
    "export": Stylizer(TINY, StyleExtractor(style_dim=4), device="cpu").export,
    "save_state": lambda path: save_state(path, {}, {}),
    "load_state": load_state,
    "source": lambda path: make_plan(path, "out"),
    "target": lambda path: make_plan(os.curdir, path),
    "PictureFolder": lambda path: PictureFolder(path, 8),
    "class_folders": class_folders,
    "mnist": mnist,
    "read_idx": read_idx,
    "SaveCheckpoints": SaveCheckpoints,
    "SaveSamples": lambda path: SaveSamples(path, toy_batches(0, 1)[0]),
    "LogScalars": LogScalars,
    "is_clip": check_source,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("path", [None, 3, b"a.safetensors"])
def test_what_is_no_path_is_said(taker: str, path: object) -> None:
    said = rf"expected a path as text or pathlib\.Path, got {type(path).__name__}$"
    if isinstance(path, bytes) and taker in ("StyleCode.load", "PictureStyle.load"):
        said = "^<bytes> cannot be read"  # these are the file itself
    with pytest.raises(InputError, match=said):
        TAKERS[taker](path)


def test_an_idx_file_of_a_name_that_none_can_have() -> None:
    with pytest.raises(InputError, match=r"'a.x00b' cannot be read"):
        read_idx("a\0b")


# -- every option of every command ------------------------------------------------------------------------------------


def options() -> Iterator[tuple[str, argparse.Action]]:
    """Those that take a path, by their type or by what --help calls it."""
    for command, parser in cli._parser()[1].items():
        for action in parser._actions:
            if action.type is Path or IS_PATH.search(str(action.metavar)):
                yield command, action


def test_the_options_that_take_a_path_are_found() -> None:
    found = {(command, action.dest) for command, action in options()}
    some = {
        ("stylize", "photos"),
        ("stylize", "report"),
        ("train", "resume"),
        ("finetune", "style"),
        ("demo", "weights"),
    }
    assert some | {("evaluate", "grid")} <= found


def usual(command: str, number: int) -> dict[str, list[str]]:
    """Arguments with which a command works, by what they are for; outputs are new for every number."""
    small = {"--size": ["16"], "--batch": ["1"], "--perceptual": ["none"]}
    folders = {"--content": ["content"], "--style": ["style"], "--out": [f"out{number}"]}
    given = {
        "stylize": {"photos": ["photo.png"], "--style": ["photo.png"], "--output": [f"out{number}/"]},
        "train": {**folders, **small, "--init": ["start"], "--steps": ["1"]},
        "finetune": {**folders, **small, "--init": ["start"], "--minutes": ["0.001"]},
        "evaluate": {"--content": ["content"], "--style": ["style"], "--pairs": ["1"], "--random-styles": ["0"]},
        "styles": {"--sheet": [f"sheet{number}.png"]},
        "export": {"file": [f"style{number}.pt2"], "--style": ["photo.png"]},
        "demo": {"--host": ["no host"]},  # said after the weights are read
    }[command]
    return {
        **given,
        **({"--weights": ["start"]} if command in ("stylize", "evaluate", "styles", "export", "demo") else {}),
    }


def bad_paths(action: argparse.Action) -> Iterator[str]:
    """Names of folders, and of files where it may be one."""
    takes_files = re.search("FILE|PATH|PHOTO|PICTURE", str(action.metavar))
    yield from (CLOSED, f"{CLOSED}/", f"{CLOSED}/new/more", "a\0b", "a\0b.png")
    for suffix in SUFFIXES if takes_files else ("",):
        yield from (f"{CLOSED}/a{suffix}", "x" * 300 + suffix, LATIN + suffix)


def attempts() -> Iterator[list[str]]:
    every = ((command, action, path) for command, action in options() for path in bad_paths(action))
    for number, (command, action, path) in enumerate(every):
        name = max(action.option_strings, key=len, default=action.dest)
        given = {**usual(command, number), name: [path]}
        listed = [text for key, value in given.items() for text in ([key] * key.startswith("--") + value)]
        yield [command, *listed]


def look_only_where_allowed() -> None:
    """Of root's powers, give up in this process the two (CAP_DAC_OVERRIDE and _READ_SEARCH) that ignore permissions."""
    if os.geteuid() != 0:
        return
    system = ctypes.CDLL(None, use_errno=True)
    header, powers = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable
    assert system.capget(header, powers) == 0
    powers[0] &= ~0b110
    assert system.capset(header, powers) == 0


def try_all(place: Path) -> int:
    """Write what became of each attempt, made by one who may not look everywhere."""
    os.chdir(place)
    look_only_where_allowed()
    found = []
    for attempt in attempts():
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                code: int | str = cli.main(attempt)
            except BaseException:  # a test's business: it is the failure that is looked for
                code = traceback.format_exc()
        found.append((attempt, code, said.getvalue()))
    (place / "found.json").write_text(json.dumps(found))
    return 0


@linux
def test_no_path_ends_a_command_in_a_traceback(tmp_path: Path) -> None:
    place = tmp_path
    make_folders(place)
    make_start(place / "start")
    picture(place / "photo.png", (20, 16), 1)
    picture(place / f"{LATIN}.png", (20, 16), 2)
    picture(place / LATIN / "a.png", (40, 36), 3)
    picture(place / CLOSED / "a.png", (40, 36), 4)
    (place / CLOSED).chmod(0)
    try:
        assert in_new_process(try_all, place) == 0
    finally:
        (place / CLOSED).chmod(stat.S_IRWXU)
    found = json.loads((place / "found.json").read_text())
    wrong = []
    for attempt, code, said in found:
        errors = [line for line in said.splitlines() if line.startswith("agnlib: error: ")]
        if (code, len(errors)) not in ((0, 0), (2, 1)):
            wrong.append((attempt, code, said))
    assert not wrong
    assert {code for _, code, _ in found} == {0, 2}


# -- names that are no UTF-8 -------------------------------------------------------------------------------------------


@linux
def test_a_folder_of_names_that_are_no_utf8(tmp_path: Path) -> None:
    weights = make_start(tmp_path / f"weights-{LATIN}")
    place = tmp_path / f"photos-{LATIN}"
    picture(place / LATIN / f"{LATIN}.png", (20, 16), 1)
    picture(tmp_path / "photo.png", (20, 16), 1)
    picture(tmp_path / f"style-{LATIN}.png", (20, 16), 2)
    style = ["--style", str(tmp_path / f"style-{LATIN}.png"), "--weights", str(weights), "--device", "cpu"]
    assert cli.main(["stylize", str(place), "-o", str(tmp_path / LATIN), *style]) == 0
    assert cli.main(["stylize", str(tmp_path / "photo.png"), "-o", str(tmp_path / "alone.png"), *style]) == 0
    painted = tmp_path / LATIN / LATIN / f"{LATIN}.png"
    assert painted.read_bytes() == (tmp_path / "alone.png").read_bytes()
    report = json.loads((tmp_path / LATIN / "agnlib-report.json").read_text())
    assert (report["painted"], report["source"], report["failed"]) == (1, str(place), {})
    assert cli.main(["stylize", str(place), "-o", str(tmp_path / LATIN), *style]) == 0
    assert json.loads((tmp_path / LATIN / "agnlib-report.json").read_text())["kept"] == 1


@linux
def test_a_style_code_of_a_picture_whose_name_is_no_utf8(tmp_path: Path) -> None:
    StyleCode(torch.ones(3), f"{LATIN}.png").save(tmp_path / f"{LATIN}.safetensors")
    assert StyleCode.load(tmp_path / f"{LATIN}.safetensors").source == "caf\\udce9.png"


@linux
def test_training_on_names_that_are_no_utf8(tmp_path: Path) -> None:
    content, style = make_folders(tmp_path)
    (style / "ink").rename(style / LATIN)
    out = tmp_path / f"out-{LATIN}"
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as said:  # strict, as a terminal's
        arguments = train_arguments((content, style), make_start(tmp_path / "start"), out, "--steps", "1")
        assert cli.main(arguments) == 0
        said.flush()
        assert f"weights in {tmp_path}/out-caf\\udce9;" in said.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert pretrained.load(out).class_names == (LATIN, "oil")
    again = train_arguments((content, style), tmp_path / "start", out, "--steps", "1", "--resume", "auto")
    assert cli.main(again) == 0


# -- what may not be looked into ---------------------------------------------------------------------------------------


def paint_what_is_open(place: Path) -> int:
    look_only_where_allowed()
    style = ["--style", f"{place}/photo.png", "--weights", f"{place}/start", "--device", "cpu"]
    with (place / "said.txt").open("w") as file, contextlib.redirect_stderr(file):
        return cli.main(["stylize", f"{place}/photos", "-o", f"{place}/painted", *style])


def train_on_what_is_open(place: Path) -> int:
    look_only_where_allowed()
    found = PictureFolder(place / "photos", 16, classes=False)
    return len(found.paths) if found.unreadable == [place / "photos" / "closed"] else 100


@linux
def test_a_closed_subfolder_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    make_start(tmp_path / "start")
    picture(tmp_path / "photo.png", (20, 16), 0)
    for number, name in enumerate(("a.png", "closed/b.png", "sea/c.png", "listed/d.png")):
        picture(tmp_path / "photos" / name, (20, 16), number)
    shut = [tmp_path / "photos" / "closed", tmp_path / "photos" / "listed"]
    shut[0].chmod(0)
    try:
        assert in_new_process(train_on_what_is_open, tmp_path) == 3
        shut[1].chmod(stat.S_IRUSR)
        assert in_new_process(paint_what_is_open, tmp_path) == 1
    finally:
        for folder in shut:
            folder.chmod(stat.S_IRWXU)
    report = json.loads((tmp_path / "painted" / "agnlib-report.json").read_text())
    assert report["painted"] == 2
    assert report["failed"] == {
        "closed": "the folder cannot be listed (Permission denied)",
        "listed/d.png": "the photograph cannot be reached (Permission denied)",
    }
    assert "agnlib: error: closed: the folder cannot be listed" in (tmp_path / "said.txt").read_text()


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_signal_while_a_photo_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    picture(tmp_path / "photo.png", (20, 16), 0)
    start, out = make_start(tmp_path / "start"), tmp_path / "out"
    out.mkdir()
    there: list[str] = []

    def sync(descriptor: int) -> None:
        there.extend(each.name for each in out.iterdir())
        signal.raise_signal(getattr(signal, number))

    monkeypatch.setattr(os, "fsync", sync)
    before = signal.getsignal(getattr(signal, number))
    given = ["--style", str(tmp_path / "photo.png"), "--weights", str(start), "--device", "cpu"]
    code = cli.main(["stylize", str(tmp_path / "photo.png"), "-o", str(out / "a.png"), *given])
    assert code == 128 + getattr(signal, number)
    assert [name[:8] for name in there] == [".agnlib-"]
    assert not list(out.iterdir())
    assert signal.getsignal(getattr(signal, number)) is before


def test_names_in_a_list_that_some_file_systems_take_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "one" / "A.png", (20, 16), 0)
    picture(tmp_path / "two" / "a.png", (20, 16), 1)
    photos = [str(tmp_path / "one" / "A.png"), str(tmp_path / "two" / "a.png")]
    assert cli.main(["stylize", *photos, "--style", photos[0], "-o", str(tmp_path / "out")]) == 2
    assert "would both be written to" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise ImageError("the disk is full")

    picture(tmp_path / "photos" / "a.png", (20, 16), 0)
    monkeypatch.setattr(FolderReport, "save", full)
    given = ["--style", str(tmp_path / "photos" / "a.png"), "--weights", str(make_start(tmp_path / "start"))]
    assert cli.main(["stylize", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), *given, "--device", "cpu"]) == 1
    report = tmp_path / "out" / "agnlib-report.json"
    assert f"agnlib: error: {report}: the disk is full" in capsys.readouterr().err.splitlines()


# -- whose permissions count -------------------------------------------------------------------------------------------


def as_another_user(place: Path) -> int:
    """As programs do that are started by root and give that up: the real user stays root, who may do everything."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    open_, shut = (may(place / name, os.R_OK | os.W_OK | os.X_OK) for name in ("open", "shut"))
    with pytest.raises(ImageError, match="is read-only; choose another place"):
        check_place(place / "shut" / "a.png")
    with pytest.raises(InputError, match=r"is read-only; choose another$"):
        make_plan(place / "open", place / "shut")
    with pytest.raises(InputError, match="cannot be read; allow reading it"):
        PictureFolder(place / "shut", 16)
    return 0 if open_ and not shut else 1


@linux
def test_the_user_that_a_process_acts_for_counts(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:  # pytest's own are closed to others
            parent.chmod(0o755)
    picture(tmp_path / "open" / "a.png", (20, 16), 0)
    picture(tmp_path / "shut" / "a.png", (20, 16), 0)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "shut").chmod(0o111)
    try:
        assert in_new_process(as_another_user, tmp_path) == 0
    finally:
        (tmp_path / "shut").chmod(0o755)


def judge_what_is_open(place: Path) -> int:
    look_only_where_allowed()
    given = ["--content", f"{place}/photos", "--style", f"{place}/photos", "--weights", f"{place}/start"]
    with (place / "said.txt").open("w") as file, contextlib.redirect_stderr(file):
        return cli.main(["evaluate", *given, "--pairs", "1", "--random-styles", "0", "--device", "cpu"])


@linux
def test_evaluate_names_a_closed_subfolder(tmp_path: Path) -> None:
    make_start(tmp_path / "start")
    for number, name in enumerate(("a.png", "b.png", "closed/c.png")):
        picture(tmp_path / "photos" / name, (40, 36), number)
    closed = tmp_path / "photos" / "closed"
    closed.chmod(0)
    try:
        assert in_new_process(judge_what_is_open, tmp_path) == 0
    finally:
        closed.chmod(stat.S_IRWXU)
    warned = f"agnlib: warning: '{tmp_path}/photos' has a folder that cannot be listed, '{closed}'; left out"
    assert (tmp_path / "said.txt").read_text().count(warned) == 1
