"""What a painting's file says of how it was made."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from agnlib import image
from agnlib.cli.main import main
from agnlib.folder import stylize_folder
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._effect import Effect
from agnlib.painting._recipe import recipe_of
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer

COMMENT, SOFTWARE = ExifTags.Base.UserComment, ExifTags.Base.Software


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    small = Generator(8, 16, channels=(4, 4, 8), blocks=(0, 1, 1)), StyleExtractor(16)
    return Stylizer(*small, device="cpu")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (30, 20), "navy").save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_a_painting_says_what_it_was_made_with(stylizer: Stylizer, photo: Path, suffix: str) -> None:
    target = photo.with_name(f"painted{suffix}")
    stylizer.stylize_file(photo, target, [(photo, 2.0), "wave"], strength=0.5, seed=7, size=16)
    expected = {"agnlib": "0.1.0", "weights": None, "style": ["2 photo.jpg + 1 wave"], "strength": 0.5}
    assert image.read_recipe(target) == {**expected, "seed": 7, "size": 16}
    with Image.open(target) as opened:
        exif = opened.getexif()
        assert exif[SOFTWARE] == "agnlib 0.1.0"
        comment = exif.get_ifd(ExifTags.IFD.Exif)[COMMENT]
    assert str(photo.parent).encode() not in comment
    stylizer.stylize_file(photo, target, photo, recipe=False, overwrite=True)
    assert image.read_recipe(target) is None
    with Image.open(target) as opened:
        assert SOFTWARE not in opened.getexif()


def test_where_there_is_no_room_the_painting_comes_without(stylizer: Stylizer, photo: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 65_400
    with Image.open(photo) as opened:
        opened.save(photo, exif=exif)
    stylizer.stylize_file(photo, photo.with_name("painted.jpg"), photo, metadata="all")
    assert image.read_recipe(photo.with_name("painted.jpg")) is None
    with Image.open(photo.with_name("painted.jpg")) as opened:
        assert len(opened.getexif()[ExifTags.Base.ImageDescription]) == 65_400
    stylizer.stylize_file(photo, photo.with_name("painted.bmp"), photo)
    assert image.read_recipe(photo.with_name("painted.bmp")) is None


def test_a_photographers_comment_stays_and_an_older_recipe_goes(stylizer: Stylizer, photo: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[COMMENT] = b"ASCII\0\0\0at the lake"
    with Image.open(photo) as opened:
        opened.save(photo.with_name("lake.jpg"), exif=exif)
    first, second = photo.with_name("first.jpg"), photo.with_name("second.jpg")
    stylizer.stylize_file(photo.with_name("lake.jpg"), first, photo, metadata="all")
    with Image.open(first) as opened:
        assert opened.getexif().get_ifd(ExifTags.IFD.Exif)[COMMENT] == b"ASCII\0\0\0at the lake"
    stylizer.stylize_file(photo, first, photo, strength=0.3, overwrite=True)
    stylizer.stylize_file(first, second, photo, metadata="all", recipe=False)
    assert image.read_recipe(second) is None
    stylizer.stylize_file(first, second, photo, metadata="all", overwrite=True)
    assert "strength" not in (image.read_recipe(second) or {"strength": 1})


@given(st.binary(max_size=60) | st.sampled_from([b"[1]", b"{}", b"[" * 9000, b'{"agnlib": ']))
def test_what_others_wrote_into_the_comment_is_no_recipe(comment: bytes) -> None:
    exif = Image.Exif()
    exif[SOFTWARE] = "other"
    exif.get_ifd(ExifTags.IFD.Exif)[COMMENT] = b"ASCII\0\0\0" + comment
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "other.jpg"
        Image.new("RGB", (8, 8)).save(file, exif=exif)
        assert image.read_recipe(file) is None


def test_names_are_those_of_the_files_alone() -> None:
    code = StyleCode(torch.zeros(3), "0.5 /home/me/a b.jpg + 0.5 C:\\mine\\c.png")
    for hidden, name in (
        ("/home/jane/My Clients/Smith divorce/wall.jpg", "wall.jpg"),
        ("C:\\Users\\John Doe\\art.jpg", "art.jpg"),
        ("/data/A + B/x.jpg", "x.jpg"),
    ):
        assert recipe_of(None, [hidden], Effect())["style"] == [name]
        assert recipe_of(None, [StyleCode(torch.zeros(3), hidden)], Effect())["style"] == [name]
    recipe = recipe_of("agn-small", ["random", code, Image.new("L", (2, 2)), "x/" * 900 + "y" * 900], Effect())
    assert recipe["style"] == ["random", "0.5 a b.jpg + 0.5 c.png", "Image", "y" * 500]
    assert recipe_of(None, ["a.jpg"], Effect(color=0.5), drawing=0.3, seed=None) == {
        **{"agnlib": "0.1.0", "weights": None, "style": ["a.jpg"]},
        **{"method": "neighbors", "drawing": 0.3, "color": 0.5},
    }


def test_a_folders_paintings_and_its_report_say_it(stylizer: Stylizer, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "sea").mkdir(parents=True)
    photo.rename(tmp_path / "photos" / "sea" / "a.jpg")
    style = stylizer.encode_style(Image.new("RGB", (9, 9), "gold"))
    report = stylize_folder(stylizer, tmp_path / "photos", tmp_path / "out", style, suffix=".png", texture=0.5)
    assert (report.styles, report.paintings) == (("Image",), ("sea/a.png",))
    found = image.read_recipe(tmp_path / "out" / "sea" / "a.png")
    assert found == {"agnlib": "0.1.0", "weights": None, "style": ["Image"], "texture": 0.5}
    stylize_folder(stylizer, tmp_path / "photos", tmp_path / "bare", style, recipe=False)
    assert image.read_recipe(tmp_path / "bare" / "sea" / "a.jpg") is None


def test_the_command_line_notes_it_unless_told_not_to(photo: Path) -> None:
    given = ["stylize", str(photo), "--style", "wave", "--quiet", "--device", "cpu", "-o"]
    assert main([*given, str(photo.with_name("noted.jpg"))]) == 0
    assert main([*given, str(photo.with_name("bare.jpg")), "--no-recipe"]) == 0
    found = image.read_recipe(photo.with_name("noted.jpg"))
    assert found == {"agnlib": "0.1.0", "weights": "agn-small", "style": ["wave"]}
    assert image.read_recipe(photo.with_name("bare.jpg")) is None
