"""Which implementation runs, what is said about it, and what tracing sees."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import agnlib
from agnlib.errors import BackendError, InputError
from agnlib.ops import _dispatch, adain, backend, backend_report, bias_act, fir_filter, upfirdn2d

CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "adain": lambda x: adain(x, x[:, :, 0, 0], x[:, :, 0, 1], act="lrelu"),
    "bias_act": lambda x: bias_act(x, x[0, :, 0, 0], act="swish", clamp=1.0),
    "upfirdn2d": lambda x: upfirdn2d(x, fir_filter([1, 3, 3, 1]), up=2, padding=(2, 1, 2, 1)),
}
calls = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
without_interpreter = pytest.mark.skipif(_dispatch.INTERPRETED, reason="the interpreter runs the kernels here")


@calls
@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiles_without_graph_breaks(call: Callable[[Tensor], Tensor], compiler: str) -> None:
    torch._dynamo.reset()
    x = torch.randn(2, 3, 6, 5, requires_grad=True)
    compiled = torch.compile(call, fullgraph=True, backend=compiler)
    torch.testing.assert_close(compiled(x), call(x))
    grads = [torch.autograd.grad(function(x).square().sum(), x)[0] for function in (compiled, call)]
    torch.testing.assert_close(*grads)


@calls
def test_exports_standard_operators_only(call: Callable[[Tensor], Tensor]) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 3, 6, 5)
    program = torch.export.export(Model(), (x,))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets
    assert all(target.startswith("aten.") for target in targets), targets
    torch.testing.assert_close(program.module()(x), call(x))


@calls
def test_onnx_runtime_computes_the_same(call: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")

    class Model(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    x = torch.randn(2, 3, 6, 5)
    file = tmp_path / "op.onnx"
    torch.onnx.export(Model(), (x,), file, dynamo=True, input_names=["x"], verbose=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), call(x), atol=1e-4, rtol=1e-4)


@calls
def test_function_transforms(call: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    found = torch.func.grad(lambda x: call(x).square().sum())(x)
    again = x.clone().requires_grad_()
    torch.testing.assert_close(found, torch.autograd.grad(call(again).square().sum(), again)[0])


@calls
@without_interpreter
def test_an_explicit_choice_that_cannot_run_says_every_reason(call: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    with backend("triton"), pytest.raises(BackendError) as caught:
        call(x)
    assert "not on cpu" in str(caught.value)
    assert "not float64" in str(caught.value)


@without_interpreter
def test_auto_falls_back_and_says_so_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "_logged", set())
    with caplog.at_level(logging.INFO, logger="agnlib.ops"):
        for _ in range(3):
            bias_act(torch.zeros(1, 2))
    assert [record.getMessage() for record in caplog.records] == [
        "bias_act on cpu in float32 runs PyTorch's operators: the kernels run on CUDA, not on cpu"
    ]


def test_the_backend_is_restored_even_after_an_error() -> None:
    before = _dispatch._choice.name
    with pytest.raises(InputError), backend("reference"):
        bias_act(torch.zeros(1))
    assert _dispatch._choice.name == before


def test_unknown_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'cuda'; expected one of auto, reference, triton"), backend("cuda"):
        pass
    monkeypatch.setattr(_dispatch._choice, "name", "cuda")  # as AGNLIB_BACKEND would
    with pytest.raises(InputError, match="AGNLIB_BACKEND"):
        bias_act(torch.zeros(1, 2))


def test_a_kernel_is_the_default_only_where_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _dispatch._MEASURED == {}  # no GPU was measured: a change here comes with results in benchmarks/results
    monkeypatch.setattr(_dispatch, "_MEASURED", {"bias_act": frozenset({torch.float16})})
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(1, 2, device="cuda", dtype=torch.float16)
    assert _dispatch._is_default("bias_act", x)
    assert not _dispatch._is_default("adain", x)
    monkeypatch.setattr(_dispatch, "why_not", lambda *_, **__: [])
    assert _dispatch.choose("bias_act", x) == "triton"
    assert _dispatch.choose("adain", x) == "torch"


def test_report_has_a_line_for_every_op_device_and_dtype() -> None:
    lines = backend_report().splitlines()
    assert lines[0].split() == ["op", "device", "dtype", "runs", "why"]
    found = {tuple(line.split()[:3]) for line in lines[1:]}
    for op in ("adain", "bias_act", "upfirdn2d", "conv2d", "conv_transpose2d", "modulated_conv2d"):
        for dtype in ("float32", "float16", "bfloat16", "float64"):
            assert (op, "cpu", dtype) in found
    with backend("reference"):
        assert all(line.split()[3] == "reference" for line in backend_report().splitlines()[1:])


def test_ops_can_be_pickled() -> None:
    for op in (adain, bias_act, upfirdn2d):
        assert pickle.loads(pickle.dumps(op)) is op


def run(program: str, **environment: str) -> str:
    everything = os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1])} | environment
    done = subprocess.run(
        [sys.executable, "-c", program], env=everything, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


def test_import_brings_no_kernels_and_the_environment_chooses() -> None:
    program = (
        "import sys, torch; had = 'triton' in sys.modules; import agnlib.ops; from agnlib.ops import _dispatch;"
        "kernels = any('ops.kernels.' in name for name in sys.modules);"
        "print('triton' in sys.modules and not had, kernels, _dispatch._choice.name)"
    )
    assert run(program, AGNLIB_BACKEND="reference") == "False False reference"
