"""onnxruntime in the network's place: the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agnlib._shared.optional import require
from agnlib.engines._exported_engine import ExportedEngine
from agnlib.engines._window_graph import Variant

__all__ = ["OnnxEngine"]


class OnnxEngine(ExportedEngine):
    """The generator's work by onnxruntime on the CPU, in float32; see `ExportedEngine`."""

    runtime = "onnxruntime"

    @staticmethod
    def _require() -> Any:
        return require("onnxruntime", extra="onnx", purpose='engine="onnx"')

    def _forget_the_process(self) -> None:
        super()._forget_the_process()
        self._sessions: dict[Variant, tuple[int, Any]] = {}  # with how many threads each was made

    def _run(self, variant: Variant, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        outputs = self._started(variant).run(None, {name: each.numpy() for name, each in inputs.items()})
        return [torch.from_numpy(each) for each in outputs]

    def _started(self, variant: Variant) -> Any:
        """The session, made anew where torch has got another number of threads."""
        wanted = torch.get_num_threads()
        if self._sessions.get(variant, (0, None))[0] != wanted:
            with self._lock:
                if self._sessions.get(variant, (0, None))[0] != wanted:
                    model = self._programs.program(variant, self.runtime)
                    self._sessions[variant] = (wanted, self._session_of(model))
        return self._sessions[variant][1]

    def _session_of(self, model: bytes) -> Any:
        runtime = self._require()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
