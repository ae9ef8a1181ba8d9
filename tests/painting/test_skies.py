"""A sky of one color is painted in one color, as far as anybody sees: no band, no patches, nothing that comes again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from agnlib import Stylizer, metrics
from agnlib.styles import works


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A blue sky over a rough ground, `(1, 3, 480, 2560)`."""
    rng = np.random.default_rng(0)
    picture = np.full((480, 2560, 3), (96.0, 140.0, 200.0))
    picture[340:] = (90, 80, 50) + rng.normal(size=(140, 2560, 1)) * 30
    picture += rng.normal(size=picture.shape) * 2
    return torch.from_numpy(picture.clip(0, 255) / 127.5 - 1).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("work", ["auvers", "piano"])
@pytest.mark.parametrize("weights", ["agn-small", "agn-fast"])
def test_a_sky_has_no_band_and_does_not_come_again(photo: Tensor, weights: str, work: str) -> None:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    painted = stylizer((photo + 1) / 2, work, scale=1) * 2 - 1
    sky, above = painted[..., :240, :], photo[..., :240, :]  # without the horizon, which is alike from left to right
    with Image.open(works.available()[work].path) as picture:
        reference = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1
    assert metrics.edge_shift(painted, photo).item() < 16  # 45 with borders that are repeated, not reflected
    assert metrics.repetition(sky, above).item() < 0.5  # 0.95 with a canvas of 1,024 px
    assert metrics.color_drift(sky, above, reference).item() < 1.2  # a little more than within auvers itself


def test_an_enlarged_picture_has_none_either(photo: Tensor) -> None:
    stylizer = Stylizer.from_pretrained("agn-small", device="cpu")
    large = torch.nn.functional.interpolate(photo, scale_factor=2)
    painted = stylizer((large + 1) / 2, "auvers") * 2 - 1
    assert metrics.edge_shift(painted, large).item() < 16
