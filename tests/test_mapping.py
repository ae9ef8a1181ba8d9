"""Styles by chance and by name: the maps that are fitted to codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from agnlib import Generator
from agnlib.training.mapping import fit_mapping

MEANS = torch.tensor([[3.0, 0.0, 0.0], [-1.0, 2.0, 0.0], [-2.0, -2.0, 0.0]])
KINDS = torch.arange(3).repeat_interleave(400)


def codes() -> Tensor:
    """Three classes, each of its own covariance."""
    noise = torch.randn(1200, 3, generator=torch.Generator().manual_seed(0))
    spread = torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 1.0], [0.5, 1.0, 2.0]])
    return MEANS[KINDS] + noise * spread[KINDS]


def fitted(**options: float) -> Generator:
    generator = Generator(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1))
    fit_mapping(generator, codes(), KINDS, **options)
    return generator


def drawn(generator: Generator, label: int) -> np.ndarray:
    z = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    return generator.sample_style(z, torch.full((len(z),), label)).detach().numpy()


@pytest.mark.parametrize("label", range(3))
def test_without_options_a_class_has_its_mean_and_covariance(label: int) -> None:
    of, members = drawn(fitted(spread=1.0, shrinkage=0.0), label), codes()[label == KINDS].numpy()
    np.testing.assert_allclose(of.mean(0), members.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(of.T), np.cov(members.T), atol=0.15)


@pytest.mark.parametrize("label", range(3))
def test_shrinkage_goes_to_the_covariance_of_all_classes(label: int) -> None:
    real = codes().numpy()
    within = np.mean([np.cov(real[KINDS.numpy() == each].T) for each in range(3)], axis=0)
    np.testing.assert_allclose(np.cov(drawn(fitted(spread=1.0, shrinkage=1.0), label).T), within, atol=0.1)


@pytest.mark.parametrize("label", range(3))
def test_what_spread_gives_up_goes_into_the_mean(label: int) -> None:
    whole, half = (drawn(fitted(spread=spread, shrinkage=0.0), label) for spread in (1.0, 0.5))
    middle = np.mean([codes()[each == KINDS].numpy().mean(0) for each in range(3)], axis=0)
    np.testing.assert_allclose(np.cov(half.T), np.cov(whole.T) / 4, atol=0.05)
    distance = [((each - middle) ** 2).sum(1).mean() for each in (whole, half)]
    assert distance[1] == pytest.approx(distance[0], rel=0.03)
    offsets = [each.mean(0) - middle for each in (whole, half)]
    cosine = offsets[0] @ offsets[1] / np.linalg.norm(offsets[0]) / np.linalg.norm(offsets[1])
    assert cosine > 0.995


def test_a_class_in_the_middle_is_not_thrown_far_out() -> None:
    generator = Generator(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1))
    alike = codes() - MEANS[KINDS]
    fit_mapping(generator, alike, KINDS, spread=0.1)
    real = [alike[label == KINDS].mean(0) for label in range(3)]
    middle = torch.stack(real).mean(0)
    for label in range(3):
        mean = torch.from_numpy(drawn(generator, label).mean(0))
        assert (mean - middle).norm() < 3.1 * (real[label] - middle).norm() + 0.02


def test_styles_without_a_class_keep_mean_and_covariance() -> None:
    z = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    of = fitted().sample_style(z).detach().numpy()
    np.testing.assert_allclose(of.mean(0), codes().numpy().mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(of.T), np.cov(codes().numpy().T), atol=0.3)


def test_one_class_keeps_its_codes_as_they_are() -> None:
    generator = Generator(3, 3, num_classes=1, channels=(4, 4, 8), blocks=(1, 1, 1))
    real = codes()[:400]
    fit_mapping(generator, real, KINDS[:400])
    z = torch.randn(50, 3)
    torch.testing.assert_close(generator.sample_style(z, torch.zeros(50, dtype=torch.long)), generator.sample_style(z))
