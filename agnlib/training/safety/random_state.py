"""Torch's random state, kept for one run: what layers draw while training depends on the run's seed and steps alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["LayerRng"]


class LayerRng:
    """The random state that layers draw from, which have no generator of their own to be handed.

    Anything else may draw from torch's in between (a DataLoader does when it starts): a run, and one that is resumed,
    gives the same numbers all the same.

    Args:
        seed: of the run.
        device: where it trains.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        self.states = {"cpu": torch.Generator().manual_seed(seed).get_state()}
        for place in self._devices:
            self.states["cuda"] = torch.Generator(place).manual_seed(seed).get_state()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Put this state in the place of torch's, and torch's back afterwards."""
        with torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self.states["cpu"])
            for place in self._devices:
                torch.cuda.set_rng_state(self.states["cuda"], place)
            yield
            self.states["cpu"] = torch.get_rng_state()
            for place in self._devices:
                self.states["cuda"] = torch.cuda.get_rng_state(place)

    def restore(self, states: Mapping[str, Tensor]) -> None:
        """Go back to `states` of an earlier run; those of a device that is not here do not matter."""
        self.states |= {name: state for name, state in states.items() if name in self.states}
