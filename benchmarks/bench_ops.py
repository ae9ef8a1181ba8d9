"""How fast is each op? agnlib in each of its forms, PyTorch eager and torch.compile, in one run.

    python benchmarks/bench_ops.py --out ops.json
    python benchmarks/bench_ops.py --device cuda --out ops_cuda.json

Shapes: those of the shipped generator at 256, 1024 and 4K, of training, and of the goals. Forward, backward and double
backward (on a CPU not of maps that only a picture being painted has); median and interquartile range; the ratio to
eager in the same run; bytes or FLOPs per second over the ceiling that a copy and a matrix product reach in the same
run. What cannot run says why in the JSON file. Losing rows stay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import _ops_conv_cases  # noqa: F401 - it registers its cases
import torch
from _common import header, markdown_table, median_iqr, write_json
from _ops_cases import Case, all_cases
from torch import Tensor

from agnlib.engines.memory import keep_freed_memory
from agnlib.errors import BackendError
from agnlib.ops import backend

PASSES = ("forward", "backward", "double")
TRAINED = 2**22  # numbers in a map: larger ones are of pictures being painted, on a CPU only forward is measured
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
QUICK = 2_500_000  # elements: larger maps are left out by --quick, but for the goals'


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
    row["goal"] = case.goal
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


def goals(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each goal of the CPU: what was wanted, what was measured, whether it held."""
    lines = []
    for row in rows:
        base, ours = speed(row, "eager", "forward"), speed(row, "agnlib", "forward")
        if row["goal"] and base and ours:
            held = "held" if base / ours >= row["goal"] else "not held"
            lines.append(f"{row['case']}: {row['goal']:.1f} times faster than eager | {base / ours:.2f} | {held}")
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=tuple(DTYPES))
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    parser.add_argument("--only", default="", help="a word that the case's name has to contain")
    parser.add_argument(
        "--quick", action="store_true", help="small maps and the goals, forward forms but torch.compile"
    )
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    keep_freed_memory()  # for all forms alike: what the system takes to hand out pages is not what is measured
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    torch.set_num_threads(options.threads)
    wanted = {"eager", "agnlib"} if options.quick else {"eager", "agnlib", "agnlib reference", "torch.compile"}
    if device.type == "cuda":
        wanted |= {"agnlib triton"}
    seconds = 0.05 if options.quick else 0.2
    cases = [case for case in all_cases() if options.only in case.name]
    if options.quick:
        cases = [c for c in cases if c.goal or torch.Size(c.shape).numel() <= QUICK]
    ceiling = ceilings(device, dtype, seconds)
    rows = []
    for number, case in enumerate(cases):
        print(f"{number + 1}/{len(cases)} {case.name}", file=sys.stderr, flush=True)
        rows.append(measure(case, device, dtype, seconds, wanted))
    print(table(rows, ceiling))
    if device.type == "cpu":
        print("\ngoal | measured | held")
        print("\n".join(goals(rows)))
    if options.out:
        name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
        top = header(device=name, dtype=options.dtype, threads=options.threads, quick=options.quick)
        write_json(options.out, top | {"ceilings": ceiling, "rows": rows})


if __name__ == "__main__":
    main()
