"""What a window's graph is given: maps cut from where the window lies, and what is known of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from agnlib.engines._layout import Layout
from agnlib.engines._window_graph import Variant
from agnlib.layers import CanvasNoise, Window, current_window
from agnlib.models import Generator

__all__ = ["GraphInputs", "variant_for"]


@runtime_checkable
class _Averaging(Protocol):
    """Statistics of frames that are averaged over the frames before, while they are measured."""

    @property
    def share(self) -> Tensor:
        """`(B, B)`: of each frame's own, in those of each."""
        ...

    def before(self, layer: nn.Module) -> tuple[Tensor, Tensor] | None:
        """What the frames before add: means and variances, `(B, C)` each."""
        ...

    def keep(self, layer: nn.Module, averaged: tuple[Tensor, Tensor]) -> None:
        """Note what was averaged elsewhere."""
        ...


def variant_for(window: Window | None, latent: Tensor | None) -> Variant:
    """The graph for what there is to paint."""
    if window is None:
        return Variant(seed=latent is not None)
    return Variant("given" if window.statistics else "measured", window.regions is not None, latent is not None)


class GraphInputs:
    """Reads the inputs of a `Graph` off a generator and the window that was entered.

    Args:
        generator: whose noise and seed features are read.
        layout: of its layers.
    """

    def __init__(self, generator: Generator, layout: Layout) -> None:
        self._generator, self._layout = generator, layout

    def of(self, image: Tensor, style: Tensor, latent: Tensor | None) -> dict[str, Tensor]:
        """The inputs by name, in the graph's order.

        Args:
            image: `(B, 3, H, W)` in [-1, 1], with its margin.
            style: `(B, style_dim)`.
            latent: `(B, latent_dim)`, or None.
        """
        window, size = current_window(), (image.shape[2], image.shape[3])
        regions = None if window is None else window.regions
        inputs = {"image": image, "style": style if regions is None else regions.codes}
        for name, scale in self._layout.noises.items():
            inputs[f"noise_{name}"] = self._noise(name, _reduced(size, scale))
        if latent is not None:
            inputs["seed"] = self._generator._seed_features(latent, _reduced(size, self._generator.stride))
        if regions is not None:
            inputs |= {f"masks_{scale}": regions.at(_reduced(size, scale)) for scale in self._layout.scales}
        return inputs if window is None else inputs | self._known(window, len(image))

    def note(self, window: Window, measured: Tensor) -> None:
        """Have a window know what was measured, `(B, 2, N)`."""
        parts = torch.split(measured, list(self._layout.measuring.values()), dim=2)
        for layer, part in zip(self._layers, parts, strict=True):
            found = (part[:, 0], part[:, 1])
            if isinstance(window.statistics, _Averaging):
                window.statistics.keep(layer, found)
            else:
                window.statistics[layer] = found

    def _noise(self, name: str, size: tuple[int, int]) -> Tensor:
        layer, window = self._generator.get_submodule(name), current_window()
        assert isinstance(layer, CanvasNoise)
        top, left = (0, 0) if window is None else window.canvas_cell(size[0])
        return layer._cut(top, left, *size)[None, None]

    def _known(self, window: Window, batch: int) -> dict[str, Tensor]:
        """The statistics; or what they are mixed of, while they are measured."""
        if window.statistics:
            return {"statistics": _packed([window.statistics[layer] for layer in self._layers])}
        share = torch.eye(batch, device="cpu", dtype=torch.float32)
        nothing = torch.zeros(batch, 2, self._layout.width, device="cpu", dtype=torch.float32)
        if not isinstance(window.statistics, _Averaging):
            return {"share": share, "before": nothing}
        before = [found for layer in self._layers if (found := window.statistics.before(layer)) is not None]
        return {"share": window.statistics.share, "before": _packed(before) if before else nothing}

    @property
    def _layers(self) -> list[nn.Module]:
        return [self._generator.get_submodule(name) for name in self._layout.measuring]


def _packed(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([torch.stack(pair, dim=1) for pair in pairs], dim=2)


def _reduced(size: tuple[int, int], scale: int) -> tuple[int, int]:
    return size[0] // scale, size[1] // scale
