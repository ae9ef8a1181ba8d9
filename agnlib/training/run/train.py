"""The whole of `agnlib train`: two folders in, a folder with weights, log, samples and a model card out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import agnlib
from agnlib._shared.atomic import remove_leftovers, write_bytes
from agnlib._shared.lock import locked_folder
from agnlib._shared.paths import is_folder, real
from agnlib.engines._device import resolve_device
from agnlib.errors import InputError, TrainingError, WeightsError
from agnlib.models import PerceptualEncoder, pretrained
from agnlib.training.callbacks import LogScalars, ProgressBar, SaveCheckpoints, SaveSamples
from agnlib.training.class_styles.fitting import fit_class_styles
from agnlib.training.data.pairs import PairData, PictureFolder, loader
from agnlib.training.distributed import World, join, local_device
from agnlib.training.objective.recipe import build_terms, choose_encoders
from agnlib.training.run.dry_run import estimate
from agnlib.training.run.initial_networks import balance, kept, starting_networks
from agnlib.training.run.log_columns import check_best
from agnlib.training.run.model_card import facts_of, model_card
from agnlib.training.run.record import (
    TrainOptions,
    check_place,
    check_same_run,
    make_folder,
    read_record,
    write_record,
)
from agnlib.training.safety.checkpoint import load_state, newest_complete
from agnlib.training.safety.collapse import CollapseWatch
from agnlib.training.safety.interrupt import stopping_on_signals
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = ["TrainOptions", "loader", "train"]

_DEFAULT_STEPS, _DEFAULT_SIZE, _DEFAULT_BATCH = 10_000, 208, 4
_FROM_NOTHING_EVERY = 8  # steps between those that paint without a photo
_LEAST_SIZE = 8  # of a crop; a smaller one has no texture to learn from
_SAMPLE_STEP = 1 << 30  # a step that no run reaches: its crops make the sample grid


@dataclass(frozen=True)
class _Run:
    """A run that was checked and can begin; `chosen` is what it takes where the options leave it open."""

    options: TrainOptions
    chosen: Mapping[str, Any]
    data: PairData
    trainer: AdversarialTrainer
    checkpoints: SaveCheckpoints


def train(options: TrainOptions) -> Path:
    """Train and leave weights that `Stylizer.from_pretrained` takes in `options.out`, which is returned.

    Everything that can be checked is checked before anything is written. The first SIGTERM, SIGINT or SIGHUP ends the
    training after its step with a checkpoint, a sample and weights that paint, without styles by name;
    `options.resume` goes on from there, to another total if that is asked for. Under torchrun several processes train
    together.

    Raises:
        InputError: folders without pictures, an output folder in use, options that do not fit each other, or not those
            of the run that is resumed.
        WeightsError: `init` or the checkpoint cannot be loaded.
        TrainingError: what had begun broke off: it diverged, or its results could not be written.
    """
    device = resolve_device(options.device)
    with join(device) as world, ExitStack() as stack:
        if not world.is_main:
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        run = _prepare(options, local_device(device.type) if world.size > 1 else device, world)
        if options.dry_run:
            print("\n".join(estimate(run.trainer, run.data, steps=run.chosen["steps"], minutes=options.minutes)))
            return options.out
        stack.enter_context(_begun(run))
        _carry_out(run)
    return options.out


def _prepare(options: TrainOptions, device: torch.device, world: World) -> _Run:
    """Check everything and load what there is to load; nothing is written."""
    check_place(options)
    if options.init:
        pretrained.find(options.init)
    checkpoint = _checkpoint_of(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    encoders = choose_encoders(options.perceptual, device)
    data = _data_of(options, encoders)
    record = read_record(options.out if checkpoint is None else checkpoint.parent.parent) if options.resume else None
    if record is not None and options.steps is None and options.minutes is None:
        options = replace(options, steps=record.get("steps"), minutes=record.get("minutes"))
    chosen = _chosen(options, data, list(encoders))
    chosen |= balance(options.init, style_weight=options.style_weight, adversarial=options.adversarial)
    if record is not None:
        check_same_run(record, options, chosen)
    _report({"content": data.content, "style": data.style}, batch=data.batch)
    checkpoints = SaveCheckpoints(
        options.out / "checkpoints", every=options.checkpoint_every, keep=options.keep, best=options.keep_best
    )
    trainer = _trainer(options, chosen, device, encoders, data=data, checkpoints=checkpoints)
    check_best(options.keep_best, trainer)
    if checkpoint is not None:
        trainer.load_checkpoint(checkpoint)
        print(f"resumed from {checkpoint}, step {trainer.step}")
    elif options.resume:
        print(f"no checkpoint in {options.out} yet: begun from the start")
    world.wait()  # before one of them writes what the others look for
    return _Run(options, chosen, data, trainer, checkpoints)


def _checkpoint_of(options: TrainOptions) -> Path | None:
    """The checkpoint to resume from, which is whole; None to begin."""
    if options.resume is None:
        return None
    if options.resume == "auto":
        return newest_complete(options.out / "checkpoints")
    path = Path(options.resume)
    if is_folder(path):
        found = newest_complete(path / "checkpoints") or newest_complete(path)
        if found is None:
            raise InputError(
                f"--resume {path} holds no checkpoint that can be read; name a checkpoint, or a run's folder with one"
            )
        return found
    load_state(path)
    return path


def _data_of(options: TrainOptions, encoders: Mapping[str, PerceptualEncoder]) -> PairData:
    size = options.size or _DEFAULT_SIZE
    least = max([_LEAST_SIZE, *(encoder.min_size for encoder in encoders.values())])
    if size < least:
        raise InputError(f"--size {size} is too small for these networks; give at least {least} pixels")
    sides = (round(size * options.stroke_scale), size)
    folders = [
        PictureFolder(folder, side, seed=options.seed, classes=folder is options.style)
        for folder, side in zip((options.content, options.style), sides, strict=True)
    ]
    batch = (options.batch or _DEFAULT_BATCH) * options.accumulate
    data = PairData(folders[0], folders[1], batch=batch, accumulate=options.accumulate, seed=options.seed)
    data[_SAMPLE_STEP]  # now, so that a folder without one whole picture is noticed before the long part
    return data


def _chosen(options: TrainOptions, data: PairData, encoders: list[str]) -> dict[str, Any]:
    return {
        "steps": options.steps if options.steps or options.minutes else _DEFAULT_STEPS,
        "size": data.style.size,
        "batch": options.batch or _DEFAULT_BATCH,
        "perceptual": encoders,
        "content_pictures": data.content.fingerprint,
        "style_pictures": data.style.fingerprint,
        "agnlib": agnlib.__version__,
    }


def _trainer(
    options: TrainOptions,
    chosen: Mapping[str, Any],
    device: torch.device,
    encoders: Mapping[str, PerceptualEncoder],
    *,
    data: PairData,
    checkpoints: SaveCheckpoints,
) -> AdversarialTrainer:
    sample = data[_SAMPLE_STEP]
    torch.manual_seed(options.seed)
    networks = starting_networks(options.init, data.style, options.blocks, options.channels)
    if options.init:
        print(kept(pretrained.load(options.init).discriminator, networks.discriminator))
    print(f"perceptual encoders: {', '.join(encoders) or 'none (adversarial, PatchNCE, palette and identity)'}")
    warmup = 0 if options.init else TrainerConfig.warmup
    rate = TrainerConfig.lr_generator if options.learning_rate is None else options.learning_rate
    return AdversarialTrainer(
        *networks,
        terms=build_terms(encoders, networks.generator, warmup=warmup, style_weight=chosen["style_weight"]),
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
            LogScalars(options.out / "log.jsonl", batch=data.batch),
            SaveSamples(options.out / "samples", sample.split(options.accumulate)[0], every=options.sample_every),
            checkpoints,
            ProgressBar(steps=chosen["steps"], minutes=options.minutes, batch=data.batch),
        ),
    )


def _report(folders: Mapping[str, PictureFolder], *, batch: int) -> None:
    for name, folder in folders.items():
        classes = f", {len(folder.class_names)} classes" if folder.class_names else ""
        plural = "" if len(folder.paths) == 1 else "s"
        print(f"{name}: {len(folder.paths)} picture{plural}, {len(folder)} crops{classes}")
        if folder.unreadable:
            print(f"  {len(folder.unreadable)} unreadable, skipped, the first is {folder.unreadable[0]}")
        if folder.enlarged:
            print(f"  {folder.enlarged} smaller than the crop of {folder.size} px, enlarged")
        if batch > len(folder):
            print(f"  fewer crops than a batch of {batch}: some are in it more than once")


@contextmanager
def _begun(run: _Run) -> Iterator[None]:
    """Make the folder, keep it for this run alone, and leave the record of what is done in it.

    Raises:
        InputError: another run is at work in it.
    """
    if not run.trainer.world.is_main:
        yield
        return
    make_folder(run.options.out)
    with locked_folder(run.options.out) as alone:
        if not alone:
            raise InputError(f"--out {run.options.out}: another run is at work there; wait for its end, or stop it")
        for folder in ("", "checkpoints", "samples"):
            remove_leftovers(run.options.out / folder)
        write_record(run.options, run.chosen)
        yield


def _carry_out(run: _Run) -> None:
    """Train, and write the weights, or how to go on.

    Raises:
        TrainingError: it diverged, or something could not be written.
    """
    trainer, options, signals = run.trainer, run.options, list[str]()

    def stop(name: str) -> None:
        signals.append(name)
        trainer.stop(name)

    with stopping_on_signals(stop):
        try:
            pin = trainer.device.type == "cuda"
            batches = loader(run.data, start=trainer.step, workers=options.workers, pin=pin)
            trainer.fit(batches, steps=run.chosen["steps"], minutes=options.minutes)
            _tell_undecodable(trainer)
            if trainer.world.agree(float(bool(signals)))[0] and not signals:
                signals.append("a signal to another process")
            if trainer.world.is_main and trainer.step > 0:
                _save(run, signals)
        except (WeightsError, InputError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            raise TrainingError(
                f"{error}; when that is mended, go on with --resume auto from what is in {options.out / 'checkpoints'}"
            ) from error
    if trainer.world.is_main and run.checkpoints.saved != trainer.step > 0:
        raise TrainingError(f"the last checkpoint, of step {trainer.step}, could not be written; see the warning above")
    if signals:
        print(f"stopped by {signals[0]} at step {trainer.step}; the same command with --resume auto goes on")


def _tell_undecodable(trainer: AdversarialTrainer) -> None:
    if trainer.undecodable:
        print(f"{len(trainer.undecodable)} pictures could not be decoded: {', '.join(sorted(trainer.undecodable)[:5])}")


def _save(run: _Run, signals: Sequence[str]) -> None:
    """The averaged networks at once, whatever ended the training; then again with names of the styles seen."""
    trainer, data, out = run.trainer, run.data, run.options.out
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    _write(run, class_names=[])
    named = False
    if not signals:
        with tqdm(desc="styles by name", bar_format="{desc}: {elapsed}") as bar:

            def stopping() -> bool:
                bar.update()
                return bool(signals)

            named = fit_class_styles(generator, extractor, data.content, data.style, stopping=stopping)
        if named:
            _write(run, class_names=list(data.style.class_names))
    if not named and data.style.class_names:
        print("the weights know no styles by name yet, and random ones are unlike any picture's; --resume auto goes on")
    print(f"weights in {out}; try: agnlib stylize PHOTO --style PICTURE --weights {out} -o out.png")


def _write(run: _Run, class_names: Sequence[str]) -> None:
    """Weights and card; without names where the mapping does not know them yet."""
    trainer, out = run.trainer, run.options.out
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    models = {"generator": generator, "extractor": extractor, "discriminator": trainer.discriminator}
    name, minutes = real(out).name, trainer.seconds / 60
    facts = facts_of(trainer, run.data, init=run.options.init, encoders=run.chosen["perceptual"], minutes=minutes)
    facts["style_weight"] = run.chosen["style_weight"]
    info = {"class_names": list(class_names), "license": "yours", "training": facts}
    pretrained.save(out, models, name=name, info=info, dtype=torch.float16)
    write_bytes(out / "README.md", model_card(name, facts).encode("utf-8", "backslashreplace"))
