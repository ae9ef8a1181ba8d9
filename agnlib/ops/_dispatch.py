"""Which implementation of an op runs: its reference, PyTorch's operators in their fastest form, or a Triton kernel.

Each op is defined here with `torch.library` as `agnlib::name`: schema and default from the reference, a fake kernel,
derivatives, Triton's kernel on CUDA. The public functions call that op only where `choose` says "triton"; otherwise
they run plain PyTorch operators, which cost nothing to reach and which export and ONNX understand.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from agnlib.errors import BackendError, InputError
from agnlib.ops._exporting import is_exporting

__all__ = ["backend", "backend_report", "choose", "define", "registered", "vjp", "why_not"]

_log = logging.getLogger("agnlib.ops")

_BACKENDS = ("auto", "reference", "triton")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton reads it once, at its import, and so do we
_LEAST_CAPABILITY = (7, 0)

# Ops whose kernel won the table of benchmarks/ops/bench_ops.py on CUDA, and the dtypes where it did: the only ones that
# `auto` takes. Empty: no GPU has been measured yet.
_MEASURED: dict[str, frozenset[torch.dtype]] = {}
_NOT_MEASURED = 'the kernel has not won a benchmark on a GPU yet; backend("triton") takes it'


class _Choice:
    """The backend in force; an object of its own, so that compiled code guards on one attribute."""

    def __init__(self, name: str) -> None:
        self.name = name


_choice = _Choice(os.environ.get("AGNLIB_BACKEND", "auto"))
_kernels: dict[str, str] = {}  # public op -> module in agnlib.ops.kernels
_logged: set[tuple[str, torch.device, torch.dtype]] = set()


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Which implementation the ops use inside this block; outside of any, the variable `AGNLIB_BACKEND`, else "auto".

    It holds for the whole process, all its threads, as PyTorch's own flags do: gradients are computed in others.

    Args:
        name: "auto": what was measured to be fastest; falls back, and logs the reason once (logger `agnlib.ops`).
            "reference": the plain PyTorch form that is the op's specification.
            "triton": the kernels, or an error that says why they cannot run.

    Raises:
        InputError: another name.

    Example:
        >>> import torch
        >>> from agnlib.ops import bias_act
        >>> with backend("reference"):
        ...     bias_act(torch.tensor([[-1.0, 2.0]]), act="relu", gain=1.0)
        tensor([[0., 2.]])
    """
    _check_name(name)
    before = _choice.name
    _choice.name = name
    try:
        yield
    finally:
        _choice.name = before


def choose(op: str, x: Tensor, *others: Tensor | None, limits: Sequence[str] = ()) -> str:
    """How `op` runs on these tensors: "triton", "torch" (the fastest of PyTorch's operators) or "reference".

    Traced code (`torch.compile`, `torch.export`) gets the reference instead of "torch": the compiler fuses it better
    than any form that was chosen for eager mode. Exported programs never hold a kernel.

    Args:
        op: public name.
        x: the tensor that decides on device and dtype.
        others: further tensors that a kernel reads.
        limits: reasons of the op's own why its kernel cannot run.

    Raises:
        BackendError: the backend is "triton" and the kernel cannot run; the message has all reasons.
    """
    name = _choice.name
    if torch.compiler.is_compiling():
        if is_exporting() or name == "reference":
            return "reference"
        return "triton" if name == "triton" or _is_default(op, x) else "reference"
    if name == "auto":
        if torch._C._are_functorch_transforms_active():  # torch.library's derivatives are unknown to torch.func
            return "reference"
        if x.device.type == "cpu" and (op, x.device, x.dtype) in _logged:
            return "torch"
        return "triton" if _is_default(op, x) and not _fall_back(op, x, others, limits) else "torch"
    _check_name(name)
    if name == "triton" and (reasons := why_not(x, *others, limits=limits)):
        raise BackendError(f'{op}: backend("triton") was asked for, but ' + "; ".join(reasons))
    return name


def why_not(x: Tensor, *others: Tensor | None, limits: Sequence[str] = ()) -> list[str]:
    """Every reason why a Triton kernel cannot run on these tensors; none if it can."""
    reasons = list(_why_not_on(x.device))
    for tensor in (x, *others):
        if tensor is not None and tensor.dtype not in _DTYPES:
            reasons.append(f"the kernels take float32, float16 and bfloat16, not {_short(tensor.dtype)}")
            break
    return [*reasons, *limits]


def define(
    name: str,
    reference: Callable[..., Any],
    *,
    module: str,
    fake: Callable[..., Any],
    cpu: Callable[..., Any] | None = None,
    public: bool = False,
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Define `agnlib::name` with the reference as its default and `agnlib.ops.kernels.<module>.<name>` for CUDA.

    Args:
        name: of the op and of the function in the kernel's module, which takes the same arguments.
        reference: annotated for `torch.library.infer_schema`; what it returns must not alias what it is given.
        module: imported when the kernel runs for the first time.
        fake: shapes, dtypes and strides of the result.
        cpu: a faster form of the reference for the CPU.
        public: whether the op is a line of `backend_report`.
        setup_context: see `torch.library.register_autograd`.
        backward: see `torch.library.register_autograd`.

    Returns:
        The op. Tensors that the kernel cannot take go to the reference.
    """
    op = custom_op(f"agnlib::{name}", reference, mutates_args=())

    def run(*arguments: Any) -> Any:
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        if why_not(*tensors):
            return reference(*arguments)
        return getattr(importlib.import_module(f"agnlib.ops.kernels.{module}"), name)(*arguments)

    op.register_kernel(("cuda", "cpu") if INTERPRETED else "cuda")(run)
    if cpu is not None and not INTERPRETED:
        op.register_kernel("cpu")(cpu)
    op.register_fake(fake)
    if backward is not None:
        op.register_autograd(backward, setup_context=setup_context)
    if public:
        _kernels[name] = module
    overload: Callable[..., Any] = getattr(torch.ops.agnlib, name).default
    return overload


def vjp(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The derivative of `grads` times the outputs by each input; for backward functions, differentiable where they are.

    None stands for an input that changes nothing, and for the gradient of an output that nothing depends on.
    """
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [x.view_as(x) if further and x.requires_grad else x.detach().requires_grad_() for x in inputs]
        found = [(y, g) for y, g in zip(function(*given), grads, strict=True) if g is not None and y.requires_grad]
    if not found:
        return (None,) * len(inputs)
    outputs, wanted = zip(*found, strict=True)
    return torch.autograd.grad(outputs, given, wanted, create_graph=further, allow_unused=True)


def registered() -> tuple[str, ...]:
    """The public ops that have a kernel."""
    return tuple(_kernels)


def backend_report() -> str:
    """A table of what each op runs on each device and dtype, and why; for people, `agnlib doctor` shows it too.

    Example:
        >>> backend_report().splitlines()[0].split()
        ['op', 'device', 'dtype', 'runs', 'why']
    """
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    else:
        devices.append(torch.device("cuda"))
    rows = [("op", "device", "dtype", "runs", "why")]
    for op in _kernels:
        for device in devices:
            for dtype in (*_DTYPES, torch.float64):
                rows.append((op, str(device), _short(dtype), *_explain(op, device, dtype)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return "\n".join(lines)


def _explain(op: str, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    reasons = list(_why_not_on(device))
    if dtype not in _DTYPES:
        reasons.append(f"no kernel for {_short(dtype)}")
    if _choice.name == "reference":
        return "reference", 'backend("reference")'
    if _choice.name == "triton":
        return ("error", "; ".join(reasons)) if reasons else ("triton", 'backend("triton")')
    if not reasons and dtype in _MEASURED.get(op, ()):
        return "triton", "it won the benchmark"
    return "torch", "; ".join(reasons) or _NOT_MEASURED


def _is_default(op: str, x: Tensor) -> bool:
    if x.dtype in _MEASURED.get(op, ()) and x.device.type == "cuda":
        return True
    if not torch.compiler.is_compiling():
        _log_once(op, x, _why_not_on(x.device) or (_NOT_MEASURED,))
    return False


def _fall_back(op: str, x: Tensor, others: Sequence[Tensor | None], limits: Sequence[str]) -> bool:
    reasons = why_not(x, *others, limits=limits)
    if reasons:
        _log_once(op, x, reasons)
    return bool(reasons)


def _log_once(op: str, x: Tensor, reasons: Sequence[str]) -> None:
    key = (op, x.device, x.dtype)
    if key not in _logged:
        _logged.add(key)
        _log.info("%s on %s in %s runs PyTorch's operators: %s", op, x.device, _short(x.dtype), "; ".join(reasons))


@functools.cache
def _why_not_on(device: torch.device) -> tuple[str, ...]:
    """The reasons that depend on the machine alone."""
    reasons = []
    if importlib.util.find_spec("triton") is None:
        reasons.append("the package triton is not installed")
    if INTERPRETED and device.type == "cpu":
        return tuple(reasons)
    if device.type != "cuda":
        reasons.append(f"the kernels run on CUDA, not on {device.type}")
    elif not torch.cuda.is_available():
        reasons.append("no CUDA device is there")
    elif torch.version.hip is None and torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        reasons.append(
            f"the GPU has compute capability {torch.cuda.get_device_capability(device)}; expected 7.0 or more"
        )
    return tuple(reasons)


def _check_name(name: str) -> None:
    if name not in _BACKENDS:
        raise InputError(f"backend (or AGNLIB_BACKEND) is {name!r}; expected one of {', '.join(_BACKENDS)}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
