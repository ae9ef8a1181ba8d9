"""What every test stands on: one thread, a place for the shared data, small networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("agnlib", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agnlib")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with training data and encoders beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (training pictures and VGG16), which is not part of the repository")
    return folder


@pytest.fixture
def tiny_generator() -> torch.nn.Module:
    from agnlib.models import Generator

    torch.manual_seed(0)
    return Generator(8, 16, channels=(8, 8, 16), blocks=(1, 1, 1), image_size=16, num_classes=3).eval()
