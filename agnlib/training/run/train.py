"""The whole of a training: two folders in, a folder with weights, log, samples and a model card out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from typing_extensions import Unpack

import agnlib
from agnlib._shared.atomic import remove_leftovers, write_bytes
from agnlib._shared.lock import locked_folder
from agnlib._shared.paths import is_file, is_folder, real, text_of
from agnlib._train_options import TrainSettings
from agnlib.engines._device import resolve_device
from agnlib.errors import AgnError, InputError, TrainingError, WeightsError
from agnlib.models import Generator, pretrained
from agnlib.models.pretrained import Bundle
from agnlib.training.callbacks import SaveCheckpoints
from agnlib.training.data.pairs import PairData, loader
from agnlib.training.distributed import World, join, local_device
from agnlib.training.objective.recipe import choose_encoders
from agnlib.training.objective.terms import Term, Weighted
from agnlib.training.run.assembly import DEFAULT_BATCH, data_of, report, trainer_of
from agnlib.training.run.dry_run import estimate
from agnlib.training.run.initial_networks import balance, kept, origin, starting_networks
from agnlib.training.run.log_columns import check_best
from agnlib.training.run.model_card import facts_of, model_card
from agnlib.training.run.naming import (
    are_named,
    estimate_naming,
    minutes_for_names,
    minutes_for_training,
    name_styles,
)
from agnlib.training.run.parts import Parts, by_keywords
from agnlib.training.run.record import (
    TrainOptions,
    check_place,
    check_same_run,
    make_folder,
    read_record,
    write_record,
)
from agnlib.training.safety.checkpoint import load_state, newest_complete
from agnlib.training.safety.interrupt import stopping_on_signals
from agnlib.training.trainer import AdversarialTrainer

__all__ = ["TrainOptions", "loader", "run_training", "train"]

_DEFAULT_STEPS = 10_000


@dataclass(frozen=True)
class _Run:
    """A run that was checked and can begin; `chosen` is what it takes where the options leave it open."""

    options: TrainOptions
    parts: Parts
    chosen: Mapping[str, Any]
    data: PairData
    trainer: AdversarialTrainer
    checkpoints: SaveCheckpoints
    origin: Mapping[str, Any]

    @property
    def naming_minutes(self) -> float | None:
        """Of the minutes, those that are kept for styles by name."""
        return None if self.options.minutes is None else minutes_for_names(self.options.minutes, self.data.style)

    @property
    def minutes(self) -> float | None:
        """For training itself."""
        return minutes_for_training(self.options.minutes, self.data.style)


def train(
    content: str | os.PathLike[str],
    style: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    terms: Mapping[str, Weighted | Term | None] | None = None,
    trainer_class: type[AdversarialTrainer] = AdversarialTrainer,
    generator: Generator | None = None,
    callbacks: Sequence[object] = (),
    progress: bool = True,
    **options: Unpack[TrainSettings],
) -> Path:
    """Train on two folders, and leave weights that `Stylizer.from_pretrained` takes, as `agnlib train` does.

    Everything that can be checked is checked before anything is written. The first SIGTERM, SIGINT or SIGHUP ends the
    training after its step with a checkpoint, a sample and weights that paint, without styles by name; `resume="auto"`
    goes on from there, to another total if that is asked for. Under torchrun several processes train together.

    Args:
        content: a folder of photographs.
        style: a folder of pictures with the style, whose subfolders are classes; or picture files.
        out: a new folder, for weights, log, samples, checkpoints and a model card.
        terms: losses beside the recipe's, as of `AdversarialTrainer`; one of the same name takes its place, and None
            takes it out.
        trainer_class: a subclass of `AdversarialTrainer`.
        generator: to begin with, in place of that of `init`, or of a new one.
        callbacks: beside the usual ones; numbers that they add are logged.
        progress: show a bar, and say in a few lines what is done.
        options: the options of `agnlib train` by name, with underscores: `init`, `minutes` or `steps`, `size`, `batch`,
            `style_weight`, `device` and the others of `TrainOptions`.

    Returns:
        `out`.

    Raises:
        InputError: folders without pictures, an output folder in use, options that do not fit each other, or not those
            of the run that is resumed.
        WeightsError: `init` or the checkpoint cannot be loaded.
        TrainingError: what had begun broke off: it diverged, or its results could not be written.

    Example:
        >>> train("nowhere", "neither", "out", init="agn-small", minutes=30)
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: nowhere is not a folder; expected one with pictures in it
    """
    parts = Parts({} if terms is None else terms, trainer_class, generator, callbacks, quiet=not progress)
    return run_in_python(options_of(content, style, out, **options), parts)


def options_of(content: Any, style: Any, out: Any, **options: Any) -> TrainOptions:
    """The options of `train`, with its paths.

    Raises:
        InputError: a path is empty or none, an option is unknown or outside its range.
    """
    known = [option.name for option in fields(TrainOptions)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{name} is no option of a training; {hint}expected one of {', '.join(known[3:])}")
    return TrainOptions(_path(content, "content"), path_or_paths(style), _path(out, "out"), **options)


def run_in_python(options: TrainOptions, parts: Parts) -> Path:
    """`run_training`, its messages in Python's words."""
    try:
        return run_training(options, replace(parts, in_python=True))
    except AgnError as error:
        error.args = (by_keywords(str(error)),)
        raise


def path_or_paths(style: Any) -> Path | tuple[Path, ...]:
    """A folder, or picture files.

    Raises:
        InputError: it is neither.
    """
    if isinstance(style, (list, tuple)) and style:
        return tuple(_path(each, "style") for each in style)
    path = _path(style, "style")
    return (path,) if is_file(path) else path


def _path(given: Any, name: str) -> Path:
    if not text_of(given, name):  # which would be the current folder
        raise InputError(f"{name} is empty; give a folder")
    return Path(given)


def run_training(options: TrainOptions, parts: Parts | None = None) -> Path:
    """`train`, by its options."""
    device = resolve_device(options.device)
    with join(device) as world, ExitStack() as stack:
        if not world.is_main:
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        placed = local_device(device.type) if world.size > 1 else device
        run = _prepare(options, parts or Parts(), placed, world)
        if options.dry_run:
            limits = {"steps": run.chosen["steps"], "minutes": options.minutes, "kept": run.naming_minutes or 0.0}
            lines = estimate(run.trainer, run.data, **limits)
            print("\n".join([*lines, estimate_naming(run.trainer, run.data, run.naming_minutes)]))
            return options.out
        stack.enter_context(_begun(run))
        _carry_out(run)
    return options.out


def _prepare(options: TrainOptions, parts: Parts, device: torch.device, world: World) -> _Run:
    """Check everything and load what there is to load; nothing is written."""
    say = parts.say
    check_place(options)
    init = _loaded(options.init, parts)
    checkpoint = _checkpoint_of(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    encoders = choose_encoders(options.perceptual, device)
    data = data_of(options, encoders)
    record = read_record(options.out if checkpoint is None else checkpoint.parent.parent) if options.resume else None
    if record is not None and options.steps is None and options.minutes is None:
        options = replace(options, steps=record.get("steps"), minutes=record.get("minutes"))
    chosen = _chosen(options, data, list(encoders))
    chosen |= balance(init, style_weight=options.style_weight, adversarial=options.adversarial)
    chosen["parts"] = parts.record or None
    if record is not None:
        check_same_run(record, options, chosen)
    report({"content": data.content, "style": data.style}, batch=data.batch, say=say)
    checkpoints = SaveCheckpoints(
        options.out / "checkpoints", every=options.checkpoint_every, keep=options.keep, best=options.keep_best
    )
    torch.manual_seed(options.seed)
    networks = starting_networks(init, data.style, options.blocks, options.channels, generator=parts.generator)
    if init is not None and parts.generator is not None:
        say(f"generator: the one given, in place of that of {init.name}")
    if init is not None:
        say(kept(init.discriminator, networks.discriminator))
    say(f"perceptual encoders: {', '.join(encoders) or 'none (adversarial, PatchNCE, palette and identity)'}")
    trainer = trainer_of(options, parts, chosen, networks, encoders, device=device, data=data, checkpoints=checkpoints)
    check_best(options.keep_best, trainer)
    if checkpoint is not None:
        trainer.load_checkpoint(checkpoint)
        say(f"resumed from {checkpoint}, step {trainer.step}")
        if chosen["steps"] is not None and trainer.step >= chosen["steps"]:
            say(f"{trainer.step} steps are done, {chosen['steps']} were asked for: nothing is left to train")
    elif options.resume:
        say(f"no checkpoint in {options.out} yet: begun from the start")
    world.wait()  # before one of them writes what the others look for
    return _Run(options, parts, chosen, data, trainer, checkpoints, origin(init))


def _loaded(init: str | None, parts: Parts) -> Bundle | None:
    """The weights to begin with; of a class of one's own where the generator that is given is of it."""
    return pretrained.load(init, generator_class=parts.generator_class) if init else None


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


def _chosen(options: TrainOptions, data: PairData, encoders: list[str]) -> dict[str, Any]:
    return {
        "steps": options.steps if options.steps or options.minutes else _DEFAULT_STEPS,
        "size": data.style.size,
        "batch": options.batch or DEFAULT_BATCH,
        "perceptual": encoders,
        "content_pictures": data.content.fingerprint,
        "style_pictures": data.style.fingerprint,
        "agnlib": agnlib.__version__,
    }


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
            trainer.fit(batches, steps=run.chosen["steps"], minutes=run.minutes, progress=not run.parts.quiet)
            _tell_undecodable(run)
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
        run.parts.say(f"stopped by {signals[0]} at step {trainer.step}; the same command with --resume auto goes on")


def _tell_undecodable(run: _Run) -> None:
    trainer = run.trainer
    if trainer.undecodable:
        run.parts.say(
            f"{len(trainer.undecodable)} pictures could not be decoded: {', '.join(sorted(trainer.undecodable)[:5])}"
        )


def _save(run: _Run, signals: Sequence[str]) -> None:
    """The averaged networks at once, whatever ended the training; then again with names of the styles seen."""
    out = run.options.out
    if are_named(out, run.trainer.step):
        run.parts.say(f"weights in {out} know their styles by name already")
        return
    _write(run, named=False)
    named = not signals and name_styles(
        run.trainer,
        run.data,
        out,
        minutes=run.naming_minutes,
        write=lambda: _write(run, named=True),
        stopping=lambda: bool(signals),
        progress=not run.parts.quiet,
    )
    if not named:
        run.parts.say(
            "the weights know no styles by name yet, and random ones are unlike any picture's; --resume auto goes on"
        )
    run.parts.say(f"weights in {out}; try: {run.parts.how_to_use(out)}")


def _write(run: _Run, *, named: bool) -> None:
    """Weights and card; without names where the mapping does not know them yet."""
    trainer, out = run.trainer, run.options.out
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    models = {"generator": generator, "extractor": extractor, "discriminator": trainer.discriminator}
    name, minutes = real(out).name, trainer.seconds / 60
    facts = facts_of(trainer, run.data, **run.origin, encoders=run.chosen["perceptual"], minutes=minutes)
    facts |= {"style_weight": run.chosen["style_weight"], "named": named}
    info = {"class_names": list(run.data.style.class_names) if named else [], "license": "yours", "training": facts}
    pretrained.save(out, models, name=name, info=info, dtype=torch.float16)
    write_bytes(out / "README.md", model_card(name, facts).encode("utf-8", "backslashreplace"))
