"""What runs the network: PyTorch, onnxruntime, OpenVINO, others' own; on which device, in how much memory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnlib.engines._protocol import Engine
    from agnlib.engines._registry import names, register

__all__ = ["Engine", "names", "register"]

_HOMES = {"Engine": "_protocol", "names": "_registry", "register": "_registry"}

if not TYPE_CHECKING:  # the import of OpenVINO needs no torch

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'agnlib.engines' has no attribute {name!r}; it has {', '.join(_HOMES)}")
        return getattr(import_module(f"agnlib.engines.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
