"""The parts of benchmarks/article/article.py that decide what its numbers mean."""

from __future__ import annotations

import colorsys
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

linalg = pytest.importorskip("scipy.linalg")
_article_table = import_module("benchmarks.article._article_table")
_digits = import_module("benchmarks.article._digits")
article = import_module("benchmarks.article.article")


@given(st.integers(0, 1000))
def test_frechet_distance_is_the_closed_form_with_a_matrix_root(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 60, 5, generator=rng, dtype=torch.float64)
    b = b * torch.rand(5, generator=rng) + torch.rand(5, generator=rng)
    cov_a, cov_b = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = float((a.mean(0) - b.mean(0)).square().sum()) + np.trace(cov_a + cov_b - 2 * root)
    assert _digits.frechet_distance(a, b) == pytest.approx(expected, abs=1e-8)
    assert _digits.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_detail_is_the_energy_of_high_frequencies() -> None:
    x = torch.arange(28).double()
    slow, fast = torch.cos(2 * torch.pi * 3 * x / 28), torch.cos(2 * torch.pi * 10 * x / 28)
    stripes = [wave.expand(1, 1, 28, 28) for wave in (slow, fast)]
    assert _digits.detail(stripes[0]) == pytest.approx(0, abs=1e-12)
    assert _digits.detail(stripes[1]) > 100
    across, down = (_digits.detail(stripe) for stripe in (stripes[1], stripes[1].mT))
    assert across == pytest.approx(down)
    whole = torch.rand(2, 1, 28, 28, dtype=torch.float64)
    power = torch.fft.fft2(whole, norm="ortho").abs().square()
    frequency = torch.fft.fftfreq(28).abs()
    high = torch.maximum(frequency[:, None], frequency[None]) > 0.25
    assert _digits.detail(whole) == pytest.approx(float(power[..., high].sum(-1).mean()))


def test_colors_of_one_hue_and_of_all_hues() -> None:
    red = torch.tensor([1.0, -1, -1])[None, :, None, None].expand(6, 3, 4, 4)
    assert _digits.colors(red) == pytest.approx({"hue_entropy": 0, "distance": 0}, abs=1e-4)
    wheel = np.array([colorsys.hsv_to_rgb((k + 0.5) / 24, 1, 1) for k in range(24)])
    pictures = torch.from_numpy(wheel * 2 - 1).float()[:, :, None, None]
    assert _digits.colors(pictures)["hue_entropy"] > 0.98
    assert _digits.colors(pictures)["distance"] > 50
    assert _digits.colors(torch.zeros(3, 3, 4, 4))["hue_entropy"] == pytest.approx(0, abs=1e-6)


def test_distance_of_two_colors_is_delta_e() -> None:
    color = pytest.importorskip("skimage.color")
    pair = np.array([[0.2, 0.4, 0.9], [0.9, 0.1, 0.3]])
    expected = np.linalg.norm(np.subtract(*color.rgb2lab(pair[None])[0]))
    found = _digits.colors(torch.from_numpy(pair * 2 - 1).float()[:, :, None, None])["distance"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_pictures_become_digits_of_28_pixels() -> None:
    assert torch.equal(_digits.as_digits(torch.full((2, 1, 28, 28), 3.0)), torch.ones(2, 1, 28, 28))
    colored = _digits.as_digits(torch.tensor([1.0, -1, -1])[None, :, None, None].expand(1, 3, 64, 64))
    assert colored.shape == (1, 1, 28, 28)
    assert torch.allclose(colored, torch.tensor(0.299))


def test_the_judge_counts_what_it_was_asked() -> None:
    class Brightness(torch.nn.Module):
        """Takes a picture's level for the digit."""

        def forward(self, flat: torch.Tensor) -> torch.Tensor:
            return -100 * (flat.mean(1, keepdim=True) * 10 - torch.arange(10)).square()

    network = _digits.DigitClassifier()
    network.body, network.head = torch.nn.Flatten(), Brightness()
    label = torch.arange(40) % 10
    digits = (label / 10)[:, None, None, None].expand(40, 1, 28, 28) + 0.01 * torch.rand(40, 1, 28, 28)
    asked = torch.where(torch.arange(40) < 30, label, (label + 1) % 10)
    found = _digits.judge(network, digits, digits, asked)
    assert found["shares"] == [0.1] * 10
    assert found["least_share"] == pytest.approx(0.1)
    assert found["asked"] == pytest.approx(0.75)
    assert found["confidence"] > 0.99
    assert found["frechet"] == pytest.approx(0, abs=1e-3)


def test_recolored_digits_have_their_two_colors() -> None:
    digits = torch.tensor([0.0, 1.0]).expand(3, 1, 2, 2)
    painted = article.recolored(digits, torch.Generator().manual_seed(0))
    assert painted.shape == (3, 3, 2, 2)
    assert (painted[:, :, 0] == painted[:, :, 1]).all()
    assert len({tuple(color) for color in painted[:, :, 0].mT.flatten(0, 1).tolist()}) == 6


# -- the tables -----------------------------------------------------------------------------------------------------

GOOD = {"confidence": 0.95, "least_share": 0.06, "shares": [0.1] * 10, "frechet": 50.0, "detail": 1.1}
BAD = GOOD | {"least_share": 0.005}


def result(seed: int, *ends: dict[str, Any], failure: str | None = None) -> dict[str, Any]:
    curve = [{"minutes": float(i), "steps": 100 * i, "last": end, "average": end} for i, end in enumerate(ends)]
    return {"settings": {"seed": seed}, "seconds_per_step": 0.1, "failure": failure, "curve": curve}


def test_point_one_wants_confidence_and_every_digit_or_what_was_asked_for() -> None:
    assert _article_table.good(GOOD)
    assert not _article_table.good(GOOD | {"confidence": 0.899})
    assert not _article_table.good(GOOD | {"least_share": 0.0399})
    assert _article_table.good(BAD | {"asked": 0.95})
    assert not _article_table.good(GOOD | {"asked": 0.949})


def test_reached_is_the_first_minute_after_the_start() -> None:
    assert _article_table.reached(result(0, GOOD, BAD, GOOD, GOOD)) == 2.0
    assert _article_table.reached(result(0, GOOD, BAD)) is None


def test_failed_runs_say_why() -> None:
    assert _article_table.failed(result(0, BAD, GOOD)) is None
    assert _article_table.failed(result(0, GOOD, BAD)) == "collapsed"
    assert _article_table.failed(result(0, BAD, GOOD, failure="not finite")) == "stopped"


def test_the_tables_have_a_row_for_each_run_that_is_there(tmp_path: Path) -> None:
    two_colors = {"hue_entropy": 0.9, "distance": 40.0}
    runs = {
        "real-0": {"accuracy": 0.991, "real": GOOD | {"asked": 0.99}, "colors": two_colors},
        "samples-0": result(0, BAD, GOOD),
        "asked-0": result(0, BAD | {"asked": 0.1}, GOOD | {"asked": 0.97}),
        "loss-hinge-0": result(0, BAD, GOOD),
        "loss-hinge-2": result(2, BAD, BAD | {"confidence": 0.5}),
        "color-0": {**result(0), "curve": [{"minutes": 0, "steps": 0, "average": two_colors}] * 2},
    }
    for name, content in runs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = _article_table.table(tmp_path, article.RUNS).splitlines()
    (hinge,) = [line for line in lines if line.startswith("| hinge")]
    assert [cell.strip() for cell in hinge.split("|")[2:5]] == ["2", "0.100", "0.725 (0.500)"]
    assert "2 (collapsed)" in hinge
    assert len([line for line in lines if line.startswith("| article, K + 1 classes, labels")]) == 3
    assert not any("modern" in line for line in lines)
    assert any(line.startswith("| article, untrained") for line in lines)


def test_without_the_real_row_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _article_table.table(tmp_path, article.RUNS)
    assert "--only real" in capsys.readouterr().err
