"""The check of a trainer: its losses, a bad step, the same run again, a run resumed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib.testing._common import batch_of, require, told
from agnlib.training import Batch
from agnlib.training.safety.checkpoint import load_state

if TYPE_CHECKING:
    from agnlib.training import AdversarialTrainer

__all__ = ["check_trainer"]


def check_trainer(make: Callable[[], AdversarialTrainer], *, size: int = 24, steps: int = 6) -> None:
    """Check a trainer's subclass, or one with callbacks and terms of its own, in a few steps on random pictures.

    Its numbers have to be finite; its loss methods give dicts of single numbers and call no backward; the generated
    pictures have the size of the real ones; what is frozen stays frozen; a step whose losses are not finite is skipped
    and got over; the same start gives the same run; and a run that is interrupted, saved, loaded into a new trainer and
    continued gives bit for bit the weights and rates of one that is not. What a subclass remembers from step to step
    belongs in `get_extra_state`, or the last will fail.

    Args:
        make: gives a new trainer, with new networks and callbacks, the same each time: it begins by
            `torch.manual_seed(0)`, since networks are made with random weights.
        size: side of the pictures in pixels.
        steps: of the whole run, at least 2; enough that everything of the trainer's has happened.

    Raises:
        AssertionError: what it does otherwise.
        AgnError: errors of the trainer itself.

    Example:
        >>> from agnlib import AdversarialTrainer, Discriminator, Generator
        >>> def make():
        ...     torch.manual_seed(0)
        ...     generator = Generator(style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
        ...     return AdversarialTrainer(generator, Discriminator(style_dim=16, channels=(8, 16)))
        >>> check_trainer(make, steps=2)
    """
    subject = make()
    name = type(subject).__name__
    with tempfile.TemporaryDirectory() as folder:
        batches = [batch_of(4, size, size, seed=step, labels=_labels(subject)) for step in range(steps)]
        whole, again, begun = Path(folder, "whole"), Path(folder, "again"), Path(folder, "begun")
        _check_losses(name, make(), batches[-1])
        frozen = _frozen(subject)
        with told(f"{name}, {steps} steps"):
            logs = subject.fit(batches, steps=steps, progress=False)
        bad = [key for key, value in logs.items() if not math.isfinite(value)]
        require(not bad, f"{name}: {', '.join(bad)} is not finite after {steps} steps")
        _check_frozen(name, subject, frozen)
        _check_gets_over(name, make(), batches)
        subject.save_checkpoint(whole)
        second = make()
        require(second is not subject, f"{name}: make() gave the same trainer twice; make a new one each time")
        second.fit(batches, steps=steps, progress=False)
        second.save_checkpoint(again)
        advice = "seed what it draws by config.seed, and let make() seed the networks"
        _compare_runs(f"{name}: the same start does not give the same run", whole, again, advice)
        first, resumed = make(), make()
        first.fit(batches[: steps // 2], steps=steps, progress=False)
        first.save_checkpoint(begun)
        with told(f"{name}, a checkpoint loaded"):
            resumed.load_checkpoint(begun)
        resumed.fit(batches[steps // 2 :], steps=steps, progress=False)
        resumed.save_checkpoint(again)
        advice = "give what it remembers from step to step in get_extra_state"
        _compare_runs(f"{name}: a resumed run is not the whole run", whole, again, advice)


def _check_losses(name: str, trainer: AdversarialTrainer, batch: Batch) -> None:
    with told(f"{name}.generate"):
        fake = trainer.generate(batch)
    expected = tuple(batch.style.shape)
    require(tuple(fake.shape) == expected, f"{name}.generate: gave {tuple(fake.shape)}; expected {expected}")
    batch.fake = fake.detach()
    trainer.step = trainer.config.warmup + trainer.config.adversarial_ramp + 1  # everything is switched on
    methods: dict[str, Callable[[], Mapping[str, Tensor]]] = {
        "discriminator_loss": lambda: trainer.discriminator_loss(batch, fake.detach()),
        "discriminator_penalty": lambda: trainer.discriminator_penalty(batch),
        "generator_loss": lambda: trainer.generator_loss(batch, fake),
    }
    for method, call in methods.items():
        with told(f"{name}.{method}"):
            losses = call()
        require(isinstance(losses, Mapping), f"{name}.{method}: gave a {type(losses).__name__}; expected a dict")
        for key, value in losses.items():
            scalar = isinstance(value, Tensor) and value.shape == ()
            require(scalar, f"{name}.{method}: {key!r} is no tensor with one number; take the mean")
        grown = [key for key, m in trainer._modules().items() if any(p.grad is not None for p in m.parameters())]
        require(not grown, f"{name}.{method}: calls backward; it only gives its numbers, the trainer calls backward")


def _frozen(trainer: AdversarialTrainer) -> dict[str, Tensor | None]:
    """Copies of the parameters that are frozen by name, and None for the others."""
    named = ((f"{role}.{key}", p) for role, m in trainer._modules().items() for key, p in m.named_parameters())
    return {name: None if p.requires_grad else p.detach().clone() for name, p in named}


def _check_frozen(name: str, trainer: AdversarialTrainer, before: Mapping[str, Tensor | None]) -> None:
    after = _frozen(trainer)
    changed = [key for key in before if (before[key] is None) != (after[key] is None)]
    require(not changed, f"{name}: freezes or thaws {', '.join(changed[:3])}; leave requires_grad as it was")
    moved = [key for key, old in before.items() if old is not None and not torch.equal(old, _given(after[key]))]
    require(not moved, f"{name}: moves {', '.join(moved[:3])}, which is frozen; leave it out")


def _given(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _check_gets_over(name: str, trainer: AdversarialTrainer, batches: list[Batch]) -> None:
    """One step whose losses are all NaN: it is skipped, and those after it are not."""
    losses = {method: getattr(trainer, method) for method in ("generator_loss", "discriminator_loss")}
    for method, whole in losses.items():
        setattr(trainer, method, lambda *given, whole=whole: {key: v * math.nan for key, v in whole(*given).items()})
    with told(f"{name}, a step whose losses are nan"):
        trainer.fit(batches[:1], steps=len(batches), progress=False)
    bad = trainer.skipped_steps
    for method in losses:
        delattr(trainer, method)
    with told(f"{name}, the steps after one whose losses were nan"):
        trainer.fit(batches[1:], steps=len(batches), progress=False)
    advice = "let no number of a bad step stay in what it remembers"
    require(trainer.skipped_steps == bad, f"{name}: does not get over one step whose losses are nan; {advice}")
    torn = [key for role in trainer._modules().values() for key, p in role.named_parameters() if not p.isfinite().all()]
    require(not torn, f"{name}: a step whose losses are nan spoils {', '.join(torn[:3])}; {advice}")


def _compare_runs(what: str, first: Path, second: Path, advice: str) -> None:
    (tensors, meta), (others, other_meta) = load_state(first), load_state(second)
    rates, other_rates = meta["options"], other_meta["options"]
    require(rates == other_rates, f"{what}: the optimizers' options are {other_rates}, not {rates}; {advice}")
    differing = sorted(key for key in tensors if key not in others or not torch.equal(tensors[key], others[key]))
    missing = sorted(set(others) - set(tensors))
    found = [*differing, *missing]
    require(not found, f"{what}: {', '.join(found[:3])} ({len(found)} in all) differ; {advice}")


def _labels(trainer: AdversarialTrainer) -> int:
    return trainer.discriminator.config.num_classes or trainer.generator.config.num_classes or 0
