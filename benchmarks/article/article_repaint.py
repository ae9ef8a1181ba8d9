"""Repainting digits, measured: is it still the same digit, and are ink and paper in the colors of the source picture?

    python benchmarks/article/article_repaint.py run --only trained --seed 0  # one row
    python benchmarks/article/article_repaint.py run                            # all rows that are not there yet
    python benchmarks/article/article_repaint.py table > benchmarks/results/article_repaint.md

Rows are kept in `benchmarks/results/article/repaint-ROW-SEED.json`, trained weights in `--work`, so that a run that was
cut short goes on with the row that it was at. Training is counted in CPU minutes of its one thread.

The judge is a classifier trained on real MNIST (`_digits.py`), which knows white ink on black. It is shown how much ink
the result's luminance (BT.601, as everywhere in `_digits.py`) says there is: 0 at the luminance of the paper wanted, 1
at that of the ink wanted, linear between and clipped beyond. So a result in other colors is not forgiven, blue on red
reads as white on black, and a picture painted by `Recolor` comes back exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from torch import Tensor

from agnlib import AdversarialTrainer, Generator, StyleExtractor
from agnlib.errors import AgnError
from benchmarks._common import CHECKOUT, SHARED, fail, header, markdown_table, write_json
from benchmarks.article._digits import SIDE, DigitClassifier, classifier, colors

sys.path.insert(0, str(CHECKOUT / "examples"))
import repaint_digits as example
from repaint_parts import BLACK_ON_WHITE, STYLES, Digits, Plan, batches, paint

RESULTS = CHECKOUT / "benchmarks" / "results" / "article"
ROWS = ("untrained", "identity", "recolored", "trained", "vae-gan")
GOAL = "blue on red"
_GRAY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
_PART = 50  # pictures at a time

Painter = Callable[[Tensor, Tensor], Tensor]  # source pictures, digits -> results


# --- measures ---------------------------------------------------------------------------------------------------------


def ink_of(images: Tensor, style: int) -> Tensor:
    """How much ink there is by the luminance, `(B, 1, 28, 28)` in [0, 1], of pictures that should be in a style."""
    region = torch.tensor([[[[0]], [[255]]]], dtype=torch.uint8)  # a pixel of ink, a pixel of paper
    wanted = (paint(region.reshape(1, 1, 2, 1), [style]) * _GRAY).sum(1)[0, :, 0]
    gray = (images.clamp(-1, 1) * _GRAY).sum(1, keepdim=True)
    ink = ((gray - wanted[1]) / (wanted[0] - wanted[1])).clamp(0, 1)
    return F.interpolate(ink, (SIDE, SIDE), mode="bilinear", antialias=True)


def to_lab(images: Tensor) -> np.ndarray:
    """CIE Lab `(B, H, W, 3)` by scikit-image."""
    pixels = (images.clamp(-1, 1).permute(0, 2, 3, 1).double().numpy() + 1) / 2
    lab: np.ndarray = rgb2lab(pixels)
    return lab


def color_errors(images: Tensor, ink: Tensor, style: int) -> dict[str, np.ndarray]:
    """Mean Delta E (CIE 1976) from the colors wanted, for each picture `(B,)`.

    Over the pixels that are ink in the digit (at least nine tenths black, `ink` `(B, 1, H, W)`), and those that are
    paper (at most one tenth).
    """
    lab, amount = to_lab(images), ink[:, 0].numpy()
    target = {"ink": _target(style, 0), "paper": _target(style, 255)}
    where = {"ink": amount >= 0.9, "paper": amount <= 0.1}
    found = {}
    for name, mask in where.items():
        plain = np.linalg.norm(lab - target[name], axis=-1)
        found[name] = np.array([d[m].mean() if m.any() else np.nan for d, m in zip(plain, mask, strict=True)])
    return found


def _target(style: int, gray: int) -> np.ndarray:
    return to_lab(paint(torch.full((1, 1, 1, 1), gray, dtype=torch.uint8), [style]))[0, 0, 0]


def most_and_least_ink(images: Tensor, style: int) -> Tensor:
    """A guess of the ink in pictures that nobody drew, `(B, 1, H, W)`: 1 for the 5% most inky pixels, 0 for half.

    By the place between the colors wanted of paper and ink; all other pixels get 0.5 and are not measured.
    """
    ends = paint(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1), [style, style])
    place = (images * (ends[0] - ends[1])).sum(1, keepdim=True).flatten(2)
    high, low = place.quantile(0.95, dim=2, keepdim=True), place.quantile(0.5, dim=2, keepdim=True)
    guess = torch.where(place >= high, 1.0, torch.where(place <= low, 0.0, 0.5))
    return guess.unflatten(2, images.shape[2:])


@torch.no_grad()
def measure_repainting(
    painter: Painter, judge: DigitClassifier, data: tuple[Digits, Digits], style: int, *, count: int, seed: int = 0
) -> dict[str, float]:
    """The first `count` test digits repainted in a style; source pictures are drawn from the training digits."""
    train, test = data
    torch.manual_seed(1000 + seed)
    right, errors = [], []
    for part in torch.arange(count).split(_PART):
        region = test.cover(part)
        digits, source = paint(region, [BLACK_ON_WHITE] * len(part)), paint(train.draw(len(part)), [style] * len(part))
        result = painter(source, digits)
        right.append(judge(ink_of(result, style)).argmax(1) == test.targets[part])
        errors.append(color_errors(result, 1 - region.double() / 255, style))
    return {"identity": float(torch.cat(right).double().mean()), "pictures": count, **_summary(errors)}


@torch.no_grad()
def measure_new(
    networks: tuple[Generator, StyleExtractor], judge: DigitClassifier, train: Digits, style: int, *, count: int
) -> dict[str, Any]:
    """New digits in a style, as the judge and the colors see them."""
    torch.manual_seed(2000)
    probability, errors = [], []
    for part in torch.arange(count).split(_PART):
        result = example.new_digits(*networks, paint(train.draw(len(part)), [style] * len(part)))
        probability.append(judge(ink_of(result, style)).softmax(1))
        errors.append(color_errors(result, most_and_least_ink(result, style), style))
    top, digit = torch.cat(probability).max(1)
    shares = (torch.bincount(digit, minlength=10) / count).tolist()
    return {"confidence": float(top.mean()), "least_share": min(shares), "shares": shares, **_summary(errors)}


@torch.no_grad()
def measure_random_styles(generator: Generator, test: Digits, count: int) -> dict[str, float]:
    """How varied the colors are of digits repainted in random styles, `generator.sample_style(z)`."""
    torch.manual_seed(3000)
    results = []
    for part in torch.arange(count).split(_PART):
        z = torch.randn(len(part), generator.config.latent_dim)
        digits = paint(test.cover(part), [BLACK_ON_WHITE] * len(part))
        results.append(generator(z, generator.sample_style(z), content=digits))
    return colors(torch.cat(results))


def measure_real_styles(test: Digits, count: int) -> dict[str, float]:
    """The same of digits painted in the styles that were learned from, drawn evenly."""
    torch.manual_seed(3000)
    chosen = torch.randint(len(STYLES), (count,))
    parts = torch.arange(count).split(_PART)
    return colors(torch.cat([paint(test.cover(part), chosen[part]) for part in parts]))


def _summary(errors: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Means over pictures, and what 95% of them stay below."""
    whole = {name: np.concatenate([part[name] for part in errors]) for name in errors[0]}
    means = {name: float(np.nanmean(values)) for name, values in whole.items()}
    return means | {f"{name}_95": float(np.nanquantile(values, 0.95)) for name, values in whole.items()}


# --- rows -------------------------------------------------------------------------------------------------------------


def train_row(row: str, options: argparse.Namespace, digits: Digits) -> tuple[Path, float]:
    """The folder with a row's weights and the CPU minutes that they took; trained on where a run was cut short."""
    folder = options.work / f"{row}-{options.seed}-{options.steps}"
    plan, keeper = Plan(options.steps), Keeper(folder, options.minutes)
    if not (folder / "extractor").is_dir():
        trainer = example.make_trainer(digits, plan, variational=row == "vae-gan", seed=options.seed)
        trainer.callbacks = (keeper,)
        keeper.resume(trainer)
        trainer.fit(batches(digits, plan, seed=options.seed, start=trainer.step), steps=plan.steps)
        keeper.keep(trainer)
        example.set_random_styles(trainer, digits, plan)
        trainer.averaged_generator.save_pretrained(folder / "generator")
        trainer.averaged_extractor.save_pretrained(folder / "extractor")
    return folder, keeper.minutes


class Keeper:
    """A callback that counts the CPU minutes of training, writes a checkpoint now and then and ends a run in time."""

    def __init__(self, folder: Path, most: float, *, every: int = 100) -> None:
        self.folder, self.most, self.every = folder, most, every
        self.checkpoint, self.notes = folder / "last.safetensors", folder / "training.json"
        self.minutes = float(json.loads(self.notes.read_text())["minutes"]) if self.notes.is_file() else 0.0
        self._since = time.process_time()

    def resume(self, trainer: AdversarialTrainer) -> None:
        """Go on from the last checkpoint, if there is one."""
        if self.checkpoint.is_file():
            trainer.load_checkpoint(self.checkpoint)
        self._since = time.process_time()

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        """Count, and keep what there is every so many steps."""
        now = time.process_time()
        self.minutes, self._since = self.minutes + (now - self._since) / 60, now
        if trainer.step % self.every == 0:
            print(trainer.step, round(self.minutes, 2), {k: round(v, 3) for k, v in logs.items()}, flush=True)
            self.keep(trainer)
        if self.minutes >= self.most:
            trainer.stop("the budget of CPU minutes is spent")

    def keep(self, trainer: AdversarialTrainer) -> None:
        """Write the checkpoint and the minutes; their own time is not training's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(self.checkpoint)
        write_json(self.notes, {"minutes": self.minutes, "steps": trainer.step})
        self._since = time.process_time()


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about a row."""
    train, test, judge = Digits(options.data), Digits(options.data, train=False), classifier(options.data)
    index, minutes, generator, extractor = list(STYLES).index(GOAL), 0.0, None, None
    if row in ("trained", "vae-gan"):
        folder, minutes = train_row(row, options, train)
        generator = Generator.from_pretrained(folder / "generator").eval()
        extractor = StyleExtractor.from_pretrained(folder / "extractor").eval()
    elif row == "untrained":
        trainer = example.make_trainer(train, Plan(), seed=options.seed)
        generator, extractor = trainer.averaged_generator, trainer.averaged_extractor

    def painter(source: Tensor, digits: Tensor) -> Tensor:
        if generator is not None and extractor is not None:
            return example.repaint(generator, extractor, source, digits)
        if row == "identity":
            return digits
        return paint(((digits[:, :1] + 1) * 127.5).round().to(torch.uint8), [style] * len(digits))

    result: dict[str, Any] = {"minutes": minutes, "styles": {}}
    for style, name in enumerate(STYLES):
        count = options.pictures if style == index else max(1, options.pictures // 10)
        result["styles"][name] = measure_repainting(
            painter, judge, (train, test), style, count=count, seed=options.seed
        )
        print(row, name, {k: round(v, 3) for k, v in result["styles"][name].items()}, flush=True)
    if generator is not None and extractor is not None:
        result["new"] = measure_new((generator, extractor), judge, train, index, count=options.pictures)
    if row in ("trained", "vae-gan") and generator is not None:
        result["random_styles"] = measure_random_styles(generator, test, max(2, options.pictures // 5))
    if row == "recolored":
        result["random_styles"] = measure_real_styles(test, max(2, options.pictures // 5))
    return result


def save_pictures(row: str, options: argparse.Namespace) -> None:
    """The three sheets of a trained row for the documentation: always the first test digits and the same seed."""
    test = Digits(options.data, train=False)
    folder, _ = train_row(row, options, test)
    generator = Generator.from_pretrained(folder / "generator").eval()
    extractor = StyleExtractor.from_pretrained(folder / "extractor").eval()
    sheets = {
        "digits": example.repaint_strip(generator, extractor, test),
        "new": example.new_digits_sheet(generator, extractor, test),
        "random": example.random_styles_sheet(generator, test),
    }
    options.images.mkdir(parents=True, exist_ok=True)
    for name, sheet in sheets.items():
        example.save_sheet(sheet, options.images / f"repaint-{row}-{name}.png")


# --- table ------------------------------------------------------------------------------------------------------------


def table(folder: Path = RESULTS) -> str:
    """The rows that are there, in markdown."""
    lines = []
    for row in ROWS:
        for file in sorted(folder.glob(f"repaint-{row}-*.json")):
            lines.append([row, *_cells(json.loads(file.read_text()))])
    columns = ["repainting 'blue on red'", "seed", "identity kept", "ink Delta E", "paper Delta E", "CPU minutes"]
    columns += ["other styles: identity", "ink", "paper", "new: confidence", "least share", "hue entropy", "distance"]
    return markdown_table(columns, lines)


def _cells(result: dict[str, Any]) -> list[str]:
    goal, others = result["styles"][GOAL], [v for k, v in result["styles"].items() if k != GOAL]
    cells = [str(result["settings"]["seed"]), f"{goal['identity']:.1%}"]
    cells += [f"{goal[name]:.1f} (95%: {goal[name + '_95']:.1f})" for name in ("ink", "paper")]
    cells.append(f"{result['minutes']:.1f}")
    cells += [f"{np.mean([other['identity'] for other in others]):.1%}"]
    cells += [f"{np.mean([other[name] for other in others]):.1f}" for name in ("ink", "paper")]
    new, random = result.get("new"), result.get("random_styles")
    cells += [f"{new['confidence']:.2f}", f"{new['least_share']:.1%}"] if new else ["", ""]
    return cells + ([f"{random['hue_entropy']:.2f}", f"{random['distance']:.1f}"] if random else ["", ""])


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Run rows, or lay them out."""
    options = _options(arguments)
    if options.task == "table":
        print(table(options.results))
        return
    torch.set_num_threads(1)
    try:
        for row in [options.only] if options.only else ROWS:
            file = options.results / f"repaint-{row}-{options.seed}.json"
            if file.is_file() and not options.only:
                continue
            settings = {"row": row, "seed": options.seed, "steps": options.steps, "pictures": options.pictures}
            write_json(file, header(**settings, minutes=options.minutes) | measure(row, options))
            if row in ("trained", "vae-gan") and options.images:
                save_pictures(row, options)
    except AgnError as error:
        fail(str(error))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Repainting digits, measured.")
    add = parser.add_argument
    add("task", choices=("run", "table"))
    add("--only", choices=ROWS, help="one row, also if it is there already")
    add("--seed", type=int, default=0)
    add("--minutes", type=float, default=10.0, help="CPU minutes that training may take (default 10)")
    add("--steps", type=int, default=Plan.steps, help=f"of training (default {Plan.steps})")
    add("--pictures", type=int, default=1000, help="in the goal's style; a tenth in each other (default 1000)")
    add("--data", type=Path, default=SHARED / "data" / "mnist", help="MNIST's idx files")
    add("--results", type=Path, default=RESULTS, help="for the rows")
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "agnlib-repaint", help="for trained weights")
    add("--images", type=Path, metavar="FOLDER", help="repaint-ROW-*.png are written there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
