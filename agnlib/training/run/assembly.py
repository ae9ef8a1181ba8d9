"""What a run is made of: its pictures, and its trainer with losses and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from agnlib.errors import InputError
from agnlib.models import PerceptualEncoder
from agnlib.training.callbacks import LogScalars, ProgressBar, SaveCheckpoints, SaveSamples
from agnlib.training.data.pairs import PairData, PictureFolder
from agnlib.training.objective.recipe import build_terms
from agnlib.training.run.initial_networks import Networks
from agnlib.training.run.naming import minutes_for_training
from agnlib.training.run.parts import Parts
from agnlib.training.run.record import TrainOptions
from agnlib.training.safety.collapse import CollapseWatch
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = ["data_of", "report", "trainer_of"]

_DEFAULT_SIZE, DEFAULT_BATCH = 208, 4
_FROM_NOTHING_EVERY = 8  # steps between those that paint without a photo
_LEAST_SIZE = 8  # of a crop; a smaller one has no texture to learn from
_SAMPLE_STEP = 1 << 30  # a step that no run reaches: its crops make the sample grid


def data_of(options: TrainOptions, encoders: Mapping[str, PerceptualEncoder]) -> PairData:
    """Pairs of both folders.

    Raises:
        InputError: a size too small for the networks, or a folder without whole pictures.
    """
    size = options.size or _DEFAULT_SIZE
    least = max([_LEAST_SIZE, *(encoder.min_size for encoder in encoders.values())])
    if size < least:
        raise InputError(f"--size {size} is too small for these networks; give at least {least} pixels")
    sides = (round(size * options.stroke_scale), size)
    folders = [
        PictureFolder(folder, side, seed=options.seed, classes=folder is options.style)
        for folder, side in zip((options.content, options.style), sides, strict=True)
    ]
    batch = (options.batch or DEFAULT_BATCH) * options.accumulate
    data = PairData(folders[0], folders[1], batch=batch, accumulate=options.accumulate, seed=options.seed)
    data[_SAMPLE_STEP]  # now, so that a folder without one whole picture is noticed before the long part
    return data


def report(folders: Mapping[str, PictureFolder], *, batch: int, say: Callable[[str], None]) -> None:
    """Say what there is in the folders."""
    for name, folder in folders.items():
        classes = f", {len(folder.class_names)} classes" if folder.class_names else ""
        plural = "" if len(folder.paths) == 1 else "s"
        say(f"{name}: {len(folder.paths)} picture{plural}, {len(folder)} crops{classes}")
        if folder.unreadable:
            say(f"  {len(folder.unreadable)} unreadable, skipped, the first is {folder.unreadable[0]}")
        if folder.enlarged:
            say(f"  {folder.enlarged} smaller than the crop of {folder.size} px, enlarged")
        if batch > len(folder):
            say(f"  fewer crops than a batch of {batch}: some are in it more than once")


def trainer_of(
    options: TrainOptions,
    parts: Parts,
    chosen: Mapping[str, Any],
    networks: Networks,
    encoders: Mapping[str, PerceptualEncoder],
    *,
    device: torch.device,
    data: PairData,
    checkpoints: SaveCheckpoints,
) -> AdversarialTrainer:
    """The trainer, with the recipe's losses and the usual callbacks beside those of one's own."""
    sample = data[_SAMPLE_STEP]
    warmup = 0 if options.init else TrainerConfig.warmup
    rate = TrainerConfig.lr_generator if options.learning_rate is None else options.learning_rate
    usual = build_terms(encoders, networks.generator, warmup=warmup, style_weight=chosen["style_weight"])
    unknown = [name for name, term in parts.terms.items() if term is None and name not in usual]
    if unknown:
        raise InputError(f"terms: the recipe has no {unknown[0]!r} to take out; it has {', '.join(usual)}")
    return parts.trainer_class(
        *networks,
        terms={name: term for name, term in {**usual, **parts.terms}.items() if term is not None},
        config=TrainerConfig(
            lr_generator=rate,
            lr_discriminator=rate / 2,
            seed=options.seed,
            adversarial=chosen["adversarial"],
            warmup=warmup,
            stroke_scale=options.stroke_scale,
            from_nothing_every=_FROM_NOTHING_EVERY,
            accumulate=options.accumulate,
            augment=tuple(options.augment.split("+")) if options.augment else (),
            ada_target=options.ada,
        ),
        device=device,
        callbacks=(
            CollapseWatch(),
            *parts.callbacks,
            LogScalars(options.out / "log.jsonl", batch=data.batch),
            SaveSamples(options.out / "samples", sample.split(options.accumulate)[0], every=options.sample_every),
            checkpoints,
            *(
                []
                if parts.quiet
                else [
                    ProgressBar(
                        steps=chosen["steps"],
                        minutes=minutes_for_training(options.minutes, data.style),
                        batch=data.batch,
                    )
                ]
            ),
        ),
    )
