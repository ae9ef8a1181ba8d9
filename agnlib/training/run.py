"""The whole of `agnlib train`: two folders in, a folder with weights, log, samples and a model card out."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import agnlib
from agnlib._atomic import write_bytes
from agnlib.errors import InputError
from agnlib.models import Discriminator, EfficientNetLiteFeatures, Generator, StyleExtractor, pretrained
from agnlib.training.callbacks import LogScalars, ProgressBar, SaveCheckpoints, SaveSamples
from agnlib.training.data import Batch, PairData, PictureFolder
from agnlib.training.mapping import fit_mapping
from agnlib.training.recipe import build_terms, choose_encoders
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = ["TrainOptions", "loader", "train"]

_DEFAULT_STEPS = 10_000
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


def train(options: TrainOptions) -> Path:
    """Train and leave weights that `Stylizer.from_pretrained` takes in `options.out`, which is returned.

    Raises:
        InputError: folders without pictures, an output folder in use, options that do not fit each other.
        WeightsError: `init` cannot be loaded.
        TrainingDivergedError: the losses stopped being finite.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    out, device = _fresh_folder(options.out), _device(options.device)
    size, batch = options.size or 192, options.batch or 4
    content = PictureFolder(options.content, size, seed=options.seed)
    style = PictureFolder(options.style, size, seed=options.seed)
    _report(content, style)
    networks = _networks(options, style)
    encoders = choose_encoders(options.perceptual, device)
    terms = build_terms(encoders, networks["generator"], warmup=0 if options.init else TrainerConfig.warmup)
    print(f"perceptual encoders: {', '.join(encoders) or 'none (adversarial, PatchNCE, palette and identity)'}")
    data = PairData(content, style, batch=batch, seed=options.seed)
    steps = options.steps if options.steps or options.minutes else _DEFAULT_STEPS
    trainer = AdversarialTrainer(
        networks["generator"],
        networks["discriminator"],
        networks["extractor"],
        terms=terms,
        config=TrainerConfig(seed=options.seed, warmup=0 if options.init else TrainerConfig.warmup),
        device=device,
        callbacks=(
            LogScalars(out / "log.jsonl", batch=batch),
            SaveSamples(out / "samples", data[_SAMPLE_STEP]),
            SaveCheckpoints(out / "checkpoints"),
            ProgressBar(steps=steps, batch=batch),
        ),
    )
    _write_json(out / "run.json", {**_plain(asdict(options)), "size": size, "batch": batch, "agnlib": agnlib.__version__})
    started = time.monotonic()
    trainer.fit(loader(data, workers=options.workers), steps=steps, minutes=options.minutes)
    minutes = (time.monotonic() - started) / 60
    _finish(trainer, data, out, facts=_facts(options, trainer, encoders, minutes, size, batch))
    return out


def loader(data: PairData, *, start: int = 0, workers: int = 0) -> Iterable[Batch]:
    """Batches of `data` from step `start` on, without end, read by `workers` processes."""
    return DataLoader(data, batch_size=None, sampler=_Count(start), num_workers=workers, persistent_workers=workers > 0)


class _Count:
    """Whole numbers from `start` up; a sampler."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        step = self.start
        while True:
            yield step
            step += 1


def _fresh_folder(folder: Path) -> Path:
    if (folder / "config.json").exists() or (folder / "run.json").exists():
        raise InputError(f"--out {folder} holds an earlier run; give a new folder, or remove it if it is not needed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written ({error.strerror or error}); give another folder") from error
    return folder


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name!r} is unknown; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {name}: this torch sees no CUDA device; use --device cpu")
    return device


def _report(*folders: PictureFolder) -> None:
    for folder in folders:
        print(f"{folder.folder}: {len(folder.paths)} pictures, {len(folder)} crops, classes: {len(folder.class_names)}")
        if folder.unreadable:
            print(f"  {len(folder.unreadable)} unreadable, skipped, the first is {folder.unreadable[0]}")
        if folder.enlarged:
            print(f"  {folder.enlarged} smaller than the crop of {folder.size} px, enlarged")


def _networks(options: TrainOptions, style: PictureFolder) -> dict[str, Any]:
    classes = len(style.class_names)
    if options.init:
        bundle = pretrained.load(options.init)
        generator, extractor, discriminator = bundle.generator, bundle.extractor, bundle.discriminator
        if discriminator is None or discriminator.config.num_classes != classes:
            discriminator = Discriminator(classes, style_dim=generator.config.style_dim)
        if generator.config.num_classes != classes:
            generator = _with_classes(generator, classes)
    else:
        generator, discriminator, extractor = Generator(num_classes=classes), Discriminator(classes), _new_extractor()
    return {"generator": generator, "discriminator": discriminator, "extractor": extractor}


def _with_classes(generator: Generator, classes: int) -> Generator:
    """The same generator for another number of classes; their styles by name are fitted after training."""
    other = Generator(**{**asdict(generator.config), "num_classes": classes})
    state = {k: v for k, v in generator.state_dict().items() if not k.startswith("mapping.")}
    other.load_state_dict(state, strict=False)
    return other


def _new_extractor() -> StyleExtractor:
    """A new extractor on a trunk that has seen pictures: the published one, or that of the shipped weights."""
    extractor = StyleExtractor()
    try:
        trunk = EfficientNetLiteFeatures.pretrained(0, extractor.config.taps).state_dict()
    except ImportError:
        trunk = pretrained.load("agn-small").extractor.trunk.state_dict()
    extractor.trunk.load_state_dict(trunk)
    return extractor


@torch.no_grad()
def _finish(trainer: AdversarialTrainer, data: PairData, out: Path, *, facts: Mapping[str, Any]) -> None:
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    style, codes = data.style, []
    whole = [entry for entry, (_, variant) in enumerate(style.entries) if variant == 0]
    for entry in whole:
        picture = torch.from_numpy(style.crop(entry).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        codes.append(extractor(picture.to(trainer.device)))
    labels = torch.tensor([style.label(entry) for entry in whole])
    fit_mapping(generator, torch.cat(codes).cpu().to(generator.mapping.weight), labels)
    models = {"generator": generator, "extractor": extractor, "discriminator": trainer.discriminator}
    info = {"class_names": list(style.class_names), "license": "yours", "training": facts}
    pretrained.save(out, models, name=out.resolve().name, info=info, dtype=torch.float16)
    write_bytes(out / "README.md", _model_card(out, facts).encode())
    print(f"weights in {out}; try: agnlib stylize PHOTO --style PICTURE --weights {out} -o out.png")


def _facts(
    options: TrainOptions, trainer: AdversarialTrainer, encoders: Iterable[str], minutes: float, size: int, batch: int
) -> dict[str, Any]:
    return {
        "content": options.content.name,
        "style": options.style.name,
        "init": options.init,
        "steps": trainer.step,
        "minutes": round(minutes, 1),
        "crop": size,
        "batch": batch,
        "seed": options.seed,
        "perceptual": list(encoders),
        "terms": {name: term.weight for name, term in trainer.terms.items()},
        "trainer": asdict(trainer.config),
        "skipped_steps": trainer.skipped_steps,
        "machine": f"{trainer.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": str(torch.__version__),
    }


def _model_card(out: Path, facts: Mapping[str, Any]) -> str:
    lines = [f"# {out.resolve().name}", "", "Weights made by `agnlib train`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items() if not isinstance(value, dict)]
    lines += [f"| weight of {name} | {value} |" for name, value in facts["terms"].items()]
    return "\n".join([*lines, "", "Licences of the pictures it was trained on: not recorded; add them here.", ""])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: os.fspath(v) if isinstance(v, Path) else v for k, v in values.items()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())
