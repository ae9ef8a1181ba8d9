"""An engine that runs exported programs: what PyTorch hands them, and what it takes from them."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, ClassVar

import torch
from torch import Tensor

from agnlib.engines._inputs import GraphInputs, variant_for
from agnlib.engines._layout import smallest_side
from agnlib.engines._program_cache import Programs
from agnlib.engines._window_graph import Variant
from agnlib.layers import current_window
from agnlib.layers._border import extend
from agnlib.models import Generator

__all__ = ["ExportedEngine"]

_log = logging.getLogger("agnlib.engine")
# What a parent's threads worked on, in a child, where they are gone: a runtime that is destroyed there waits for them.
_LEFT_BEHIND: list[dict[str, Any]] = []


class ExportedEngine(ABC):
    """The generator's work by another runtime, on the CPU. May be shared by threads, and pickled.

    The first picture of each kind (whole pictures, windows, regions, seeds) exports a program, which takes seconds; see
    `Programs`. A generator whose `forward` is its own, or a picture too small for the program, is left to PyTorch.

    Args:
        generator: as it is when the first picture is painted.

    Raises:
        MissingDependencyError: the runtime is not installed, or PyTorch is older than 2.9.
    """

    runtime: ClassVar[str]

    def __init__(self, generator: Generator) -> None:
        self._require()
        if torch.__version__ < "2.9":
            from agnlib.engines._export import check_torch  # takes a second to import

            check_torch()
        self._programs = Programs(generator)
        self._least = smallest_side(generator)
        self._standard = type(generator).forward is Generator.forward
        self._forget_the_process()

    @staticmethod
    @abstractmethod
    def _require() -> Any:
        """The runtime's package."""

    @abstractmethod
    def _run(self, variant: Variant, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """The outputs of a program, for contiguous inputs in float32."""

    def _runs_here(self) -> bool:
        """Whether the runtime can work in this process."""
        return True

    def _forget_the_process(self) -> None:
        """What belongs to this process: it can neither be pickled nor go on in a child."""
        self._lock, self._said, self._process = Lock(), False, os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_programs": self._programs, "_least": self._least, "_standard": self._standard}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_the_process()

    def takes(self, photo: Tensor, latent: Tensor | None) -> bool:
        """Whether the programs can paint this; what they cannot is logged once."""
        taken = self._standard and min(photo.shape[2:]) >= self._least and self._runs_here()
        if not taken and not self._said:
            self._said = True
            _log.info(
                "PyTorch paints what %s cannot: pictures too small, generators of another make, in forked processes",
                self.runtime,
            )
        return taken

    def __call__(self, photo: Tensor, style: Tensor, latent: Tensor | None = None) -> Tensor:
        """Photos `(B, 3, H, W)` and codes `(B, style_dim)` -> paintings `(B, 3, H, W)`, all in [-1, 1]."""
        if self._process != os.getpid():
            _LEFT_BEHIND.append(self.__dict__.copy())
            self._forget_the_process()
        generator, window = self._programs.generator, current_window()
        height, width = photo.shape[2:]
        pad = generator.padding(height, width)
        framed = extend(_plain(photo), pad)
        graph = GraphInputs(generator, self._programs.layout)
        inputs = {name: _plain(each) for name, each in graph.of(framed, style, latent).items()}
        painted, *measured = self._run(variant_for(window, latent), inputs)
        if window is not None and measured:
            graph.note(window, measured[0])
        return painted[:, :, pad[2] : pad[2] + height, pad[0] : pad[0] + width]


def _plain(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float32).contiguous()
