"""What runs a program: onnxruntime or OpenVINO, on the CPU."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from agnlib._exported._program import Program
from agnlib._shared.atomic import write_bytes
from agnlib._shared.optional import require
from agnlib.errors import InputError, MissingDependencyError

__all__ = ["ENGINES", "Machine", "Run"]

Array: TypeAlias = "npt.NDArray[Any]"
Run: TypeAlias = Callable[[Mapping[str, Array]], Array]

ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}  # and their packages
_HASH_BYTES = 32


@dataclass(frozen=True)
class Machine:
    """What programs run on.

    Args:
        engine: "onnx", "openvino", or "auto": onnxruntime where it is installed, which needs no compiling and gives the
            same picture on every machine; OpenVINO where that is not, or bfloat16 is asked for.
        precision: "float32", "bfloat16", or "auto": bfloat16 by OpenVINO where the processor multiplies it.
        threads: None for the runtime's own choice, or `OMP_NUM_THREADS`.

    Raises:
        InputError: a precision that the engine does not have.
        MissingDependencyError: "auto", and neither runtime is installed.
    """

    engine: str
    precision: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.engine == "auto":
            object.__setattr__(self, "engine", _installed(self.precision))
        if self.engine == "onnx" and self.precision == "bfloat16":
            raise InputError(
                "precision: engine onnx computes in float32, got 'bfloat16'; use float32, or another engine"
            )

    def start(self, program: Program) -> Run:
        """A function that takes a program's inputs by their names and gives its one output.

        Raises:
            InputError: the program cannot be run.
            MissingDependencyError: the engine is not installed.
        """
        start = _by_onnxruntime if self.engine == "onnx" else _by_openvino
        try:
            return start(program.content, self)
        except MissingDependencyError:
            raise
        except Exception as error:  # the runtimes' own, of many kinds
            raise InputError(
                f"{program.name} cannot be run by {ENGINES[self.engine]} ({last_line(error)}); export it again"
            ) from error

    @property
    def wanted_threads(self) -> int | None:
        """None for the runtime's own choice."""
        said = os.environ.get("OMP_NUM_THREADS", "")
        return self.threads or (int(said) if said.isdecimal() and int(said) else None)


def last_line(error: Exception) -> str:
    """What a runtime says at the end of its lines, which begin with places in its own sources."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _installed(precision: str) -> str:
    order = ("openvino",) if precision == "bfloat16" else ("onnx", "openvino")
    for engine in order:
        if find_spec(ENGINES[engine]) is not None:
            return engine
    raise MissingDependencyError(
        f"a program of agnlib export needs the package {' or '.join(ENGINES[engine] for engine in order)}; install it:"
        ' pip install "agnlib[openvino]"'
    )


def _by_onnxruntime(content: bytes, machine: Machine) -> Run:
    runtime: Any = require("onnxruntime", extra="onnx", purpose='engine="onnx"')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = machine.wanted_threads or 0
    options.log_severity_level = 4  # what ends the process; errors are raised
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))[0]


def _by_openvino(content: bytes, machine: Machine) -> Run:
    from agnlib.engines._openvino_package import openvino_core, openvino_package

    runtime: Any = openvino_package()
    core = openvino_core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    quick = machine.precision == "bfloat16" or (machine.precision == "auto" and "BF16" in able)
    hints: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if quick else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # other processes have work on the same processors
    }
    about = f"{runtime.get_version()} {sorted(able)} {hints}"
    if machine.wanted_threads is not None:
        hints["INFERENCE_NUM_THREADS"] = machine.wanted_threads
    request = _compiled(core, content, hints, about).create_infer_request()

    def run(inputs: Mapping[str, Array]) -> Array:
        request.infer(dict(inputs))
        output: Array = request.output_tensors[0].data.copy()
        return output

    return run


def _compiled(core: Any, content: bytes, hints: Mapping[str, Any], about: str) -> Any:
    """The model, compiled for pictures of any size: in an earlier process if there was one."""
    path = _place(content, about)
    if (kept := _kept(path)) is not None:
        with suppress(Exception):  # one of a machine that shares the folder
            return core.import_model(io.BytesIO(kept), "CPU", hints)
    model = core.compile_model(core.read_model(content), "CPU", hints)
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            compiled = model.export_model().getvalue()
            write_bytes(path, compiled + hashlib.sha256(compiled).digest())
    return model


def _place(content: bytes, about: str) -> Path | None:
    """Where the compiled model is kept, in the folder of the engines' programs; None without a home."""
    name = hashlib.sha256(about.encode() + content).hexdigest()[:32]
    try:
        return Path(os.environ.get("AGNLIB_CACHE") or Path.home() / ".cache" / "agnlib") / f"{name}.compiled"
    except RuntimeError:
        return None


def _kept(path: Path | None) -> bytes | None:
    """What an earlier process left, whole."""
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError:
        return None
    model, checksum = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
    return model if model and hashlib.sha256(model).digest() == checksum else None
