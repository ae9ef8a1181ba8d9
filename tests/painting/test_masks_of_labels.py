"""Masks whose values are labels, or are kept in too many bits, hardly show: said once, with the cure."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.folder import stylize_folder
from agnlib.stylizer import Stylizer

HALF = np.repeat(np.arange(40) < 20, 30).reshape(40, 30).T
PHOTO = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
STYLE = np.full((20, 20, 3), (200, 120, 20), np.uint8)
MEANT = HALF.astype(np.uint8) * 255
LABELS = {
    "array of 0 and 1": HALF.astype(np.uint8),
    "array of 16 bits": MEANT.astype(np.uint16),
    "tensor": torch.from_numpy(HALF.astype(np.uint8))[None],
    "pil": Image.fromarray(HALF.astype(np.uint8)),
    "gray with alpha": np.stack([HALF.astype(np.uint8), np.full(HALF.shape, 255, np.uint8)], -1),
    "classes": HALF.astype(np.uint8) * 4,
}


@pytest.fixture(scope="module")
def stylizer(weights: Path) -> Stylizer:
    return Stylizer.from_pretrained(weights, device="cpu")


DEEP = HALF.astype(np.uint16)
KEPT_IN_16 = {
    "I;16": (Image.fromarray(DEEP), 1, 65535, 65535),
    "I": (Image.fromarray(DEEP.astype(np.int32)), 1, 65535, 65535),
    "F": (Image.fromarray(HALF.astype(np.float32) / 65535), 1, 65535, 65535),
    "8 bits in I;16": (Image.fromarray(DEEP * 255), 255, 65535, 257),
    "dark 8 bits in I;16": (Image.fromarray(DEEP * 200), 200, 65535, 257),
    "10 bits in I;16": (Image.fromarray(DEEP * 1023), 1023, 65535, 64),
    "floats of labels": (HALF.astype(np.float32) / 255, 0.003922, 1, 255),
    "half floats of labels": (torch.from_numpy(HALF).half()[None] / 255, 0.003922, 1, 255),
}


@pytest.mark.parametrize(
    ("kind", "as_file"),
    [
        *((kind, None) for kind in KEPT_IN_16),
        *((kind, "tif") for kind in ("I;16", "I", "F", "8 bits in I;16")),
        *((kind, "png") for kind in ("I;16", "dark 8 bits in I;16")),
    ],
)
def test_labels_are_noticed_in_16_bits_and_floats_too(
    stylizer: Stylizer, tmp_path: Path, kind: str, as_file: str | None
) -> None:
    mask, highest, white, factor = KEPT_IN_16[kind]
    if as_file:
        mask.save(tmp_path / f"mask.{as_file}")
    with pytest.warns(UserWarning, match="hardly shows") as said:
        stylizer(PHOTO, STYLE, mask=tmp_path / f"mask.{as_file}" if as_file else mask)
    assert [str(each.message) for each in said] == [
        f"mask 1 has no value above {highest} of {white}, so the style hardly shows;"
        f" give booleans, or multiply it by {factor}"
    ]
    assert said[0].filename == __file__


def test_a_deep_mask_is_as_fine_as_it_is(stylizer: Stylizer, tmp_path: Path) -> None:
    Image.fromarray(DEEP * 65535).save(tmp_path / "a.png")
    expected = stylizer(PHOTO, STYLE, mask=HALF)
    for mask in (tmp_path / "a.png", Image.open(tmp_path / "a.png"), Image.fromarray(DEEP * 65535)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(stylizer(PHOTO, STYLE, mask=mask), expected)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_sparse_mask_is_refused_in_words(stylizer: Stylizer, layout: str, dtype: torch.dtype) -> None:
    sparse = getattr(torch.from_numpy(HALF).to(dtype), f"to_sparse_{layout}".replace("_coo", ""))()
    with pytest.raises(InputError, match=r"mask 1: expected a dense tensor, got one of layout .*; call its to_dense"):
        stylizer(PHOTO, STYLE, mask=sparse)


@pytest.mark.parametrize("kind", LABELS)
def test_a_mask_that_hardly_shows_is_said_to(stylizer: Stylizer, kind: str) -> None:
    white, highest = (65535, 255) if "16" in kind else (255, 4 if kind == "classes" else 1)
    with pytest.warns(UserWarning, match=f"mask 1 has no value above {highest} of {white}, .* give booleans") as said:
        stylizer(PHOTO, STYLE, mask=LABELS[kind])
    assert f"multiply it by {white // highest}" in str(said[0].message)
    assert len(said) == 1
    assert said[0].filename == __file__


def test_the_cures_are_cures(stylizer: Stylizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = stylizer(PHOTO, STYLE, mask=MEANT)
        for cured in (HALF, LABELS["array of 0 and 1"] * 255, LABELS["array of 16 bits"] * 257):
            np.testing.assert_array_equal(stylizer(PHOTO, STYLE, mask=cured), expected)
    assert np.abs(expected[:, :20].astype(int) - PHOTO[:, :20]).mean() > 5


@pytest.mark.parametrize("mask", [np.zeros((30, 40), np.uint8), MEANT, HALF, HALF.astype(np.float32), MEANT // 20])
def test_masks_that_are_meant_so_are_not_spoken_of(stylizer: Stylizer, mask: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stylizer(PHOTO, STYLE, mask=mask)


def test_the_program_says_it_once(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.png", "photos/b.png", "style.png"):
        Image.fromarray(PHOTO).save(tmp_path / name)
    Image.fromarray(HALF.astype(np.uint8)).save(tmp_path / "mask.png")
    common = ["--style", "style.png", "--mask", "mask.png", "--weights", str(weights), "--device", "cpu", "--quiet"]
    for number, photos in enumerate((["photos/a.png", "photos/b.png"], ["photos"])):
        assert cli.main(["stylize", *photos, "-o", f"out{number}/", *common]) == 0
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if "mask" in line] == [
            "agnlib: warning: mask 1 has no value above 1 of 255, so the style hardly shows;"
            " give booleans, or multiply it by 255"
        ]


def test_a_folder_says_it_too(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "photos" / "a.png")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stylize_folder(stylizer, tmp_path / "photos", tmp_path / "out", STYLE, mask=HALF.astype(np.uint8))
    assert [str(each.message) for each in said if "hardly" in str(each.message)] == [
        "mask 1 has no value above 1 of 255, so the style hardly shows; give booleans, or multiply it by 255"
    ]
