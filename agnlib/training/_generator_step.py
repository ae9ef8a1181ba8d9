"""What the generator is asked to paint in a step, by which code and latent, and what the losses look at of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.training._argument_checks import style_dim
from agnlib.training.data.pairs import Batch
from agnlib.training.data.stroke_scale import close_up, from_afar
from agnlib.training.precision import autocast, full

if TYPE_CHECKING:
    from agnlib.training.config import TrainerConfig
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["generated", "knows_labels", "of_this_step", "paint", "seen"]


def paint(trainer: AdversarialTrainer, batch: Batch) -> Tensor:
    """What `generate` gives for a batch, in single precision at least.

    Raises:
        InputError: it gave no pictures.
    """
    with autocast(trainer.device):
        pictures = trainer.generate(batch)
    if not isinstance(pictures, Tensor) or pictures.ndim != 4:
        got = tuple(pictures.shape) if isinstance(pictures, Tensor) else type(pictures).__name__
        raise InputError(f"generate gave {got}; expected a tensor of pictures (B, C, H, W)")
    return full(pictures)


def generated(trainer: AdversarialTrainer, batch: Batch) -> Tensor:
    """The default of `AdversarialTrainer.generate`; fills in `batch.code`."""
    latent, content, config = None, batch.content, trainer.config
    needed = content is None or trainer.extractor is None
    if needed or _chance(trainer) < config.latent_probability:
        latent = _latents(trainer, len(batch.style))
    if style_dim(trainer.generator) is None:
        picture: Tensor = trainer.generator(latent, label=batch.label if knows_labels(trainer) else None)
        return picture
    batch.code = _codes(trainer, batch, latent)
    size = None if content is not None else tuple(round(config.stroke_scale * side) for side in batch.style.shape[2:])
    fake: Tensor = trainer.generator(latent, batch.code, content=content, size=size)
    return fake


def of_this_step(trainer: AdversarialTrainer, batch: Batch) -> Batch:
    """The batch as the step sees it: its photos as their own references, its references alone, or both."""
    config, step = trainer.config, trainer.step
    turn = step < config.warmup or step % config.identity_every == 0
    if turn and batch.content is not None and config.identity > 0:
        return batch.as_identity()
    every = config.from_nothing_every
    if every > 0 and step >= config.warmup and step % every == every // 2:
        return batch.from_nothing()
    return batch


def seen(batch: Batch, fake: Tensor, config: TrainerConfig, step: int) -> tuple[Batch, Tensor]:
    """What the losses of a step look at of a batch and its paintings."""
    if config.stroke_scale == 1 or batch.identity:
        return batch, fake
    return (close_up if step % config.close_up_every == config.close_up_every - 1 else from_afar)(batch, fake)


def knows_labels(trainer: AdversarialTrainer) -> bool:
    """Whether the generator knows the batch's labels, by its reference or by themselves."""
    return trainer.extractor is not None or bool(trainer.generator.config.num_classes)


def _chance(trainer: AdversarialTrainer) -> Tensor:
    return torch.rand((), generator=trainer._rng, device="cpu", dtype=torch.float32)


def _latents(trainer: AdversarialTrainer, count: int) -> Tensor:
    width = trainer.generator.config.latent_dim
    drawn = torch.randn(count, width, generator=trainer._rng, device="cpu", dtype=torch.float32)
    return drawn.to(next(trainer.generator.parameters()))


def _codes(trainer: AdversarialTrainer, batch: Batch, latent: Tensor | None) -> Tensor:
    extractor = trainer.extractor
    if extractor is None:
        assert latent is not None
        return trainer.generator.sample_style(latent, batch.label if knows_labels(trainer) else None)
    if extractor.config.variational:
        batch.distribution = extractor.distribution(batch.style)
        return batch.distribution.rsample()
    if not extractor.config.frozen_trunk:
        code: Tensor = extractor(batch.style)
        return code
    (statistics,) = trainer._statistics.get(batch.style_keys, batch.style, lambda style: [extractor.statistics(style)])
    return extractor.encode(statistics)
