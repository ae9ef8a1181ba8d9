"""Training throughput: pictures per second against a plain loop, two processes.

    python benchmarks/training/training.py --threads 2 --out benchmarks/results/training.json

Trains the default networks on pictures from ../shared/data/train (or --content and --style). The trainer and a plain
eager loop of the same networks and losses (_plain_loop.py says what it does) take turns, step by step, in
one process; seconds are medians of `--steps` full steps, and R1, taken every 16th step, is counted with a 16th of
what it adds. "first epoch" computes the targets of every picture, "later epochs" has them from the first.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import AdversarialTrainer, Batch, PairData, PictureFolder, TrainerConfig, Weighted
from agnlib.training.objective.recipe import build_terms, choose_encoders
from benchmarks._common import SHARED, fail, header, markdown_table, write_json
from benchmarks.training._plain_loop import PlainLoop

_FULL, _PENALTY = 1001, 1008  # steps past every ramp: neither is a step of plain reconstruction, one has the penalty
_WARM_UP = 2


def main() -> None:
    """Measure, print, write."""
    options = _options()
    torch.set_num_threads(options.threads)
    speed = {f"{size} px": measure(options, size) for size in options.sizes}
    size = options.sizes[-1]
    scaling = {name: processes(options, size, *counts) for name, counts in _SPLITS.items()}
    _print(options, speed, scaling)
    if options.out:
        settings = {k: v.name if isinstance(v, Path) else v for k, v in vars(options).items()}
        write_json(options.out, header(**settings) | {"results": {"speed": speed, "scaling": scaling}})


# -- against the plain loop -------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Seconds a step of the trainer, in the first and in later epochs, and of the plain loop."""
    trainer, data = _trainer(options), _data(options, size)
    batches = [data[step] for step in range(2)]
    new = [replace(b, content_keys=(), style_keys=()) for b in batches]  # without keys nothing is remembered
    plain = PlainLoop(
        trainer.generator, trainer.discriminator, trainer.extractor, _plain_terms(options, trainer), trainer.config
    )
    kinds: dict[str, Callable[[int, bool], None]] = {
        "later epochs": lambda turn, penalty: _step(trainer, batches[turn % 2], penalty),
        "first epoch": lambda turn, penalty: _step(trainer, new[turn % 2], penalty=penalty),
        "plain loop": lambda turn, penalty: plain.step(new[turn % 2], penalty=penalty),
    }
    seconds: dict[str, dict[bool, list[float]]] = {kind: {False: [], True: []} for kind in kinds}
    for turn in range(-_WARM_UP, options.steps):
        for kind, step in kinds.items():
            for penalty in (False, True) if turn % 3 == 0 or turn < 0 else (False,):
                took = _seconds(step, turn, penalty)
                if turn >= 0:
                    seconds[kind][penalty].append(took)
    return {kind: _rate(options, times) for kind, times in seconds.items()}


def _rate(options: argparse.Namespace, times: Mapping[bool, list[float]]) -> dict[str, float]:
    full, with_penalty = statistics.median(times[False]), statistics.median(times[True])
    mean = full + (with_penalty - full) / 16
    return {"step": full, "step with R1": with_penalty, "pictures_per_second": options.batch / mean}


def _step(trainer: AdversarialTrainer, batch: Batch, penalty: bool = False) -> None:
    trainer.step = _PENALTY if penalty else _FULL
    trainer.fit([batch], steps=10**9)


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


# -- several processes ------------------------------------------------------------------------------------------------

_SPLITS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}


def processes(options: argparse.Namespace, size: int, count: int, threads: int) -> dict[str, float]:
    """Pictures per second of so many processes that share each batch."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (count, threads, folder, (options, size))
        torch.multiprocessing.start_processes(_one_of_several, arguments, nprocs=count, start_method="spawn")
        seconds = json.loads(Path(folder, "seconds.json").read_text())
    return {"step": seconds, "pictures_per_second": options.batch / seconds}


def _one_of_several(rank: int, count: int, threads: int, folder: str, job: tuple[argparse.Namespace, int]) -> None:
    options, size = job
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    trainer, data = _trainer(options), _data(options, size)
    batches = [data[step] for step in range(2)]
    for turn in range(_WARM_UP):
        _step(trainer, batches[turn % 2])
    times = [_seconds(_step, trainer, batches[turn % 2]) for turn in range(max(4, options.steps))]
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(statistics.median(times)))
    dist.destroy_process_group()


# -- what is trained --------------------------------------------------------------------------------------------------


def _trainer(options: argparse.Namespace) -> AdversarialTrainer:
    torch.manual_seed(0)
    generator = Generator(num_classes=8)
    terms = build_terms(choose_encoders(options.perceptual, torch.device("cpu")), generator, warmup=0)
    config = TrainerConfig(warmup=0, adversarial_ramp=0)
    return AdversarialTrainer(generator, Discriminator(8), StyleExtractor(), terms=terms, config=config)


def _plain_terms(options: argparse.Namespace, trainer: AdversarialTrainer) -> dict[str, Weighted]:
    """The same terms through encoders of their own, in float32 and the default memory format."""
    encoders = choose_encoders(options.perceptual, torch.device("cpu"))
    plain = {
        name: copy.deepcopy(encoder).float().to(memory_format=torch.contiguous_format)  # type: ignore[attr-defined]
        for name, encoder in encoders.items()
    }
    return build_terms(plain, trainer.generator, warmup=0)


def _data(options: argparse.Namespace, size: int) -> PairData:
    return PairData(PictureFolder(options.content, size), PictureFolder(options.style, size), batch=options.batch)


# -- the tables -------------------------------------------------------------------------------------------------------


def _print(options: argparse.Namespace, speed: Mapping[str, Any], scaling: Mapping[str, Any]) -> None:
    rows = []
    for size, report in speed.items():
        base = report["plain loop"]["pictures_per_second"]
        for kind in ("later epochs", "first epoch", "plain loop"):
            rate = report[kind]["pictures_per_second"]
            name = kind if kind == "plain loop" else f"trainer, {kind}"
            numbers = [report[kind]["step"], report[kind]["step with R1"], rate, rate / base]
            rows.append([size, name, *(f"{number:.3f}" for number in numbers)])
    print(f"Batch {options.batch}, {options.threads} threads, {options.perceptual}.\n")
    print(markdown_table(["crop", "", "s/step", "with R1", "pictures/s", "/ plain loop"], rows, text=2))
    base = next(iter(scaling.values()))["pictures_per_second"]
    rows = [
        [name, f"{found['pictures_per_second']:.3f}", f"{found['pictures_per_second'] / base:.2f}"]
        for name, found in scaling.items()
    ]
    print(f"\n{markdown_table(['', 'pictures/s', 'ratio'], rows)}")


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
