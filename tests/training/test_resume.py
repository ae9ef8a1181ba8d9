"""How long a run is, and that an interrupted and resumed one is the uninterrupted one, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import Recorder, assert_same_state, data, go_on, in_new_process, trainer

from agnlib.errors import InputError, WeightsError
from agnlib.layers import CanvasNoise
from agnlib.models import Discriminator, Generator
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted, loader
from agnlib.training.callbacks import SaveCheckpoints
from agnlib.training.safety.checkpoint import checkpoints_in, load_state


@pytest.mark.parametrize("k", [1, 3, 6])
def test_resuming_equals_going_on(folders: tuple[Path, Path], tmp_path: Path, k: int) -> None:
    """k steps, a checkpoint, another process's N - k steps: the state of N steps at a stretch, bit for bit."""
    total, whole, recorder = 7, trainer(), Recorder()
    whole.callbacks = (recorder,)
    whole.fit(loader(data(folders)), steps=total)
    first, second = trainer(), trainer(weights_seed=1)  # the second is another in everything but its options
    begun, resumed = Recorder(), Recorder()
    first.callbacks, second.callbacks = (begun,), (resumed,)
    first.fit(islice(loader(data(folders)), k), steps=total)
    assert first.step == k
    first.save_checkpoint(tmp_path / "begun.safetensors")
    second.load_checkpoint(tmp_path / "begun.safetensors")
    second.fit(loader(data(folders), start=k), steps=total)
    assert second.step == whole.step == total
    assert begun.rates + resumed.rates == recorder.rates
    assert begun.logs + resumed.logs == recorder.logs
    second.save_checkpoint(tmp_path / "resumed.safetensors")
    whole.save_checkpoint(tmp_path / "whole.safetensors")
    assert_same_state(tmp_path / "resumed.safetensors", tmp_path / "whole.safetensors")


@pytest.mark.parametrize(("k", "workers", "accumulate"), [(2, 0, 1), (5, 2, 1), (5, 0, 3), (2, 2, 3)])
def test_new_processes_go_on_bit_for_bit(
    folders: tuple[Path, Path], tmp_path: Path, k: int, workers: int, accumulate: int
) -> None:
    """One process up to step k, another from its checkpoint to the end; between them an epoch ends."""
    last = "step-00000009.safetensors"
    options = workers, accumulate
    assert in_new_process(go_on, tmp_path / "whole", None, 9, 0, accumulate) == 0
    assert in_new_process(go_on, tmp_path / "run", None, k, *options) == 0
    begun = tmp_path / "run" / "checkpoints" / f"step-{k:08d}.safetensors"
    assert in_new_process(go_on, tmp_path / "run", begun, 9, *options) == 0
    assert_same_state(tmp_path / "run" / "checkpoints" / last, tmp_path / "whole" / "checkpoints" / last)
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").open()] for name in ("whole", "run")]
    assert [line["step"] for line in logs[0]] == [2, 4, 6, 8, 9]
    for line in logs[0] + logs[1]:
        del line["seconds"], line["pictures_per_second"]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("rows", "parts"), [(4, 2), (5, 2), (5, 3), (2, 7)])
def test_a_batch_in_parts_is_the_whole_batch(rows: int, parts: int) -> None:
    """In float64 and without random numbers, three steps with penalties give the same weights up to rounding."""
    results = []
    for accumulate in (1, parts):
        options = {"latent_probability": 0.0, "wrong_code": 0.0, "accumulate": accumulate, "warmup": 0}
        subject = trainer(classes=None, adversarial_ramp=0, **options)
        subject.terms = {"near": Weighted(lambda batch, fake: (fake - batch.style).square().mean(), 1.0)}
        for module in subject._modules().values():
            module.double()
            for layer in module.modules():
                if isinstance(layer, CanvasNoise):
                    layer.gain.requires_grad_(False).zero_()
        subject = AdversarialTrainer(
            subject.generator, subject.discriminator, subject.extractor, terms=subject.terms, config=subject.config
        )
        rng = torch.Generator().manual_seed(0)
        pictures = torch.rand(3, 2, rows, 3, 24, 24, generator=rng, dtype=torch.float64) * 2 - 1
        logs = subject.fit([Batch(*pair, step=step) for step, pair in enumerate(pictures)], steps=3)
        weights = [value for module in subject._modules().values() for value in module.state_dict().values()]
        results.append((logs, weights))
    (logs, weights), (others, other_weights) = results
    assert logs.keys() == others.keys()
    assert {"generator/near", "generator/adversarial", "discriminator/r1"} <= logs.keys()
    for name in logs:
        if name not in ("discriminator/real", "discriminator/fake"):  # those are of the last part
            assert others[name] == pytest.approx(logs[name], rel=1e-9), name
    for value, other in zip(weights, other_weights, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-7, atol=1e-9)


def test_what_callbacks_and_subclasses_know_is_kept(tmp_path: Path) -> None:
    class Mine(AdversarialTrainer):
        pace = torch.zeros(2)

        def get_extra_state(self) -> dict[str, Any]:
            return {"pace": self.pace}

        def set_extra_state(self, state: Mapping[str, Any]) -> None:
            self.pace = state["pace"]

    class Counter:
        count = 0

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count, 3: [None, 1.5, "x"]}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            assert state[3] == [None, 1.5, "x"]
            self.count = state["count"]

    first, second = (trainer(Mine, callbacks=[Counter(), Counter()]) for _ in range(2))
    first.pace, first.callbacks[0].count, first.callbacks[1].count = torch.tensor([1.0, 2.0]), 5, 6
    first.save_checkpoint(tmp_path / "c.safetensors")
    second.load_checkpoint(tmp_path / "c.safetensors")
    assert second.pace.tolist() == [1.0, 2.0]
    assert [each.count for each in second.callbacks] == [5, 6]
    first.pace = object()
    with pytest.raises(InputError, match=r"extra\.pace is a object"):
        first.save_checkpoint(tmp_path / "d.safetensors")
    assert not (tmp_path / "d.safetensors").exists()


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Rprop, torch.optim.ASGD])
def test_other_optimizers_go_on_bit_for_bit(folders: tuple[Path, Path], tmp_path: Path, make: Any) -> None:
    class Mine(AdversarialTrainer):
        def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
            options = {"momentum": 0.9} if make is torch.optim.SGD else {}
            mine = [p for p in self._trained().parameters() if p.requires_grad]
            return make(mine, lr=1e-3, **options), make(self.discriminator.parameters(), lr=1e-4, **options)

    def run(until: int, checkpoint: Path | None) -> AdversarialTrainer:
        base = trainer(weights_seed=until)
        if checkpoint is None:
            base = trainer()
        subject = Mine(base.generator, base.discriminator, base.extractor, config=base.config)
        if checkpoint is not None:
            subject.load_checkpoint(checkpoint)
        rates: list[float] = []
        subject.discriminator_optimizer.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        subject.fit(islice(loader(data(folders), start=subject.step), until - subject.step), steps=4)
        assert rates[-1] < 1e-4  # its own, along the schedule
        subject.save_checkpoint(tmp_path / f"{until}-{checkpoint is None}.safetensors")
        return subject

    run(4, None), run(2, None), run(4, tmp_path / "2-True.safetensors")
    assert_same_state(tmp_path / "4-True.safetensors", tmp_path / "4-False.safetensors")


def test_other_options_than_the_checkpoint_has_are_named(tmp_path: Path) -> None:
    trainer().save_checkpoint(tmp_path / "c.safetensors")
    with pytest.warns(RuntimeWarning, match=r"other options \(betas, penalty\)"):
        trainer(betas=(0.0, 0.9), penalty=3.0).load_checkpoint(tmp_path / "c.safetensors")


def test_the_last_and_the_best_are_kept(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Judge:
        def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
            logs["judge"] = {2: 3.0, 4: 1.0, 6: 2.0, 8: float("nan")}.get(trainer.step, 5.0)

    subject = trainer()
    subject.callbacks = (Judge(), SaveCheckpoints(tmp_path, every=2, keep=2, best="judge"))
    subject.fit(loader(data(folders)), steps=9)
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "best.safetensors",
        "step-00000008.safetensors",
        "step-00000009.safetensors",
    ]
    assert load_state(tmp_path / "best.safetensors")[1]["step"] == 4


def test_a_step_broken_off_in_the_middle_is_not_saved(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Breaks(AdversarialTrainer):
        def generator_loss(self, batch: Batch, fake: torch.Tensor) -> dict[str, torch.Tensor]:
            if self.step == 3:
                raise KeyboardInterrupt
            return super().generator_loss(batch, fake)

    base = trainer()
    subject = Breaks(base.generator, base.discriminator, base.extractor, config=base.config)
    subject.callbacks = (SaveCheckpoints(tmp_path, every=2),)
    with pytest.raises(KeyboardInterrupt):
        subject.fit(loader(data(folders)), steps=9)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000002.safetensors"]


def cosine(progress: float, config: TrainerConfig) -> float:
    floor = config.final_lr * config.lr_generator
    return floor + (config.lr_generator - floor) * (1 + np.cos(np.pi * progress)) / 2


def test_learning_rates_follow_the_steps(folders: tuple[Path, Path]) -> None:
    subject, recorder = trainer(), Recorder()
    subject.callbacks = (recorder,)
    subject.fit(loader(data(folders)), steps=4)
    np.testing.assert_allclose(recorder.rates, [cosine(step / 4, subject.config) for step in range(4)])


class Clock:
    """A clock by which every step of training takes six seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.now += 6


def test_learning_rates_rise_to_their_own(folders: tuple[Path, Path]) -> None:
    subject, recorder = trainer(rate_warmup=3), Recorder()
    subject.callbacks = (recorder,)
    subject.fit(loader(data(folders)), steps=5)
    rising = [1 / 3, 2 / 3, 1, 1, 1]
    expected = [share * cosine(step / 5, subject.config) for step, share in enumerate(rising)]
    np.testing.assert_allclose(recorder.rates, expected)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("agnlib.training.trainer.time.monotonic", lambda: clock.now)
    return clock


def test_learning_rates_follow_the_time(folders: tuple[Path, Path], tmp_path: Path, clock: Clock) -> None:
    first, recorder = trainer(), Recorder()
    first.callbacks = (recorder, clock)
    first.fit(islice(loader(data(folders)), 5), minutes=1)
    np.testing.assert_allclose(recorder.rates, [cosine(tenths / 10, first.config) for tenths in range(5)])
    first.save_checkpoint(tmp_path / "c.safetensors")
    second, recorder = trainer(), Recorder()
    second.callbacks = (recorder, clock)
    second.load_checkpoint(tmp_path / "c.safetensors")
    second.fit(loader(data(folders), start=5), minutes=1)  # in all, the half that the first took counted in
    assert second.step == 5 + 5
    expected = [cosine(tenths / 10, first.config) for tenths in range(5, 10)]
    np.testing.assert_allclose(recorder.rates, expected)


@pytest.mark.parametrize(
    ("steps", "minutes", "expected"), [(3, 60, 3), (1000, 0.5, 5), (3, None, 3), (None, 0.5, 5), (0, None, 0)]
)
def test_whichever_comes_first_ends_a_fit(
    folders: tuple[Path, Path], clock: Clock, steps: int | None, minutes: float | None, expected: int
) -> None:
    subject = trainer()
    subject.callbacks = (clock,)
    subject.fit(loader(data(folders)), steps=steps, minutes=minutes)
    assert subject.step == expected


def test_what_is_taken_is_trained_on(folders: tuple[Path, Path]) -> None:
    source, subject = data(folders), trainer()
    coming = iter([source[step] for step in range(5)])
    subject.fit(coming, steps=3)
    assert next(coming).step == 3
    subject.fit(coming, steps=3)  # nothing is left to do
    assert next(coming).step == 4


def test_a_torn_or_foreign_checkpoint_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer().save_checkpoint(path)
    other = AdversarialTrainer(Generator(8, 16, channels=(4, 4, 16), blocks=(1, 1, 1)), Discriminator(style_dim=16))
    before = {k: v.clone() for k, v in other.generator.state_dict().items()}
    with pytest.raises(WeightsError, match="belongs to other networks"):
        other.load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="not a whole agnlib checkpoint"):
        other.load_checkpoint(path)
    with pytest.raises(WeightsError, match="missing"):
        other.load_checkpoint(tmp_path / "missing")
    assert all(torch.equal(v, before[k]) for k, v in other.generator.state_dict().items())


def test_what_layers_draw_depends_on_the_run_alone(folders: tuple[Path, Path]) -> None:
    source, logs = data(folders), []
    for others_draw in (1, 1000):
        subject = trainer()
        subject.generator.body[0].register_forward_hook(lambda _, __, x: x + torch.randn_like(x))
        torch.rand(others_draw)
        before = torch.get_rng_state()
        logs.append(subject.fit([source[step] for step in range(3)], steps=3))
        assert torch.equal(torch.get_rng_state(), before)
    assert logs[0] == logs[1]
