"""Styles that keep their pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.image import Limits
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._neighbor_painter import NeighborPainter
from agnlib.styles._names import PICTURES_FORMAT, picture_by_name
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import PictureStyle

BY_NEIGHBORS = {"method": "neighbors", "drawing": 1.0}


def array(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*(size or (32, 32)), 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    tiny = Generator(style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(tiny, StyleExtractor(style_dim=16), device="cpu")


def test_it_paints_as_its_pictures_do_by_either_method(stylizer: Stylizer, tmp_path: Path) -> None:
    pairs = [(array(1), 1.0), (array(2), 3.0)]
    PictureStyle.of(pairs).save(tmp_path / "style.safetensors")
    for options in ({}, BY_NEIGHBORS):
        painted = stylizer(array(3), tmp_path / "style.safetensors", **options)
        assert np.array_equal(painted, stylizer(array(3), pairs, **options))
        loaded = PictureStyle.load(tmp_path / "style.safetensors")
        assert np.array_equal(painted, stylizer(array(3), loaded, **options))


def test_the_bytes_of_a_file_and_file_objects_are_the_style(stylizer: Stylizer) -> None:
    pairs, (pictures, code) = [(array(1), 1.0), (array(2), 3.0)], (io.BytesIO(), io.BytesIO())
    PictureStyle.of(pairs).save(pictures)
    stylizer.encode_style(pairs).save(code)
    assert PictureStyle.load(pictures.getvalue()).weights == (1.0, 3.0)
    for given in (pictures, pictures.getvalue(), code, code.getvalue(), [(code.getvalue(), 1), (code, 1)]):
        assert np.array_equal(stylizer(array(3), given), stylizer(array(3), pairs))
    small = Limits(pixels=10_000)
    out, wanted = io.BytesIO(), io.BytesIO()
    png = Image.fromarray(array(3))
    png.save(photo := io.BytesIO(), "png")
    stylizer.stylize_file(photo, out, code, format="png", limits=small, recipe=False)
    stylizer.stylize_file(photo, wanted, pairs, format="png", recipe=False)
    assert out.getvalue() == wanted.getvalue()
    assert np.array_equal(
        stylizer(array(3), pictures.getvalue(), **BY_NEIGHBORS), stylizer(array(3), pairs, **BY_NEIGHBORS)
    )
    with pytest.raises(InputError, match="a style code has none"):
        stylizer(array(3), code.getvalue(), **BY_NEIGHBORS)
    with pytest.raises(InputError, match=r"^<bytes> holds no pictures"):
        PictureStyle.load(code.getvalue())


def test_a_pair_alone_and_a_dict_are_told_of_lists(stylizer: Stylizer) -> None:
    for wrong in ((array(1), 1.0), {"wave": 1.0}):
        for options in ({}, BY_NEIGHBORS):
            with pytest.raises(InputError, match=r"give a list of pairs: \[\(picture, weight\)\]"):
                stylizer(array(3), wrong, **options)
        with pytest.raises(InputError, match="give a list of pairs"):
            stylizer.encode_style(wrong)


def test_mixed_with_others_it_has_the_weight_given_to_it() -> None:
    two = PictureStyle.of([(array(1), 1.0), (array(2), 3.0)])
    flat = [(array(1), 1.0), (array(2), 3.0), (array(4), 4.0)]
    nested = [(two, 1.0), (array(4), 1.0)]
    by = [
        NeighborPainter.chosen("neighbors", [style], torch.device("cpu"), drawing=None)
        for style in (flat, nested, PictureStyle.of(nested))
    ]
    assert by[0] is not None
    assert [each and each.settings for each in by] == [by[0].settings] * 3


def test_large_pictures_are_reduced() -> None:
    assert PictureStyle.of(array(5, 1600, 1700)).pictures[0].shape == (3, 1536, 1632)


def test_each_kind_of_file_is_named_where_the_other_is_wanted(stylizer: Stylizer, tmp_path: Path) -> None:
    StyleCode(torch.ones(16), "ones").save(tmp_path / "code.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is a style code's file, and method=\"neighbors\" paints with the strokes"):
        stylizer(array(6), tmp_path / "code.safetensors", **BY_NEIGHBORS)
    for name in ("code", "damaged", "missing"):
        with pytest.raises(InputError, match=r"give a file that PictureStyle\.save wrote"):
            PictureStyle.load(tmp_path / f"{name}.safetensors")
    PictureStyle.of(array(7)).save(tmp_path / "pictures.safetensors")
    with pytest.raises(InputError, match="holds no style code"):
        StyleCode.load(tmp_path / "pictures.safetensors")


@pytest.mark.parametrize(
    ("pictures", "weights", "words"),
    [
        ((torch.zeros(3, 4, 4),), (1.0,), "expected uint8 tensors"),
        ((torch.zeros(3, 4, 4, dtype=torch.uint8),), (0.0,), "positive sum"),
        ((torch.zeros(3, 4, 4, dtype=torch.uint8),), (1.0, 1.0), "expected 1 from 0"),
        ((), (), "expected 0 from 0"),
    ],
)
def test_what_is_no_style(pictures: tuple[torch.Tensor, ...], weights: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PictureStyle(pictures, weights)


def test_works_are_taken_by_name() -> None:
    style = PictureStyle.of([("wave", 2.0), (array(1), 1.0)])
    assert style.source == "wave, ndarray"
    assert torch.equal(style.pictures[0], PictureStyle.of(picture_by_name("wave")).pictures[0])
    assert PictureStyle.of("wave").source == "wave"
    with pytest.raises(InputError, match="'wafe' is no file, and no picture comes with agnlib by that name"):
        PictureStyle.of("wafe")


def test_a_file_with_fewer_weights_than_pictures_is_refused(tmp_path: Path) -> None:
    path, one = tmp_path / "style.safetensors", torch.zeros(3, 4, 4, dtype=torch.uint8)
    PictureStyle((one, one), (1.0, 2.0)).save(path)  # one tensor twice is two pictures
    assert len(PictureStyle.load(path).pictures) == 2
    tensors = {"picture0": one, "picture1": one.clone(), "weights": torch.ones(1)}
    save_file(tensors, path, metadata={"format": PICTURES_FORMAT})
    with pytest.raises(InputError, match=r"style\.safetensors': weights: expected 2 from 0"):
        PictureStyle.load(path)


def test_a_file_of_another_format_is_no_styles(stylizer: Stylizer, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(InputError, match=r"is no style's file, and .*; give a picture, or a file that Pict"):
        stylizer(array(6), path, **BY_NEIGHBORS)


def test_the_command_saves_and_takes_it(tmp_path: Path) -> None:
    for name, seed in (("photo", 8), ("style", 9)):
        Image.fromarray(array(seed)).save(tmp_path / f"{name}.png")
    command = [
        "stylize",
        str(tmp_path / "photo.png"),
        "--method",
        "neighbors",
        "--drawing",
        "1",
        "--no-recipe",
        "--style",
    ]
    kept = str(tmp_path / "kept.safetensors")
    assert cli.main([*command, str(tmp_path / "style.png"), "-o", str(tmp_path / "a.png"), "--save-style", kept]) == 0
    assert cli.main([*command, kept, "-o", str(tmp_path / "b.png")]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("pair", [(array(1), "2"), (array(1), -1), (array(1), True), (array(1), 1.0, 2.0)])
def test_weights_that_are_none_are_said(pair: tuple[object, ...]) -> None:
    with pytest.raises(InputError, match=r"expected a list of \(picture, weight\), weights from 0"):
        PictureStyle.of([pair])  # type: ignore[list-item]


def test_a_masked_array_is_refused(stylizer: Stylizer) -> None:
    masked = np.ma.masked_less(array(1), 9)
    for given in ((masked, array(2)), (array(2), masked)):
        with pytest.raises(InputError, match=r"got a masked array.* give its filled\(\) values"):
            stylizer(*given)
