"""OpenVINO in the network's place: the same pictures in float32, and nearly the same in bfloat16, which is quicker."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from agnlib.engines._exported_engine import ExportedEngine
from agnlib.engines._openvino_package import openvino_core, openvino_package
from agnlib.engines._window_graph import Variant
from agnlib.models import Generator

__all__ = ["OpenVinoEngine"]

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# A model of one size paints in two thirds of the time, and takes as long to compile as that saves on so many pixels.
_WORTH = 3 * 2**18
_KEPT = 2**22  # pixels of the compiled models that are kept, each with the memory of its maps
_STARTED_IN = set[int]()  # this process, or one of which it is a child

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
Key: TypeAlias = tuple[Variant, "Shapes | None", int]


class OpenVinoEngine(ExportedEngine):
    """The generator's work by OpenVINO on the CPU; see `ExportedEngine`.

    A program is compiled for any size; and for one size, once so much of that was painted that it pays: at once for a
    megapixel, after some pictures for smaller ones. The last ones are kept.

    Args:
        generator: see there.
        precision: "float32" or "bfloat16".
    """

    runtime = "OpenVINO"

    def __init__(self, generator: Generator, precision: str) -> None:
        super().__init__(generator)
        self._precision = precision

    @staticmethod
    def _require() -> Any:
        return openvino_package()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_precision": self._precision}

    def _forget_the_process(self) -> None:
        super()._forget_the_process()
        self._models: dict[Variant, Any] = {}
        self._compiled: OrderedDict[Key, _Compiled] = OrderedDict()
        self._painted: dict[tuple[Variant, Shapes], int] = {}

    def _runs_here(self) -> bool:
        """Not in a child of a process in which it worked: its threads are gone there, and it waits for them forever."""
        return _STARTED_IN in (set(), {os.getpid()})

    def _run(self, variant: Variant, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        with self._lock:
            compiled = self._ready(variant, {name: tuple(each.shape) for name, each in inputs.items()})
        return compiled(inputs)

    def _ready(self, variant: Variant, shapes: Mapping[str, tuple[int, ...]]) -> _Compiled:
        sizes, (batch, _, height, width) = tuple(shapes.values()), shapes["image"]
        pixels = batch * height * width
        painted = self._painted[variant, sizes] = self._painted.get((variant, sizes), 0) + pixels
        fixed = painted >= _WORTH
        key = (variant, sizes if fixed else None, torch.get_num_threads())
        if key not in self._compiled:
            self._compiled[key] = self._compile(variant, shapes if fixed else None, pixels)
        self._compiled.move_to_end(key)
        while len(self._compiled) > 1 and sum(each.pixels for each in self._compiled.values()) > _KEPT:
            self._compiled.popitem(last=False)
        return self._compiled[key]

    def _compile(self, variant: Variant, shapes: Mapping[str, tuple[int, ...]] | None, pixels: int) -> _Compiled:
        model = self._model(variant).clone()
        if shapes is not None:
            model.reshape({name: list(shape) for name, shape in shapes.items()})
        hints = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # other processes have work on the same processors
        }
        return _Compiled(self._require(), openvino_core().compile_model(model, "CPU", hints), pixels)

    def _model(self, variant: Variant) -> Any:
        if variant not in self._models:
            _STARTED_IN.add(os.getpid())
            self._models[variant] = openvino_core().read_model(self._programs.program(variant, self.runtime))
        return self._models[variant]


class _Compiled:
    """A compiled model, and its requests that are not at work; each has maps of its own."""

    def __init__(self, runtime: Any, model: Any, pixels: int) -> None:
        self._runtime, self._model, self.pixels = runtime, model, pixels
        self._idle: list[Any] = []

    def __call__(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        for name, each in inputs.items():
            request.set_tensor(name, self._runtime.Tensor(each.numpy(), shared_memory=True))
        request.infer()
        outputs = [torch.from_numpy(output.data.copy()) for output in request.output_tensors]
        self._idle.append(request)
        return outputs
