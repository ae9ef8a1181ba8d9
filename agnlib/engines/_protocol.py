"""What an engine is: whatever runs the painting network in PyTorch's place, or by PyTorch in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from torch import Tensor

from agnlib.models import Generator

__all__ = ["Engine", "EngineFactory"]


class Engine(Protocol):
    """Runs a generator's work on photos.

    Both methods may be called by several threads at once. What is known of the whole picture, where the photo is a
    window of one, `agnlib.layers.current_window()` says: statistics, places and regions of styles.
    """

    def takes(self, photo: Tensor, latent: Tensor | None) -> bool:
        """Whether it can paint this, here and now; what it cannot is left to the generator itself.

        Args:
            photo: `(B, 3, H, W)` in [-1, 1].
            latent: `(B, latent_dim)` of a seed; None without one.
        """
        ...

    def __call__(self, photo: Tensor, style: Tensor, latent: Tensor | None = None) -> Tensor:
        """The painting `(B, 3, H, W)` in [-1, 1], on any device.

        Args:
            photo: `(B, 3, H, W)` in [-1, 1], as the picture has it: on any device, in any memory format.
            style: `(B, style_dim)`.
            latent: as in `takes`.
        """
        ...


EngineFactory: TypeAlias = Callable[[Generator, str], Engine]
