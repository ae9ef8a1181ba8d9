"""How much memory a picture takes that is painted from file to file, and whether that stays the same for larger ones.

    python benchmarks/speed/memory.py --out benchmarks/results/memory.json | tee benchmarks/results/memory.md

Each row is the median of three processes; each loads the weights, paints a small picture and then the large one, and
keeps freed memory as the command line does. "Beyond" is the peak without the decoded input; the output is written strip
by strip and never held. Of that, "for painting" is what is above the peak that the process had before. It varies by
some 100 MB from run to run with what the C library's allocator makes of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from agnlib import image
from benchmarks._common import CHECKOUT, header, markdown_table, peak_megabytes, write_json

STYLE = CHECKOUT / "examples" / "images" / "auvers.jpg"
PHOTO = CHECKOUT / "examples" / "images" / "castle.jpg"
KINDS = {"PNG": ("png", 8), "PNG, 16 bits": ("png", 16), "JPEG": ("jpg", 8)}
_PROCESSES = 3  # for each row


def work(order: Mapping[str, Any]) -> None:
    """In a process of its own, since a process's peak never falls."""
    import torch

    from agnlib import Stylizer
    from agnlib.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(order["threads"])
    stylizer = Stylizer.from_pretrained(order["weights"], device="cpu")
    code = stylizer.encode_style(STYLE)
    stylizer(STYLE, code)
    before = peak_megabytes()
    stylizer.stylize_file(order["photo"], order["target"], code, overwrite=True, scale=1)
    print(json.dumps([before, peak_megabytes()]))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One entry for each size and kind of file."""
    for kind in tqdm(options.kinds, unit="kind", disable=None):
        suffix, bits = KINDS[kind]
        for megapixels in options.sizes:
            side = round((megapixels * 2**20) ** 0.5)
            photo, target = folder / f"photo.{suffix}", folder / f"painted.{suffix}"
            _draw(photo, side, bits)
            order = {"photo": str(photo), "target": str(target)}
            order |= {name: getattr(options, name) for name in ("weights", "threads")}
            found = [_peaks(order) for _ in range(_PROCESSES)]
            before, peak = (statistics.median(each) for each in zip(*found, strict=True))
            decoded = 3 * side * side * bits / 8 / 2**20
            yield {
                "kind": kind,
                "megapixels": megapixels,
                "peak": peak,
                "decoded": decoded,
                "beyond": peak - decoded,
                "painting": peak - decoded - before,
                "processes": found,
            }


def _peaks(order: Mapping[str, Any]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.speed.memory", "--worker", json.dumps(order)]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def _draw(photo: Path, side: int, bits: int) -> None:
    with Image.open(PHOTO) as opened:
        large = opened.resize((side, side), Image.Resampling.BICUBIC)
    if bits == 16:
        image.save(np.asarray(large).astype(np.uint16) * 257, photo)
    else:
        large.save(photo, **({"quality": 95} if photo.suffix == ".jpg" else {"compress_level": 1}))


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    parts = ("peak", "decoded", "beyond", "painting")
    rows = [[f"{e['kind']}, {e['megapixels']} Mpx", *(f"{e[part]:,.0f}" for part in parts)] for e in entries]
    return markdown_table(["MB", "peak", "decoded input", "beyond", "for painting"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of pictures painted from file to file.")
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER")
    add("--threads", type=int, default=2)
    add("--sizes", type=int, nargs="+", default=[4, 16, 64], metavar="MPX", help="of 2**20 pixels (default 4 16 64)")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default all)")
    add("--out", type=Path, metavar="FILE.json", help="all measurements")
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as name:
        entries = list(measure(options, Path(name)))
    print(table(entries))
    if options.out:
        settings = {"weights": options.weights, "threads": options.threads}
        write_json(options.out, header(**settings) | {"entries": entries})


if __name__ == "__main__":
    main()
