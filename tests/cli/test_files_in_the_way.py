"""One rule for files in the way: a photograph, a list, a folder and a clip replace nothing unless they are told to."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy import make_folders, make_start, picture, train_arguments

from agnlib import Stylizer, image
from agnlib.cli.main import main
from agnlib.errors import InputError
from agnlib.folder import stylize_folder
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.styles.code import StyleCode
from agnlib.video.repainting import repaint

OLD = b"somebody's work"
CURE = r"; choose another name, or give overwrite=True \(--overwrite\) to replace it$"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("weights") / "start")


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    small = {"style_dim": 8, "channels": (4, 4, 8), "blocks": (0, 0, 1)}
    return Stylizer(Generator(**small), StyleExtractor(style_dim=8), device="cpu")  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(("photo.png", "photos/a.png", "photos/b.png")):
        picture(tmp_path / name, (20, 16), number)
    for name in ("clips", "out"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(target: Path) -> None:
    target.write_bytes(OLD)
    target.chmod(0o640)


def read_only(target: Path) -> None:
    target.write_bytes(OLD)
    target.chmod(0o444)


def link(target: Path) -> None:
    (target.parent.parent / "elsewhere").write_bytes(OLD)
    target.symlink_to(target.parent.parent / "elsewhere")


def link_to_nothing(target: Path) -> None:
    target.symlink_to(target.parent.parent / "nowhere")


THERE = [file, read_only, link, link_to_nothing]
COMMANDS = {
    "photo": ["photo.png", "-o", "out/a.png"],
    "list": ["photos/b.png", "photos/a.png", "-o", "out"],
    "folder": ["photos", "-o", "out"],
    "clip": ["clip.mp4", "-o", "out/a.mp4"],
}


def make_clip(path: Path) -> None:
    av = pytest.importorskip("av", reason="clips need PyAV, the extra video")
    with av.open(str(path), "w") as opened:
        stream = opened.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for shade in (60, 90):
            frame = av.VideoFrame(32, 24, "rgb24")
            frame.planes[0].update(bytes([shade]) * frame.planes[0].buffer_size)
            opened.mux(stream.encode(frame))
        opened.mux(stream.encode(None))


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("kind", COMMANDS)
def test_nothing_is_replaced_unless_it_is_said(
    place: Path, weights: Path, kind: str, there: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "clip":
        make_clip(place / "clip.mp4")
    target = place / "out" / ("a.mp4" if kind == "clip" else "a.png")
    there(target)
    before = target.lstat()
    command = ["stylize", *COMMANDS[kind], "--style", "photo.png", "--weights", str(weights), "--device", "cpu"]
    assert main([*command, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("agnlib: error: ")
    assert said.count("\n") == 1
    assert target.name in said
    assert "--overwrite" in said
    assert (target.lstat().st_ino, target.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [each.name for each in (place / "out").iterdir()] == [target.name]  # nothing was begun
    assert main([*command, "--quiet", "--overwrite"]) == 0
    assert not target.is_symlink()  # a link is replaced, what it leads to is not
    assert target.stat().st_size > len(OLD)
    assert not (place / "nowhere").exists()
    if there is link:
        assert (place / "elsewhere").read_bytes() == OLD
    if there in (file, read_only):  # who may read it does not change
        assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(before.st_mode)


@pytest.mark.parametrize("there", THERE)
def test_in_python_likewise(place: Path, stylizer: Stylizer, there: Callable[[Path], None]) -> None:
    code, target = stylizer.random_style(1), place / "out" / "a.png"
    there(target)
    with pytest.raises(InputError, match=rf"^'{target}' is there already{CURE}"):
        stylizer.stylize_file("photo.png", target, code)
    with pytest.raises(InputError, match="1 file is in the way"):
        stylize_folder(stylizer, "photos", "out", code)
    stylizer.stylize_file("photo.png", target, code, overwrite=True)
    assert image.probe(target) == (20, 16)
    assert stylize_folder(stylizer, "photos", "out", code, overwrite=True).painted == 2


@pytest.mark.parametrize("there", THERE)
def test_clips_in_python_likewise(place: Path, stylizer: Stylizer, there: Callable[[Path], None]) -> None:
    make_clip(place / "clip.mp4")
    target = place / "out" / "a.mp4"
    there(target)

    def never(*_: object) -> object:
        raise AssertionError("it was begun")

    with pytest.raises(InputError, match=rf"^'{target}' is there already{CURE}"):
        repaint("clip.mp4", target, never)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"^'{target}' is there already{CURE}"):
        stylizer.stylize_video("clip.mp4", target, stylizer.random_style(1))
    assert stylizer.stylize_video("clip.mp4", target, stylizer.random_style(1), overwrite=True)[0] == 2


def test_several_are_counted(place: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        file(place / "out" / name)
    assert main(["stylize", *COMMANDS["list"], "--style", "photo.png", "--weights", str(weights)]) == 2
    assert "2 files are there already, such as 'out/b.png'; choose" in capsys.readouterr().err


def test_what_came_meanwhile_stays(place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Stylizer.stylize_file

    def painted(stylizer: Stylizer, photo: Path, target: Path, **options: object) -> object:
        if target.name == "b.png":
            file(target)
        return inner(stylizer, photo, target, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Stylizer, "stylize_file", painted)
    assert main(["stylize", *COMMANDS["list"], "--style", "photo.png", "--weights", str(weights)]) == 1
    assert (place / "out" / "b.png").read_bytes() == OLD
    assert image.probe("out/a.png") == (20, 16)


def test_a_picture_is_never_written_over_itself(place: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["stylize", "photo.png", "--style", "photo.png", "--weights", str(weights), "--overwrite"]
    assert main([*command, "-o", "photo.png"]) == 2
    assert "is the input 'photo.png' itself" in capsys.readouterr().err


def weights_of_ours(target: Path) -> None:
    """Weights, which have the suffix of style codes."""
    pretrained.save(target.parent / "w", {"generator": Generator(style_dim=8, channels=(4, 4, 8), blocks=(0, 0, 1))})
    (target.parent / "w" / "model.safetensors").rename(target)


@pytest.mark.parametrize(
    ("command", "option", "target"),
    [
        (("styles", "--photo", "photo.png", "--overwrite"), "--sheet", "photo.png"),
        (("evaluate", "--content", "photos", "--style", "out", "--overwrite"), "--grid", "photos/a.png"),
        (("stylize", "photo.png", "--style", "c.safetensors", "-o", "new.png"), "--save-style", "c.safetensors"),
    ],
)
def test_nothing_else_writes_over_what_it_is_made_from(
    place: Path, weights: Path, command: tuple[str, ...], option: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    StyleCode(torch.ones(16)).save(place / "c.safetensors")
    before = (place / target).read_bytes()
    assert main([*command, option, target, "--weights", str(weights)]) == 2
    said = capsys.readouterr().err
    assert f"argument {option}: '{target}' is " in said
    assert " itself; choose another name" in said
    assert (place / target).read_bytes() == before
    assert not (place / "new.png").exists()


# -- what else is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [*THERE, weights_of_ours])
def test_save_style_replaces_style_codes_alone(
    place: Path, weights: Path, there: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    target = place / "out" / "code.safetensors"
    there(target)
    before = target.lstat().st_mtime_ns
    command = ["stylize", "photo.png", "--style", "photo.png", "--weights", str(weights), "--save-style", str(target)]
    assert main([*command, "-o", "new.png", "--overwrite"]) == 2
    said = capsys.readouterr().err
    assert f"--save-style: '{target}' is there already and no style's file" in said
    assert target.lstat().st_mtime_ns == before
    target.unlink()
    StyleCode(torch.ones(3)).save(target)
    assert main([*command, "-o", "new.png"]) == 0
    assert StyleCode.load(target).vector.numel() == 16


@pytest.mark.parametrize("there", THERE)
def test_a_report_replaces_reports_alone(
    place: Path, weights: Path, there: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    target = place / "clips" / "report"
    there(target)
    command = [
        "stylize",
        *COMMANDS["folder"],
        "--style",
        "photo.png",
        "--weights",
        str(weights),
        "--report",
        str(target),
    ]
    assert main(command) == 2
    assert f"'{target}' is there already and no report by agnlib{CURE[:10]}" in capsys.readouterr().err
    assert list((place / "out").iterdir()) == []
    assert main([*command, "--overwrite"]) == 0
    assert not target.is_symlink()
    assert main(command) == 0  # its own
    if there is link:
        assert (place / "elsewhere").read_bytes() == OLD


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("photos/a.png", "would be one of the photographs"),
        ("photos/new.JPG", "would be one of the photographs"),
        ("photo.png", "is the input 'photo.png' itself"),
        ("clips", "is a folder"),
    ],
)
def test_a_report_never_replaces_what_is_painted(
    place: Path, weights: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["stylize", *COMMANDS["folder"], "--style", "photo.png", "--weights", str(weights), "--report", name]
    assert main([*command, "--overwrite"]) == 2
    assert words in capsys.readouterr().err
    assert image.probe("photos/a.png") == image.probe("photo.png") == (20, 16)


@pytest.mark.parametrize("option", ["--out", "--grid", "--sheet"])
def test_evaluate_and_styles_likewise(
    place: Path, weights: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = place / "out" / ("a.json" if option == "--out" else "a.png")
    command = ["evaluate", "--content", "photos", "--style", "photos"] if option != "--sheet" else ["styles"]
    command += ["--weights", str(weights), option, str(target)]
    link_to_nothing(target)
    assert main(command) == 2
    assert f"error: '{target}' is there already; choose another name" in capsys.readouterr().err


@pytest.mark.parametrize("resume", [(), ("--resume", "auto")])
@pytest.mark.parametrize("name", ["README.md", "log.jsonl", "model.safetensors", "samples"])
def test_a_training_writes_over_nothing(
    tmp_path: Path, weights: Path, name: str, resume: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(OLD)
    assert main(train_arguments(make_folders(tmp_path), weights, out, "--steps", "1", *resume)) == 2
    assert f"--out {out} has {name} already, which the run would write over" in capsys.readouterr().err
    assert [each.name for each in out.iterdir()] == [name]
