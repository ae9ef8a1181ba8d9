"""Works of art that come with agnlib, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.models import Generator, StyleExtractor
from agnlib.styles import works
from agnlib.styles._names import picture_by_name


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    tiny = Generator(style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1), num_classes=2)
    made = Stylizer(tiny, StyleExtractor(style_dim=16), device="cpu")
    made.class_names = ("ukiyo-e", "lion")
    return made


PHOTO = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)


def test_each_is_a_picture_whose_source_is_known() -> None:
    known = works.available()
    assert len(known) >= 12
    assert sum(work.path.stat().st_size for work in known.values()) < 1.5e6
    for name, work in known.items():
        assert work.name == name == work.path.stem
        assert min(Image.open(work.path).convert("RGB").size) >= 256
        assert all((work.title, work.artist, work.year, work.source))
        assert work.license.startswith("the painting: public domain")


def test_a_work_by_name_is_its_picture(stylizer: Stylizer) -> None:
    by_file = stylizer.encode_style(works.available()["wave"].path)
    by_name = stylizer.encode_style("wave")
    assert by_name.vector.equal(by_file.vector)
    assert by_name.source == "wave"
    assert stylizer.refine_style("wave", content=PHOTO, steps=0).source == "wave, refined"


def test_a_class_goes_before_a_work_of_the_same_name(stylizer: Stylizer) -> None:
    assert stylizer.encode_style("lion").source == "lion, seed 0"


def test_a_file_goes_before_a_work_of_the_same_name(
    stylizer: Stylizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("wave.png")
    Path("wave.png").rename("wave")
    assert stylizer.encode_style("wave").vector.equal(stylizer.encode_style(PHOTO).vector)


def test_by_neighbors_a_class_is_one_of_its_works() -> None:
    prints = [work.path for work in works.available().values() if work.style_class == "ukiyo-e"]
    assert picture_by_name("ukiyo-e") == prints[0]
    drawn = [picture_by_name("ukiyo-e", seed) for seed in range(40)]
    assert set(drawn) == set(prints)
    assert drawn == [picture_by_name("ukiyo-e", seed) for seed in range(40)]
    assert {picture_by_name("random", seed) for seed in range(200)} == {w.path for w in works.available().values()}


def test_by_neighbors_names_paint_as_their_pictures_do(stylizer: Stylizer) -> None:
    path = picture_by_name("ukiyo-e", 3)
    options = {"method": "neighbors", "drawing": 1.0}
    named = stylizer(PHOTO, [("ukiyo-e", 2.0), ("auvers", 1.0)], seed=3, **options)
    given = stylizer(PHOTO, [(path, 2.0), (works.available()["auvers"].path, 1.0)], seed=3, **options)
    assert np.array_equal(named, given)


def test_a_name_without_a_work_is_refused_with_those_that_there_are(stylizer: Stylizer) -> None:
    with pytest.raises(InputError, match=r"'fauvism' is no file, .* by that name or of that class; there are auvers, "):
        stylizer(PHOTO, "fauvism", method="neighbors")
    with pytest.raises(InputError, match=r"'nobody' is neither .* classes are ukiyo-e, lion; random .* auvers, "):
        stylizer(PHOTO, "nobody")


def test_the_command_lists_them_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["styles", "--sheet", str(tmp_path / "sheet.png")]) == 0
    said = capsys.readouterr().out
    assert "wave         Katsushika Hokusai (1760-1849): The Great Wave off Kanagawa, about 1831" in said
    assert "ukiyo-e      mackerel, oiran, poppies, wave" in said
    assert Image.open(tmp_path / "sheet.png").width > 900
    assert cli.main(["styles", "--photo", "x.png"]) == 2
    assert "--photo: goes with --sheet" in capsys.readouterr().err


@pytest.mark.parametrize(("one", "other"), [("Ukiyo-E", "ukiyo-e"), ("WAVE", "wave"), ("Random", "random")])
def test_upper_and_lower_case_are_one(one: str, other: str) -> None:
    stylizer = Stylizer.from_pretrained(device="cpu")
    codes = [stylizer.encode_style(name, seed=3) for name in (one, other)]
    assert torch.equal(codes[0].vector, codes[1].vector)
    assert codes[0].source == codes[1].source
    assert picture_by_name(one, seed=3) == picture_by_name(other, seed=3)
