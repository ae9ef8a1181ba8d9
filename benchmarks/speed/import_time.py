"""How long imports take, in fresh processes: agnlib alone, and Stylizer on top of torch.

python benchmarks/speed/import_time.py --out benchmarks/results/import_time.json | tee benchmarks/results/import_time.md
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks._common import CHECKOUT, header, markdown_table, write_json

CASES = {
    "import agnlib": ("", "import agnlib"),
    "from agnlib import Stylizer, after torch": ("import torch", "from agnlib import Stylizer"),
    "import torch": ("", "import torch"),
}


def seconds(before: str, statement: str) -> float:
    """Of one statement in a new process."""
    code = f"{before}\nimport time\nstart = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds that imports take.")
    parser.add_argument("--repeats", type=int, default=15, help="processes for each, in turn (default 15)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all measurements")
    options = parser.parse_args()
    found: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(options.repeats):
        for case, statements in CASES.items():
            found[case].append(seconds(*statements))
    rows = [[case, f"{statistics.median(values):.3f}", f"{max(values):.3f}"] for case, values in found.items()]
    print(markdown_table(["", "median, s", "longest, s"], rows))
    if options.out:
        write_json(options.out, header(repeats=options.repeats) | {"seconds": found})


if __name__ == "__main__":
    main()
