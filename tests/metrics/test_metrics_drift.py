"""Colors that follow the photo, and those that do not: against pictures in which it is known, and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agnlib import metrics
from agnlib.errors import InputError


def blotches(size: tuple[int, int], seed: int, cells: int = 6, amount: float = 0.2) -> Tensor:
    """Smooth patches of color."""
    small = torch.rand(1, 3, cells, cells, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return amount * torch.nn.functional.interpolate(small, size, mode="bicubic").clamp(-1, 1)


GRAY = torch.zeros(1, 3, 200, 300)


def test_what_follows_the_photo_does_not_drift() -> None:
    photo, reference = blotches((200, 300), 1, amount=0.9), blotches((150, 150), 2)
    assert metrics.color_drift(GRAY, GRAY, reference).item() < 0.2
    mapped = (0.5 * photo.flip(1)).clamp(-1, 1)  # another color for each color
    assert metrics.color_drift(mapped, mapped, reference).isnan() or metrics.color_drift(mapped, mapped, reference) < 1


def test_drift_is_measured_in_that_of_the_reference() -> None:
    one, other = blotches((200, 300), 1), blotches((200, 300), 2)
    assert metrics.color_drift(one, GRAY, other).item() == pytest.approx(1, abs=0.35)
    assert metrics.color_drift(one, GRAY, one).item() == pytest.approx(1, abs=0.05)
    assert metrics.color_drift(one, GRAY, other / 3).item() > 1.8
    assert metrics.color_drift(one, blotches((200, 300), 3, cells=40, amount=1.0), other).isnan().all()


@given(st.integers(12, 30), st.sampled_from([0, 1, 2, 3]))
def test_a_band_is_found_along_any_border(width: int, turn: int) -> None:
    photo = torch.rot90(GRAY, turn, (2, 3))
    banded = photo.clone()
    banded[..., :width, :] = 0.4
    turned = torch.rot90(banded, turn, (2, 3)), torch.rot90(photo, turn, (2, 3))
    assert metrics.edge_shift(*turned).item() > 10
    assert metrics.edge_shift(turned[1], turned[1]).item() < 1e-4
    assert metrics.edge_shift(turned[0], turned[0]).item() < 8  # of the photo's own making: less than a step of color


def test_a_strip_without_a_color_that_is_further_in_says_nothing() -> None:
    photo = GRAY.clone()
    photo[..., :17, :] = 0.9
    photo[..., -17:, :], photo[..., :17], photo[..., -17:] = -0.9, 0.5, -0.5
    assert metrics.edge_shift(blotches((200, 300), 1), photo).item() < metrics.edge_shift(photo, GRAY).item()


def test_patches_that_come_again_are_found_and_others_not() -> None:
    once = blotches((200, 800), 4, cells=16)
    again = blotches((200, 200), 4).tile(1, 1, 1, 4)
    photo = torch.zeros(1, 3, 200, 800)
    assert metrics.repetition(again, photo).item() > 0.9
    assert metrics.repetition(again.mT, photo.mT).item() > 0.9
    assert metrics.repetition(once, photo).item() < 0.6
    assert metrics.repetition(again, again).item() < 0.6  # the photo's own repeats are no fault
    assert metrics.repetition(torch.cat([once, again]), photo.expand(2, -1, -1, -1)).diff().item() > 0.3


def test_repetition_is_the_autocorrelation() -> None:
    """Shifts by hand, on a picture small enough for that."""
    from agnlib.metrics._drift import _likeness

    field = 50 * torch.randn(
        3, 40, 60, generator=torch.Generator().manual_seed(1)
    )  # much more than steps of color leave
    best = -1.0
    for down in range(21):
        for right in range(-30, 31):
            if np.hypot(down, right) > 24:
                moved = field[:, down:, max(right, 0) : 60 + min(right, 0)]
                still = field[:, : 40 - down, max(-right, 0) : 60 - max(right, 0)]
                best = max(best, float((moved * still).sum() / (moved.norm() * still.norm())))
    assert _likeness(field).item() == pytest.approx(best, abs=5e-3)


def test_flat_parts_are_as_rough_as_the_reference_s() -> None:
    noise = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) - 0.5
    photo = torch.zeros(1, 3, 96, 96)
    assert metrics.flat_texture_ratio(noise, noise, noise).item() == pytest.approx(1)
    assert metrics.flat_texture_ratio(noise / 2, noise, noise).item() == pytest.approx(0.5, abs=0.01)
    assert metrics.flat_texture_ratio(photo, noise, photo).item() == 1
    busy = noise.clone()
    busy[..., :48] *= 2  # busy on one side only: the flat side counts
    assert metrics.flat_texture_ratio(busy, busy, noise).item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", ["color_drift", "edge_shift", "repetition", "flat_texture_ratio"])
def test_pictures_that_do_not_fit_are_refused(name: str) -> None:
    metric = getattr(metrics, name)
    three = name in ("color_drift", "flat_texture_ratio")
    small, other = torch.zeros(1, 3, 20, 80), torch.zeros(1, 3, 80, 81)
    with pytest.raises(InputError, match="20"):
        metric(small, small, small) if three else metric(small, small)
    with pytest.raises(InputError, match="one size"):
        metric(GRAY, other, *([GRAY] if three else []))
