"""Losses and gradients that are not finite: skipped, then gone back from, then reported."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest
import torch
from toy import data, trainer

from agnlib.errors import TrainingDivergedError
from agnlib.training import AdversarialTrainer, Batch, Weighted, loader
from agnlib.training.ema import ExponentialMovingAverage

PHASES = ("discriminator", "penalty", "generator")
Losses = dict[str, torch.Tensor]


class Sick(AdversarialTrainer):
    """Gives losses that are not finite, or finite ones with such gradients, in one phase of some steps."""

    phase, when, only_gradient = "", frozenset[int](), False

    def discriminator_loss(self, batch: Batch, fake: torch.Tensor) -> Losses:
        return self._infect("discriminator", super().discriminator_loss(batch, fake))

    def discriminator_penalty(self, batch: Batch) -> Losses:
        return self._infect("penalty", super().discriminator_penalty(batch))

    def generator_loss(self, batch: Batch, fake: torch.Tensor) -> Losses:
        return self._infect("generator", super().generator_loss(batch, fake))

    def _infect(self, phase: str, losses: Losses) -> Losses:
        if phase != self.phase or self.step not in self.when:
            return losses
        name, value = next(iter(losses.items()))
        # the square root of 0 has no finite gradient
        return {**losses, name: value + (value * 0).sqrt() if self.only_gradient else value * float("nan")}


def sick(phase: str, when: Iterable[int], *, only_gradient: bool = False) -> Sick:
    subject = trainer(Sick, penalty_every=1, warmup=0)
    subject.phase, subject.when, subject.only_gradient = phase, frozenset(when), only_gradient
    return subject


def assert_finite(subject: AdversarialTrainer) -> None:
    for module in (*subject._modules().values(), subject.ema.module):
        assert all(torch.isfinite(v).all() for v in module.state_dict().values())


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


@pytest.mark.parametrize("only_gradient", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_one_step_is_skipped_and_counted(folders: tuple[Path, Path], phase: str, only_gradient: bool) -> None:
    subject = sick(phase, {3}, only_gradient=only_gradient)
    network = subject.generator if phase == "generator" else subject.discriminator
    batches = iter(loader(data(folders)))
    subject.fit(islice(batches, 3), steps=8)
    before, average = weights(network), weights(subject.averaged_generator)
    subject.fit(islice(batches, 1), steps=8)
    assert (subject.skipped_steps, subject.step) == (1, 4)
    assert all(map(torch.equal, before, weights(network)))
    assert all(map(torch.equal, average, weights(subject.averaged_generator))) == (phase == "generator")
    subject.fit(batches, steps=8)
    assert subject.skipped_steps == 1
    assert not all(map(torch.equal, before, weights(network)))
    assert_finite(subject)


@pytest.mark.parametrize("phase", PHASES)
def test_five_in_a_row_go_back_once(folders: tuple[Path, Path], phase: str) -> None:
    subject = sick(phase, range(2, 7))
    batches = iter(loader(data(folders)))
    subject.fit(islice(batches, 6), steps=12)
    networks = (*subject._modules().values(), subject.ema.module)
    start = sick("", ())  # made from the same seed, it is what the run began with
    with pytest.warns(RuntimeWarning, match=rf"in step 7, {phase}: .*what was learned by step 0, at half") as said:
        subject.fit(islice(batches, 1), steps=12)
    assert len(said) == 1
    for module, other in zip(networks, (*start._modules().values(), start.ema.module), strict=True):
        assert all(map(torch.equal, weights(module), weights(other)))
    assert subject.ema.updates == 0
    assert (subject.step, subject.skipped_steps) == (7, 5)  # the data goes on
    rates: dict[int, float] = {}
    for optimizer in subject._optimizers():
        optimizer.register_step_post_hook(lambda o, *_: rates.update({id(o): o.param_groups[0]["lr"]}))
    subject.fit(batches, steps=12)
    config, share = subject.config, (1 + math.cos(math.pi * 11 / 12)) / 2
    halved = 0.5 * (config.final_lr + (1 - config.final_lr) * share)
    assert rates[id(subject.generator_optimizer)] == pytest.approx(config.lr_generator * halved)
    assert rates[id(subject.discriminator_optimizer)] == pytest.approx(config.lr_discriminator * halved)
    assert subject.skipped_steps == 5
    assert_finite(subject)


@pytest.mark.parametrize("phase", PHASES)
def test_the_second_time_is_the_end(folders: tuple[Path, Path], phase: str) -> None:
    subject = sick(phase, range(2, 99))
    parameter = "generator.enter.weight" if phase == "generator" else "scales.0"
    with (
        pytest.warns(RuntimeWarning, match="at half the learning rate"),
        pytest.raises(TrainingDivergedError, match=rf"step 12, {phase}: the loss .* is nan, .*'{parameter}"),
    ):
        subject.fit(loader(data(folders)), steps=99)
    assert subject.skipped_steps == 10
    assert not subject.between_steps  # so no checkpoint is written
    assert_finite(subject)


def test_a_resumed_run_has_had_its_chance(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first = sick("generator", range(1, 6))
    with pytest.warns(RuntimeWarning, match="half the learning rate"):
        first.fit(loader(data(folders)), steps=6)
    first.save_checkpoint(tmp_path / "c.safetensors")
    second = sick("generator", range(99))
    second.load_checkpoint(tmp_path / "c.safetensors")
    assert second.skipped_steps == 5
    with pytest.raises(TrainingDivergedError):
        second.fit(loader(data(folders), start=6), steps=99)
    assert second.skipped_steps == 10


def test_the_last_good_state_moves_on(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agnlib.training.trainer._REMEMBER_EVERY", 2)
    subject = sick("generator", range(5, 10))
    batches = iter(loader(data(folders)))
    subject.fit(islice(batches, 4), steps=12)
    good = weights(subject.generator)
    with pytest.warns(RuntimeWarning, match="learned by step 4"):
        subject.fit(islice(batches, 6), steps=12)
    assert all(map(torch.equal, good, weights(subject.generator)))


def test_a_few_bad_losses_are_survived(folders: tuple[Path, Path]) -> None:
    subject = trainer()
    bad = Weighted(lambda batch, fake: fake.mean() * (float("nan") if subject.step % 5 else 1.0), 1.0)
    subject.terms["bad"] = bad
    subject.fit([data(folders)[1]] * 12, steps=12)
    assert subject.skipped_steps == 8 + 1  # two whole rounds of four, and the step after the last good one
    assert_finite(subject)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_averages_take_nothing_that_is_not_finite(value: float) -> None:
    module = torch.nn.Linear(2, 2)
    average = ExponentialMovingAverage(module)
    before = weights(average.module)
    with torch.no_grad():
        module.weight[0, 0] = value
    average.update(module)
    assert all(map(torch.equal, before, weights(average.module)))
    assert average.updates == 0
