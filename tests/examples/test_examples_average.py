"""The mean of two runs' weights."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from agnlib.models import Generator, pretrained

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def average(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("average")


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_it_lies_between_the_two(average, start: Path, tmp_path: Path, share: float) -> None:
    bundle = pretrained.load(start)
    moved = pretrained.load(start)
    with torch.no_grad():
        for value in moved.generator.parameters():
            value.add_(0.5)
    models = {"generator": moved.generator, "extractor": moved.extractor}
    pretrained.save(tmp_path / "other", models, info={"class_names": ["ink"], "license": "CC0-1.0"})
    average.main([str(start), str(tmp_path / "other"), "--share", str(share), "--out", str(tmp_path / "out")])
    found = pretrained.load(tmp_path / "out")
    assert found.info["averaged"] == {"share": share}
    assert found.license == "CC0-1.0"
    pairs = zip(bundle.generator.parameters(), found.generator.parameters(), strict=True)
    for before, after in pairs:
        torch.testing.assert_close(after, before + 0.5 * share, atol=2e-3, rtol=1e-3)  # saved in half precision


def test_other_networks_are_said(average, start: Path, tmp_path: Path) -> None:
    bundle = pretrained.load(start)
    other = Generator(8, 16, channels=(6, 4, 8), blocks=(1, 1, 1), image_size=16, num_classes=5)
    pretrained.save(tmp_path / "other", {"generator": other, "extractor": bundle.extractor})
    with pytest.raises(SystemExit, match="other networks"):
        average.main([str(start), str(tmp_path / "other"), "--out", str(tmp_path / "out")])
