"""Losses against closed forms, scikit-image, SciPy and torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab

from agnlib.errors import InputError
from agnlib.losses import (
    content_loss,
    covariance_style_loss,
    feature_moments,
    guided_smoothness,
    hinge_discriminator_loss,
    hinge_generator_loss,
    moment_style_loss,
    normalize_features,
    palette_loss,
    patch_nce_loss,
    r1_penalty,
    rgb_to_lab,
    total_variation,
)

ZERO = 1e-9  # of a rounded-off distance: 1e-3 - 1e-3 in float32


def rounded(distance: float) -> float:
    """A distance as the losses give it: rounded off at zero, where a root has no slope."""
    return math.sqrt(distance**2 + 1e-6) - 1e-3


def test_feature_moments_are_numpys_mean_and_covariance() -> None:
    features = torch.randn(2, 5, 6, 7, dtype=torch.float32)
    mean, covariance = feature_moments(features)
    for found_mean, found, rows in zip(mean, covariance, features.flatten(2), strict=True):
        np.testing.assert_allclose(found_mean, rows.numpy().mean(1), atol=1e-5)
        np.testing.assert_allclose(found, np.cov(rows.numpy(), bias=True), atol=1e-5)


def test_style_losses_are_zero_at_the_target_and_relative() -> None:
    f = torch.randn(1, 4, 9, 9)
    target = {"a": feature_moments(f)}
    assert covariance_style_loss({"a": f}, target) < ZERO
    doubled = covariance_style_loss({"a": 2 * f}, target).item()
    assert doubled == pytest.approx(
        rounded(1) + rounded(3), rel=1e-5
    )  # means off by themselves, covariances by 3 times
    moments = {"a": (f.mean((2, 3)), f.std((2, 3), correction=0))}
    assert moment_style_loss({"a": 2 * f}, moments).item() == pytest.approx(rounded(1), rel=1e-5)


def test_style_losses_see_statistics_and_not_places() -> None:
    f = torch.randn(1, 4, 8, 8)
    shuffled = f.flatten(2)[:, :, torch.randperm(64)].view_as(f)
    assert covariance_style_loss({"a": shuffled}, {"a": feature_moments(f)}) < ZERO


@given(gain=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_content_loss_ignores_gain_and_shift(gain: float, shift: float) -> None:
    f = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    target = {"a": normalize_features(f)}
    assert content_loss({"a": gain * f + shift}, target) < 1e-3
    torch.testing.assert_close(content_loss({"a": -f}, target), torch.tensor(4.0), rtol=1e-3, atol=1e-3)


def test_lab_is_scikit_images() -> None:
    image = torch.rand(1, 3, 20, 20) * 2 - 1
    expected = rgb2lab((image[0].permute(1, 2, 0).double().numpy() + 1) / 2)
    np.testing.assert_allclose(rgb_to_lab(image)[0].permute(1, 2, 0), expected, atol=0.02)


def test_lab_has_a_finite_gradient_in_black() -> None:
    image = torch.full((1, 3, 4, 4), -1.0, requires_grad=True)
    rgb_to_lab(image).sum().backward()
    assert torch.isfinite(image.grad).all()


def test_palette_loss_of_greys_is_the_lightness_distance() -> None:
    dark, light = torch.full((1, 3, 8, 8), -0.5), torch.full((1, 3, 8, 8), 0.5)
    lightness = (rgb_to_lab(light) - rgb_to_lab(dark))[0, 0, 0, 0].item()
    found = palette_loss(dark, light, directions=20_000).item()
    # a random direction keeps a third of the square; of 20,000 the mean is off by less than 3 percent
    assert math.isclose(found, rounded(lightness / 10 / math.sqrt(3)), rel_tol=0.03)


def test_palette_loss_is_a_wasserstein_distance() -> None:
    a, b = torch.rand(2, 1, 3, 16, 16) * 2 - 1
    line = F.normalize(torch.randn(1, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    clouds = [(line @ rgb_to_lab(x.flatten(2)))[0, 0].numpy() for x in (a, b)]
    found = palette_loss(a, b, directions=1, pool=1).item()
    assert found >= rounded(wasserstein_distance(*clouds) / 10)  # W2 is never below W1
    sorted_error = np.sqrt(((np.sort(clouds[0]) - np.sort(clouds[1])) ** 2).mean())
    assert math.isclose(found, rounded(sorted_error / 10), rel_tol=1e-4)


def test_palette_loss_takes_pictures_of_different_sizes_and_ignores_places() -> None:
    image = torch.rand(2, 3, 32, 48) * 2 - 1
    assert palette_loss(image, image.flip(3), pool=1) < ZERO
    assert torch.isfinite(palette_loss(image, image[:, :, :20, :11]))
    with pytest.raises(InputError, match="batches of 2 and 1"):
        palette_loss(image, image[:1])


def test_hinge_losses_closed_form() -> None:
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 1.0])
    assert hinge_discriminator_loss([real], [fake]).item() == pytest.approx(0.25 + 1.0)
    assert hinge_generator_loss([fake]).item() == pytest.approx(0.5)
    assert hinge_discriminator_loss([real, real], [fake, fake]).item() == pytest.approx(1.25)


def test_r1_is_the_squared_gradient_and_differentiable() -> None:
    weight = torch.randn(3, 4, 4, requires_grad=True)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((x * weight).sum((1, 2, 3)), x)
    torch.testing.assert_close(penalty, weight.square().sum())
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_total_variation_counts_steps() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[..., 2:] = 1
    assert total_variation(image).item() == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    "loss",
    [
        total_variation,
        lambda x: palette_loss(x, torch.zeros(1, 3, 5, 4)),
        lambda x: patch_nce_loss(x, torch.ones(1, 3, 1, 1)),
        lambda x: content_loss({"a": x}, {"a": normalize_features(torch.ones(1, 3, 1, 1))}),
        lambda x: covariance_style_loss({"a": x}, {"a": feature_moments(torch.ones(1, 3, 1, 1))}),
        lambda x: moment_style_loss({"a": x}, {"a": (torch.ones(1, 3), torch.zeros(1, 3))}),
    ],
)
def test_one_pixel_has_a_finite_loss_and_gradient(loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
    image = torch.full((1, 3, 1, 1), 0.5, requires_grad=True)
    value = loss(image)
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(image.grad).all()


def test_patch_nce_prefers_the_same_place() -> None:
    f = torch.randn(2, 32, 6, 6)
    assert patch_nce_loss(f, f) < 0.1 < patch_nce_loss(f, torch.randn_like(f))
    uniform = patch_nce_loss(torch.ones(1, 4, 4, 4), torch.ones(1, 4, 4, 4))
    assert uniform.item() == pytest.approx(math.log(16))


def test_guided_smoothness_lets_contrast_palette_and_strokes_go() -> None:
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (128, 128)) * 2 - 1
    swapped = 0.3 * photo.flip(1) + 0.2
    strokes = 0.2 * torch.tensor([1.0, -1.0]).repeat(64)
    assert guided_smoothness(swapped, photo).item() < 0.02
    assert guided_smoothness(swapped + strokes, photo).item() < 0.02


def test_guided_smoothness_sees_a_patch_where_the_photo_is_flat() -> None:
    photo = torch.zeros(1, 3, 128, 128)
    photo[..., 96:, :] = 1
    patched = photo.clone()
    patched[..., 16:64, 32:80] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert guided_smoothness(patched, photo) > 0.1 > guided_smoothness(photo, photo)
    assert guided_smoothness(patched[..., :20, :20], photo[..., :20, :20]) == 0  # smaller than two regions
