"""PyTorch as an engine: the generator itself, in float32 or under autocast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agnlib.engines._device import placed
from agnlib.models import Generator
from agnlib.models.pretrained import picklable

__all__ = ["TorchEngine"]


class TorchEngine:
    """The generator, called; it takes everything.

    Args:
        generator: paints, on its own device.
        precision: "float32", or "bfloat16" for products and convolutions in it.
    """

    def __init__(self, generator: Generator, precision: str = "float32") -> None:
        self._generator, self._half = generator, precision == "bfloat16"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generator": picklable(self._generator)}

    def takes(self, photo: Tensor, latent: Tensor | None) -> bool:
        """True."""
        return True

    def __call__(self, photo: Tensor, style: Tensor, latent: Tensor | None = None) -> Tensor:
        """Photos `(B, 3, H, W)` and codes `(B, style_dim)` -> paintings `(B, 3, H, W)`, all in [-1, 1]."""
        with torch.autocast(style.device.type, torch.bfloat16, enabled=self._half):
            painted: Tensor = self._generator(latent, style, content=placed(photo, style.device))
        return painted.to(torch.float32)
