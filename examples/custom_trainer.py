"""A trainer of your own: a discriminator that is rested while it wins, and one more loss for the generator.

    python examples/custom_trainer.py

Override what differs and call the rest by `super()`. What the trainer remembers from step to step is given to the
checkpoint by `get_extra_state`, so that a resumed run is exact; `check_trainer` finds out when it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agnlib.models import Discriminator, Generator
from agnlib.testing import check_trainer
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig


class BalancedTrainer(AdversarialTrainer):
    """Weighs the discriminator's losses by how far it is from being sure, and keeps the results' mean color.

    `lead` follows the difference of its mean logits slowly: the further it is ahead, the less it learns.
    """

    lead = 0.0

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        losses = super().discriminator_loss(batch, fake)
        weight = 1 / (1 + max(0.0, self.lead))
        return {name: weight * value for name, value in losses.items()}

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        drift = (fake.mean((2, 3)) - batch.style.mean((2, 3))).abs().mean()
        return {**super().generator_loss(batch, fake), "mean_color": 0.5 * drift}

    def on_step_end(self, logs: Mapping[str, float]) -> None:
        if "discriminator/real" in logs:
            self.lead += 0.1 * (logs["discriminator/real"] - logs["discriminator/fake"] - self.lead)

    def get_extra_state(self) -> dict[str, Any]:
        return {"lead": self.lead}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.lead = float(state["lead"])


def make() -> BalancedTrainer:
    """A small one, the same every time."""
    torch.manual_seed(0)
    return BalancedTrainer(
        Generator(style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1)),
        Discriminator(style_dim=16, channels=(8, 16)),
        config=TrainerConfig(warmup=0, adversarial_ramp=0, identity=0.0, penalty_every=2),
    )


def main(steps: int = 12) -> None:
    """Check it and train with it."""
    check_trainer(make)
    trainer = make()
    photos, references = torch.rand(2, 4, 3, 32, 32) * 2 - 1
    logs = trainer.fit([Batch(photos, references, step=step) for step in range(steps)], steps=steps)
    print(f"lead {trainer.lead:.3f} after {trainer.step} steps, {', '.join(sorted(logs))}")


if __name__ == "__main__":
    main()
