"""The import of OpenVINO, which on its own reports every import to its makers over the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from agnlib._shared.optional import require

__all__ = ["openvino_package"]

_REPORTER = "openvino_telemetry"


def openvino_package() -> ModuleType:
    """The package `openvino`, without its telemetry where nobody imported it before.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with _hidden(_REPORTER):
        return require("openvino", extra="openvino", purpose='engine="openvino"')


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
