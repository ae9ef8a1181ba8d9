"""What every test stands on: one thread, the same dice, a place for the shared data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("agnlib", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agnlib")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_dice() -> None:
    """Every test throws the same dice, in whatever order and company it runs."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with training data and encoders beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (training pictures and VGG16), which is not part of the repository")
    return folder
