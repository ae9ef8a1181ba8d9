"""How fast, and with how much memory? Our weights in several forms and a peer, on the same pictures, in one run.

    python benchmarks/speed/stylize.py --out stylize.json

Every product sits in a process of its own with as many threads; only one works at a time, after a pause in which the
threads of the one before stop spinning. Each is called once per round and the rounds are repeated, so that a busy
moment of the machine hits all of them: median and interquartile range. "network" is the painting network alone on
prepared numbers, "file to file" reads a JPEG and the style picture, paints and writes a JPEG. "new process" is the
same with the interpreter's start and the reading of the weights, and "agnlib stylize" says where the time of such a
command goes, at 384 px; see _cold_start.py.

Memory: "peak" is all that a process ever held that painted one picture; "for the picture" is what it held beyond one
that loaded the same weights and painted nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks._common import CHECKOUT, fail, header, markdown_table, median_iqr, peak_megabytes, write_json
from benchmarks.speed._stylize_products import PEERS, SIZES, TITLES, load, photo_file

PARTS = ("network", "whole")
_PAUSE = 0.2  # seconds before each call
_WARM = 2**20  # pixels that are painted before the first call that counts: an engine may then know the size
_DIGEST = ("openvino", "agn-small", "fast-openvino", "agn-fast", "eager", "lite-26", "lite-any")
_DIGEST_SIZES = ("256", "384", "1024", "4K")


class Worker:
    """A product in a process of its own, which does what it is told, one call at a time."""

    def __init__(self, product: str, options: argparse.Namespace, folder: Path) -> None:
        self.product = product
        order = {"product": product, "weights": options.weights, "threads": options.threads, "folder": str(folder)}
        environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.stylize", "--worker", json.dumps(order)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **question: Any) -> Any:
        """What the process answers; None where it died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return None

    def end(self) -> None:
        """Let the process go."""
        with contextlib.suppress(BrokenPipeError):  # it has died
            self._process.communicate()


def work(order: Mapping[str, Any]) -> None:
    """A worker's life: questions come line by line and are answered by a line each."""
    folder = Path(order["folder"])
    product = load(order["product"], order["weights"], order["threads"])
    calls: dict[tuple[str, str], Any] = {}
    for line in sys.stdin:
        question = json.loads(line)
        answer: Any = None
        if question.get("part") in PARTS:
            size, part = question["size"], question["part"]
            if (size, part) not in calls:
                calls.clear()  # the last size's pictures
                photo = photo_file(folder, size)
                target = folder / f"{order['product']}-{size}.jpg"
                calls[size, part] = product.network(photo) if part == "network" else product.whole(photo, target)
                for _ in range(max(1, -(-_WARM // math.prod(SIZES[size])))):
                    calls[size, part]()
            start = time.perf_counter()
            calls[size, part]()
            answer = time.perf_counter() - start
        elif question.get("part") == "peak":
            answer = peak_megabytes()
        print(json.dumps(answer), flush=True)


def measure_seconds(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One entry for each size and product: seconds of the network and of the whole call."""
    entries = []
    for size in tqdm(options.sizes, desc="seconds", unit="size", disable=None):
        large = size in ("2048", "4K")
        together = [[product] for product in options.products] if large else [options.products]
        seconds: dict[tuple[str, str], list[float]] = {}
        for products in together:  # many processes with large pictures would not fit into the memory
            workers = [Worker(product, options, folder) for product in products]
            seconds |= _take_turns(workers, size, max(3, options.rounds // (3 if large else 1)))
        for product in options.products:
            spread = {part: _spread(seconds[product, part]) for part in PARTS if len(seconds[product, part]) > 1}
            entries.append({"size": size, "product": product, **spread})
    return entries


def _take_turns(workers: Sequence[Worker], size: str, rounds: int) -> dict[tuple[str, str], list[float]]:
    seconds: dict[tuple[str, str], list[float]] = {}
    for part in PARTS:
        for _ in range(rounds):
            for worker in workers:
                time.sleep(_PAUSE)  # the threads of the one before go on spinning for a while
                found = worker.ask(size=size, part=part)
                seconds.setdefault((worker.product, part), []).extend([] if found is None else [found])
    for worker in workers:
        worker.end()
    return seconds


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[tuple[str, str], dict[str, float | None]]:
    """(Size, product) -> peak MB and MB beyond an idle process; None where the process died."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for product in tqdm(options.products, desc="memory", unit="product", disable=None):
        idle = _peak(product, None, options, folder)
        for size in options.sizes:
            peak = _peak(product, size, options, folder)
            beyond = None if peak is None or idle is None else peak - idle
            found[size, product] = {"peak": peak, "for the picture": beyond}
    return found


def _peak(product: str, size: str | None, options: argparse.Namespace, folder: Path) -> float | None:
    worker = Worker(product, options, folder)
    if size:
        worker.ask(size=size, part="whole")
    peak = worker.ask(part="peak")
    worker.end()
    return None if peak is None else float(peak)


def measure_cold(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Product -> seconds from the start of a process to the file that it wrote, at 1024 px."""
    found = {}
    for product in (each for each in ("agn-small", "openvino", *PEERS) if each in options.products):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            worker = Worker(product, options, folder)
            once = worker.ask(
                size="1024", part="whole"
            )  # it calls twice at this size, and says how long the second took
            worker.end()
            if once is not None:
                seconds.append(time.perf_counter() - start - once)
        if len(seconds) > 1:
            found[product] = _spread(seconds)
    return found


def measure_command(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Engine -> stage -> median seconds of a new process that paints a photo of 384 px by what was exported before."""
    from agnlib import Stylizer

    photo, program, found = photo_file(folder, "384"), folder / "cold.onnx", {}
    engines = [each for each in ("openvino", "onnx") if each in options.products]
    whats = [(each, {"weights": options.weights}) for each in ("torch", *engines)]
    if engines:
        Stylizer.from_pretrained(options.weights, "cpu").export(program, style="auvers")
    for engine, what in [*whats, *((each, {"program": str(program)}) for each in engines)]:
        runs = []
        for _ in range(6):
            order = {"photo": str(photo), "target": str(folder / "cold.jpg"), "engine": engine, **what}
            order |= {"threads": options.threads, "started": time.time()}
            command = [sys.executable, "-m", "benchmarks.speed._cold_start", json.dumps(order)]
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
            together, stages = time.time() - order["started"], json.loads(done.stdout)
            cpu = stages.pop("CPU")
            runs.append({**stages, "exit": together - sum(stages.values()), "all": together, "all, CPU time": cpu})
        name = engine if "weights" in what else f"{engine}, without torch"
        found[name] = {stage: median_iqr([run[stage] for run in runs[1:]])[0] for stage in runs[0]}
    return found


def _spread(seconds: Sequence[float]) -> dict[str, Any]:
    median, iqr = median_iqr(seconds)
    return {"median": median, "iqr": iqr, "all": list(seconds)}


# --- the tables -------------------------------------------------------------------------------------------------------


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; ratios are to our weights at the same size: above 1 is slower."""
    ours = {entry["size"]: entry for entry in entries if entry["product"] == "agn-small"}
    titles = ["px", "", "network, s", "ratio", "file to file, s", "ratio", "peak, MB", "for the picture, MB"]
    rows = []
    for entry in entries:
        base = ours.get(entry["size"], entry)
        times = [cell for part in PARTS for cell in _time_cells(entry.get(part), base.get(part))]
        memory = entry.get("memory")
        cells = ["", ""] if memory is None else [_megabytes(memory[part]) for part in ("peak", "for the picture")]
        rows.append([entry["size"], TITLES[entry["product"]], *times, *cells])
    return markdown_table(titles, rows, text=2)


def _time_cells(found: Mapping[str, Any] | None, base: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None or base is None:
        return "", ""
    return f"{found['median']:.3f} ({found['iqr']:.3f})", f"{found['median'] / base['median']:.2f}"


def _megabytes(value: float | None) -> str:
    return "failed" if value is None else f"{value:,.0f}"


def digest(entries: Sequence[Mapping[str, Any]]) -> str:
    """The networks' seconds alone, for the README: a row for a product, a column for a size."""
    at = {(entry["product"], entry["size"]): entry["network"]["median"] for entry in entries if "network" in entry}
    sizes = [size for size in _DIGEST_SIZES if any(size == measured for _, measured in at)]
    shown = [product for product in _DIGEST if any(product == measured for measured, _ in at)]
    rows = [
        [TITLES[product], *(f"{at[product, size]:.3f}" if (product, size) in at else "" for size in sizes)]
        for product in shown
    ]
    return markdown_table(["network, s", *(size if size == "4K" else f"{size} px" for size in sizes)], rows)


def command_table(command: Mapping[str, Mapping[str, float]]) -> str:
    """A row for a stage, a column for an engine."""
    stages = next(iter(command.values()))
    rows = [[stage, *(f"{seconds[stage]:.2f}" for seconds in command.values())] for stage in stages]
    return markdown_table(["384 px, `agnlib stylize`, s", *(f"engine {engine}" for engine in command)], rows)


# --- the command ------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and memory of agnlib's weights beside a peer.")
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER", help="of ours (default agn-small)")
    add("--threads", type=int, default=2, help="of torch and of onnxruntime (default 2)")
    add("--rounds", type=int, default=9, help="calls of each product, a third of it from 2048 px on (default 9)")
    add("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES), help="which sizes (default all)")
    add("--products", nargs="+", default=list(TITLES), choices=list(TITLES))
    add("--no-memory", action="store_true", help="seconds only")
    add("--no-cold", action="store_true", help="no new processes")
    add("--out", type=Path, metavar="FILE.json", help="all measurements")
    add("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.rounds < 2 or chosen.threads < 1:
        parser.error("expected --rounds of 2 or more and --threads of 1 or more")
    return chosen


def main() -> None:
    options = arguments()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _check(options, folder)
        memory = {} if options.no_memory else measure_memory(options, folder)
        entries = measure_seconds(options, folder)
        from_cold = "agn-small" in options.products and not options.no_cold
        cold = measure_cold(options, folder) if from_cold else {}
        command = measure_command(options, folder) if from_cold else {}
    for entry in entries:
        entry["memory"] = memory.get((entry["size"], entry["product"]))
    print("Seconds: median (interquartile range).\n")
    print(table(entries))
    if cold:
        rows = [[TITLES[product], f"{each['median']:.2f} ({each['iqr']:.2f})"] for product, each in cold.items()]
        print("\n" + markdown_table(["1024 px, new process, file to file", "s"], rows))
    if command:
        print("\n" + command_table(command))
    if options.out:
        settings = {"threads": options.threads, "rounds": options.rounds, "sizes": options.sizes}
        write_json(options.out, header(**settings) | {"measurements": entries, "new process": cold, "command": command})
        options.out.with_name(f"{options.out.stem}_short.md").write_text(f"{digest(entries)}\n", "utf-8")


def _check(options: argparse.Namespace, folder: Path) -> None:
    """Say what is missing before minutes have passed."""
    for product in options.products:
        worker = Worker(product, options, folder)
        if worker.ask(part="peak") is None:
            fail(f"{TITLES[product]} could not be loaded; its own message is above")
        worker.end()


if __name__ == "__main__":
    main()
