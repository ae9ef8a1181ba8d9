"""How fast is each op? agnlib in each of its forms, PyTorch eager and torch.compile, in one run.

    python benchmarks/ops/bench_ops.py --out ops.json
    python benchmarks/ops/bench_ops.py --device cuda --out ops_cuda.json

Shapes: those of the shipped generator at 256, 1024 and 4K, and of training. Forward, backward and double
backward (on a CPU not of maps that only a picture being painted has); median and interquartile range; the ratio to
eager in the same run; bytes or FLOPs per second over the ceiling that a copy and a matrix product reach in the same
run. What cannot run says why in the JSON file. Losing rows stay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import benchmarks.ops._ops_conv_cases  # noqa: F401 - it registers its cases
from agnlib.errors import BackendError
from agnlib.memory import keep_freed_memory
from agnlib.ops import backend
from benchmarks._common import header, markdown_table, median_iqr, write_json
from benchmarks.ops._ops_cases import Case, all_cases

PASSES = ("forward", "backward", "double")
TRAINED = 2**22  # numbers in a map: larger ones are of pictures being painted, on a CPU only forward is measured
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DIGEST = {"generator 1024": PASSES[:1], "goal": PASSES[:1], "training": PASSES[:2]}  # place -> passes that are shown


def clock(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Seconds of each of at least three calls, or five short ones; CUDA's own events where it runs there."""
    begin = time.perf_counter()
    call()
    least = 3 if time.perf_counter() - begin > 0.5 else 5
    call()
    found: list[float] = []
    begin = time.perf_counter()
    while len(found) < least or (time.perf_counter() - begin < seconds and len(found) < 200):
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last) / 1e3)
        else:
            at = time.perf_counter()
            call()
            found.append(time.perf_counter() - at)
    return found


def ceilings(device: torch.device, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """Bytes per second of a copy and FLOPs per second of a matrix product."""
    x = torch.randn(2**25, device=device).to(dtype)
    y, a = torch.empty_like(x), torch.randn(2048, 2048, device=device).to(dtype)
    copy, _ = median_iqr(clock(lambda: y.copy_(x), device, seconds))
    product, _ = median_iqr(clock(lambda: a @ a, device, seconds))
    return {"bytes": 2 * x.numel() * x.element_size() / copy, "flops": 2 * 2048**3 / product}


def calls(function: Callable[..., Tensor], given: tuple[Tensor, ...]) -> dict[str, Callable[[], object]]:
    """Forward alone; forward and backward; and the gradient of the gradient's square on top."""
    leaves = [each.detach().requires_grad_() for each in given[:1]] + list(given[1:])

    def forward() -> Tensor:
        with torch.no_grad():
            return function(*given)

    grad = torch.ones_like(forward())

    def backward() -> object:
        return torch.autograd.grad(function(*leaves), leaves[0], grad)

    def double() -> object:
        (dx,) = torch.autograd.grad(function(*leaves), leaves[0], grad.requires_grad_(), create_graph=True)
        return torch.autograd.grad(dx.square().sum(), grad, allow_unused=True)

    return dict(zip(PASSES, (forward, backward, double), strict=True))


def forms(case: Case) -> dict[str, tuple[str, Callable[..., Tensor]]]:
    """Name -> (backend, function)."""
    return {
        "eager": ("auto", case.eager),
        "agnlib": ("auto", case.ours),
        "agnlib reference": ("reference", case.ours),
        "agnlib triton": ("triton", case.ours),
        "torch.compile": ("auto", torch.compile(case.eager, fullgraph=True)),
    }


def measure(case: Case, device: torch.device, dtype: torch.dtype, seconds: float, wanted: set[str]) -> dict[str, Any]:
    """All forms and passes of a case; a form that cannot run leaves its reason."""
    torch.manual_seed(0)
    x = torch.randn(case.shape, device=device).to(dtype)
    last = case.layout == "channels_last"
    given = case.inputs(x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format))
    row: dict[str, Any] = {"case": case.name, "op": case.op, "where": case.where, "layout": case.layout, "forms": {}}
    for form, (name, function) in forms(case).items():
        if form not in wanted:
            continue
        torch.compiler.reset()  # or shapes that were compiled before would have it compile for any shape
        times: dict[str, Any] = {}
        for step in _passes(case, form, device):
            try:
                with backend(name):
                    values = clock(calls(function, given)[step], device, seconds)
                times[step] = dict(zip(("median", "iqr"), median_iqr(values), strict=True))
            except BackendError as error:
                times[step] = {"reason": str(error)}
            except Exception as error:  # a compiler that is missing, or no double backward: losing rows stay
                times[step] = {"reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        row["forms"][form] = times
    with torch.no_grad():
        written = case.ours(*given).numel()
    row["bytes"] = case.moved(x.numel(), written) * x.element_size()
    row["flops"] = case.flops
    return row


def _passes(case: Case, form: str, device: torch.device) -> tuple[str, ...]:
    """What is measured; compiled code has no second derivative."""
    if device.type == "cpu" and torch.Size(case.shape).numel() > TRAINED:
        return PASSES[:1]
    return PASSES[:2] if form == "torch.compile" else PASSES


def speed(row: dict[str, Any], form: str, step: str) -> float | None:
    """The median seconds, if it ran."""
    value = row["forms"].get(form, {}).get(step, {}).get("median")
    return None if value is None else float(value)


def table(rows: list[dict[str, Any]], ceiling: dict[str, float]) -> str:
    """Milliseconds (ratio to eager) for each form and pass."""
    columns = ["case", "where", "pass", "of ceiling", *(rows[0]["forms"] if rows else ())]
    lines = []
    for row in rows:
        for step in PASSES:
            base, ours = speed(row, "eager", step), speed(row, "agnlib", step)
            if base is None and ours is None:
                continue
            kind = "flops" if row["flops"] else "bytes"
            part = f"{row[kind] / ours / ceiling[kind]:.0%}" if ours and step == "forward" else ""
            cells = []
            for form in row["forms"]:
                seconds = speed(row, form, step)
                ratio = f" ({base / seconds:.2f}x)" if base and seconds else ""
                cells.append("-" if seconds is None else f"{seconds * 1e3:.2f}{ratio}")
            lines.append([row["case"], row["where"], step, part, *cells])
    return markdown_table(columns, lines, text=3)


def digest(rows: list[dict[str, Any]]) -> str:
    """What decides: of each op and place the largest map, in channels_last, beside what there is without agnlib."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["bytes"]):
        if row["where"] in DIGEST and row["layout"] == "channels_last":
            chosen[row["op"].split()[0], row["where"]] = row
    lines = []
    for (_, where), row in sorted(chosen.items()):
        for step in DIGEST[where]:
            base, *others = (speed(row, form, step) for form in ("eager", "agnlib", "torch.compile"))
            if base:
                cells = ["-" if seconds is None else f"{base / seconds:.2f}x" for seconds in others]
                lines.append([row["case"].removesuffix(" channels_last"), step, f"{base * 1e3:.2f}", *cells])
    return markdown_table(["channels_last", "pass", "eager, ms", "agnlib", "torch.compile"], lines, text=2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=tuple(DTYPES))
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    parser.add_argument("--only", default="", help="a word that the case's name has to contain")
    parser.add_argument("--out", type=Path, help="JSON file; beside it, what decides as NAME_short.md")
    options = parser.parse_args()
    keep_freed_memory()  # for all forms alike: what the system takes to hand out pages is not what is measured
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    torch.set_num_threads(options.threads)
    wanted = {"eager", "agnlib", "agnlib reference", "torch.compile"}
    if device.type == "cuda":
        wanted |= {"agnlib triton"}
    seconds = 0.2
    cases = [case for case in all_cases() if options.only in case.name]
    ceiling = ceilings(device, dtype, seconds)
    rows = []
    for number, case in enumerate(cases):
        print(f"{number + 1}/{len(cases)} {case.name}", file=sys.stderr, flush=True)
        rows.append(measure(case, device, dtype, seconds, wanted))
    print(table(rows, ceiling))
    if options.out:
        name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
        top = header(device=name, dtype=options.dtype, threads=options.threads)
        write_json(options.out, top | {"ceilings": ceiling, "rows": rows})
        options.out.with_name(f"{options.out.stem}_short.md").write_text(f"{digest(rows)}\n", "utf-8")


if __name__ == "__main__":
    main()
