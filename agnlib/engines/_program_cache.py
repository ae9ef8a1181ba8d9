"""The network as ONNX programs, one for each variant of its graph: exported once, kept for later processes."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from agnlib import __version__
from agnlib._shared.atomic import write_bytes
from agnlib.engines._layout import Layout
from agnlib.engines._window_graph import Variant
from agnlib.models import Generator
from agnlib.models.pretrained import picklable

__all__ = ["Programs"]

_log = logging.getLogger("agnlib.engine")

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = ("engines", "layers", "models", "ops")  # folders: what decides about a graph
_HASH_BYTES = 32


class Programs:
    """The programs of one generator. May be shared by threads, and pickled.

    They lie in the user's cache (`AGNLIB_CACHE`, else `~/.cache/agnlib`), under a name made of the weights, each with
    its hash behind it: what is damaged is exported again.

    Args:
        generator: as it is when the first program is asked for.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._programs: dict[Variant, bytes] = {}
        self._name = ""
        self._lock = Lock()

    @cached_property
    def layout(self) -> Layout:
        """Of the generator's layers."""
        return Layout.of(self.generator)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "generator": picklable(self.generator), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def program(self, variant: Variant, runtime: str) -> bytes:
        """An ONNX model's content; an export, which takes seconds, is logged as one for the runtime.

        Raises:
            InputError: the generator cannot be exported.
            MissingDependencyError: an export needs a package that is not installed.
        """
        with self._lock:
            if variant not in self._programs:
                self._programs[variant] = self._kept(variant) or self._exported(variant, runtime)
            return self._programs[variant]

    def _kept(self, variant: Variant) -> bytes | None:
        """What an earlier process left; None if there is nothing, or something else."""
        path = self._path(variant)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        model, checksum = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
        if model and hashlib.sha256(model).digest() == checksum:
            return model
        _log.info("%s is not used: it is damaged", path)
        return None

    def _exported(self, variant: Variant, runtime: str) -> bytes:
        from agnlib.engines._window_export import window_model  # torch.export takes a second to import

        _log.info("exporting the network for %s (%s); this happens once", runtime, variant.about)
        model = window_model(self.generator, self.layout, variant)
        path = self._path(variant)
        if path is not None:
            with suppress(OSError):  # it is in memory all the same
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, model + hashlib.sha256(model).digest())
        return model

    def _path(self, variant: Variant) -> Path | None:
        """Where the program is kept; None without a home."""
        self._name = self._name or _digest(self.generator)[:32]
        try:
            folder = Path(os.environ.get("AGNLIB_CACHE") or Path.home() / ".cache" / "agnlib")
        except RuntimeError:
            return None
        return folder / f"{self._name}-{variant}.program"


def _digest(generator: Generator) -> str:
    """Of the weights, and of the code that the graph comes of: a changed block is another program."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {generator.config}".encode() + _own_code())
    for kind in sorted({type(module) for module in generator.modules()}, key=lambda kind: kind.__qualname__):
        digest.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        if not kind.__module__.startswith(("torch.", "agnlib.")):
            with suppress(OSError, TypeError):  # it was typed in, not read from a file
                digest.update(inspect.getsource(kind).encode())
    for name, value in generator.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@cache
def _own_code() -> bytes:
    digest = hashlib.sha256()
    for folder in _CODE:
        for file in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.digest()
