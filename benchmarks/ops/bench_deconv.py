"""Which form should a deconvolution of stride 2 take on this CPU? PyTorch's own, sub-pixel phases, or bands of rows.

    python benchmarks/ops/bench_deconv.py --out deconv.json | tee benchmarks/results/deconv.md

`agnlib.ops.conv_transpose2d` chooses by what this prints. Milliseconds: median (interquartile range).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
import torch.nn.functional as F

from agnlib.memory import keep_freed_memory
from agnlib.ops._conv_transpose2d import _bands, _phases
from benchmarks._common import header, markdown_table, median_iqr, write_json

CASES = (  # kernel, channels in and out, side
    (4, 32, 32, 512),
    (4, 64, 64, 128),
    (4, 32, 3, 512),
    (4, 128, 64, 64),
    (2, 32, 32, 512),
    (2, 64, 64, 128),
    (2, 128, 64, 64),
)
FORMS = {"torch": F.conv_transpose2d, "phases": _phases, "bands": _bands}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@torch.inference_mode()
def measure(case: tuple[int, int, int, int], layout: str, rounds: int) -> dict[str, Any]:
    """Seconds of each form; bands are for contiguous maps."""
    kernel, inputs, outputs, side = case
    torch.manual_seed(0)
    x = torch.randn(1, inputs, side, side).contiguous(memory_format=LAYOUTS[layout])
    weight = torch.randn(inputs, outputs, kernel, kernel) / (inputs * kernel) ** 0.5
    options = ([2, 2], [(kernel - 2) // 2] * 2, [0, 0], 1, [1, 1])
    forms = {name: form for name, form in FORMS.items() if name != "bands" or layout == "contiguous"}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for name, form in forms.items():
        for turn in range(rounds + 2):
            start = time.perf_counter()
            form(x, weight, None, *options)
            if turn > 1:  # the first two do not count
                seconds[name].append(time.perf_counter() - start)
    found = {name: dict(zip(("median", "iqr"), median_iqr(values), strict=True)) for name, values in seconds.items()}
    return {"kernel": kernel, "inputs": inputs, "outputs": outputs, "side": side, "layout": layout, "forms": found}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a row for each case and layout."""
    lines = []
    for row in rows:
        name = f"kernel {row['kernel']}, {row['inputs']} -> {row['outputs']}, {row['side']} x {row['side']}"
        cells = []
        for form in FORMS:
            found = row["forms"].get(form)
            cells.append("" if found is None else f"{found['median'] * 1e3:.2f} ({found['iqr'] * 1e3:.2f})")
        lines.append([name, row["layout"], *cells])
    return markdown_table(["stride 2", "format", *FORMS], lines, text=2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Forms of a deconvolution of stride 2, timed.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    rows = [measure(case, layout, options.rounds) for case in CASES for layout in LAYOUTS]
    print(table(rows))
    if options.out:
        write_json(options.out, header(threads=options.threads, rounds=options.rounds) | {"rows": rows})


if __name__ == "__main__":
    main()
