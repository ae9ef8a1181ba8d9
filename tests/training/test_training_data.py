"""Training data: a function of the step, and what is done about bad pictures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy import data, picture

from agnlib.errors import InputError
from agnlib.training import PairData, PictureFolder, loader


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_asked_for(folders: tuple[Path, Path]) -> None:
    first, second = data(folders), data(folders, cache_bytes=0)
    expected = [first[step] for step in range(9)]
    assert len(first.content) < 9 * 2  # so the last of them are of the second epoch
    for step in (8, 0, 3):
        again = second[step]
        assert again.content_keys == expected[step].content_keys
        torch.testing.assert_close(again.content, expected[step].content, atol=0, rtol=0)
        torch.testing.assert_close(again.style, expected[step].style, atol=0, rtol=0)
    with_workers = islice(loader(data(folders), start=1, workers=2), 3)
    for batch, other in zip(expected[1:4], with_workers, strict=True):
        torch.testing.assert_close(batch.style, other.style, atol=0, rtol=0)


def test_an_epoch_shows_every_crop_once(folders: tuple[Path, Path]) -> None:
    source = data(folders)
    keys = [key for step in range(len(source.content) // 2) for key in source[step].content_keys]
    assert len(set(keys)) == len(keys) == len(source.content)


def test_classes_come_from_the_first_subfolder(folders: tuple[Path, Path]) -> None:
    source = data(folders)
    assert source.style.class_names == ("ink", "oil")
    for step in range(5):
        batch = source[step]
        named = [
            next(index for index, name in enumerate(("ink", "oil")) if name in Path(k).parts) for k in batch.style_keys
        ]
        assert batch.label is not None
        assert batch.label.tolist() == named


def test_without_subfolders_there_are_no_classes_and_no_labels(folders: tuple[Path, Path]) -> None:
    assert PictureFolder(folders[0], 24).class_names == ()
    assert data((folders[1], folders[0]))[0].label is None


def test_hidden_folders_are_no_classes(folders: tuple[Path, Path]) -> None:
    (folders[1] / ".cache").mkdir()
    assert PictureFolder(folders[1], 24).class_names == ("ink", "oil")


def test_folders_of_one_name_keep_their_crops_apart(tmp_path: Path) -> None:
    for seed, parent in enumerate(("photos", "art")):
        picture(tmp_path / parent / "pictures" / "0.png", (30, 30), seed)
    source = data((tmp_path / "photos" / "pictures", tmp_path / "art" / "pictures"))
    for step in range(3):
        batch = source[step]
        assert not set(batch.content_keys) & set(batch.style_keys)
        assert not torch.equal(batch.content, batch.style)


def test_pictures_that_cannot_be_read_are_counted_and_passed_over(folders: tuple[Path, Path]) -> None:
    (folders[0] / "text.jpg").write_text("not a picture")
    whole = (folders[0] / "0.png").read_bytes()
    (folders[0] / "torn.png").write_bytes(whole[: len(whole) // 2])
    content = PictureFolder(folders[0], 24)
    assert [p.name for p in content.unreadable] == ["text.jpg"]
    source = PairData(content, PictureFolder(folders[1], 24), batch=2)
    batches = [source[step] for step in range(len(content))]
    keys = {key for batch in batches for key in batch.content_keys}
    skipped = {path for batch in batches for path in batch.skipped}
    torn = {content.key(entry) for entry in range(len(content)) if "torn.png" in content.key(entry)}
    assert skipped == {str(folders[0] / "torn.png")}
    assert not keys & torn


def test_colors_hidden_under_alpha_are_not_learned_from(tmp_path: Path) -> None:
    pixels = np.full((40, 40, 4), (90, 120, 150, 255), dtype=np.uint8)
    pixels[:, 20:] = (255, 0, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    folder = PictureFolder(tmp_path, 24)
    for entry in range(len(folder)):
        np.testing.assert_allclose(folder.crop(entry), np.broadcast_to((90, 120, 150), (24, 24, 3)), atol=1)


def test_pictures_of_one_pixel_are_enlarged(tmp_path: Path) -> None:
    picture(tmp_path / "dot.png", (1, 1), 0)
    picture(tmp_path / "line.png", (1, 90), 1)
    folder = PictureFolder(tmp_path, 24)
    assert folder.enlarged == 2
    assert {folder.crop(entry).shape for entry in range(len(folder))} == {(24, 24, 3)}


def test_larger_pictures_are_seen_more_often(tmp_path: Path) -> None:
    picture(tmp_path / "small.png", (24, 24), 0)
    picture(tmp_path / "large.png", (72, 48), 1)
    entries = [index for index, _ in PictureFolder(tmp_path, 24).entries]
    assert (entries.count(0), entries.count(1)) == (6, 2)


@pytest.mark.parametrize("kind", ["missing", "empty", "text only", "empty class"])
def test_folders_without_pictures_are_named(tmp_path: Path, kind: str) -> None:
    if kind != "missing":
        (tmp_path / "f").mkdir()
    if kind == "text only":
        (tmp_path / "f" / "a.png").write_text("text")
    if kind == "empty class":
        for name in ("a", "b"):
            picture(tmp_path / "f" / name / "x.png", (24, 24), 0)
        (tmp_path / "f" / "c").mkdir()
    with pytest.raises(InputError, match=r"\bf\b"):
        PictureFolder(tmp_path / "f", 24)
