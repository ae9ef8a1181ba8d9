"""Flicker against closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agnlib.errors import InputError
from agnlib.metrics import flicker


def scene(height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=6))
def test_flat_frames_flicker_by_half_their_difference(values: list[float]) -> None:
    frames = torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 5)
    wanted = [abs(b - a) / 2 for a, b in itertools.pairwise(values)]
    assert flicker(frames).tolist() == pytest.approx(wanted, abs=1e-6)


def test_noise_flickers_by_its_deviation() -> None:
    noise = torch.randn(2, 3, 200, 200, generator=torch.Generator().manual_seed(0)) * 0.1
    # E|a - b| = 2 sigma / sqrt(pi) for two normal variables, of which half is told; 120,000 samples leave 0.3% of error
    assert flicker(noise.clamp(-1, 1)).item() == pytest.approx(0.1 / math.sqrt(math.pi), rel=0.02)


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_a_pan_does_not_flicker_along_its_flow(right: int, down: int) -> None:
    whole = scene(30, 30)
    frames = torch.stack([whole[:, 8:24, 8:24], whole[:, 8 + down : 24 + down, 8 + right : 24 + right]])
    flow = torch.tensor([right, down], dtype=torch.float32).view(1, 2, 1, 1)
    assert flicker(frames, flow).item() < 1e-5  # rounding in the places of grid_sample
    assert flicker(frames, flow.expand(1, 2, 16, 16)).item() < 1e-5
    if (right, down) != (0, 0):
        assert flicker(frames).item() > 0.1


def test_a_flow_out_of_the_frame_leaves_nothing_to_compare() -> None:
    frames = torch.zeros(2, 3, 4, 4)
    assert flicker(frames, torch.full((1, 2, 1, 1), 9.0)).isnan().all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="single frame"):
        flicker(torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match=r"expected \(1, 2, 4, 4\)"):
        flicker(torch.zeros(2, 3, 4, 4), torch.zeros(2, 2, 4, 4))
    with pytest.raises(InputError, match="expected float RGB"):
        flicker(torch.zeros(2, 4, 4))
