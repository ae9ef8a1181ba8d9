"""Training throughput: pictures per second, seconds of each phase, and the operators where the time goes.

    python benchmarks/training.py --threads 2 --out benchmarks/results/training.json

Trains the default networks from the shipped weights' shapes on pictures from ../shared/data/train (or --content and
--style), a few steps to warm up, then `--steps` timed ones at each crop size. Targets are cached during the warm-up as
they are in a long run, and computed anew in the row "targets not cached".
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from _common import SHARED, fail, header, markdown_table

from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import AdversarialTrainer, Batch, PairData, PictureFolder, TrainerConfig
from agnlib.training.recipe import build_terms, choose_encoders

_PHASES = ("generate", "_discriminator_turn", "_generator_turn")


def main() -> None:
    """Measure, print, write."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows, reports = [], {}
    for size in options.sizes:
        for cached in (True, False):
            report = measure(options, size, cached=cached)
            reports[f"{size} px, {'cached' if cached else 'not cached'}"] = report
            rows.append(_row(size, cached, report))
    columns = ["crop", "targets", "pictures/s", "s/step", "generate", "discriminator", "generator's losses", "rest"]
    print(markdown_table(columns, rows, text=2))
    print()
    print(f"```text\n{reports[f'{options.sizes[-1]} px, cached']['profile'].strip()}\n```")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {k: v.name if isinstance(v, Path) else v for k, v in vars(options).items()}
        options.out.write_text(json.dumps({**header(**settings), "results": reports}, indent=2) + "\n")


def measure(options: argparse.Namespace, size: int, *, cached: bool) -> dict[str, Any]:
    """Seconds per step and per phase (medians) at one crop size, and a profile of three steps."""
    trainer, batches = _trainer(options, size), _batches(options, size)
    batches = batches[:2] if cached else batches
    phases: dict[str, list[float]] = {name: [] for name in _PHASES}
    with _timed(trainer, phases):
        for step in range(len(batches)):
            _step(trainer, batches[step])  # warms up, and fills the caches with the first two batches
        if not cached:
            batches = [Batch(b.content, b.style, b.label) for b in batches]  # without keys nothing is remembered
        for times in phases.values():
            times.clear()
        seconds = [_step(trainer, batches[i % len(batches)]) for i in range(options.steps)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for batch in batches[:2]:
            _step(trainer, batch)
    whole = statistics.median(seconds)
    parts = {name.strip("_"): statistics.median(times) for name, times in phases.items()}
    table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40)
    return {"seconds": whole, "pictures_per_second": options.batch / whole, "phases": parts, "profile": table}


def _step(trainer: AdversarialTrainer, batch: Batch) -> float:
    started = time.perf_counter()
    trainer.step = 1001  # past the warm-up, neither an identity step nor one with a penalty
    trainer.fit([batch], steps=10**9)
    return time.perf_counter() - started


@contextmanager
def _timed(trainer: AdversarialTrainer, phases: dict[str, list[float]]) -> Iterator[None]:
    """Note the seconds of each phase while inside."""

    def wrap(name: str) -> None:
        inner = getattr(trainer, name)

        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = inner(*arguments)
            phases[name].append(time.perf_counter() - started)
            return result

        setattr(trainer, name, timed)

    for name in phases:
        wrap(name)
    yield
    for name in phases:
        delattr(trainer, name)


def _trainer(options: argparse.Namespace, size: int) -> AdversarialTrainer:
    torch.manual_seed(0)
    generator = Generator(num_classes=8)
    terms = build_terms(choose_encoders(options.perceptual, torch.device("cpu")), generator, warmup=0)
    config = TrainerConfig(warmup=0, adversarial_ramp=0)
    return AdversarialTrainer(generator, Discriminator(8), StyleExtractor(), terms=terms, config=config)


def _batches(options: argparse.Namespace, size: int) -> list[Batch]:
    data = PairData(PictureFolder(options.content, size), PictureFolder(options.style, size), batch=options.batch)
    return [data[step] for step in range(4)]


def _row(size: int, cached: bool, report: dict[str, Any]) -> list[str]:
    phases = report["phases"].values()
    numbers = [report["pictures_per_second"], report["seconds"], *phases, report["seconds"] - sum(phases)]
    return [f"{size} px", "cached" if cached else "not cached", *(f"{n:.3f}" for n in numbers)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training throughput.")
    parser.add_argument("--content", type=Path, default=SHARED / "data" / "train" / "content")
    parser.add_argument("--style", type=Path, default=SHARED / "data" / "train" / "style")
    parser.add_argument("--perceptual", default="vgg16+efficientnet-lite0")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for folder in (options.content, options.style):
        if not folder.is_dir():
            fail(f"{folder} is not there; give --content and --style, two folders of pictures")
    local = SHARED / "weights" / "vgg16_conv4_1_fp16.safetensors"
    if local.is_file():
        os.environ.setdefault("AGNLIB_VGG16", str(local))
    return options


if __name__ == "__main__":
    main()
