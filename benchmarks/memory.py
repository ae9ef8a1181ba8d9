"""How much memory a picture takes that is painted from file to file, and whether that stays the same for larger ones.

    python benchmarks/memory.py --out benchmarks/results/memory.json | tee benchmarks/results/memory.md

Each row is the median of three processes; each loads the weights, paints a small picture and then the large one, and
keeps freed memory as the command line does. "Beyond" is the peak without the decoded input; the output is written strip
by strip and never held. Of that, "for painting" is what is above the peak that the process had before. It varies by
some 100 MB from run to run with what the C library's allocator makes of it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import CHECKOUT, header, markdown_table, peak_megabytes, write_json
from PIL import Image
from tqdm import tqdm

from agnlib import image

STYLE = CHECKOUT / "examples" / "images" / "auvers.jpg"
PHOTO = CHECKOUT / "examples" / "images" / "castle.jpg"
KINDS = {"PNG": ("png", 8), "PNG, 16 bits": ("png", 16), "JPEG": ("jpg", 8)}
_M_MMAP_THRESHOLD = -3  # malloc.h of the GNU C library
_PROCESSES = 3  # for each row
_MOST, _GROWTH = 1500.0, 1.1  # MB of a 64-megapixel PNG in all; the largest beyond over that of the smallest


def work(order: Mapping[str, Any]) -> None:
    """In a process of its own, since a process's peak never falls."""
    import torch

    from agnlib import Stylizer
    from agnlib.engines.memory import keep_freed_memory

    if order["map_blocks"]:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    else:
        keep_freed_memory()
    torch.set_num_threads(order["threads"])
    stylizer = Stylizer.from_pretrained(order["weights"], device="cpu")
    code = stylizer.encode_style(STYLE)
    stylizer(STYLE, code)
    before = peak_megabytes()
    stylizer.stylize_file(order["photo"], order["target"], code, overwrite=True)
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
            order |= {name: getattr(options, name) for name in ("weights", "threads", "map_blocks")}
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
    command = [sys.executable, __file__, "--worker", json.dumps(order)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def _draw(photo: Path, side: int, bits: int) -> None:
    with Image.open(PHOTO) as opened:
        large = opened.resize((side, side), Image.Resampling.BICUBIC)
    if bits == 16:
        image.save(np.asarray(large).astype(np.uint16) * 257, photo)
    else:
        large.save(photo, **({"quality": 95} if photo.suffix == ".jpg" else {"compress_level": 1}))


def tables(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown."""
    parts = ("peak", "decoded", "beyond", "painting")
    rows = [[f"{e['kind']}, {e['megapixels']} Mpx", *(f"{e[part]:,.0f}" for part in parts)] for e in entries]
    yield markdown_table(["MB", "peak", "decoded input", "beyond", "for painting"], rows)
    yield markdown_table(["goal", "wanted", "measured", "reached"], list(_goals(entries)))


def _goals(entries: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for kind in dict.fromkeys(entry["kind"] for entry in entries):
        mine = [entry for entry in entries if entry["kind"] == kind]
        title = f"{mine[-1]['megapixels']} over {mine[0]['megapixels']} Mpx"
        growth = mine[-1]["beyond"] / mine[0]["beyond"]
        yield [f"{kind}: beyond, {title}", f"<= {_GROWTH:g}", f"{growth:.2f}", "yes" if growth <= _GROWTH else "no"]
        yield [f"{kind}: for painting, {title}", "", f"{mine[-1]['painting'] / mine[0]['painting']:.2f}", ""]
        if kind == "PNG" and mine[-1]["megapixels"] == 64:
            peak = mine[-1]["peak"]
            yield ["PNG of 64 Mpx: MB in all", f"< {_MOST:,.0f}", f"{peak:,.0f}", "yes" if peak < _MOST else "no"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of pictures painted from file to file.")
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER")
    add("--threads", type=int, default=2)
    add("--sizes", type=int, nargs="+", default=[4, 16, 64], metavar="MPX", help="of 2**20 pixels (default 4 16 64)")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default all)")
    add(
        "--map-blocks",
        action="store_true",
        help="blocks from 1 MB are mapped and returned: what is held, slowly (glibc)",
    )
    add("--out", type=Path, metavar="FILE.json", help="all measurements")
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as name:
        entries = list(measure(options, Path(name)))
    print("\n\n".join(tables(entries)))
    if options.out:
        settings = {"weights": options.weights, "threads": options.threads, "map_blocks": options.map_blocks}
        write_json(options.out, header(**settings) | {"entries": entries})


if __name__ == "__main__":
    main()
