"""Pictures that are left out, and frames and pages after the first, are said: once, counted, and in the report."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

from agnlib import image
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.evaluation import choose_pairs
from agnlib.folder import stylize_folder
from agnlib.image import Picture
from agnlib.image._suffixes import left_out
from agnlib.stylizer import Stylizer
from agnlib.training import PictureFolder
from agnlib.transforms import RandomStyle

SAID = "3 .jxl, 2 .psd and 1 .cr2, of kinds that are not read; convert them to JPEG or PNG"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, and six of kinds that are not read."""
    folder = tmp_path / "photos"
    (folder / "sea").mkdir(parents=True)
    for name, color in (("a.png", "navy"), ("sea/b.jpg", "gold")):
        Image.new("RGB", (30, 20), color).save(folder / name)
    for name in ("c.jxl", "d.JXL", "sea/e.jxl", "f.psd", "sea/g.PSD", "h.cr2", "notes.txt", "Thumbs.db"):
        (folder / name).write_bytes(b"never opened")
    return folder


def several(folder: Path) -> None:
    """An animated WebP and PNG, and a TIFF of two pages."""
    first, second = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (30, 20), "blue")
    for name in ("x.png", "y.webp", "z.tif"):
        first.save(folder / name, save_all=True, append_images=[second])


def test_kinds_are_counted_the_most_frequent_first() -> None:
    assert left_out(["a.gif", "b.PSD", "c.psd", "d.jpg", "e.txt", "f.jfif"]) == (
        "2 .psd and 1 .gif, of kinds that are not read; convert them to JPEG or PNG"
    )
    assert left_out(["a.jpg", "README", ".gif"]) == ""


def test_the_program_says_what_it_leaves_out_of_a_folder(
    weights: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several(photos)
    out = photos.parent / "out"
    arguments = ["stylize", str(photos), "-o", str(out), "--style", str(photos / "a.png"), "--weights", str(weights)]
    assert cli.main([*arguments, "--device", "cpu"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line or "warning" in line]
    assert said == [
        f"agnlib: left out: {SAID}",
        "agnlib: left out: all frames and pages but the first of 2 photographs, such as 'x.png'",
    ]
    report = json.loads((out / "agnlib-report.json").read_text("utf-8"))
    assert report["painted"] == 5
    with Image.open(out / "y.webp") as moving:
        assert moving.n_frames == 2
    unread = ("c.jxl", "d.JXL", "sea/e.jxl", "f.psd", "sea/g.PSD", "h.cr2")
    assert report["skipped"] == {
        **dict.fromkeys(unread, "a picture of a format that is not read"),
        "x.png": "its frames after the first",
        "z.tif": "its pages after the first",
    }


def test_a_folder_of_nothing_else_says_what_it_has(weights: Path, photos: Path) -> None:
    for name in ("a.png", "sea/b.jpg"):
        (photos / name).unlink()
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    with pytest.raises(InputError, match=f"no photographs in .*; it has {SAID}"):
        stylize_folder(stylizer, photos, photos.parent / "out", stylizer.random_style(1))
    with pytest.raises(InputError, match=f"has no readable pictures .*; it has {SAID}"):
        PictureFolder(photos, 16)
    with pytest.raises(InputError, match=f"no pictures in .*; it has {SAID}"):
        choose_pairs(photos, photos, 1)


def test_training_transforms_and_evaluation_say_it_once(weights: Path, photos: Path) -> None:
    for taking in (
        lambda: PictureFolder(photos, 16, classes=False),
        lambda: RandomStyle(photos, weights=weights),
        lambda: choose_pairs(photos, photos.parent / "others", 1),
    ):
        (photos.parent / "others").mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(photos.parent / "others" / "a.png")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            taking()
        assert [SAID in str(each.message) for each in said] == [True]


def test_training_says_once_that_it_sees_the_first_frames(tmp_path: Path) -> None:
    several(tmp_path)
    with pytest.warns(UserWarning, match="only the first frame or page is seen of 3 pictures with several") as said:
        PictureFolder(tmp_path, 16)
    assert len(said) == 1


@pytest.mark.parametrize(("name", "word"), [("x.png", "frames"), ("y.webp", "frames"), ("z.tif", "pages")])
def test_a_single_picture_of_several_says_so(weights: Path, tmp_path: Path, name: str, word: str) -> None:
    several(tmp_path)
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    code = stylizer.random_style(1)
    with pytest.warns(UserWarning, match=rf"{name}' has several {word}; only the first is painted") as said:
        stylizer.stylize_file(tmp_path / name, tmp_path / "out.png", code)
    assert len(said) == 1
    with pytest.warns(UserWarning, match=f"content: .*{name}' has several {word}; only the first is read") as said:
        Picture.take(tmp_path / name, "content")
    assert len(said) == 1
    red = image.load(tmp_path / name).getpixel((5, 5))
    assert red[0] > 200
    assert red[2] < 60


def test_a_preview_inside_a_jpeg_is_no_further_frame(tmp_path: Path) -> None:
    first, preview = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (15, 10), "red")
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[preview])
    shutil.move(tmp_path / "a.mpo", tmp_path / "a.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Picture.take(tmp_path / "a.jpg").size == (20, 30)
