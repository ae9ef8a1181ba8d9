"""Random styles beside real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import evaluation, metrics
from agnlib.cli.main import main
from agnlib.errors import InputError
from agnlib.evaluation import Judge
from agnlib.styles.code import StyleCode

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "images"
FILES = sorted(EXAMPLES.glob("*.jpg"))


class Flat:
    """Paints one color: of the reference's mean, or of as many different ones as there are seeds."""

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds

    def __call__(self, content: Image.Image, style: Any) -> Image.Image:
        if isinstance(style, StyleCode):
            return Image.new("RGB", content.size, tuple(style.vector.int().tolist()))
        return style.resize((1, 1)).resize(content.size)

    def random_style(self, seed: int) -> StyleCode:
        rng = torch.Generator().manual_seed(seed % self.seeds)
        return StyleCode(torch.randint(0, 256, (3,), generator=rng).float(), "chance")


class Pixels:
    """An encoder that sees colors, with taps as LPIPS' heads have."""

    channels, min_size = {"relu1_2": 64}, 1

    def __call__(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"relu1_2": image.repeat(1, 22, 1, 1)[:, :64] + 2}


def test_styles_that_are_all_alike_have_no_variety() -> None:
    rows = {"one": Flat(1), "many": Flat(1000)}
    scores = evaluation.random_styles(rows, FILES[:2], FILES, Judge({}), count=4)
    assert [len(found) for found in scores.values()] == [2, 2]
    summary = evaluation.variety(scores)
    assert summary["one"]["hue entropy"]["value"] < summary["many"]["hue entropy"]["value"]
    assert summary["one"]["hue entropy"]["real"] == summary["many"]["hue entropy"]["real"]


def test_distances_need_lpips() -> None:
    pytest.importorskip("lpips")
    scores = evaluation.random_styles({"one": Flat(1)}, FILES[:1], FILES, Judge({}, Pixels()), count=3)
    assert list(scores["one"][0]) == ["distance, random", "distance, real", "hue entropy, random", "hue entropy, real"]
    assert scores["one"][0]["distance, random"] == pytest.approx(0, abs=1e-6)
    assert scores["one"][0]["distance, real"] > 0


def test_hues_are_those_of_all_pictures_together() -> None:
    colors = [Image.new("RGB", (64, 64), color) for color in ("red", "lime")]
    both = np.concatenate([np.asarray(each) for each in colors])
    pixels = torch.from_numpy(both).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert Judge({}).variety(colors)["hue entropy"] == pytest.approx(metrics.hue_entropy(pixels).item())
    assert Judge({}).variety(colors[:1] * 2)["hue entropy"] < Judge({}).variety(colors)["hue entropy"]


def test_the_ratio_is_that_of_the_means_with_the_bootstrap_over_photographs() -> None:
    stats = pytest.importorskip("scipy.stats")
    random, real = np.random.default_rng(0).uniform(1, 2, (2, 40))
    found = [{"distance, random": a, "distance, real": b} for a, b in zip(random, real, strict=True)]
    cell = evaluation.variety({"mine": found})["mine"]["distance"]
    assert cell["value"] == pytest.approx(random.mean() / real.mean())
    expected = stats.bootstrap(
        (random, real),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=5000,
        rng=1,
    ).confidence_interval
    assert (cell["low"], cell["high"]) == pytest.approx(tuple(expected), abs=0.02)


def test_the_table_has_a_line_for_each_row() -> None:
    cell = {"random": 0.1, "real": 0.2, "value": 0.5, "low": 0.4, "high": 0.6}
    lines = evaluation.variety_table({"mine": {"distance": cell}, "yours": {"distance": cell}}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split("|")[1:-1] == [" mine  ", "            0.100 ", "          0.200 ", " 0.50 [0.40, 0.60] "]


def test_mistakes_are_said() -> None:
    with pytest.raises(InputError, match="at least 2"):
        evaluation.random_styles({}, FILES[:1], FILES, Judge({}), count=1)
    with pytest.raises(InputError, match="2 references"):
        evaluation.random_styles({}, FILES[:1], FILES[:2], Judge({}), count=3)


def test_the_command_prints_it_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--content", str(EXAMPLES), "--style", str(EXAMPLES)]
    command = ["evaluate", *folders, "--pairs", "2", "--random-styles", "1", "--weights", "agn-fast"]
    assert main([*command, "--out", str(tmp_path / "s.json")]) == 0
    assert "1 photographs, each in 10 random and 10 real styles" in capsys.readouterr().out
    found = json.loads((tmp_path / "s.json").read_text())["random styles"]
    assert len(found["photos"]) == len(found["scores"]["agn-fast"]) == 1
    assert 0.2 < found["summary"]["agn-fast"]["hue entropy"]["value"] < 5
