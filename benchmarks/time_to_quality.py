"""How long does the recipe take from nothing to the shipped weights' quality? Snapshots of one run, judged afterwards.

    python benchmarks/time_to_quality.py --minutes 25 --every 5 --out time.json

The run is `agnlib train`'s recipe, without `--init`; every so many minutes the averaged networks are kept. Time is that
of training; what saving takes is not in it. Photographs and references are judged as in quality.py. Several sizes make
crops grow: each has an equal part of the minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from _common import SHARED, fail, header, markdown_table, write_json
from adain_baseline import load as load_adain
from variants import training_pairs

from agnlib import Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.evaluation import Painter
from agnlib.models import pretrained
from agnlib.training import AdversarialTrainer, Batch, PairData, TrainerConfig, loader
from agnlib.training.objective.recipe import build_terms, choose_encoders
from agnlib.training.run.start import starting_networks

LIST = "snapshots.json"
SHOWN = ("style", "deep style", "content", "palette", "structure", "colour ratio", "detail ratio")


class Snapshots:
    """A callback that keeps the averaged networks every so many minutes of training, and after the last step."""

    def __init__(self, folder: Path, every: float) -> None:
        self.folder, self.every, self.next = folder, every, every
        self.kept: dict[Path, dict[str, float]] = {}

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        if trainer.seconds / 60 >= self.next:
            self.next += self.every
            self._keep(trainer)

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        if not self.kept or list(self.kept.values())[-1]["steps"] < trainer.step:
            self._keep(trainer)

    def _keep(self, trainer: AdversarialTrainer) -> None:
        extractor = trainer.averaged_extractor
        assert extractor is not None
        place = self.folder / f"step-{trainer.step:05d}"
        pretrained.save(place, {"generator": trainer.averaged_generator, "extractor": extractor})
        self.kept[place] = {"minutes": round(trainer.seconds / 60, 1), "steps": trainer.step}
        write_json(self.folder / LIST, {place.name: at for place, at in self.kept.items()})


def one_after_another(stages: Sequence[PairData], minutes: float, clock: Callable[[], float]) -> Iterator[Batch]:
    """Batches of each stage for an equal part of the minutes, by a clock of seconds."""
    for stage, data in enumerate(stages, 1):
        for batch in loader(data):
            yield batch
            if clock() / 60 >= minutes * stage / len(stages):
                break


def train(options: argparse.Namespace, folder: Path) -> dict[Path, dict[str, float]]:
    """The snapshots' folders, with minutes and steps."""
    stages = [
        training_pairs(options.data, size, options.stroke_scale, batch=batch)
        for size, batch in zip(options.size, options.batch, strict=True)
    ]
    torch.manual_seed(options.seed)
    networks = starting_networks(None, stages[0].style)
    config = TrainerConfig(
        stroke_scale=options.stroke_scale, from_nothing_every=8, adversarial=options.adversarial, seed=options.seed
    )
    encoders = choose_encoders("vgg16+efficientnet-lite0", torch.device("cpu"))
    snapshots = Snapshots(folder, options.every)
    terms = build_terms(encoders, networks.generator, warmup=config.warmup, style_weight=options.style_weight)
    trainer = AdversarialTrainer(*networks, terms=terms, config=config, callbacks=(snapshots,))
    trainer.fit(one_after_another(stages, options.minutes, lambda: trainer.seconds), minutes=options.minutes)
    return snapshots.kept


def earlier(folder: Path) -> dict[Path, dict[str, float]]:
    """The snapshots of an earlier run; none where there was none."""
    there = json.loads((folder / LIST).read_text()) if (folder / LIST).is_file() else {}
    return {folder / name: at for name, at in there.items()}


def judged(snapshots: Mapping[Path, Mapping[str, float]], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Row -> column -> value, of the snapshots, of shipped weights, and of the baselines."""
    dev = options.dev
    pairs = evaluation.choose_pairs(dev / "content", dev / "style", options.pairs)
    judge, notes = evaluation.installed_judge(options.vgg)
    if notes:
        fail("; ".join(notes))
    rows: dict[str, Painter] = {
        f"{at['minutes']:g} minutes, {at['steps']:g} steps": Stylizer.from_pretrained(place, device="cpu")
        for place, at in snapshots.items()
    }
    rows |= {Path(name).name: Stylizer.from_pretrained(name, device="cpu") for name in options.beside}
    if options.adain:
        rows[f"AdaIN, {options.adain_minutes:g} minutes"] = load_adain(options.adain, options.vgg).stylize
    summary = evaluation.summarise(evaluation.evaluate(rows, pairs, judge, progress=True))
    return {row: {name: cells[name]["value"] for name in SHOWN} for row, cells in summary.items()}


def reached(found: Mapping[str, Mapping[str, float]], goal: str) -> str:
    """The first snapshot that is as good as the goal in style, palette and content together."""
    for row, values in found.items():
        if "minutes, " in row and all(values[name] <= found[goal][name] for name in ("style", "palette", "content")):
            return f"As good as {goal} in style, palette and content together: after {row}."
    return f"No snapshot is as good as {goal} in style, palette and content together."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=SHARED / "data" / "train", help="a folder with content/ and style/")
    add("--dev", type=Path, default=SHARED / "data" / "dev", help="the same of pictures never trained on")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors")
    add("--minutes", type=float, default=25)
    add("--every", type=float, default=5, help="minutes between snapshots")
    add("--size", type=int, nargs="+", default=[208], help="of the references' crops, one after another (208)")
    add("--batch", type=int, nargs="+", default=[2], help="pairs of a step, one number for each size (2)")
    add("--adversarial", type=float, default=TrainerConfig.adversarial, help="weight of that loss; 0: no adversary")
    add("--stroke-scale", type=float, default=1.75)
    add("--style-weight", type=float, default=1.0)
    add("--pairs", type=int, default=108)
    add("--beside", nargs="*", default=["agn-small"], metavar="NAME|FOLDER", help="weights to reach, the first one")
    add("--adain", type=Path, metavar="FILE.safetensors", help="a row of what adain_baseline.py trained")
    add("--adain-minutes", type=float, default=25, help="for how long it was trained")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--keep", type=Path, metavar="DIR", help="where the snapshots go, new; judged again where they are there")
    add("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    if len(options.size) != len(options.batch):
        fail(f"{len(options.size)} sizes and {len(options.batch)} batches; give --size and --batch as many numbers")
    torch.set_num_threads(options.threads)
    os.environ.setdefault("AGNLIB_VGG16", str(options.vgg))
    with tempfile.TemporaryDirectory() as folder:
        try:
            place = options.keep or Path(folder)
            snapshots = earlier(place) or train(options, place)
            found = judged(snapshots, options)
        except AgnError as error:
            fail(str(error))
    digits = {"palette": 2, "colour ratio": 2, "detail ratio": 2}
    cells = [[row, *(f"{values[name]:.{digits.get(name, 3)}f}" for name in SHOWN)] for row, values in found.items()]
    print(markdown_table(["", *SHOWN], cells))
    if options.beside:
        print(f"\n{reached(found, Path(options.beside[0]).name)}")
    if options.out:
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        kept = {
            name: value
            for name, value in settings.items()
            if name in ("minutes", "size", "batch", "style_weight", "adversarial", "pairs", "threads")
        }
        write_json(options.out, header(**kept) | {"rows": found})


if __name__ == "__main__":
    main()
