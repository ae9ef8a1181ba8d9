"""How long does `method="neighbors"` take, with how much memory, and where does the time go?

    python benchmarks/speed/neighbors.py --out neighbors_speed.json

Each size is painted in a process of its own, file to file: once at 256 px to warm up, then three times, 1024 px once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._common import CHECKOUT, header, markdown_table, median_iqr, peak_megabytes, write_json
from benchmarks.speed._stylize_products import SIZES, photo_file

REFERENCE = CHECKOUT / "examples" / "images" / "auvers.jpg"
THREADS = 2
PARTS = ("features", "their slope", "matching")


def paint(size: str) -> dict[str, Any]:
    """Seconds of each round, the peak of the process, and the seconds of parts in one more round."""
    import torch

    from agnlib import Stylizer

    torch.set_num_threads(THREADS)
    stylizer = Stylizer.from_pretrained(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "painted.jpg"

        def once(name: str) -> float:
            photo = photo_file(Path(folder), name)
            begun = time.perf_counter()
            stylizer.stylize_file(photo, target, REFERENCE, method="neighbors", overwrite=True)
            return time.perf_counter() - begun

        once("256")
        seconds = [once(size) for _ in range(1 if size == "1024" else 3)]
        peak = peak_megabytes()
        return {"seconds": seconds, "peak": peak, "parts": parts(lambda: once(size))}


def parts(paint_once: Any) -> dict[str, float]:
    """Seconds spent in the encoder, in the derivatives and in matching, and in all."""
    import torch

    from agnlib.neighbors import _reference, _scale

    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            found = function(*arguments, **options)
            spent[part] += time.perf_counter() - begun
            return found

        return call

    _scale.columns = timed("features", _scale.columns)  # for the rest of this process
    _reference.nearest_by_share = timed("matching", _reference.nearest_by_share)
    torch.autograd.grad = timed("their slope", torch.autograd.grad)
    whole = paint_once()
    return {**spent, "the rest": whole - sum(spent.values())}


def table(found: dict[str, dict[str, Any]]) -> str:
    """A row for each size."""
    rows = []
    for size, each in found.items():
        median, _ = median_iqr(each["seconds"]) if len(each["seconds"]) > 1 else (each["seconds"][0], 0.0)
        whole = sum(each["parts"].values())
        shares = [f"{100 * seconds / whole:.0f}%" for seconds in each["parts"].values()]
        rows.append([f"{size} px" if size.isdigit() else size, f"{median:.1f}", f"{each['peak']:,.0f}", *shares])
    return markdown_table(["", "s", "peak, MB", *PARTS, "the rest"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description='Speed and memory of method="neighbors".')
    parser.add_argument("--sizes", nargs="+", default=["256", "512", "1024"], choices=list(SIZES))
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--one", choices=list(SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(paint(options.one)))
        return
    found = {}
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.speed.neighbors", "--one", size]
        found[size] = json.loads(subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True).stdout)
    print(table(found))
    if options.out:
        write_json(options.out, header(threads=THREADS) | {"measurements": found})


if __name__ == "__main__":
    main()
