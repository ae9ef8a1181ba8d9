"""Engines by name: those that come with agnlib, and others' own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch

from agnlib.engines._device import fast_dtype, resolve_device
from agnlib.engines._protocol import Engine, EngineFactory
from agnlib.errors import InputError
from agnlib.models import Generator

__all__ = [
    "PACKAGES",
    "PRECISIONS",
    "can_export",
    "choose",
    "device_for",
    "installed",
    "make_engine",
    "names",
    "register",
]

PRECISIONS = ("float32", "bfloat16")
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}

_log = logging.getLogger("agnlib.engine")


@dataclass(frozen=True)
class _Kind:
    make: EngineFactory
    devices: Sequence[str]
    precisions: Sequence[str]


_KINDS: dict[str, _Kind] = {}


def register(
    name: str,
    make: EngineFactory,
    *,
    devices: Sequence[str] = ("cpu",),
    precisions: Sequence[str] = ("float32",),
) -> None:
    """Have `Stylizer(engine=name)` paint by an engine of your own, in this process.

    Args:
        name: of the engine; one of that name that was registered before is replaced, but for agnlib's own.
        make: `(generator, precision) -> Engine`; the generator is in evaluation, on the stylizer's device; the
            precision is one of `precisions`. An engine that is to be pickled with its stylizer must be picklable.
        devices: kinds of devices that it runs on, of "cpu", "cuda" and "mps".
        precisions: what it computes in, of "float32" and "bfloat16"; "auto" is the first one.

    Raises:
        InputError: a name that is agnlib's own or no word, or unknown devices or precisions.

    Example:
        >>> import numpy as np
        >>> from agnlib import Generator, StyleExtractor, Stylizer
        >>> class Loud:
        ...     def __init__(self, generator, precision):
        ...         self.generator = generator
        ...     def takes(self, photo, latent):
        ...         return True
        ...     def __call__(self, photo, style, latent=None):
        ...         print("painting", tuple(photo.shape))
        ...         return self.generator(latent, style, content=photo)
        >>> register("loud", Loud)
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu", engine="loud")
        >>> stylizer(np.zeros((30, 40, 3)), np.ones((20, 20, 3))).shape
        painting (1, 3, 30, 40)
        (30, 40, 3)
    """
    if not isinstance(name, str) or not name.isidentifier() or name in (*_OWN, "auto"):
        raise InputError(f"register: name is {name!r}; expected a word that is not one of auto, {', '.join(_OWN)}")
    for what, given, known in (("devices", devices, _DEVICES), ("precisions", precisions, PRECISIONS)):
        if isinstance(given, str) or not given or not set(given) <= set(known):
            raise InputError(f"register: {what} is {given!r}; expected some of {', '.join(known)}, as a list")
    _KINDS[name] = _Kind(make, tuple(devices), tuple(precisions))


def names() -> list[str]:
    """The engines that there are, whether what they need is installed or not; "auto" stands for one of them.

    Example:
        >>> names()[:3]
        ['torch', 'onnx', 'openvino']
    """
    return [*_KINDS]


def device_for(engine: str, device: str | torch.device) -> torch.device:
    """The device, checked to be there and to be one that the engine runs on."""
    if engine == "auto":
        return resolve_device(device)
    kind = _kind(engine)
    resolved = resolve_device("cpu" if kind.devices == ("cpu",) and device == "auto" else device)
    if resolved.type not in kind.devices:
        places = " or ".join(place.upper() for place in kind.devices)
        raise InputError(
            f"engine: {engine} runs on the {places}, the device is {str(device)!r}; use engine torch or device"
            f" {kind.devices[0]}"
        )
    return resolved


def choose(engine: str, precision: str, device: torch.device) -> tuple[str, str]:
    """The engine's name and the precision that it computes in; "auto" is what was measured to be quick and looks alike.

    Raises:
        InputError: an unknown precision, or one that the engine does not have.
    """
    if precision not in ("auto", *PRECISIONS):
        raise InputError(f"precision: expected auto, {' or '.join(PRECISIONS)}, got {precision!r}")
    quick = device.type == "cpu" and precision != "float32" and fast_dtype(device) == torch.bfloat16
    if engine == "auto":
        engine = "openvino" if quick and can_export() and installed("openvino") else "torch"
        _say(f"engine auto: {engine} on {device}")
    kind = _kind(engine)
    if precision == "auto":
        precision = "bfloat16" if quick and engine == "openvino" else kind.precisions[0]
    if precision not in kind.precisions:
        raise InputError(
            f"precision: engine {engine} computes in {' or '.join(kind.precisions)}, got {precision!r}; use"
            f" {kind.precisions[0]}, or another engine"
        )
    return engine, precision


def make_engine(engine: str, precision: str, generator: Generator, device: torch.device) -> Engine | None:
    """What paints in the generator's place; None where that is the generator, as it is.

    Raises:
        InputError: as `choose`.
        MissingDependencyError: what the engine needs is not installed.
    """
    engine, precision = choose(engine, precision, device)
    return None if (engine, precision) == ("torch", "float32") else _kind(engine).make(generator, precision)


def installed(engine: str) -> bool:
    """Whether the package of an engine that comes with agnlib is there."""
    return engine not in PACKAGES or find_spec(PACKAGES[engine]) is not None


def can_export() -> bool:
    """Whether what every engine but torch begins with can be made here: an ONNX program."""
    return torch.__version__ >= "2.9" and all(find_spec(package) is not None for package in ("onnx", "onnxscript"))


def _kind(engine: str) -> _Kind:
    if engine not in _KINDS:
        raise InputError(f"engine: expected auto, {', '.join(_KINDS)}, got {engine!r}")
    return _KINDS[engine]


@cache
def _say(text: str) -> None:
    _log.info(text)


def _torch(generator: Generator, precision: str) -> Engine:
    from agnlib.engines._torch import TorchEngine

    return TorchEngine(generator, precision)


def _onnx(generator: Generator, precision: str) -> Engine:
    from agnlib.engines._onnx_runtime import OnnxEngine

    return OnnxEngine(generator)


def _openvino(generator: Generator, precision: str) -> Engine:
    from agnlib.engines._openvino import OpenVinoEngine

    return OpenVinoEngine(generator, precision)


_DEVICES = ("cpu", "cuda", "mps")
_OWN = {
    "torch": _Kind(_torch, _DEVICES, PRECISIONS),
    "onnx": _Kind(_onnx, ("cpu",), ("float32",)),
    "openvino": _Kind(_openvino, ("cpu",), PRECISIONS),
}
_KINDS.update(_OWN)
