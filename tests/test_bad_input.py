"""Bad input: each kind is one line that names the file and the remedy, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.cli import main as cli
from agnlib.errors import AgnError, ImageError, WeightsError
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.stylizer import Stylizer


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, a style picture and small untrained weights."""
    folder = tmp_path_factory.mktemp("good")
    for seed, name in enumerate(("photo.jpg", "style.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
    extractor = StyleExtractor(style_dim=16, hidden=16, taps=("block0",))
    pretrained.save(folder / "weights", {"generator": generator, "extractor": extractor})
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the good files and a bad one of each kind."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "text.jpg").write_text("This is a letter, not a picture.\n")
    (tmp_path / "empty.jpg").touch()
    whole = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    monkeypatch.chdir(tmp_path)
    return tmp_path


BAD_PICTURES = {
    "missing.jpg": ["does not exist", "check the name"],
    "folder.jpg": ["is a folder", "name a file in it"],
    "text.jpg": ["not a picture", "convert it"],
    "truncated.jpg": ["damaged or incomplete", "get it again"],
    "empty.jpg": ["is empty", "get the picture again"],
}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments: list[str], parts: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program says one line with all `parts`, returns 2 and changes no file."""
    before = files(folder)
    assert cli.main(["stylize", *arguments, "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("agnlib: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert files(folder) == before


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_photo(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [name, "--style", "style.png", "-o", "out.png", "--weights", "weights"]
    to_a_file = ["is a folder", "'out.png' has the name of a file"]  # folders may be given, but not into a file
    parts = to_a_file if name == "folder.jpg" else BAD_PICTURES[name]
    refused(arguments, [name, *parts], folder, capsys)


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_style_picture(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["photo.jpg", "--style", f"{name}:2", "-o", "out.png", "--weights", "weights"]
    refused(arguments, [name, *BAD_PICTURES[name]], folder, capsys)


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("photo.jpg/out.png", ["photo.jpg/out.png", "not a folder", "another place"]),
        ("text.jpg/deep/out.png", ["text.jpg", "not a folder", "choose another"]),
        ("folder.jpg/.", ["folder.jpg"]),
        ("text.jpg/deep/folder/", ["text.jpg/deep/folder", "'text.jpg' is not a folder"]),
        ("text.jpg/", ["text.jpg", "is a file"]),
    ],
)
def test_an_unwritable_output(output: str, parts: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "folder.jpg" / "photo.jpg").mkdir()  # a folder stands where the painting would go
    arguments = ["photo.jpg", "--style", "style.png", "-o", output, "--weights", "weights"]
    refused(arguments, parts, folder, capsys)


def test_an_output_that_fails_when_it_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    arguments = ["photo.jpg", "--style", "style.png", "-o", "out.png", "--weights", "weights"]
    refused(arguments, ["out.png", "No space left", "choose another place"], folder, capsys)


def test_unknown_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["photo.jpg", "--style", "style.png", "-o", "out.png", "--weights", "agn-tiny"]
    refused(arguments, ["agn-tiny", *pretrained.available()], folder, capsys)


def test_corrupt_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {path: path.read_bytes() for path in (folder / "weights").iterdir()}
    tensors, config = folder / "weights" / "model.safetensors", folder / "weights" / "config.json"
    flipped = bytearray(good[tensors])
    flipped[-1] ^= 0xFF
    cases = [
        (tensors, bytes(flipped)),
        (tensors, good[tensors][:1000]),
        (tensors, b""),
        (tensors, b"not tensors"),
        (tensors, None),
        (config, b"{"),
        (config, b"[]"),
        (config, b"\xff\xfe"),
        (config, None),
    ]
    for path, content in cases:
        for each, original in good.items():
            each.write_bytes(original)
        path.unlink() if content is None else path.write_bytes(content)
        arguments = ["photo.jpg", "--style", "style.png", "-o", "out.png", "--weights", "weights"]
        refused(arguments, ["weights"], folder, capsys)


def test_the_library_raises_the_same_errors(folder: Path) -> None:
    stylizer = Stylizer.from_pretrained(folder / "weights", device="cpu")
    for name, parts in BAD_PICTURES.items():
        for content, style in ((name, "style.png"), ("photo.jpg", name)):
            with pytest.raises(ImageError) as error:
                stylizer(content, style)
            assert all(part in str(error.value) for part in [name, *parts])
    with pytest.raises(WeightsError) as unknown:
        Stylizer.from_pretrained("agn-tiny", device="cpu")
    assert isinstance(unknown.value, AgnError)
