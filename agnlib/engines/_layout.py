"""Which layers of a generator know that they see a window, and in which order they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agnlib.layers import CanvasNoise, Window
from agnlib.models import Generator

__all__ = ["Layout", "paint", "smallest_side"]

_PROBE = 6  # deepest cells along a side of what the layers are looked at with


@dataclass(frozen=True)
class Layout:
    """Which layers of a generator know of the window, in the order in which they are called.

    Args:
        measuring: name and channels of each layer that takes statistics.
        noises: name of each layer that adds noise, and pixels to a cell of its map.
        scales: pixels to a cell, of all maps for which masks are needed.
    """

    measuring: Mapping[str, int]
    noises: Mapping[str, int]
    scales: Sequence[int]

    @classmethod
    def of(cls, generator: Generator) -> Layout:
        """That of a generator, looked at with a small picture."""
        return _Look(deepcopy(generator)).layout()

    @property
    def width(self) -> int:
        """Numbers of all layers' means, or of their variances."""
        return sum(self.measuring.values())


class _Look:
    """A copy of a generator that notes what its layers see."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator.to("cpu", torch.float32).eval()
        self._side = _PROBE * generator.stride
        self._noises: dict[str, int] = {}
        self._scales: set[int] = set()

    def layout(self) -> Layout:
        names = {module: name for name, module in self._generator.named_modules()}
        for module, name in names.items():
            if isinstance(module, CanvasNoise):
                module.register_forward_pre_hook(lambda _, inputs, name=name: self._note(name, inputs[0]))
        style = torch.zeros(1, self._generator.config.style_dim, device="cpu", dtype=torch.float32)
        photo = torch.zeros(1, 3, self._side, self._side, device="cpu", dtype=torch.float32)
        window = _Looking(self._scales, self._side)
        with torch.inference_mode(), window.entered():
            paint(self._generator, photo, style, seed=False)
        found = {names[layer]: mu.shape[1] for layer, (mu, _) in window.statistics.items()}
        return Layout(found, self._noises, sorted(self._scales | set(self._noises.values())))

    def _note(self, name: str, x: Tensor) -> None:
        self._noises[name] = self._side // x.shape[2]


class _Looking(Window):
    """A window that notes the scales of what it modulates."""

    def __init__(self, scales: set[int], side: int) -> None:
        super().__init__(size=(side, side), whole=(side, side))
        object.__setattr__(self, "_scales", scales)

    def modulate(self, layer: nn.Module, affine: nn.Module, x: Tensor, style: Tensor, act: str | None) -> Tensor:
        self._scales.add(self.size[0] // x.shape[2])  # type: ignore[attr-defined]
        return super().modulate(layer, affine, x, style, act)


def smallest_side(generator: Generator) -> int:
    """The least height and width that an exported program takes: with its margin, three cells of the stride."""
    return max(1, 2 * generator.stride + 1 - 2 * generator.config.margin)


def paint(generator: Generator, photo: Tensor, style: Tensor, *, seed: bool) -> Tensor:
    """What `Generator.forward` does between padding and cropping."""
    z = photo.new_zeros(photo.shape[0], generator.config.latent_dim) if seed else None
    skips = generator._skips_from_photo(photo, z)
    with generator._adapted(skips[2], style, from_photo=True) as code:
        return generator._decode(*skips, code)
