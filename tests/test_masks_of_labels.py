"""Masks whose values are labels, or are kept in too many bits, hardly show: said once, with the cure."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.cli import main as cli
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
    "grey with alpha": np.stack([HALF.astype(np.uint8), np.full(HALF.shape, 255, np.uint8)], -1),
    "classes": HALF.astype(np.uint8) * 4,
}


@pytest.fixture(scope="module")
def stylizer(weights: Path) -> Stylizer:
    return Stylizer.from_pretrained(weights, device="cpu")


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
