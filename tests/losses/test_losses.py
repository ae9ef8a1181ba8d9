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
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab

from agnlib.errors import InputError
from agnlib.losses import (
    AdversarialLoss,
    ClassLoss,
    FeatureMatchingLoss,
    GradientPenalty,
    KLDivergence,
    R1Penalty,
    UniformityLoss,
    class_discriminator_loss,
    class_generator_loss,
    class_log_odds,
    content_loss,
    covariance_style_loss,
    feature_matching_loss,
    feature_moments,
    gradient_penalty,
    guided_smoothness,
    hinge_discriminator_loss,
    hinge_generator_loss,
    interpolate,
    kl_divergence,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    logistic_discriminator_loss,
    logistic_generator_loss,
    moment_style_loss,
    normalize_features,
    palette_loss,
    patch_nce_loss,
    r1_penalty,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    relaxed_earth_mover_loss,
    rgb_to_lab,
    sliced_style_loss,
    total_variation,
    uniformity_loss,
    wasserstein_discriminator_loss,
    wasserstein_generator_loss,
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


def test_the_sliced_loss_is_the_best_transport_where_there_is_one_line() -> None:
    """One channel has two lines, there and back, and on them the sorted values are scipy's optimal assignment."""
    rng = torch.Generator().manual_seed(3)
    ours, theirs = torch.randn(2, 1, 5, 5, generator=rng), 3 * torch.randn(2, 1, 5, 5, generator=rng) + 1
    expected = []
    for one, other in zip(ours.flatten(1).numpy(), theirs.flatten(1).numpy(), strict=True):
        cost = (one[:, None] - other) ** 2
        expected.append(rounded((cost[linear_sum_assignment(cost)].mean() / (other**2).mean()) ** 0.5))
    assert sliced_style_loss({"a": ours}, {"a": theirs}).item() == pytest.approx(np.mean(expected), rel=1e-4)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4))
def test_the_sliced_loss_takes_any_sizes_and_ignores_places(height: int, width: int, channels: int) -> None:
    rng = torch.Generator().manual_seed(height)
    f = torch.randn(1, channels, height, width, generator=rng, requires_grad=True)
    places = torch.randperm(height * width, generator=rng)
    shuffled = f.detach().flatten(2)[:, :, places].view_as(f)
    assert sliced_style_loss({"a": f}, {"a": shuffled}, seed=width) < ZERO
    doubled = F.interpolate(f.detach(), scale_factor=2)  # every value four times
    assert sliced_style_loss({"a": f}, {"a": doubled}) < 0.5
    sliced_style_loss({"a": f}, {"a": doubled + 1}).backward()
    assert torch.isfinite(f.grad).all()


def test_the_sliced_loss_says_what_does_not_fit() -> None:
    f = torch.zeros(1, 2, 3, 3)
    with pytest.raises(InputError, match="0 taps"):
        sliced_style_loss({}, {})
    with pytest.raises(InputError, match="0 directions"):
        sliced_style_loss({"a": f}, {"a": f}, directions=0)
    with pytest.raises(InputError, match=r"a of shape \(1, 2, 3, 3\) and \(2, 2, 3, 3\)"):
        sliced_style_loss({"a": f}, {"a": f.repeat(2, 1, 1, 1)})


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


def test_palette_loss_of_grays_is_the_lightness_distance() -> None:
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


def test_hinge_losses_are_means_over_maps() -> None:
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 1.0])
    assert hinge_discriminator_loss([real], [fake]).item() == pytest.approx(0.25 + 1.0)
    assert hinge_discriminator_loss([real, real + 9], [fake, fake]).item() == pytest.approx(1.125)
    assert hinge_generator_loss([fake, fake + 1]).item() == pytest.approx(0.0)


LOGITS = st.lists(st.floats(-8, 8), min_size=3, max_size=3)
PAIRS = {
    "logistic": (logistic_discriminator_loss, logistic_generator_loss),
    "hinge": (hinge_discriminator_loss, hinge_generator_loss),
    "least_squares": (least_squares_discriminator_loss, least_squares_generator_loss),
    "wasserstein": (wasserstein_discriminator_loss, wasserstein_generator_loss),
    "relativistic": (relativistic_discriminator_loss, relativistic_generator_loss),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


def generator_loss(name: str, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return PAIRS[name][1](fake, real) if name == "relativistic" else PAIRS[name][1](fake)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@given(real=LOGITS, fake=LOGITS)
def test_adversarial_losses_are_their_papers_formulas(real: list[float], fake: list[float]) -> None:
    r, f = np.array(real), np.array(fake)
    expected = {  # in NumPy and float64: what the discriminator minimizes, then the generator
        "logistic": (-np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(), -np.log(sigmoid(f)).mean()),
        "hinge": (np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(), -f.mean()),
        "least_squares": ((((r - 1) ** 2).mean() + (f**2).mean()) / 2, ((f - 1) ** 2).mean() / 2),
        "wasserstein": (f.mean() - r.mean(), -f.mean()),
        "relativistic": (-np.log(sigmoid(r - f)).mean(), -np.log(sigmoid(f - r)).mean()),
    }
    tensors = torch.tensor(real), torch.tensor(fake)
    for name, (of_discriminator, of_generator) in expected.items():
        found = PAIRS[name][0](*tensors).item(), generator_loss(name, tensors[1], tensors[0]).item()
        assert found == pytest.approx((of_discriminator, of_generator), rel=1e-4, abs=1e-4), name


def test_the_logistic_pair_is_binary_cross_entropy() -> None:
    real, fake, one = torch.randn(7), torch.randn(7), torch.ones(7)
    entropy = F.binary_cross_entropy_with_logits
    expected = entropy(real, one) + entropy(fake, 1 - one)
    torch.testing.assert_close(logistic_discriminator_loss(real, fake), expected)
    torch.testing.assert_close(logistic_generator_loss(fake), entropy(fake, one))


@given(p=st.floats(0.05, 0.95))
def test_the_best_logit_is_the_one_of_the_paper(p: float) -> None:
    """At one place, where real pictures are p of all: each loss is least where its paper's optimal D is."""
    best = {"logistic": math.log(p / (1 - p)), "least_squares": p, "hinge": 1.0 if p > 0.5 else -1.0}
    weights = torch.tensor([p, 1 - p], dtype=torch.float64)
    for name, optimum in best.items():
        if name == "hinge" and abs(p - 0.5) < 0.05:
            continue  # all logits between -1 and 1 are equally good there

        def loss(logit: torch.Tensor, name: str = name) -> torch.Tensor:
            nothing = torch.tensor([2.0 if name == "hinge" else 40.0], dtype=torch.float64)
            if name == "least_squares":  # half of the squared distance to 1 for real, to 0 for generated
                one = torch.ones(1, dtype=torch.float64)
                real, fake = PAIRS[name][0](logit, 0 * one), PAIRS[name][0](one, logit)
            else:
                real, fake = PAIRS[name][0](logit, -nothing), PAIRS[name][0](nothing, logit)
            return weights[0] * real + weights[1] * fake

        values = [loss(torch.tensor([optimum + step], dtype=torch.float64)).item() for step in (-0.05, 0, 0.05)]
        assert values[1] < min(values[0], values[2]), (name, values)


@every_pair
@given(seed=st.integers(0, 99), shift=st.floats(-5, 5))
def test_what_the_losses_do_not_see(name: str, seed: int, shift: float) -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed))
    whole = PAIRS[name][0](real, fake)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(PAIRS[name][0](real[order], fake[order]), whole)
    torch.testing.assert_close(PAIRS[name][0]([real, real], [fake, fake]), whole)  # maps count alike
    torch.testing.assert_close(PAIRS[name][0](real.view(1, 2, 3), fake.view(1, 2, 3)), whole)
    if name in ("wasserstein", "relativistic"):  # only differences count
        moved = PAIRS[name][0](real + shift, fake + shift)
        torch.testing.assert_close(moved, whole, rtol=1e-4, atol=1e-5)


@every_pair
def test_both_sides_pull_at_the_fake_logits_in_opposite_directions(name: str) -> None:
    real, fake = torch.zeros(4), torch.zeros(4, requires_grad=True)
    (down,) = torch.autograd.grad(PAIRS[name][0](real, fake + 0.3), fake)
    (up,) = torch.autograd.grad(generator_loss(name, fake + 0.3, real), fake)
    assert (down > 0).all()
    assert (up < 0).all()


@every_pair
def test_adversarial_modules_agree_with_the_functions(name: str) -> None:
    real, fake = torch.randn(2, 5)
    loss = AdversarialLoss(name)
    assert loss(real, fake) == PAIRS[name][0](real, fake)
    assert loss.generator(fake, real) == generator_loss(name, fake, real)
    assert repr(loss) == f"AdversarialLoss('{name}')"
    if name == "relativistic":
        with pytest.raises(InputError, match="no real logits"):
            loss.generator(fake)
    else:
        assert loss.generator(fake) == loss.generator(fake, real)


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(InputError, match=r"'bce'; expected one of logistic, hinge"):
        AdversarialLoss("bce")


def test_other_modules_agree_with_the_functions() -> None:
    real, fake, label = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 4, 2, 2])
    assert ClassLoss()(real, fake, label) == class_discriminator_loss(real, fake, label)
    assert ClassLoss().generator(fake, label) == class_generator_loss(fake, label)
    assert UniformityLoss()(fake) == uniformity_loss(fake)
    assert FeatureMatchingLoss()([real], [fake]) == feature_matching_loss([real], [fake])
    assert KLDivergence()(real, fake.exp()) == kl_divergence(real, fake.exp())
    image = torch.randn(2, 1, 3, 3, requires_grad=True)
    logits = image.square().sum((1, 2, 3))
    assert R1Penalty()(logits, image) == r1_penalty(logits, image)
    assert GradientPenalty()(logits, image) == gradient_penalty(logits, image)


@given(length=st.floats(0.01, 5), seed=st.integers(0, 99))
def test_penalties_on_a_linear_discriminator(length: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight = F.normalize(torch.randn(3, 4, 4, generator=rng).flatten(), dim=0).view(3, 4, 4) * length
    weight.requires_grad_()
    x = torch.randn(2, 3, 4, 4, generator=rng).requires_grad_()
    for penalty, value, slope in (
        (r1_penalty, length**2, 2 * weight),
        (gradient_penalty, (length - 1) ** 2, 2 * (length - 1) * weight / length),
    ):
        found = penalty((x * weight).sum((1, 2, 3)), x)
        assert found.item() == pytest.approx(value, rel=1e-3, abs=1e-5)
        (gradient,) = torch.autograd.grad(found, weight)
        torch.testing.assert_close(gradient, slope.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("penalty", [r1_penalty, gradient_penalty])
def test_penalties_have_right_second_derivatives(penalty: Callable[..., torch.Tensor]) -> None:
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def value(weight: torch.Tensor) -> torch.Tensor:
        return penalty(torch.tanh(x.flatten(1) @ weight).sum(1), x)

    assert torch.autograd.gradcheck(value, weight)


def test_the_gradient_penalty_of_a_constant_is_one_with_a_finite_slope() -> None:
    weight, x = torch.zeros(1, 2, 2, requires_grad=True), torch.randn(3, 1, 2, 2, requires_grad=True)
    found = gradient_penalty((x * weight).sum((1, 2, 3)), x)
    found.backward()
    assert found.item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(weight.grad).all()


def test_interpolated_pictures_lie_on_the_lines() -> None:
    real, fake = torch.randn(64, 1, 2, 3), torch.randn(64, 1, 2, 3, requires_grad=True)
    between = interpolate(real, fake, generator=torch.Generator().manual_seed(1))
    assert between.requires_grad
    assert between.is_leaf
    place = ((between - real) / (fake - real)).detach().flatten(1)
    torch.testing.assert_close(place, place[:, :1].expand_as(place), rtol=1e-3, atol=1e-3)
    assert 0 <= place.min() < 0.1
    assert 0.9 < place.max() <= 1.001
    again = interpolate(real, fake, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again, between, rtol=0, atol=0)
    with pytest.raises(InputError, match="expected one shape"):
        interpolate(real, fake[:1])


@given(seed=st.integers(0, 99), classes=st.integers(1, 6))
def test_class_losses_are_cross_entropies_over_k_plus_1(seed: int, classes: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, 5, classes + 1, generator=rng)
    label = torch.randint(classes, (5,), generator=rng)
    last = torch.full((5,), classes)
    expected = F.cross_entropy(real, label) + F.cross_entropy(fake, last)
    torch.testing.assert_close(class_discriminator_loss(real, fake, label), expected)
    torch.testing.assert_close(class_generator_loss(fake, label), F.cross_entropy(fake, label))
    p = fake.softmax(1)
    torch.testing.assert_close(class_generator_loss(fake), -(1 - p[:, -1]).log().mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(class_log_odds(fake).sigmoid(), 1 - p[:, -1])
    torch.testing.assert_close(class_log_odds(fake, label).sigmoid(), p[torch.arange(5), label])


def test_one_real_class_is_the_logistic_game() -> None:
    real, fake = torch.randn(2, 6)
    both = [torch.stack([logits, torch.zeros(6)], dim=1) for logits in (real, fake)]
    label = torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(class_discriminator_loss(*both, label), logistic_discriminator_loss(real, fake))
    torch.testing.assert_close(class_generator_loss(both[1], label), logistic_generator_loss(fake))
    torch.testing.assert_close(class_generator_loss(both[1]), logistic_generator_loss(fake))


@pytest.mark.parametrize(
    ("logits", "label", "match"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 3]), r"outside 0\.\.2: \[0, 3\]"),
        (torch.zeros(2, 4), torch.tensor([0]), r"label has shape \(1,\); expected \(2,\)"),
        (torch.zeros(2), torch.tensor([0, 1]), r"logits have shape \(2,\); expected \(B, K \+ 1\)"),
    ],
)
def test_class_losses_name_what_does_not_fit(logits: torch.Tensor, label: torch.Tensor, match: str) -> None:
    with pytest.raises(InputError, match=match):
        class_discriminator_loss(logits, logits, label)
    with pytest.raises(InputError, match=match):
        class_generator_loss(logits, label)


@given(seed=st.integers(0, 99), outputs=st.integers(2, 12))
def test_uniformity_is_least_where_all_outputs_are_alike(seed: int, outputs: int) -> None:
    logits = torch.randn(3, outputs, generator=torch.Generator().manual_seed(seed))
    entropy = F.cross_entropy(logits, torch.full((3, outputs), 1 / outputs))  # against uniform targets
    torch.testing.assert_close(uniformity_loss(logits), entropy)
    least = uniformity_loss(torch.full((3, outputs), 0.7)).item()
    assert least == pytest.approx(math.log(outputs), rel=1e-5)
    assert least < uniformity_loss(logits)
    pair = torch.stack([logits[:, 0], torch.zeros(3)], dim=1)
    torch.testing.assert_close(uniformity_loss(logits[:, 0]), uniformity_loss(pair))
    with pytest.raises(InputError, match="expected"):
        uniformity_loss(logits[None])


def test_feature_matching_is_the_distance_of_means() -> None:
    real, fake = torch.randn(6, 3, 2, 2), torch.randn(4, 3, 2, 2)
    expected = np.linalg.norm((real.mean(0) - fake.mean(0)).numpy().ravel()) / math.sqrt(12)
    assert feature_matching_loss([real], [fake]).item() == pytest.approx(expected, rel=1e-5)
    assert feature_matching_loss([real, real], [fake, real]).item() == pytest.approx(expected / 2, rel=1e-5)
    torch.testing.assert_close(feature_matching_loss([real], [real.flip(0)]), torch.tensor(0.0), atol=1e-6, rtol=0)
    same = torch.ones(2, 3, requires_grad=True)
    feature_matching_loss([torch.ones(2, 3)], [same]).backward()
    assert torch.equal(same.grad, torch.zeros(2, 3))  # at the root's kink


@given(seed=st.integers(0, 99))
def test_kl_divergence_is_torchs(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    mean, deviation = torch.randn(3, 5, generator=rng), torch.rand(3, 5, generator=rng) + 0.1
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(kl_divergence(mean, deviation), expected.sum(1).mean())
    with pytest.raises(InputError, match=r"expected one shape \(B, n\)"):
        kl_divergence(mean, deviation[:1])


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
        lambda x: sliced_style_loss({"a": x}, {"a": torch.ones(1, 3, 1, 1)}),
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


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40))
def test_the_relaxed_earth_mover_finds_the_nearest_by_brute_force(seed: int, ours: int, theirs: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(ours, 6)) + 1, rng.normal(size=(theirs, 6)) + 1
    costs = cdist(a - b.mean(0), b - b.mean(0), "cosine") if theirs > 1 else np.ones((ours, 1))
    expected = max(costs.min(1).mean(), costs.min(0).mean())
    features, target = ({"a": torch.from_numpy(rows.T.copy())[None, :, None]} for rows in (a, b))
    assert relaxed_earth_mover_loss(features, target).item() == pytest.approx(expected, abs=1e-5)


def test_the_relaxed_earth_mover_asks_both_ways_and_teaches() -> None:
    rng = torch.Generator().manual_seed(2)
    wanted = torch.randn(1, 8, 4, 4, generator=rng)
    some = wanted[:, :, :2].repeat(1, 1, 2, 1)  # half of what there is, twice
    assert relaxed_earth_mover_loss({"a": some}, {"a": wanted}).item() > 0.1
    assert relaxed_earth_mover_loss({"a": wanted.flip(2)}, {"a": wanted}).item() == pytest.approx(0, abs=1e-6)
    moved = torch.randn(1, 8, 4, 4, generator=rng).requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = relaxed_earth_mover_loss({"a": moved}, {"a": wanted})
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_the_relaxed_earth_mover_looks_at_so_many_places_and_says_what_is_wrong() -> None:
    f, g = ({"a": torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(k))} for k in (1, 2))
    first, again, other = (relaxed_earth_mover_loss(f, g, samples=20, seed=k).item() for k in (0, 0, 1))
    assert first == again != other
    for features, target, samples in ((f, {}, 5), (f, g, 0), (f, {"a": torch.zeros(2, 3, 4, 4)}, 5), ({}, g, 5)):
        with pytest.raises(InputError, match="relaxed_earth_mover_loss"):
            relaxed_earth_mover_loss(features, target, samples=samples)
