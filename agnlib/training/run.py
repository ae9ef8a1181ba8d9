"""The whole of `agnlib train`: two folders in, a folder with weights, log, samples and a model card out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import agnlib
from agnlib._atomic import write_bytes
from agnlib.errors import ImageError, InputError
from agnlib.models import (
    Discriminator,
    EfficientNetLiteFeatures,
    Generator,
    PerceptualEncoder,
    StyleExtractor,
    pretrained,
)
from agnlib.stylizer import resolve_device
from agnlib.training.callbacks import LogScalars, ProgressBar, SaveCheckpoints, SaveSamples
from agnlib.training.card import facts_of, model_card
from agnlib.training.data import Batch, PairData, PictureFolder, loader
from agnlib.training.mapping import fit_mapping
from agnlib.training.recipe import build_terms, choose_encoders
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = ["TrainOptions", "loader", "train"]

_DEFAULT_STEPS, _DEFAULT_SIZE, _DEFAULT_BATCH = 10_000, 192, 4
_LEAST_SIZE = 8  # of a crop; a smaller one has no texture to learn from
_SAMPLE_STEP = 1 << 30  # a step that no run reaches: its crops make the sample grid


@dataclass(frozen=True)
class TrainOptions:
    """What `agnlib train` was asked for; the fields are its options."""

    content: Path
    style: Path
    out: Path
    init: str | None = None
    steps: int | None = None
    minutes: float | None = None
    size: int | None = None
    batch: int | None = None
    seed: int = 0
    perceptual: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 0


class _Networks(NamedTuple):
    generator: Generator
    discriminator: Discriminator
    extractor: StyleExtractor


def train(options: TrainOptions) -> Path:
    """Train and leave weights that `Stylizer.from_pretrained` takes in `options.out`, which is returned.

    Everything that can be checked is checked before anything is written.

    Raises:
        InputError: folders without pictures, an output folder in use, options that do not fit each other.
        WeightsError: `init` cannot be loaded.
        TrainingDivergedError: the losses stopped being finite.
    """
    _check_place(options.out)
    if options.init:
        pretrained.find(options.init)
    if options.threads:
        torch.set_num_threads(options.threads)
    device, size = resolve_device(options.device), options.size or _DEFAULT_SIZE
    encoders = choose_encoders(options.perceptual, device)
    _check_size(size, encoders)
    content = PictureFolder(options.content, size, seed=options.seed)
    style = PictureFolder(options.style, size, seed=options.seed)
    data = PairData(content, style, batch=options.batch or _DEFAULT_BATCH, seed=options.seed)
    sample = data[_SAMPLE_STEP]  # now, so that a folder without one whole picture is noticed before the long part
    _report(content, style)
    torch.manual_seed(options.seed)
    networks = _networks(options.init, style)
    print(f"perceptual encoders: {', '.join(encoders) or 'none (adversarial, PatchNCE, palette and identity)'}")
    _make_folder(options.out)
    _write_options(options, data)
    steps = options.steps if options.steps or options.minutes else _DEFAULT_STEPS
    warmup = 0 if options.init else TrainerConfig.warmup
    trainer = AdversarialTrainer(
        *networks,
        terms=build_terms(encoders, networks.generator, warmup=warmup),
        config=TrainerConfig(seed=options.seed, warmup=warmup),
        device=device,
        callbacks=_callbacks(options.out, sample, steps),
    )
    started = time.monotonic()
    trainer.fit(loader(data, workers=options.workers), steps=steps, minutes=options.minutes)
    minutes = (time.monotonic() - started) / 60
    _save(trainer, data, options.out, facts_of(trainer, data, init=options.init, encoders=encoders, minutes=minutes))
    return options.out


def _check_place(folder: Path) -> None:
    """Say beforehand what would keep a run from being written there."""
    if (folder / "config.json").exists() or (folder / "run.json").exists():
        raise InputError(f"--out {folder} holds an earlier run; give a new folder, or remove it if it is not needed")
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"--out {folder} cannot be made, {there} is a file; give another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder} cannot be written, {there} is read-only; give another folder")


def _check_size(size: int, encoders: Mapping[str, PerceptualEncoder]) -> None:
    least = max([_LEAST_SIZE, *(encoder.min_size for encoder in encoders.values())])
    if size < least:
        raise InputError(f"--size {size} is too small for these networks; give at least {least} pixels")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"--out {folder} cannot be written ({error.strerror or error}); give another folder"
        ) from error


def _report(*folders: PictureFolder) -> None:
    for folder in folders:
        classes = f", {len(folder.class_names)} classes" if folder.class_names else ""
        print(f"{folder.folder}: {len(folder.paths)} pictures, {len(folder)} crops{classes}")
        if folder.unreadable:
            print(f"  {len(folder.unreadable)} unreadable, skipped, the first is {folder.unreadable[0]}")
        if folder.enlarged:
            print(f"  {folder.enlarged} smaller than the crop of {folder.size} px, enlarged")


def _networks(init: str | None, style: PictureFolder) -> _Networks:
    """New networks, or those of `init` with as many classes as there are here."""
    classes, wanted = len(style.class_names), len(style.class_names) or None
    if init is None:
        return _Networks(Generator(num_classes=classes), Discriminator(wanted), _new_extractor(style))
    bundle = pretrained.load(init)
    generator, discriminator = bundle.generator, bundle.discriminator
    if discriminator is None or discriminator.config.num_classes != wanted:
        discriminator = Discriminator(wanted, style_dim=generator.config.style_dim)
    if generator.config.num_classes != classes:
        generator = _with_classes(generator, classes)
    return _Networks(generator, discriminator, bundle.extractor)


def _with_classes(generator: Generator, classes: int) -> Generator:
    """The same generator for another number of classes; their styles by name are fitted after training."""
    other = Generator(**{**asdict(generator.config), "num_classes": classes})
    state = {k: v for k, v in generator.state_dict().items() if not k.startswith("mapping.")}
    other.load_state_dict(state, strict=False)
    return other


def _new_extractor(style: PictureFolder) -> StyleExtractor:
    """A new extractor, calibrated on the styles, on a trunk that has seen pictures: published, or shipped with us."""
    extractor = StyleExtractor()
    try:
        trunk = EfficientNetLiteFeatures.pretrained(0, extractor.config.taps).state_dict()
    except ImportError:
        trunk = pretrained.load("agn-small").extractor.trunk.state_dict()
    extractor.trunk.load_state_dict(trunk)
    with torch.no_grad():
        statistics = torch.cat([extractor.statistics(picture) for picture, _ in _whole_pictures(style)])
    if len(statistics) > 1:
        extractor.calibrate(statistics)
    return extractor


def _whole_pictures(style: PictureFolder) -> Iterator[tuple[Tensor, int]]:
    """Every picture's largest square, `(1, 3, size, size)` in [-1, 1], and its label; damaged files are left out."""
    for entry, (_, variant) in enumerate(style.entries):
        if variant != 0:
            continue
        try:
            pixels = torch.from_numpy(style.crop(entry).copy())
        except ImageError:
            continue
        yield pixels.permute(2, 0, 1)[None].float() / 127.5 - 1, style.label(entry)


def _callbacks(out: Path, sample: Batch, steps: int | None) -> tuple[object, ...]:
    batch = len(sample.content)
    return (
        LogScalars(out / "log.jsonl", batch=batch),
        SaveSamples(out / "samples", sample),
        SaveCheckpoints(out / "checkpoints"),
        ProgressBar(steps=steps, batch=batch),
    )


def _write_options(options: TrainOptions, data: PairData) -> None:
    values = {k: os.fspath(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    values |= {"size": data.style.size, "batch": data.batch, "agnlib": agnlib.__version__}
    write_bytes(options.out / "run.json", (json.dumps(values, indent=2) + "\n").encode())


def _save(trainer: AdversarialTrainer, data: PairData, out: Path, facts: Mapping[str, Any]) -> None:
    """The averaged networks, with a mapping that knows the styles seen, and their card."""
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    codes, labels = _codes_of(extractor, data.style, trainer.device)
    fit_mapping(generator, codes.to(generator.mapping.weight), labels)
    models = {"generator": generator, "extractor": extractor, "discriminator": trainer.discriminator}
    name = out.resolve().name
    info = {"class_names": list(data.style.class_names), "license": "yours", "training": facts}
    pretrained.save(out, models, name=name, info=info, dtype=torch.float16)
    write_bytes(out / "README.md", model_card(name, facts).encode())
    print(f"weights in {out}; try: agnlib stylize PHOTO --style PICTURE --weights {out} -o out.png")


@torch.no_grad()
def _codes_of(extractor: StyleExtractor, style: PictureFolder, device: torch.device) -> tuple[Tensor, Tensor]:
    """Style codes `(N, style_dim)` and labels `(N,)` of a folder's pictures."""
    codes, labels = [], []
    for picture, label in _whole_pictures(style):
        codes.append(extractor(picture.to(device)))
        labels.append(label)
    return torch.cat(codes), torch.tensor(labels)
