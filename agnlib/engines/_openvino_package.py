"""OpenVINO as a library may use it: without its reports to its makers, and never unloaded."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from agnlib._shared.optional import require

__all__ = ["openvino_core", "openvino_package"]

_REPORTER = "openvino_telemetry"


def openvino_package() -> ModuleType:
    """The package `openvino`, without its telemetry where nobody imported it before.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with _hidden(_REPORTER):
        return require("openvino", extra="openvino", purpose='engine="openvino"')


@cache
def openvino_core() -> Any:
    """The one `openvino.Core` of this process, which outlives it.

    Its plugin for the CPU handles signals on a stack of its own. Of two that are unloaded, the second puts the first
    one's back, which is gone, and the next signal that Python has a handler for ends the process.
    """
    core = openvino_package().Core()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(core))
    return core


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """As if a module were not installed, in which case OpenVINO takes a stub of its own."""
    known = module in sys.modules
    if not known:
        sys.modules[module] = None  # type: ignore[assignment] # so Python is told that there is none
    try:
        yield
    finally:
        if not known:
            sys.modules.pop(module, None)
