"""A run so small that a step takes milliseconds, and processes of its own to run it in."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from agnlib.cli import main as cli
from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.training import AdversarialTrainer, Batch, PairData, PictureFolder, TrainerConfig, Weighted, loader
from agnlib.training.callbacks import LogScalars, SaveCheckpoints
from agnlib.training.objective.terms import PaletteTerm
from agnlib.training.safety.checkpoint import load_state

Trainer = TypeVar("Trainer", bound=AdversarialTrainer)
TINY = {"channels": (4, 4, 8), "blocks": (1, 1, 1), "image_size": 16}
PROCESSES = multiprocessing.get_context("forkserver")  # one process imports torch, all others are its children
PROCESSES.set_forkserver_preload(["agnlib.training.run.train", "torch._dynamo"])  # optimizers import the second one


def picture(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folders(place: Path) -> tuple[Path, Path]:
    """Photos, and pictures of two classes."""
    for index in range(5):
        picture(place / "content" / f"{index}.png", (40 + index, 36), index)
        picture(place / "style" / ("ink" if index % 2 else "oil") / f"{index}.png", (33, 44), 10 + index)
    return place / "content", place / "style"


def make_start(folder: Path) -> Path:
    """Small untrained weights, of other classes than the folders have."""
    pretrained.save(folder, networks(5, num_classes=5))
    return folder


def make_weights(folder: Path, names: Sequence[str] = (), **options: Any) -> Path:
    """Small untrained weights without a discriminator, which know styles by these names."""
    found = networks(num_classes=len(names), **options)
    del found["discriminator"]
    pretrained.save(folder, found, info={"class_names": list(names)})
    return folder


def networks(classes: int | None = None, *, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Small untrained networks by role; the options are the generator's."""
    torch.manual_seed(seed)
    return {
        "extractor": StyleExtractor(16, hidden=16, taps=("block0",)),
        "generator": Generator(8, 16, **{**TINY, **options}),
        "discriminator": Discriminator(classes, style_dim=16, channels=(4, 8)),
    }


def batches(first: int, last: int, *, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """The batches of these steps, two photos each, with themselves as references in the other order."""
    found = []
    for step in range(first, last):
        photo = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(step)) * 2 - 1
        found.append(Batch(photo.to(dtype), photo.flip(0).to(dtype), step=step))
    return found


# the adversary plays from the first step on
AT_ONCE = {"warmup": 0, "identity": 0.0, "adversarial_ramp": 0}
TERMS = {"palette": Weighted(PaletteTerm(), 0.1)}


def trainer(
    kind: type[Trainer] = AdversarialTrainer,  # type: ignore[assignment]
    *,
    classes: int | None = 2,
    weights_seed: int = 0,
    given: Mapping[str, Any] | None = None,
    terms: Mapping[str, Any] = TERMS,
    callbacks: Sequence[object] = (),
    **options: object,
) -> Trainer:
    """A trainer of small networks, of those given, or without the extractor where it is None."""
    usual = {"warmup": 1, "identity_every": 1000, "penalty_every": 2, "rate_warmup": 0}
    config = TrainerConfig(**{**usual, **options})  # type: ignore[arg-type]
    parts = networks(classes, seed=weights_seed) | dict(given or {})
    return kind(**parts, terms=terms, callbacks=callbacks, config=config, device="cpu")


def data(folders: tuple[Path, Path], *, batch: int = 2, **options: int) -> PairData:
    return PairData(PictureFolder(folders[0], 24), PictureFolder(folders[1], 24), batch=batch, **options)


def go_on(place: Path, checkpoint: Path | None, until: int, workers: int, accumulate: int) -> None:
    """Go on with a run of 9 steps from a checkpoint, or begin it with other weights than any other, up to a step."""
    subject = trainer(weights_seed=int(checkpoint is not None), accumulate=accumulate)
    subject.callbacks = (LogScalars(place / "log.jsonl", every=2), SaveCheckpoints(place / "checkpoints", every=4))
    if checkpoint is not None:
        subject.load_checkpoint(checkpoint)
    source = data((place.parent / "content", place.parent / "style"), batch=4)
    assert until * 4 > len(source.content) or until < 9  # the whole run crosses an epoch's end
    batches = islice(loader(source, start=subject.step, workers=workers), until - subject.step)
    subject.fit(batches, steps=9)
    assert subject.step == until


class Recorder:
    """Keeps every step's named numbers and learning rate."""

    def __init__(self) -> None:
        self.logs: list[Mapping[str, float]] = []
        self.rates: list[float] = []

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.logs.append(dict(logs))

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        optimizer = trainer.generator_optimizer
        self._hook = optimizer.register_step_post_hook(lambda o, *_: self.rates.append(o.param_groups[0]["lr"]))

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        self._hook.remove()


def assert_same_state(first: Path, second: Path) -> None:
    """Two checkpoints hold the same, bit for bit, but for the time that it took."""
    (tensors, meta), (others, other_meta) = load_state(first), load_state(second)
    assert {**meta, "seconds": 0} == {**other_meta, "seconds": 0}
    assert tensors.keys() == others.keys()
    for key, tensor in tensors.items():
        assert torch.equal(tensor, others[key]), key


def start_process(function: Callable[..., object], *arguments: object) -> multiprocessing.process.BaseProcess:
    """A process that has nothing of this one and calls a function of a module; its exit code is what that gives."""
    process = PROCESSES.Process(target=_run, args=(function, arguments))
    process.start()
    return process


def in_new_process(function: Callable[..., object], *arguments: object, timeout: float = 300) -> int:
    """Call a function of a module in a process that has nothing of this one, and give its exit code."""
    process = start_process(function, *arguments)
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"{function.__name__} took more than {timeout} s")
    assert process.exitcode is not None
    return process.exitcode


def program(arguments: list[str], log: Path) -> int:
    """`agnlib` with these arguments, what it says added to a file."""
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        return cli.main(arguments)


def train_arguments(folders: tuple[Path, Path], start: Path, out: Path, *more: str) -> list[str]:
    given = ["--content", str(folders[0]), "--style", str(folders[1]), "--out", str(out), "--init", str(start)]
    small = ["--size", "16", "--batch", "2", "--perceptual", "none", "--device", "cpu"]
    return ["train", *given, *small, *more]


def _run(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    sys.exit(function(*arguments))  # type: ignore[arg-type]
