"""What a project that uses agnlib looks like: a loss and a trainer of its own, and a Stylizer inside a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from PIL import Image

from agnlib import AdversarialTrainer, Discriminator, Generator, Stylizer
from agnlib.training import Batch, TrainerConfig, Weighted


def mean_color(batch: Batch, fake: torch.Tensor) -> torch.Tensor:
    return (fake.mean((2, 3)) - batch.style.mean((2, 3))).abs().mean()


class CalmTrainer(AdversarialTrainer):
    def discriminator_loss(self, batch: Batch, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: 0.5 * loss for name, loss in super().discriminator_loss(batch, fake).items()}


def trained(steps: int) -> dict[str, float]:
    generator = Generator(style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
    terms = {"color": Weighted(mean_color, 0.5)}
    config = TrainerConfig(warmup=0, adversarial_ramp=0)
    trainer = CalmTrainer(generator, Discriminator(style_dim=16, channels=(8, 16)), terms=terms, config=config)
    return trainer.fit([Batch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))] * steps, steps=steps)


def painted(photos: Iterable[Image.Image], style: str, weights: str = "agn-small") -> Iterator[Image.Image]:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    code = stylizer.encode_style(style)
    for photo in photos:
        result: Image.Image = stylizer(photo, code, strength=0.8)
        yield result


if __name__ == "__main__":
    import sys

    import agnlib

    (picture,) = painted([Image.new("RGB", (40, 30), "teal")], sys.argv[1])
    print(agnlib.__file__, picture.size, sorted(trained(2)))  # noqa: T201
