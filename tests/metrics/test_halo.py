"""`halo`: a ring of known height, strokes, flat photos, and a gradient that takes it away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from agnlib.metrics import halo
from agnlib.metrics._halo import halo_squared

color = pytest.importorskip("skimage.color")


def scene(ring: float, side: int = 384, radius: int = 60) -> tuple[Tensor, Tensor]:
    """A dark shape before a sky, painted with a ring of so much more around it; both `(1, 3, H, W)`."""
    beyond = np.arange(side)[None, :, None] + 0.5 - radius
    photo = np.where(beyond < 0, 0.1, [0.6, 0.75, 0.9])
    painted = np.where(beyond < 0, 0.2, 0.5) + np.where((beyond >= 0) & (beyond < 72), ring, 0)
    return tuple(  # type: ignore[return-value]
        torch.from_numpy(np.broadcast_to(each, (side, side, 3)).copy()).permute(2, 0, 1)[None] * 2 - 1
        for each in (painted, photo)
    )


@pytest.mark.parametrize("ring", [0.0, 0.05, 0.1, -0.2])
def test_a_ring_is_as_high_as_it_is_in_lab(ring: float) -> None:
    flat, raised = color.rgb2lab(np.array([[[0.5] * 3, [0.5 + ring] * 3]]))[0]
    assert halo(*scene(ring)).item() == pytest.approx(np.linalg.norm(raised - flat), abs=0.3)


def test_strokes_are_none() -> None:
    painted, photo = scene(0.0)
    strokes = torch.randn(painted.shape, generator=torch.Generator().manual_seed(0), dtype=painted.dtype).sign()
    assert halo((painted + 0.2 * strokes).clamp(-1, 1), photo).item() < 1


def test_its_gradient_takes_it_away() -> None:
    painted, photo = scene(0.1)
    learned = painted.clone().requires_grad_()
    adam, first = torch.optim.Adam([learned], 0.01), halo_squared(learned, photo).item()
    for _ in range(15):
        adam.zero_grad()
        halo_squared(learned, photo).sum().backward()
        adam.step()
    assert halo_squared(learned, photo).item() < 0.2 * first


def test_a_photo_without_edges_has_none() -> None:
    flat = torch.zeros(2, 3, 200, 210, requires_grad=True)
    found = halo_squared(flat, torch.zeros(2, 3, 200, 210))
    found.sum().backward()
    assert found.tolist() == [0, 0]
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()
