"""How fast are clips painted, and how much do they flicker? A clip of 640 x 360 that is made for it, from file to file.

    python benchmarks/speed/video.py --out benchmarks/results/video.json | tee benchmarks/results/video.md

The clip has five scenes with grain: a camera stands still, one pans, one zooms, a thing moves, a head talks. Every
part is done once in each round: median and interquartile range. Flicker is measured on the files, as a viewer gets
them, by the flow that the clip was made with, without what was covered: steps of 255 from a frame to the next.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tqdm import tqdm

from agnlib import Stylizer
from agnlib.metrics import flicker
from agnlib.video._reading import opened
from benchmarks._common import CHECKOUT, fail, header, markdown_table, median_iqr, write_json

try:
    from benchmarks.speed._clip import HEIGHT, RATE, SCENES, WIDTH, decoded, make_clip, moments
except ModuleNotFoundError as error:
    fail(f'{error.name} is not installed; pip install "agnlib[video]"')

STYLE = CHECKOUT / "examples" / "images" / "poppies.jpg"
_BATCHES = (1, 2, 4)
_NETWORK_FRAMES = 48  # that the network paints in a round
_WHOLE, _NETWORK = "file to file", "network alone, {} at once"
_WAYS = ("frame by frame", "statistics smoothed", "and along with the camera (the default)")


def measure_speed(clip: Path, folder: Path, stylizer: Stylizer, options: argparse.Namespace) -> dict[str, Any]:
    """Part -> frames a second, over the rounds."""
    parts = _parts(clip, folder / "timed.mp4", stylizer, options)
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for part in parts.values():
        part()  # the first does not count
    for _ in tqdm(range(options.rounds), desc="speed", unit="round", disable=None):
        for name, part in parts.items():
            started = time.perf_counter()
            count = part()
            rates[name].append(count / (time.perf_counter() - started))
    return {
        name: dict(zip(("median", "iqr"), median_iqr(each), strict=True)) | {"all": each}
        for name, each in rates.items()
    }


def _parts(clip: Path, target: Path, stylizer: Stylizer, options: argparse.Namespace) -> dict[str, Callable[[], int]]:
    """What is measured, each as a call that returns how many frames it was."""
    code = stylizer.encode_style(STYLE)
    with opened(clip) as source:
        chunks = list(source.chunks(1))
    given = [clip, "--style", STYLE, "-o", target, "--weights", options.weights]
    given += ["--engine", options.engine, "--threads", options.threads]
    fixed = ["--quiet", "--overwrite", "--device", "cpu"]
    command = [sys.executable, "-m", "agnlib", "stylize", *map(str, given), *fixed]

    def in_a_new_process() -> int:
        subprocess.run(command, check=True, env=dict(os.environ, PYTHONPATH=str(CHECKOUT)))
        return _count(chunks)

    def network(batch: int) -> Callable[[], int]:
        first = next(chunk for chunk in chunks if chunk.frames).pixels().float() / 127.5 - 1
        photos = first.expand(batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        codes = code.vector.expand(batch, -1)
        network = stylizer._engine or (lambda photos, codes: stylizer.generator(None, codes, content=photos))

        def paint() -> int:
            with torch.inference_mode():
                for _ in range(_NETWORK_FRAMES // batch):
                    network(photos, codes)
            return _NETWORK_FRAMES

        return paint

    def decode() -> int:
        with opened(clip) as source:
            return _count(source.chunks(1))

    again: dict[str, bool] = {"overwrite": True}
    return {
        _WHOLE: lambda: stylizer.stylize_video(clip, target, code, **again)[0],
        "file to file, a new process of agnlib stylize": in_a_new_process,
        **{_NETWORK.format(batch): network(batch) for batch in _BATCHES},
        "decoding alone": decode,
    }


def _count(chunks: Any) -> int:
    return sum(len(chunk.frames) for chunk in chunks)


def measure_flicker(clip: Path, folder: Path, stylizer: Stylizer) -> dict[str, dict[str, float]]:
    """Way of painting -> scene -> median flicker, in steps of 255."""
    code = stylizer.encode_style(STYLE)
    found = {"the clip itself": _flicker(clip)}
    for number, way in enumerate(tqdm(_WAYS, desc="flicker", unit="clip", disable=None)):
        target = folder / f"painted-{number}.mp4"
        alone = mock.patch("agnlib.stylizer.Steadying.chosen", return_value=None)
        with alone if number == 1 else nullcontext():
            stylizer.stylize_video(clip, target, code, smoothing=0.5 if number else 0.0)
        found[way] = _flicker(target)
    return found


def _flicker(path: Path) -> dict[str, float]:
    frames = [torch.from_numpy(frame).permute(2, 0, 1) for frame in decoded(path)]
    found: dict[str, list[float]] = {scene: [] for scene in SCENES}
    for (before, after), shot in zip(pairwise(frames), moments(len(frames))[1:], strict=True):
        if shot.number:  # else a new scene
            pair = torch.stack([before, after]).float() / 127.5 - 1
            found[shot.scene].append(255 * float(flicker(pair, shot.flow())))
    return {scene: statistics.median(values) for scene, values in found.items()}


def tables(
    painter: str, speed: Mapping[str, Mapping[str, Any]], unsteady: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    """Markdown."""
    rows = [[name, f"{each['median']:.1f} ({each['iqr']:.1f})"] for name, each in speed.items()]
    yield markdown_table([f"{painter}, {WIDTH} x {HEIGHT}", "frames a second"], rows)
    columns = ["flicker, steps of 255", *SCENES]
    yield markdown_table(columns, [[name, *(f"{each[s]:.2f}" for s in SCENES)] for name, each in unsteady.items()])


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and flicker of clips painted from file to file.")
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER", help="what paints (default agn-small)")
    add("--engine", default="torch", metavar="NAME", help="by what (default torch)")
    add("--threads", type=int, default=2, help="of torch (default 2)")
    add("--rounds", type=int, default=3, help="how often each part is timed (default 3)")
    add("--seconds", type=float, default=10.0, help="length of the clip (default 10)")
    add("--out", type=Path, metavar="FILE.json", help="all measurements")
    chosen = parser.parse_args(given)
    if chosen.rounds < 2 or chosen.threads < 1 or not 0.4 <= chosen.seconds <= 60:
        parser.error("expected --rounds of 2 or more, --threads of 1 or more and --seconds from 0.4 to 60")
    return chosen


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    stylizer = Stylizer.from_pretrained(options.weights, device="cpu", engine=options.engine)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        make_clip(clip, round(options.seconds * RATE))
        unsteady = measure_flicker(clip, folder, stylizer)
        speed = measure_speed(clip, folder, stylizer, options)
    print("\n\n".join(tables(f"{options.weights}, {options.engine}", speed, unsteady)))
    if options.out:
        settings = {name: getattr(options, name) for name in ("weights", "engine", "threads", "rounds", "seconds")}
        write_json(options.out, header(**settings) | {"frames a second": speed, "flicker": unsteady})


if __name__ == "__main__":
    main()
