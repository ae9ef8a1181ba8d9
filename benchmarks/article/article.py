"""The founding article's parts, measured on MNIST: samples, losses, colors, detail and time.

    python benchmarks/article/article.py run --only samples --seed 0           # one of them; needs MNIST's idx files
    python benchmarks/article/article.py table > benchmarks/results/article.md # from the runs that are there

A run trains through `AdversarialTrainer` for a budget of CPU minutes of its process on one thread, judgment not
counted, so that it means the same on a busy machine; it leaves `benchmarks/results/article/NAME-SEED.json`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agnlib import AdversarialTrainer, Discriminator, Generator
from agnlib.errors import AgnError
from agnlib.training import Batch, TrainerConfig, mnist
from agnlib.training.config import LOSSES
from benchmarks._common import CHECKOUT, SHARED, fail, header, write_json
from benchmarks.article._digits import SIDE, accuracy, as_digits, classifier, colors, judge

RESULTS = CHECKOUT / "benchmarks" / "results"
RUNS_FOLDER = RESULTS / "article"
SAMPLES, BATCH, LATENT = 2000, 128, 100


@dataclass(frozen=True)
class Run:
    """What is trained, on what, and for how many CPU minutes."""

    networks: str = "article"
    loss: str = "logistic"
    labels: bool = False
    color: bool = False
    features: str = "flat"
    minutes: float = 5.0
    seeds: int = 1


REAL = "real"
RUNS = {
    "samples": Run(minutes=15),
    "samples-relativistic": Run(loss="relativistic", minutes=15),
    "samples-conv": Run(loss="relativistic", features="conv", minutes=10),
    "samples-class": Run(loss="class", minutes=10),
    "asked": Run(loss="class", labels=True, minutes=8),
    "modern": Run("modern", "hinge", minutes=12),
    "modern-asked": Run("modern", "hinge", labels=True, minutes=8),
    "color": Run(color=True),
    "modern-color": Run("modern", "hinge", color=True),
    **{f"loss-{name}": Run(loss=name, seeds=3) for name in LOSSES if name != "class"},
}


def main() -> None:
    """Run or lay out."""
    options = _options()
    if options.task == "table":
        from benchmarks.article._article_table import table

        print(table(RUNS_FOLDER, RUNS))
    else:
        torch.set_num_threads(1)
        try:
            if options.only == REAL:
                measure_real(options.data)
            else:
                measure(options.only, options.seed, options)
        except AgnError as error:
            fail(str(error))


def measure_real(folder: Path) -> None:
    """What the judge says about real digits: 2,000 to train with, beside the test set."""
    network, rng = classifier(folder), torch.Generator().manual_seed(0)
    digits, labels = _unit(mnist(folder).data[:SAMPLES]), mnist(folder).targets[:SAMPLES]
    result = {
        "accuracy": accuracy(network, folder),
        "real": judge(network, digits, _unit(mnist(folder, train=False).data), labels),
        "colors": colors(recolored(digits, rng) * 2 - 1),
    }
    write_json(RUNS_FOLDER / f"{REAL}-0.json", {**header(samples=SAMPLES), **result})


def measure(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train one run and write what came out, as it comes: a run that is cut short leaves what it had."""
    run = RUNS[name]
    minutes = options.minutes or run.minutes
    settings = {"name": name, "seed": seed, "minutes": minutes, "samples": SAMPLES, "batch": BATCH, **asdict(run)}

    def write(watch: Watch, failure: str | None = None) -> None:
        steps = max(watch.curve[-1]["steps"], 1)
        result = {"seconds_per_step": watch.spent / steps, "failure": failure, "curve": watch.curve}
        write_json(RUNS_FOLDER / f"{name}-{seed}.json", {**header(**settings), **result})

    watch = Watch(run, seed, minutes, options, write)
    trainer = _trainer(run, seed, watch)
    watch.look(trainer)  # untrained
    try:
        trainer.fit(_batches(run, seed, options.data), steps=10**9)
    except AgnError as error:
        write(watch, str(error))


class Watch:
    """A callback that counts the CPU time of training alone, judges the samples every minute and ends the run."""

    def __init__(
        self, run: Run, seed: int, minutes: float, options: argparse.Namespace, write: Callable[[Watch], None]
    ) -> None:
        self.run, self.minutes, self.write = run, minutes, write
        self.grids: Path | None = options.grids and options.grids / f"{options.only}-{seed}"
        self.spent, self.curve = 0.0, []
        self._judge, self._real = classifier(options.data), _unit(mnist(options.data, train=False).data)
        rng = torch.Generator().manual_seed(1000 + seed)
        self._z = torch.randn(SAMPLES, LATENT, generator=rng)
        self._label = torch.arange(SAMPLES) % 10
        self._since: float | None = None

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        self._since = time.process_time()

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        now = time.process_time()
        self.spent += now - self._since
        if self.spent >= 60 * min(len(self.curve), self.minutes):
            self.look(trainer, logs)
            if self.spent >= 60 * self.minutes:
                trainer.stop("the budget is spent")
        self._since = time.process_time()

    def look(self, trainer: AdversarialTrainer, logs: Mapping[str, float] | None = None) -> None:
        """Judge the generator as it is and its average."""
        row: dict[str, Any] = {"minutes": round(self.spent / 60, 2), "steps": trainer.step, "logs": dict(logs or {})}
        for kind, generator in (("last", trainer.generator), ("average", trainer.averaged_generator)):
            images = self._paint(generator)
            row[kind] = colors(images) if self.run.color else self._judged(images)
            if self.grids:
                self._save_grid(images[:64], f"{len(self.curve):02d}-{kind}.png")
        self.curve.append(row)
        self.write(self)
        summary = {kind: {k: v for k, v in row[kind].items() if k != "shares"} for kind in ("last", "average")}
        print(f"{row['minutes']:5.1f} min  {trainer.step:6d} steps  {summary}", flush=True)

    def _judged(self, images: Tensor) -> dict[str, Any]:
        return judge(self._judge, as_digits(images), self._real, self._label if self.run.labels else None)

    @torch.no_grad()
    def _paint(self, generator: Generator) -> Tensor:
        training = generator.training
        parts = []
        for z, label in zip(self._z.split(250), self._label.split(250), strict=True):
            asked = label if self.run.labels else None
            if self.run.networks == "article":
                parts.append(generator(z, asked) if self.run.labels else generator(z))
            else:
                parts.append(generator.eval()(z, generator.sample_style(z, asked), size=(SIDE, SIDE)))
        generator.train(training)
        return torch.cat(parts)

    def _save_grid(self, images: Tensor, name: str) -> None:
        from torchvision.utils import save_image

        self.grids.mkdir(parents=True, exist_ok=True)
        save_image(images, self.grids / name, nrow=8, padding=1, normalize=True, value_range=(-1, 1))


def _trainer(run: Run, seed: int, watch: Watch) -> AdversarialTrainer:
    torch.manual_seed(seed)
    classes = 10 if run.labels else None
    channels = 3 if run.color else 1
    if run.networks == "article":
        generator = Generator.article(SIDE, channels, LATENT, num_classes=classes)
        judged = 10 if run.labels or run.loss == "class" else None
        discriminator = Discriminator.article(SIDE, channels, num_classes=judged, features=run.features)
        config = TrainerConfig.article(run.loss, seed=seed)
    else:
        generator = Generator(LATENT, num_classes=classes or 0, image_size=SIDE)
        discriminator = Discriminator(num_classes=classes)
        config = TrainerConfig(loss=run.loss, warmup=0, adversarial_ramp=0, adversarial=1.0, final_lr=1.0, seed=seed)
    return AdversarialTrainer(generator, discriminator, callbacks=[watch], config=config)


def _batches(run: Run, seed: int, folder: Path) -> Iterator[Batch]:
    """Real digits without end, in [-1, 1]; in random colors, or gray in three channels where the networks want RGB."""
    data, rng = mnist(folder), torch.Generator().manual_seed(seed)
    while True:
        for chosen in torch.randperm(len(data), generator=rng).split(BATCH)[:-1]:
            digits = _unit(data.data[chosen])
            if run.color:
                digits = recolored(digits, rng)
            elif run.networks == "modern":
                digits = digits.expand(-1, 3, -1, -1)
            yield Batch(None, digits * 2 - 1, data.targets[chosen])


def recolored(digits: Tensor, rng: torch.Generator) -> Tensor:
    """Each digit with ink and paper of random colors, `(B, 3, H, W)` in [0, 1]."""
    paper, ink = torch.rand(2, len(digits), 3, 1, 1, generator=rng)
    return torch.lerp(paper, ink, digits)


def _unit(data: Tensor) -> Tensor:
    return data[:, None].float() / 255


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The article's parts, measured.")
    parser.add_argument("task", choices=("run", "table"))
    parser.add_argument("--only", choices=(REAL, *RUNS), help="the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="another budget of CPU minutes")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "mnist", help="folder with MNIST's idx files")
    parser.add_argument("--grids", type=Path, help="folder for pictures of 64 samples each minute")
    options = parser.parse_args()
    if options.task == "run" and options.only is None:
        fail("run needs --only NAME; --help has the names")
    return options


if __name__ == "__main__":
    main()
