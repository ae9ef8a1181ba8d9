"""What PyTorch before 2.9 cannot do is said before the work, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from agnlib.errors import MissingDependencyError
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> tuple[Generator, StyleExtractor]:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0+cpu"))
    generator = Generator(8, 16, channels=(8, 8, 16), blocks=(1, 1, 1))
    return generator, StyleExtractor(16, hidden=16, taps=("block0", "block2"))


def test_an_export_asks_for_a_later_one(networks: tuple[Generator, StyleExtractor], tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"2\.9 or later, this is 2\.8\.0.*pip install"):
        Stylizer(*networks, device="cpu").export(tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_engine_asks_for_a_later_one(networks: tuple[Generator, StyleExtractor]) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    with pytest.raises(MissingDependencyError, match="pip install"):
        Stylizer(*networks, device="cpu", engine="onnx")
