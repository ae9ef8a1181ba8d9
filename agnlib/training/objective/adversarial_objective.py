"""The adversarial objective: which losses and penalties a configuration asks for."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.losses import (
    AdversarialLoss,
    class_discriminator_loss,
    class_generator_loss,
    class_log_odds,
    feature_matching_loss,
    gradient_penalty,
    interpolate,
    r1_penalty,
    uniformity_loss,
)
from agnlib.models import Discriminator
from agnlib.training.config import LOSSES, TrainerConfig
from agnlib.training.data.augment import AdaptiveProbability, augment
from agnlib.training.data.pairs import Batch
from agnlib.training.distributed import World
from agnlib.training.precision import autocast, full

__all__ = ["AdversarialObjective"]


class AdversarialObjective:
    """The adversaries' losses of one configuration, on one discriminator.

    Args:
        config: whose loss, `wrong_code`, penalty, `feature_matching`, `uniformity` and augmentation are used.
        discriminator: any with `patch_logits`, `features` and, for the loss "class", `class_logits`.
        rng: of the augmentation and of the places between real and generated pictures.

    Raises:
        InputError: the loss "class" with a discriminator that gives no class logits.
    """

    def __init__(self, config: TrainerConfig, discriminator: Discriminator, rng: torch.Generator) -> None:
        self.config, self.discriminator, self.rng = config, discriminator, rng
        self.world = World.current()
        self.judged: dict[str, float] = {}  # the last mean logits of real and of generated pictures, and mean signs
        start = config.augment_probability if config.ada_target is None else 0.0
        self.adaptive = AdaptiveProbability(start, target=config.ada_target, images=config.ada_images)
        self._classes = config.loss == "class"
        self._gives_classes = hasattr(discriminator, "class_logits") and discriminator.config.num_classes is not None
        if self._classes and not self._gives_classes:
            raise InputError(
                "AdversarialTrainer: the loss 'class' needs a discriminator with class logits;"
                " take Discriminator.article(num_classes=K)"
            )
        self._pair = AdversarialLoss("logistic" if self._classes else config.loss)

    @property
    def penalty_every(self) -> int:
        """Steps between penalties; the configuration's, or the loss's own."""
        return self.config.penalty_every or LOSSES[self.config.loss].penalty_every

    @property
    def penalty_weight(self) -> float:
        """Weight of a penalty when it is taken; the rarer, the heavier."""
        weight = LOSSES[self.config.loss].penalty if self.config.penalty is None else self.config.penalty
        return weight * self.penalty_every

    def discriminator_losses(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Named, weighted losses of the discriminator on a batch and the generated pictures."""
        if self._classes:
            return {"adversarial": self._class_discriminator(batch, fake)}
        code, label = _code(batch), self._label(batch)
        real = self._shown(batch.style)
        real_logits = self._patch_logits(real, label, code)
        fake_logits = self._patch_logits(self._shown(fake), label, code)
        losses = {"adversarial": self._pair(real_logits, fake_logits)}
        self._judge(real_logits, fake_logits)
        if code is not None and len(code) * self.world.size > 1 and self.config.wrong_code > 0:
            others = _of_other_sources(batch, self.world)
            share = self.world.mean(others.float().sum())
            if share > 0:  # of all processes, so that all compute the same losses
                other = None if label is None else self.world.roll(label)
                wrong = self._patch_logits(real, other, self.world.roll(code))
                mismatch = self._mismatch(real_logits, wrong, others) / share
                losses["wrong_code"] = self.config.wrong_code * mismatch
        return losses

    def penalties(self, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted penalties of the discriminator; none where their weight is 0."""
        weight, loss = self.penalty_weight, self.config.loss
        if weight == 0:
            return {}
        if loss == "wasserstein":
            between = interpolate(batch.style, _generated(batch), generator=self.rng)
            logits = self._logits(batch, self._shown(between))
            return {"gradient_penalty": weight * gradient_penalty(logits, between)}
        pictures = {"r1": batch.style}
        if loss == "relativistic":
            pictures["r2"] = _generated(batch)
        found = {}
        for name, picture in pictures.items():
            moved = picture.detach().requires_grad_()
            found[name] = weight * r1_penalty(self._logits(batch, self._shown(moved)), moved)
        return found

    def generator_losses(self, batch: Batch, fake: Tensor, *, labeled: bool = True) -> dict[str, Tensor]:
        """Named losses of the generator, "adversarial" first; all but that one weighted.

        Args:
            batch: the real pictures, with the labels that were asked for.
            fake: the generated pictures.
            labeled: whether the generator knew the labels.
        """
        fake = self._shown(fake)
        losses = {"adversarial": self._generator(batch, fake, labeled=labeled)}
        if self.config.feature_matching > 0:
            with torch.no_grad():
                real = self._mean_features(self._shown(batch.style))
            distance = feature_matching_loss(real, self._mean_features(fake))
            losses["feature_matching"] = self.config.feature_matching * distance
        if self.config.uniformity > 0:
            logits = self._class_logits(fake) if self._gives_classes else self._logits(batch, fake)
            losses["uniformity"] = self.config.uniformity * uniformity_loss(logits)
        return losses

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"augment_probability": self.adaptive.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; a probability that does not adapt is the configuration's."""
        if self.adaptive.target is not None:
            self.adaptive.value = float(state["augment_probability"])

    def _shown(self, image: Tensor) -> Tensor:
        """What the discriminator gets to see of pictures."""
        return augment(image, self.config.augment, probability=self.adaptive.value, generator=self.rng)

    def _patch_logits(self, image: Tensor, label: Tensor | None, code: Tensor | None) -> list[Tensor]:
        with autocast(image.device):
            maps = self.discriminator.patch_logits(image, label, code)
        return [full(logits) for logits in maps]

    def _mean_features(self, image: Tensor) -> list[Tensor]:
        """The features' means over the batch, of all processes."""
        with autocast(image.device):
            features = self.discriminator.features(image)
        return [self.world.mean(full(f).mean(0, keepdim=True)) for f in features]

    def _generator(self, batch: Batch, fake: Tensor, *, labeled: bool) -> Tensor:
        if self._classes:
            return class_generator_loss(self._class_logits(fake), batch.label if labeled else None)
        code, label = _code(batch), self._label(batch)
        real = None
        if self._pair.is_relative:
            with torch.no_grad():
                real = self._patch_logits(self._shown(batch.style), label, code)
        return self._pair.generator(self._patch_logits(fake, label, code), real)

    def _class_discriminator(self, batch: Batch, fake: Tensor) -> Tensor:
        if batch.label is None:
            raise InputError("AdversarialTrainer: the loss 'class' got a batch without labels; give label int64 (B,)")
        real_logits, fake_logits = (self._class_logits(self._shown(image)) for image in (batch.style, fake))
        self._judge([class_log_odds(real_logits)], [class_log_odds(fake_logits)])
        return class_discriminator_loss(real_logits, fake_logits, batch.label)

    def _class_logits(self, image: Tensor) -> Tensor:
        give: Callable[[Tensor], Tensor] = getattr(self.discriminator, "class_logits")  # noqa: B009 (not all have it)
        with autocast(image.device):
            return full(give(image))

    def _judge(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> None:
        """Note what the discriminator makes of a batch, and adapt the augmentation to it."""
        detached = [[m.detach() for m in maps] for maps in (real, fake)]
        numbers = [torch.stack([m.mean() for m in maps]).mean() for maps in detached]
        numbers += [torch.stack([m.sign().mean() for m in maps]).mean() for maps in detached]
        values = self.world.mean(torch.stack(numbers)).tolist()
        self.judged = dict(zip(("real", "fake", "real_sign", "fake_sign"), values, strict=True))
        if math.isfinite(self.judged["real_sign"]):
            self.adaptive.update(self.judged["real_sign"], len(real[0]) * self.world.size)

    def _mismatch(self, real: list[Tensor], wrong: list[Tensor], chosen: Tensor) -> Tensor:
        """The price of taking a real picture with another's code for a match, summed over the rows that are chosen.

        The losses that know differences alone compare it with the match; a one-sided price would let them drift.
        """
        sides: dict[str, Callable[[Tensor], Tensor]] = {
            "logistic": lambda w: F.softplus(w).mean(),
            "hinge": lambda w: F.relu(1 + w).mean(),
            "least_squares": lambda w: w.square().mean() / 2,
        }
        if not chosen.any():
            return 0 * torch.stack([w.sum() for w in wrong]).sum()
        real, wrong = ([m[chosen] for m in maps] for maps in (real, wrong))
        side = sides.get(self.config.loss)
        mean = self._pair(real, wrong) if side is None else torch.stack([side(w) for w in wrong]).mean()
        return mean * chosen.sum()

    def _logits(self, batch: Batch, image: Tensor) -> Tensor:
        """Logits `(B,)` in single precision throughout, which gradients of gradients need."""
        logits: Tensor = self.discriminator(image, self._label(batch), _code(batch))
        return logits

    def _label(self, batch: Batch) -> Tensor | None:
        return None if self.discriminator.config.num_classes is None else batch.label


def _of_other_sources(batch: Batch, world: World) -> Tensor:
    """`(B,)`: whether the row before is of another picture; two crops of one picture are in one style."""
    if not batch.sources:
        return torch.ones(len(batch), device=batch.style.device, dtype=torch.bool)
    digests = (hashlib.blake2b(os.fsencode(name), digest_size=7).digest() for name in batch.sources)
    numbers = [int.from_bytes(digest, "big") for digest in digests]
    mine = torch.tensor(numbers, device=batch.style.device, dtype=torch.int64)
    return world.roll(mine) != mine


def _code(batch: Batch) -> Tensor | None:
    return None if batch.code is None else batch.code.detach()


def _generated(batch: Batch) -> Tensor:
    if batch.fake is None:
        raise InputError("AdversarialObjective: the penalty needs generated pictures; fill in batch.fake beforehand")
    return batch.fake
