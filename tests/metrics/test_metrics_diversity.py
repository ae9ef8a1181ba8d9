"""How far apart the pictures of a set are."""

from __future__ import annotations

import itertools
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agnlib import metrics
from agnlib.errors import InputError
from agnlib.models.encoders import VGG16_FILE_VARIABLE, VGG16Features
from agnlib.models.vgg import VGG16Trunk

HEADS = {"relu1_2": torch.rand(1, 64, 1, 1), "relu2_2": torch.rand(1, 128, 1, 1)}


def pictures(count: int, seed: int = 0, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def mean_of_pairs(images: Tensor, encoder: VGG16Trunk, heads: dict[str, Tensor] | None) -> float:
    pairs = itertools.combinations(images.split(1), 2)
    return float(torch.cat([metrics.content_distance(one, two, encoder, heads) for one, two in pairs]).mean())


@given(count=st.integers(2, 5), seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_it_is_the_mean_distance_of_pairs(count: int, seed: int) -> None:
    encoder, images = VGG16Trunk(("relu1_2", "relu2_2")), pictures(count, seed)
    with torch.no_grad():
        found = metrics.diversity(images, encoder, HEADS)
        assert found.item() == pytest.approx(mean_of_pairs(images, encoder, HEADS), rel=1e-4)


def test_pictures_that_are_all_the_same_have_none() -> None:
    images = pictures(1).expand(4, -1, -1, -1)
    assert metrics.diversity(images, VGG16Trunk(("relu1_2",)), HEADS).item() == pytest.approx(0, abs=1e-6)


def test_it_has_gradients() -> None:
    images = pictures(3).requires_grad_()
    metrics.diversity(images, VGG16Trunk(("relu1_2",)), HEADS).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_it_agrees_with_the_package_lpips() -> None:
    lpips = pytest.importorskip("lpips")
    if not os.environ.get(VGG16_FILE_VARIABLE):
        pytest.skip(f"{VGG16_FILE_VARIABLE} names no file of VGG16's weights")
    taps = ("relu1_2", "relu2_2", "relu3_3")
    encoder, images = VGG16Features.from_file(os.environ[VGG16_FILE_VARIABLE], taps), pictures(3, side=48)
    judge = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    distances = []
    with torch.no_grad():
        for one, two in itertools.combinations(images.split(1), 2):
            layers = [
                lin(lpips.normalize_tensor(encoder(one)[tap]).sub(lpips.normalize_tensor(encoder(two)[tap])).square())
                for tap, lin in zip(taps, judge.lins, strict=False)
            ]
            distances.append(sum(layer.mean((2, 3)) for layer in layers))
    assert metrics.diversity(images, encoder).item() == pytest.approx(torch.stack(distances).mean().item(), rel=1e-3)


def test_mistakes_are_said() -> None:
    encoder = VGG16Trunk(("relu1_2",))
    with pytest.raises(InputError, match="at least two"):
        metrics.diversity(pictures(1), encoder, HEADS)
    with pytest.raises(InputError, match=r"\[-1, 1\]"):
        metrics.diversity(pictures(2) * 3, encoder, HEADS)
    with pytest.raises(InputError, match="taps"):
        metrics.diversity(pictures(2), VGG16Trunk(("relu3_3",)), HEADS)
