"""Standard input and output, and words for what is not taken: addresses, dashes, files of other kinds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import picture

from agnlib.cli import main as cli

posix = pytest.mark.skipif(os.name != "posix", reason="needs pipes of POSIX")


class Pipe:
    """A standard stream that is no terminal."""

    def __init__(self, data: bytes = b"", *, terminal: bool = False) -> None:
        self.buffer, self._terminal = io.BytesIO(data), terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        return self.buffer.write(text.encode())

    def flush(self) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "photo.png", (30, 20), 0)
    picture(tmp_path / "style.png", (20, 20), 1)
    picture(tmp_path / "folder" / "a.png", (20, 20), 1)
    Image.open(tmp_path / "photo.png").save(tmp_path / "photo.jpg")
    return tmp_path


def stylize(weights: Path, *given: str) -> int:
    return cli.main(["stylize", *given, "--style", "style.png", "--weights", str(weights), "--device", "cpu"])


@pytest.mark.parametrize(
    ("photo", "more", "kind"),
    [
        ("photo.png", [], "PNG"),
        ("photo.jpg", [], "JPEG"),
        ("photo.jpg", ["--format", "webp"], "WEBP"),
        ("photo.png", ["--format", "tiff"], "TIFF"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_painting_to_standard_output(
    weights: Path,
    place: Path,
    photo: str,
    more: list[str],
    kind: str,
    named: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe((place / photo).read_bytes()))
    monkeypatch.setattr(sys, "stdout", out)
    assert stylize(weights, photo if named else "-", "-o", "-", *more) == 0
    found = Image.open(io.BytesIO(out.buffer.getvalue()))
    assert (found.format, found.size) == (kind, (30, 20))
    assert "standard output: 30 x 20 pixels" in capsys.readouterr().err
    suffix = {"JPEG": "jpg"}.get(kind, kind.lower())
    assert stylize(weights, photo, "-o", f"file.{suffix}") == 0
    np.testing.assert_array_equal(np.asarray(found), np.asarray(Image.open(place / f"file.{suffix}")))


def test_standard_input_to_a_file(
    weights: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (place / "photo.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    assert stylize(weights, "-", "-o", "new/out.png") == 0
    assert stylize(weights, "photo.png", "-o", "out.png") == 0
    assert (place / "new" / "out.png").read_bytes() == (place / "out.png").read_bytes()
    assert stylize(weights, "-", "-o", "out.png") == 2
    assert "'out.png' is there already" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", Pipe(data[:200]))
    assert stylize(weights, "-", "-o", "other.png") == 2
    assert "standard input cannot be" in capsys.readouterr().err
    assert not (place / "other.png").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["-", "photo.png", "-o", "-"], "'-' stands for one picture, and 2 were given"),
        (["-", "-o", "folder"], "a picture from standard input has no name for the folder 'folder'; give a file"),
        (["-", "-o", "-", "--refine"], "--refine: needs a photograph in a file"),
        (["folder", "-o", "-"], "'-' is for a picture, and 'folder' is a folder"),
        (["clip.gif", "-o", "-"], "'-' is for a picture, and 'clip.gif' is a clip"),
        (["-", "-o", "-", "--mask", "-"], "--mask: '-' stands for the photo alone"),
        (["-", "-o", "-"], "standard input is empty"),
        (["https://example.org/a.jpg", "-o", "b.png"], "is an address, and nothing is downloaded; download it first"),
        (["photo.png", "-o", "b.png", "--style", "http://x.org/s.png:2"], "--style: 'http://x.org/s.png:2' is an"),
        (["file:///a.jpg", "-o", "b.png"], "is an address, and nothing is downloaded; give its path"),
        (["photo.png", "-o", "s3://bucket/a.png"], "argument -o: 's3://bucket/a.png' is an address"),
        (["-dash.png", "-o", "b.png"], "'-dash.png' begins with a dash, as options do; give './-dash.png'"),
        (["camera.nef", "-o", "b.png"], "'camera.nef' is a raw file of a camera, which is not read; develop it"),
        (["page.pdf", "-o", "b.png"], "got PDF: save its page as a PNG first"),
        (["drawing.svg", "-o", "b.png"], "got SVG: save it as a PNG first"),
    ],
)
def test_what_is_not_taken_is_said_in_a_line(
    weights: Path,
    place: Path,
    given: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "-dash.png").write_bytes((place / "photo.png").read_bytes())
    (place / "camera.nef").write_bytes(b"II*\0" + bytes(30))
    (place / "page.pdf").write_bytes(b"%PDF-1.7\n" + bytes(30))
    (place / "drawing.svg").write_bytes(b"<svg width='3'></svg>" + bytes(30))
    (place / "clip.gif").write_bytes(b"GIF89a")
    monkeypatch.setattr(sys, "stdin", Pipe())
    before = sorted(place.rglob("*"))
    assert stylize(weights, *given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_a_dash_in_front_is_no_trouble_with_its_folder_or_after_two_dashes(weights: Path, place: Path) -> None:
    (place / "-dash.png").write_bytes((place / "photo.png").read_bytes())
    assert stylize(weights, "./-dash.png", "-o", "one.png") == 0
    given = ["--style", "style.png", "--weights", str(weights), "-o", "two.png", "--", "-dash.png"]
    assert cli.main(["stylize", *given]) == 0


@pytest.mark.parametrize("which", ["stdin", "stdout"])
def test_a_terminal_is_no_pipe(
    weights: Path, place: Path, which: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe((place / "photo.png").read_bytes(), terminal=which == "stdin"))
    monkeypatch.setattr(sys, "stdout", Pipe(terminal=which == "stdout"))
    assert stylize(weights, "-", "-o", "-") == 2
    assert "which is the terminal; add" in capsys.readouterr().err


# --- in a shell -------------------------------------------------------------------------------------------------------


@posix
def test_in_a_shell_only_the_picture_is_on_standard_output(weights: Path, place: Path) -> None:
    command = f'"{sys.executable}" -m agnlib stylize --style style.png --weights "{weights}" --device cpu - -o -'
    given = ["bash", "-c", f"cat photo.png | {command}"]
    done = subprocess.run(given, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert Image.open(io.BytesIO(done.stdout)).size == (30, 20)
    assert done.stderr.startswith(b"agnlib: standard output: 30 x 20 pixels")


@posix
def test_who_has_read_enough_is_no_error(weights: Path, place: Path) -> None:
    """As before `| head -c 10`, with the pipe closed already, so that it does not depend on who is quicker."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "agnlib", "stylize", "photo.png", "-o", "-", "--quiet", "--style", "style.png"]
    given = [*command, "--weights", str(weights), "--device", "cpu"]
    done = subprocess.run(given, stdout=write, stderr=subprocess.PIPE, check=False, timeout=300)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
