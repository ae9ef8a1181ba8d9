"""Metrics against closed forms and against code that we did not write."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agnlib import metrics
from agnlib.errors import InputError, MissingDependencyError

color = pytest.importorskip("skimage.color")
filters = pytest.importorskip("skimage.filters")
stats = pytest.importorskip("scipy.stats")
ndimage = pytest.importorskip("scipy.ndimage")

SIZES = st.integers(20, 48)
SEEDS = st.integers(0, 2**31)


def noise(seed: int, height: int = 24, width: int = 32, batch: int = 1) -> Tensor:
    """Smooth colored noise in [-1, 1] with edges in it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 4 + 1, width // 4 + 1, generator=generator)
    large = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return ((large + 0.2 * torch.rand(batch, 3, height, width, generator=generator)) / 1.2) * 2 - 1


def as_array(image: Tensor) -> np.ndarray:
    """What scikit-image wants: `(H, W, 3)` in [0, 1]."""
    return ((image[0] + 1) / 2).permute(1, 2, 0).double().numpy()


class TwoTaps:
    """A tiny encoder: the pixels and their doubled, halved version."""

    channels: ClassVar = {"pixels": 3, "half": 3}
    min_size = 2

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        return {"pixels": image, "half": 2 * nn.functional.avg_pool2d(image, 2)}


class Convolutions(nn.Module):
    """Random VGG-like taps under VGG16's names and widths, so that LPIPS' heads fit."""

    channels: ClassVar = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512}
    min_size = 8

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        widths = [3, *self.channels.values()]
        self.kernels = [
            torch.randn(n_out, n_in, 3, 3, generator=generator) / (3 * math.sqrt(n_in))
            for n_in, n_out in pairwise(widths)
        ]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps, x = {}, image
        for tap, kernel in zip(self.channels, self.kernels, strict=True):
            x = torch.relu(nn.functional.conv2d(x, kernel, padding=1))
            maps[tap] = x
            x = nn.functional.max_pool2d(x, 2)
        return maps


# --- style ------------------------------------------------------------------------------------------------------------


def test_style_distance_is_the_relative_distance_of_numpys_means_and_deviations() -> None:
    image, reference = noise(1, 16, 24), noise(2, 32, 20)
    expected = []
    for ours, theirs in zip(TwoTaps()(image).values(), TwoTaps()(reference).values(), strict=True):
        a, b = (np.concatenate([x.numpy().mean((2, 3)), x.numpy().std((2, 3))], 1)[0] for x in (ours, theirs))
        expected.append(np.abs(a - b).sum() / np.abs(b).sum())
    assert metrics.style_distance(image, reference, TwoTaps()).item() == pytest.approx(np.mean(expected), rel=1e-4)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_style_distance_ignores_where_things_are(seed: int) -> None:
    image = noise(seed)
    turned = image.flip(3).roll((4, 6), dims=(2, 3))
    assert metrics.style_distance(turned, image, TwoTaps()).item() == pytest.approx(0, abs=1e-5)


def test_style_distance_is_given_per_picture() -> None:
    image, reference = noise(1, batch=3), noise(2, batch=3)
    alone = [metrics.style_distance(image[i : i + 1], reference[i : i + 1], TwoTaps()).item() for i in range(3)]
    assert metrics.style_distance(image, reference, TwoTaps()).tolist() == pytest.approx(alone, rel=1e-5)


# --- content ----------------------------------------------------------------------------------------------------------


def test_content_distance_agrees_with_the_lpips_package() -> None:
    lpips = pytest.importorskip("lpips")
    encoder, image, content = Convolutions(), noise(1, 32, 48), noise(2, 32, 48)
    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    theirs.scaling_layer = nn.Identity()
    theirs.net, theirs.L = Listed(encoder), 4
    with torch.no_grad():
        expected = theirs(image, content).item()
    assert metrics.content_distance(image, content, encoder).item() == pytest.approx(expected, rel=1e-5)


def test_even_heads_agree_with_the_cosine_distance() -> None:
    encoder, image, content = Convolutions(), noise(1, 32, 48), noise(2, 32, 48)
    pairs = zip(encoder(image).values(), encoder(content).values(), strict=True)
    expected = sum(2 - 2 * nn.functional.cosine_similarity(ours, theirs).mean().item() for ours, theirs in pairs)
    heads = metrics.even_heads(encoder)
    assert metrics.content_distance(image, content, encoder, heads).item() == pytest.approx(expected, rel=1e-5)


class Listed(nn.Module):
    """The trunk in the form that the package calls."""

    def __init__(self, encoder: Convolutions) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> list[Tensor]:
        return list(self.encoder(image).values())


def test_lpips_heads_weigh_and_never_reward_difference() -> None:
    pytest.importorskip("lpips")
    heads = metrics.lpips_heads()
    assert {tap: tuple(head.shape) for tap, head in heads.items()} == {
        tap: (1, channels, 1, 1) for tap, channels in {**Convolutions.channels, "relu5_3": 512}.items()
    }
    assert all((head >= 0).all() for head in heads.values())


def test_lpips_missing_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    metrics.lpips_heads.cache_clear()
    with pytest.raises(MissingDependencyError, match="pip install"):
        metrics.content_distance(noise(1), noise(2), Convolutions())


def test_content_distance_refuses_an_encoder_that_no_head_fits() -> None:
    with pytest.raises(InputError, match="taps"):
        metrics.content_distance(noise(1), noise(2), TwoTaps(), {"relu1_2": torch.ones(1, 64, 1, 1)})


# --- color -----------------------------------------------------------------------------------------------------------


@given(seed=SEEDS, height=SIZES, width=SIZES)
@settings(max_examples=20, deadline=None)
def test_rgb_to_lab_agrees_with_scikit_image(seed: int, height: int, width: int) -> None:
    image = noise(seed, height, width).double()
    ours = metrics.rgb_to_lab(image)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, color.rgb2lab(as_array(image)), atol=2e-3)


def test_rgb_to_lab_holds_at_the_corners_of_the_cube() -> None:
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).T.reshape(1, 3, 2, 4)
    expected = color.rgb2lab(as_array(corners))
    np.testing.assert_allclose(metrics.rgb_to_lab(corners)[0].permute(1, 2, 0).numpy(), expected, atol=0.02)


def projections(image: Tensor, axis: np.ndarray) -> np.ndarray:
    return color.rgb2lab(as_array(image)).reshape(-1, 3) @ axis


@pytest.mark.parametrize("size", [(24, 32), (24, 31), (50, 20)])
def test_palette_distance_agrees_with_scipy_over_many_random_directions(size: tuple[int, int]) -> None:
    image, reference = noise(1), noise(2, *size) * 0.5
    axes = np.random.default_rng(0).normal(size=(2000, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    slices = [stats.wasserstein_distance(projections(image, axis), projections(reference, axis)) for axis in axes]
    assert metrics.palette_distance(image, reference, directions=256).item() == pytest.approx(np.mean(slices), rel=0.03)
    assert metrics.palette_distance(image, reference).item() == pytest.approx(np.mean(slices), rel=0.06)


@given(low=st.floats(-1, 1), high=st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_palette_distance_between_grays_is_half_their_difference_in_lightness(low: float, high: float) -> None:
    first, second = (torch.full((1, 3, 4, 4), value, dtype=torch.float64) for value in (low, high))
    gap = abs((metrics.rgb_to_lab(first) - metrics.rgb_to_lab(second))[0, 0, 0, 0].item())
    assert metrics.palette_distance(first, second).item() == pytest.approx(gap / 2, abs=0.05)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_palette_distance_is_a_symmetric_distance_that_ignores_places(seed: int) -> None:
    first, second, third = (noise(seed + i, 24, 24 + 8 * i) for i in range(3))
    shuffled = first.flatten(2)[..., torch.randperm(first.shape[2] * first.shape[3])].view_as(first)
    assert metrics.palette_distance(first, shuffled).item() == pytest.approx(0, abs=1e-4)
    there, back = metrics.palette_distance(first, second), metrics.palette_distance(second, first)
    assert there.item() == pytest.approx(back.item(), rel=1e-5)
    assert metrics.palette_distance(first, third) <= there + metrics.palette_distance(second, third) + 0.1


def test_colorfulness_has_the_papers_closed_form() -> None:
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    cyan = -red
    half = torch.cat([red, cyan], dim=3)
    assert metrics.colorfulness(red).item() == pytest.approx(0.3 * 255 * math.hypot(1, 0.5), rel=1e-5)
    assert metrics.colorfulness(half).item() == pytest.approx(255 * math.hypot(1, 0.5), rel=1e-5)


def test_color_ratio_follows_saturation_and_stays_finite_on_gray() -> None:
    picture = noise(5)
    assert metrics.color_ratio(picture * 0.25, picture).item() == pytest.approx(0.25, rel=1e-4)
    gray = picture.mean(dim=1, keepdim=True).expand_as(picture)
    assert metrics.color_ratio(gray, gray).item() == 1
    assert metrics.color_ratio(picture, gray).item() == pytest.approx(metrics.colorfulness(picture).item())


# --- detail and structure ---------------------------------------------------------------------------------------------


def test_luminance_agrees_with_scikit_image() -> None:
    image = noise(1)
    np.testing.assert_allclose((metrics.luminance(image)[0, 0] + 1) / 2, color.rgb2gray(as_array(image)), atol=1e-5)


def test_fine_detail_agrees_with_scipys_gaussian() -> None:
    image = noise(4, 40, 52).double()
    plane = metrics.luminance(image)[0, 0].numpy()
    high = (plane - ndimage.gaussian_filter(plane, 2, truncate=4))[8:-8, 8:-8]
    assert metrics.fine_detail(image).item() == pytest.approx(np.sqrt((high**2).mean()), rel=1e-6)


@pytest.mark.parametrize("period", [4, 8, 16, 32])
def test_fine_detail_of_a_wave_has_its_closed_form(period: int) -> None:
    angle = 2 * math.pi / period
    wave = torch.sin(angle * torch.arange(16 + 4 * period, dtype=torch.float64)).expand(1, 3, 24, -1)
    expected = (1 - math.exp(-2 * angle**2)) / math.sqrt(2)
    assert metrics.fine_detail(wave).item() == pytest.approx(expected, rel=2e-3, abs=2e-4)


def test_detail_ratio_tells_blur_from_grain() -> None:
    picture = noise(6, 64, 64)
    soft = nn.functional.avg_pool2d(nn.functional.pad(picture, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    assert metrics.detail_ratio(soft, picture).item() < 0.6
    assert metrics.detail_ratio(picture, soft).item() > 1.6
    assert metrics.detail_ratio(soft, torch.zeros_like(soft)).isfinite().all()


def test_structure_agrees_with_scikit_images_sobel() -> None:
    first, second = noise(1, 40, 40), noise(1, 40, 40) * 0.5 + noise(2, 40, 40) * 0.5
    ours, theirs = (filters.sobel(color.rgb2gray(as_array(x)))[1:-1, 1:-1].ravel() for x in (first, second))
    assert metrics.structure(first, second).item() == pytest.approx(np.corrcoef(ours, theirs)[0, 1], abs=1e-4)


@given(seed=SEEDS, gain=st.floats(-1, 1).filter(lambda gain: abs(gain) > 0.05))
@settings(max_examples=30, deadline=None)
def test_structure_does_not_care_for_contrast_or_inversion(seed: int, gain: float) -> None:
    picture = noise(seed)
    assert metrics.structure(picture * gain, picture).item() == pytest.approx(1, abs=1e-4)


def test_structure_of_flat_and_unrelated_pictures_is_about_nothing() -> None:
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert metrics.structure(torch.zeros_like(picture), picture).item() == 0
    assert abs(metrics.structure(other, picture).item()) < 0.05


# --- what all of them share -------------------------------------------------------------------------------------------

TWO_PICTURES = {
    "style_distance": lambda a, b: metrics.style_distance(a, b, TwoTaps()),
    "content_distance": lambda a, b: metrics.content_distance(a, b, TwoTaps(), {"pixels": torch.ones(1, 3, 1, 1)}),
    "palette_distance": metrics.palette_distance,
    "color_ratio": metrics.color_ratio,
    "detail_ratio": metrics.detail_ratio,
    "structure": metrics.structure,
}
WRONG = {
    "bytes": torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    "no batch": torch.zeros(3, 32, 32),
    "gray": torch.zeros(1, 1, 32, 32),
    "empty": torch.zeros(0, 3, 32, 32),
    "0 to 255": torch.full((1, 3, 32, 32), 255.0),
    "nan": torch.full((1, 3, 32, 32), math.nan),
}


@pytest.mark.parametrize("metric", TWO_PICTURES)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_pictures_are_named(metric: str, wrong: str) -> None:
    with pytest.raises(InputError, match=r"expected"):
        TWO_PICTURES[metric](WRONG[wrong], noise(1, 32, 32))
    with pytest.raises(InputError, match=r"expected"):
        TWO_PICTURES[metric](noise(1, 32, 32), WRONG[wrong])


@pytest.mark.parametrize("metric", TWO_PICTURES)
def test_batches_must_match(metric: str) -> None:
    with pytest.raises(InputError, match=r"got 2 pictures"):
        TWO_PICTURES[metric](noise(1, batch=2), noise(2, batch=3))


@pytest.mark.parametrize("metric", ["content_distance", "structure"])
def test_pixelwise_metrics_ask_for_one_size(metric: str) -> None:
    with pytest.raises(InputError, match="Resize"):
        TWO_PICTURES[metric](noise(1, 24, 24), noise(1, 24, 28))


@pytest.mark.parametrize("metric", TWO_PICTURES)
@given(seed=SEEDS, height=SIZES, width=SIZES)
@settings(max_examples=10, deadline=None)
def test_a_picture_is_like_itself(metric: str, seed: int, height: int, width: int) -> None:
    best = 0 if metric.endswith("distance") else 1
    picture = noise(seed, height, width, batch=2)
    assert TWO_PICTURES[metric](picture, picture.clone()).tolist() == pytest.approx([best, best], abs=1e-4)


@pytest.mark.parametrize("metric", TWO_PICTURES)
def test_every_metric_can_be_followed_back_to_the_picture(metric: str) -> None:
    picture = noise(1).requires_grad_()
    TWO_PICTURES[metric](picture, noise(2)).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()


def test_too_small_a_picture_is_named() -> None:
    with pytest.raises(InputError, match="17 px"):
        metrics.detail_ratio(noise(1, 12, 40), noise(2, 40, 40))
    with pytest.raises(InputError, match="3 or more"):
        metrics.palette_distance(noise(1), noise(2), directions=1)


def shared_texture_by_scipy(first: np.ndarray, second: np.ndarray, photo: np.ndarray) -> float:
    """The definition in NumPy and SciPy, for luminances `(H, W)`."""

    def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(plane, sigma, truncate=3, mode="nearest"))

    bands = [blur(plane, 1) - blur(plane, 4) for plane in (first, second, photo)]
    energy = blur(bands[2] ** 2, 4)
    flat = energy <= np.quantile(energy, 0.3)
    own = np.stack([bands[2][flat], np.ones(flat.sum())], axis=1)
    left = [band[flat] - own @ np.linalg.lstsq(own, band[flat], rcond=None)[0] for band in bands[:2]]
    return float(np.corrcoef(*left)[0, 1])


@given(SEEDS, st.integers(25, 48), SIZES.map(lambda side: side + 10))
@settings(max_examples=20, deadline=None)
def test_shared_texture_is_what_scipy_computes(seed: int, height: int, width: int) -> None:
    photo, first, own = (noise(seed + k, height, width).double() for k in range(3))
    second = (first + own) / 2
    planes = [metrics.luminance(picture)[0, 0].numpy() for picture in (first, second, photo)]
    found = metrics.shared_texture(first, second, photo)
    np.testing.assert_allclose(found, shared_texture_by_scipy(*planes), atol=1e-6)
    torch.testing.assert_close(metrics.shared_texture(second, first, photo), found)


def test_the_photos_own_texture_is_not_shared_nor_is_none() -> None:
    photo, grain = noise(1, 64, 64).double(), 0.2 * noise(2, 64, 64).double()
    flat = torch.zeros_like(photo)
    painted = (photo + grain).clamp(-1, 1)
    assert metrics.shared_texture(photo, photo / 2, photo).item() == pytest.approx(0, abs=1e-6)
    assert metrics.shared_texture(painted, painted, photo).item() == pytest.approx(1)
    assert metrics.shared_texture(painted, flat, photo).item() == 0
    with pytest.raises(InputError, match="second"):
        metrics.shared_texture(painted, flat[:, :, :40], photo)
    with pytest.raises(InputError, match="25"):
        metrics.shared_texture(*[flat[:, :, :24]] * 3)
