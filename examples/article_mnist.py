"""The founding article's training program (its section 4.3) in today's PyTorch.

    python examples/article_mnist.py --data ../shared/data/mnist --out runs/article
    python examples/article_mnist.py --data runs/mnist --download --size 64      # the article's own size
    python examples/article_mnist.py --data ../shared/data/mnist --conditional --loss class
    python examples/article_mnist.py --data pictures --trainer                   # the same job through the trainer

`--data` is a folder with MNIST's four idx files, or one folder of pictures for each class. Every epoch leaves a
checkpoint `epoch-N.safetensors` and a picture `epoch-N.png` of 64 samples from the same noise in `--out`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from torchvision.utils import make_grid

from agnlib import AdversarialTrainer, Discriminator, Generator
from agnlib.errors import AgnError, InputError
from agnlib.losses import (
    AdversarialLoss,
    class_discriminator_loss,
    class_generator_loss,
    gradient_penalty,
    interpolate,
    r1_penalty,
)
from agnlib.training import Batch, TrainerConfig, class_folders, mnist
from agnlib.training.config import LOSSES
from agnlib.training.safety.checkpoint import load_state, pack, save_state, unpack

LATENT = 100
SAMPLES = 64


def main(arguments: list[str] | None = None) -> int:
    """Train; 2 where the arguments or the data cannot be used."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    try:
        data = pictures(options)
        job = Job.of(options, channels=len(data[0][0]), classes=len(data.classes))
        batches = DataLoader(data, batch_size=min(options.batch, len(data)), shuffle=True, drop_last=True)
        (with_trainer if options.trainer else article_loop)(job, batches)
    except (AgnError, OSError) as error:
        print(f"article_mnist.py: {error}", file=sys.stderr)
        return 2
    return 0


def pictures(options: argparse.Namespace) -> Any:
    """The data set: MNIST or an ImageFolder, resized, in [-1, 1]."""
    is_mnist = options.download or any(options.data.glob("**/*-idx3-ubyte*"))
    transform = v2.Compose(
        [
            v2.Resize((options.size, options.size), antialias=True),
            v2.ToImage(),
            *([] if is_mnist else [v2.RGB()]),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ]
    )
    if is_mnist:
        return mnist(options.data, transform=transform, download=options.download)
    return class_folders(options.data, transform=transform)


@dataclass
class Job:
    """The networks, where the results go, and how long it may take."""

    generator: Generator
    discriminator: Discriminator
    loss: str
    conditional: bool
    folder: Path
    epochs: int
    seconds: float
    resume: Path | None
    seed: int

    @classmethod
    def of(cls, options: argparse.Namespace, *, channels: int, classes: int) -> Job:
        """The article's networks for the pictures at hand."""
        asked = classes if options.conditional else None
        judged = classes if options.conditional or options.loss == "class" else None
        return cls(
            Generator.article(options.size, channels, LATENT, num_classes=asked),
            Discriminator.article(options.size, channels, num_classes=judged, features=options.features),
            **{name: getattr(options, name) for name in ("loss", "conditional", "epochs", "resume", "seed")},
            folder=options.out,
            seconds=60 * options.minutes,
        )

    def sampler(self) -> Callable[[Generator], Tensor]:
        """64 pictures of a generator from noise that stays the same, one class a column where there are classes."""
        rng = torch.Generator().manual_seed(self.seed)
        z = torch.randn(SAMPLES, LATENT, generator=rng)
        label = torch.arange(SAMPLES) % 8 % self.discriminator.config.num_classes if self.conditional else None
        return lambda generator: paint(generator, z, label)


@torch.no_grad()
def paint(generator: Generator, z: Tensor, label: Tensor | None) -> Tensor:
    """Pictures from noise, of the classes asked for where the generator knows classes."""
    return generator(z) if label is None else generator(z, label)


# -- the article's loop ---------------------------------------------------------------------------------------------


def article_loop(job: Job, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Section 4.3: for each batch D learns, then G; after each epoch a checkpoint and 64 samples."""
    adam_g, adam_d = optimizers(job)
    state = {"generator": job.generator, "discriminator": job.discriminator, "adam_g": adam_g, "adam_d": adam_d}
    first = load_checkpoint(job.resume, state) if job.resume else 0
    sample, started = job.sampler(), time.monotonic()
    for epoch in range(first + 1, job.epochs + 1):
        for index, (real, digit) in enumerate(batches):
            loss_d, loss_g = both_turns(job, adam_g, adam_d, real, digit)
            print(f"epoch {epoch}/{job.epochs}  batch {index + 1}  D {loss_d:.4f}  G {loss_g:.4f}")
            if time.monotonic() - started > job.seconds:
                break
        save_checkpoint(job.folder / f"epoch-{epoch}.safetensors", epoch, state)
        save_grid(job.folder / f"epoch-{epoch}.png", sample(job.generator))
        if time.monotonic() - started > job.seconds:
            return


def optimizers(job: Job) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Adam for each network, by the article at 2e-4 with betas (0.5, 0.999)."""
    suits = LOSSES[job.loss]
    return (
        torch.optim.Adam(job.generator.parameters(), suits.lr_generator, suits.betas),
        torch.optim.Adam(job.discriminator.parameters(), suits.lr_discriminator, suits.betas),
    )


def both_turns(
    job: Job, adam_g: torch.optim.Optimizer, adam_d: torch.optim.Optimizer, real: Tensor, digit: Tensor
) -> tuple[float, float]:
    """One step of each network on a batch of real pictures; what both minimized."""
    label = digit if job.conditional else None
    z = torch.randn(len(real), LATENT)
    fake = job.generator(z) if label is None else job.generator(z, label)

    # D first: it learns to tell real from generated, and the generator is left alone
    adam_d.zero_grad()
    loss_d = discriminator_loss(job.discriminator, real, fake.detach(), digit, job)
    loss_d.backward()
    adam_d.step()

    # then G: it learns what D takes for real
    adam_g.zero_grad()
    loss_g = generator_loss(job.discriminator, real, fake, label, job)
    loss_g.backward()
    adam_g.step()
    return loss_d.item(), loss_g.item()


def discriminator_loss(discriminator: Discriminator, real: Tensor, fake: Tensor, digit: Tensor, job: Job) -> Tensor:
    """What D minimizes; by the article -log D(x) - log(1 - D(G(z)))."""
    if job.loss == "class":
        return class_discriminator_loss(discriminator.class_logits(real), discriminator.class_logits(fake), digit)
    label = digit if job.conditional else None
    on_real, on_fake = discriminator(real, label), discriminator(fake, label)
    if job.loss == "logistic":
        return bce(on_real, torch.ones(len(real))) + bce(on_fake, torch.zeros(len(fake)))
    loss = AdversarialLoss(job.loss)(on_real, on_fake)
    weight = LOSSES[job.loss].penalty
    if job.loss == "wasserstein":
        between = interpolate(real, fake)
        loss = loss + weight * gradient_penalty(discriminator(between, label), between)
    if job.loss == "relativistic":
        for picture in (real.clone().requires_grad_(), fake.clone().requires_grad_()):
            loss = loss + weight * r1_penalty(discriminator(picture, label), picture)
    return loss


def generator_loss(discriminator: Discriminator, real: Tensor, fake: Tensor, label: Tensor | None, job: Job) -> Tensor:
    """What G minimizes; by the article -log D(G(z))."""
    if job.loss == "class":
        return class_generator_loss(discriminator.class_logits(fake), label)
    on_fake = discriminator(fake, label)
    if job.loss == "logistic":
        return bce(on_fake, torch.ones(len(fake)))
    return AdversarialLoss(job.loss).generator(on_fake, discriminator(real, label).detach())


def save_checkpoint(path: Path, epoch: int, state: dict[str, Any]) -> None:
    """Epoch, networks, optimizers and the random state: tensors as safetensors, the rest as JSON in the same file."""
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    meta = {name: pack(name, part.state_dict(), tensors) for name, part in state.items()}
    save_state(path, tensors, {"epoch": epoch, **meta})


def load_checkpoint(path: Path, state: dict[str, Any]) -> int:
    """Put everything back where it was; the epoch that was finished then."""
    tensors, meta = load_state(path)
    try:
        for name, part in state.items():
            part.load_state_dict(unpack(meta[name], tensors))
        torch.set_rng_state(tensors["rng"])
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} does not fit this run ({reason}); give the options of the run that wrote it"
        ) from error
    return int(meta["epoch"])


def save_grid(path: Path, images: Tensor) -> None:
    """64 pictures as a PNG, eight a row."""
    grid = make_grid(images, nrow=8, padding=1, normalize=True, value_range=(-1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    v2.functional.to_pil_image(grid).save(path, optimize=True)


# -- the same job through the trainer -----------------------------------------------------------------------------


def with_trainer(job: Job, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """The same networks, losses and rates; the trainer takes the turns."""
    each = EachEpoch(job, len(batches))  # type: ignore[arg-type]
    config = TrainerConfig.article(job.loss, seed=job.seed)
    trainer = AdversarialTrainer(job.generator, job.discriminator, callbacks=[each], config=config)
    if job.resume:
        trainer.load_checkpoint(job.resume)
    trainer.fit(endless(batches), steps=job.epochs * each.length, minutes=job.seconds / 60)


def endless(batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Batch]:
    """The trainer's batches: real pictures and their labels, no content."""
    while True:
        for real, label in batches:
            yield Batch(None, real, label)


class EachEpoch:
    """A line for each batch, a checkpoint and a picture for each epoch."""

    def __init__(self, job: Job, length: int) -> None:
        self.job, self.length, self.sample = job, length, job.sampler()

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        epoch, index = divmod(trainer.step - 1, self.length)
        losses = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        print(f"epoch {epoch + 1}/{self.job.epochs}  batch {index + 1}  {losses}")
        if index + 1 == self.length:
            self.save(trainer, epoch + 1)

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        if trainer.step % self.length:
            self.save(trainer, trainer.step // self.length + 1)

    def save(self, trainer: AdversarialTrainer, epoch: int) -> None:
        trainer.save_checkpoint(self.job.folder / f"epoch-{epoch}.safetensors")
        save_grid(self.job.folder / f"epoch-{epoch}.png", self.sample(trainer.generator))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The founding article's training program.")
    parser.add_argument("--data", type=Path, default=Path("runs/mnist"), help="MNIST's idx files, or class folders")
    parser.add_argument("--download", action="store_true", help="fetch MNIST into --data")
    parser.add_argument("--out", type=Path, default=Path("runs/article"), help="for checkpoints and pictures")
    parser.add_argument("--size", type=int, choices=(28, 32, 64), default=28, help="pixels a side; the article's is 64")
    parser.add_argument("--conditional", action="store_true", help="G(z, y) and D(x, y)")
    parser.add_argument(
        "--features", choices=("flat", "conv"), default="flat", help="what the discriminator begins with"
    )
    parser.add_argument("--loss", choices=tuple(LOSSES), default="logistic", help="logistic is the article's")
    parser.add_argument("--trainer", action="store_true", help="through AdversarialTrainer instead of the loop here")
    parser.add_argument("--batch", type=_at_least_one, default=128)
    parser.add_argument("--epochs", type=_at_least_one, default=10)
    parser.add_argument("--minutes", type=_positive, default=float("inf"), help="stop after as many")
    parser.add_argument("--resume", type=Path, help="a checkpoint of a run with the same options")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=_at_least_one, default=torch.get_num_threads())
    return parser.parse_args(arguments)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; expected a whole number, at least 1")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is too small; expected more than 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
