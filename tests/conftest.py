"""What every test stands on: one thread, the same seed, a place for the shared data."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "agnlib", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("agnlib")
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what takes minutes, unless it is asked for by `--run-slow` or by a `-m` that names it."""
    if config.getoption("--run-slow") or "slow" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: takes minutes; run it with --run-slow, or -m slow for the slow ones alone")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def same_seed() -> None:
    """Every test draws the same random numbers, in whatever order and company it runs."""
    torch.manual_seed(0)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of small photos and of pictures of two classes."""
    from toy import make_folders

    return make_folders(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Small untrained weights."""
    from toy import make_start

    return make_start(tmp_path / "start")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small untrained weights to paint by, which nobody may change."""
    from toy import make_weights

    return make_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with training data and encoders beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (training pictures and VGG16), which is not part of the repository")
    return folder
