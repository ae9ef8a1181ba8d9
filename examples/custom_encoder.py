"""A perceptual encoder of your own: oriented edges at three scales, with no weights to download.

    python examples/custom_encoder.py

An encoder is anything with `channels`, `min_size` and `__call__(image) -> {tap: features}`. Losses, terms and metrics
take it as they take VGG16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics import style_distance
from agnlib.models import Discriminator, Generator
from agnlib.testing import check_encoder
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.training.objective.terms import ContentTerm, MomentStyleTerm, SharedEncoder, TargetCache


class SteerableEncoder:
    """Rectified derivatives of the luminance in eight directions, beside the three colors, at 1, 1/2 and 1/4 size.

    Paper: Freeman and Adelson, "The design and use of steerable filters", 1991 (a derivative in any direction is a
    mixture of two).
    """

    min_size = 8

    def __init__(self, directions: int = 8, scales: int = 3) -> None:
        angles = torch.arange(directions) * (2 * torch.pi / directions)
        smooth, slope = torch.tensor([1.0, 2.0, 1.0]) / 4, torch.tensor([-1.0, 0.0, 1.0]) / 2
        across, down = torch.outer(smooth, slope), torch.outer(slope, smooth)
        self._filters = (angles.cos()[:, None, None] * across + angles.sin()[:, None, None] * down)[:, None]
        self.channels = {f"scale{index}": directions + 3 for index in range(scales)}

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        features, picture = {}, image
        for tap in self.channels:
            gray = F.pad(picture.mean(1, keepdim=True), (1,) * 4, mode="replicate")
            edges = F.relu(F.conv2d(gray, self._filters.to(picture)))
            features[tap] = torch.cat([edges, picture], dim=1)
            picture = F.avg_pool2d(picture, 2)
        return features


def main(steps: int = 12) -> None:
    """Train a small generator through it, and measure with it."""
    encoder = SteerableEncoder()
    check_encoder(encoder)
    torch.manual_seed(0)
    shared, taps = SharedEncoder(encoder), tuple(encoder.channels)
    terms = {
        "style": Weighted(MomentStyleTerm(shared, taps, TargetCache()), 3.0),
        "content": Weighted(ContentTerm(shared, taps[1:], TargetCache()), 1.0),
    }
    trainer = AdversarialTrainer(
        Generator(style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1)),
        Discriminator(style_dim=16, channels=(8, 16)),
        terms=terms,
        config=TrainerConfig(warmup=0, identity=0.0, lr_generator=5e-3),
    )
    photos, references = torch.rand(2, 4, 3, 32, 32) * 2 - 1
    trainer.fit([Batch(photos, references, step=step) for step in range(steps)], steps=steps)
    with torch.no_grad():
        painted = trainer.averaged_generator(torch.zeros(4, 100), content=photos)
    print(f"style distance after {steps} steps: {style_distance(painted, references, encoder).mean():.3f}")


if __name__ == "__main__":
    main()
