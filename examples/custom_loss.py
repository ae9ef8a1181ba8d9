"""A loss of your own: results should be as bright as their references, place by place.

    python examples/custom_loss.py

A term is any callable `(batch, fake) -> scalar`. It never calls backward, and its pictures are in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.models import Discriminator, Generator
from agnlib.testing import check_loss
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted


class BrightnessTerm:
    """The distance of the two pictures' distributions of brightness: sorted values, compared in order (Wasserstein-1).

    Args:
        pool: pictures are averaged by this factor first, so that strokes are free.
    """

    def __init__(self, pool: int = 4) -> None:
        self.pool = pool

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        found, wanted = (self._sorted(picture) for picture in (fake, batch.style))
        return (found - wanted).abs().mean()

    def _sorted(self, picture: Tensor) -> Tensor:
        weights = picture.new_tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
        luminance = F.avg_pool2d((picture * weights).sum(1, keepdim=True), self.pool)
        return luminance.flatten(1).sort(dim=1).values


def main(steps: int = 12) -> None:
    """Train a small generator with it on dark photos and bright references."""
    check_loss(BrightnessTerm())
    torch.manual_seed(0)
    trainer = AdversarialTrainer(
        Generator(style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1)),
        Discriminator(style_dim=16, channels=(8, 16)),
        terms={"brightness": Weighted(BrightnessTerm(), 5.0)},
        config=TrainerConfig(warmup=0, identity=0.0, lr_generator=5e-3),
    )
    photos, references = torch.rand(2, 4, 3, 32, 32) * 0.5 - torch.tensor([0.9, -0.4]).view(2, 1, 1, 1, 1)
    for step in range(steps):
        logs = trainer.fit([Batch(photos, references, step=step)], steps=steps)
    print(f"brightness after {trainer.step} steps: {logs['generator/brightness']:.3f}")


if __name__ == "__main__":
    main()
