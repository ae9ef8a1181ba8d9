"""LPIPS with all five taps, as the benchmarks read it out of another package's file."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.evaluation import Judge

lpips = pytest.importorskip("lpips")
_lpips = import_module("benchmarks.quality._lpips")


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8))


def as_package(network: Any) -> dict[str, Any]:
    """A torch network's convolutions in the layout of the package's file."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    return {
        f"Conv_{i}": {
            "kernel": layer.weight.detach().permute(2, 3, 1, 0).numpy(),
            "bias": layer.bias.detach().numpy(),
        }
        for i, layer in enumerate(convolutions)
    }


def test_it_is_the_number_of_the_package_lpips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)  # the heads as published, VGG16 by chance
    file = tmp_path / "vgg16.ckpt"
    file.write_bytes(pickle.dumps({"VGG16_0": as_package(theirs.net)}))
    monkeypatch.setattr(_lpips, "weights_file", lambda: file)
    encoder = _lpips.published_vgg16()
    assert encoder is not None

    photo, result = noise(0), noise(1)
    ours = _lpips.JudgeWithLPIPS(Judge({}), encoder)(result, photo, photo)
    tensors = [torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1 for picture in (result, photo)]
    with torch.inference_mode():
        expected, taps = theirs(*tensors, retPerLayer=True)
    assert ours["LPIPS"] == pytest.approx(expected.item(), rel=1e-4)
    assert ours["fifth tap"] == pytest.approx(taps[-1].item(), rel=1e-4)
    assert ours["structure"] == Judge({})(result, photo, photo)["structure"]


def test_without_the_package_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lpips, "weights_file", lambda: None)
    assert _lpips.published_vgg16() is None


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_file_that_could_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vgg16.ckpt"
    file.write_bytes(pickle.dumps({"VGG16_0": Harmful()}))
    monkeypatch.setattr(_lpips, "weights_file", lambda: file)
    with pytest.raises(pickle.UnpicklingError, match="arrays of numpy only"):
        _lpips.published_vgg16()
