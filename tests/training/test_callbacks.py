"""Callbacks: numbers for TensorBoard, evaluation on pairs kept apart, an early end."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import trainer

from agnlib import metrics
from agnlib.errors import InputError, MissingDependencyError
from agnlib.models import Discriminator, Generator
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig
from agnlib.training import callbacks as callbacks_module
from agnlib.training.callbacks import LogScalars, ProgressBar, SaveCheckpoints
from agnlib.training.run.evaluate import EarlyStop, Evaluate, frechet_distance
from agnlib.training.run.tensorboard import EventFile


def batch(seed: int = 0, count: int = 3, size: int = 24, **named: object) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    content, style = torch.rand(2, count, 3, size, size, generator=rng) * 2 - 1
    return Batch(content, style, torch.zeros(count, dtype=torch.long), step=seed, **named)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-fidelity is not there, whatever this machine has."""
    monkeypatch.setattr("agnlib.training.run.evaluate.inception_is_installed", lambda: False)


# -- logs -------------------------------------------------------------------------------------------------------------


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_tensorboard_gets_the_numbers_of_the_lines(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    subject = trainer()
    subject.callbacks = (LogScalars(tmp_path / "log.jsonl", every=2),)
    subject.fit([batch(step) for step in range(5)], steps=5)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    shown = events(tmp_path / "tensorboard")
    assert set(shown) == set().union(*lines) - {"step"}
    for name, values in shown.items():
        expected = [(line["step"], pytest.approx(line[name], rel=1e-5)) for line in lines if name in line]
        assert values == expected


def test_steps_that_are_done_again_are_shown_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = EventFile(tmp_path, after=0)
    for step in (1, 2, 3):
        first.write(step, {"loss": 1.0, "none": None})
    first.close()
    second = EventFile(tmp_path, after=1)
    second.write(2, {"loss": 2.0})
    second.close()
    assert events(tmp_path) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_without_tensorboard_there_are_the_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks_module, "tensorboard_is_installed", lambda: False)
    subject = trainer()
    subject.callbacks = (LogScalars(tmp_path / "log.jsonl", every=2),)
    subject.fit([batch(step) for step in range(2)], steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"agnlib\[tensorboard\]"):
        EventFile(tmp_path / "events", after=0)


# -- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "other", "width"), [(50, 40, 6), (5, 9, 20), (2, 2, 1)])
def test_frechet_distance_is_scipy_s(count: int, other: int, width: int) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    real = torch.randn(count, width, dtype=torch.float64) @ torch.randn(width, width, dtype=torch.float64)
    fake = torch.randn(other, width, dtype=torch.float64) + 1
    covariances = [np.atleast_2d(np.cov(x.T.numpy())) for x in (real, fake)]
    # with fewer pictures than features the product is singular, where the root is taken of a hair more
    root = linalg.sqrtm(covariances[0] @ covariances[1] + 1e-12 * np.eye(width)).real
    expected = (real.mean(0) - fake.mean(0)).square().sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-4)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_torchmetrics_s() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")

    class Features(torch.nn.Module):
        num_features = 12

        def forward(self, image: Tensor) -> Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(image.float(), 2).flatten(1)

    metric = fid.FrechetInceptionDistance(feature=Features())
    images = [torch.randint(0, high, (40, 3, 8, 8), dtype=torch.uint8) for high in (255, 128)]
    for image, real in zip(images, (True, False), strict=True):
        metric.update(image, real=real)
    expected = float(metric.compute())
    assert frechet_distance(*(Features()(image) for image in images)) == pytest.approx(expected, rel=1e-3)


def test_features_that_cannot_be_compared_are_errors() -> None:
    for shapes in [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5,))]:
        with pytest.raises(InputError, match="at least two pictures each"):
            frechet_distance(*(torch.zeros(shape) for shape in shapes))


class Recorder:
    """Keeps every step's named numbers."""

    def __init__(self) -> None:
        self.logs: list[Mapping[str, float]] = []

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.logs.append(dict(logs))


def test_evaluation_measures_the_averaged_networks_on_its_own_pairs() -> None:
    pairs, recorder, subject = [batch(7), batch(8, 2)], Recorder(), trainer()
    evaluate = Evaluate(pairs, every=2)
    subject.callbacks = (evaluate, recorder)
    before = torch.get_rng_state()
    subject.fit([batch(step) for step in range(5)], steps=5)
    assert torch.equal(torch.get_rng_state(), before)
    measured = [{k for k in logs if k.startswith("evaluate/")} for logs in recorder.logs]
    names = {"evaluate/palette_distance", "evaluate/color_ratio", "evaluate/structure", "evaluate/frechet"}
    assert measured == [set(), names, set(), names, set()]
    generator, extractor = subject.averaged_generator, subject.averaged_extractor
    with torch.no_grad():
        results = [generator(None, extractor(p.style), content=p.content).clamp(-1, 1) for p in pairs]
        style, result = torch.cat([p.style for p in pairs]), torch.cat(results)
        expected = metrics.palette_distance(result, style).mean()
        features = frechet_distance(extractor.statistics(style), extractor.statistics(result))
    found = evaluate.measure(subject)
    assert found == evaluate.measure(subject)
    assert found["palette_distance"] == pytest.approx(float(expected), rel=1e-4)
    assert found["frechet"] == pytest.approx(features, rel=1e-3)


def test_evaluation_with_an_encoder_and_of_pictures_from_nothing() -> None:
    class Encoder:
        channels, min_size = {"a": 3}, 1

        def __call__(self, image: Tensor) -> dict[str, Tensor]:
            return {"a": image}

    pairs = [Batch(None, torch.rand(3, 3, 24, 24) * 2 - 1)]
    found = Evaluate(pairs, encoder=Encoder()).measure(trainer(given={"extractor": None}))
    assert set(found) == {"palette_distance", "color_ratio", "style_distance", "frechet"}
    assert all(np.isfinite(value) for value in found.values())


def test_the_article_s_networks_are_evaluated() -> None:
    parts = Generator.article(16, 1, latent_dim=8), Discriminator.article(16, 1)
    subject = AdversarialTrainer(*parts, config=TrainerConfig.article())
    found = Evaluate([Batch(None, torch.rand(4, 1, 16, 16))]).measure(subject)
    assert set(found) == {"frechet"}


def test_an_evaluation_is_left_when_training_is_told_to_stop() -> None:
    subject = trainer()
    subject.stop("because")
    assert Evaluate([batch()]).measure(subject) == {}


def test_inception_features_are_used_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def calculate_metrics(**options: object) -> dict[str, float]:
        seen.update(options)
        return {"frechet_inception_distance": 12.5}

    monkeypatch.setitem(sys.modules, "torch_fidelity", types.SimpleNamespace(calculate_metrics=calculate_metrics))
    monkeypatch.setattr("agnlib.training.run.evaluate.inception_is_installed", lambda: True)
    pair = batch()
    found = Evaluate([pair]).measure(trainer())
    assert found["fid"] == 12.5
    assert "frechet" not in found
    real = seen["input1"]
    assert len(real) == len(seen["input2"]) == 3
    assert (real[0].dtype, real[0].shape) == (torch.uint8, (3, 24, 24))
    np.testing.assert_allclose(real[1].float(), (pair.style[1] + 1) * 127.5, atol=0.51)


def test_without_the_weights_of_inception_it_goes_on_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def calculate_metrics(**options: object) -> dict[str, float]:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "torch_fidelity", types.SimpleNamespace(calculate_metrics=calculate_metrics))
    monkeypatch.setattr("agnlib.training.run.evaluate.inception_is_installed", lambda: True)
    evaluate = Evaluate([batch()])
    with pytest.warns(RuntimeWarning, match="no network"):
        assert "frechet" in evaluate.measure(trainer())
    assert "frechet" in evaluate.measure(trainer())  # without another warning, which would be an error


# -- an early end -----------------------------------------------------------------------------------------------------


class Numbers:
    """Gives one number after another at every second step."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        if trainer.step % 2 == 0:
            logs["number"] = self.values[trainer.step // 2 - 1]


@pytest.mark.parametrize(
    ("values", "options", "steps"),
    [
        ((5, 4, 4, 4, 1, 0), {"patience": 2}, 8),
        ((5, 4, 5, 3, 5, 2), {"patience": 2}, 12),
        ((1, 2, 2, 2, 9, 9), {"patience": 2, "mode": "max"}, 8),
        ((5, 4.9, 4.8, 1, 1, 1), {"patience": 2, "least": 0.5}, 6),
        ((5, float("nan"), float("nan"), 1, 1, 1), {"patience": 2}, 6),
    ],
)
def test_training_ends_when_a_number_gets_no_better(
    values: tuple[float, ...], options: dict[str, object], steps: int
) -> None:
    subject = trainer()
    subject.callbacks = (Numbers(*values), EarlyStop("number", **options))  # type: ignore[arg-type]
    subject.fit([batch(step) for step in range(12)], steps=12)
    assert subject.step == steps
    assert (subject.stop_reason is not None) == (steps < 12)


def test_the_wait_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    values, stops = (5, 4, 4, 4, 4, 4), []
    for at in (12, 6):
        subject = trainer()
        subject.callbacks = (Numbers(*values), EarlyStop("number", patience=3))
        for start, end in pairwise(sorted({0, at, 12})):
            subject.fit([batch(step) for step in range(start, end)], steps=12)
            subject.save_checkpoint(tmp_path / "c")
            if subject.stop_reason is None and end < 12:
                subject = trainer()
                subject.callbacks = (Numbers(*values), EarlyStop("number", patience=3))
                subject.load_checkpoint(tmp_path / "c")
        stops.append(subject.step)
    assert stops == [10, 10]


def test_a_number_that_never_comes_is_said() -> None:
    subject = trainer()
    subject.callbacks = (EarlyStop("nonsense"),)
    with pytest.warns(RuntimeWarning, match="no step had a number 'nonsense'"):
        subject.fit([batch()], steps=1)


def test_options_that_make_no_sense_are_errors() -> None:
    for options in ({"mode": "least"}, {"patience": 0}, {"least": -1.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            EarlyStop("number", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 batches"):
        Evaluate([])
    with pytest.raises(InputError, match="every 0"):
        Evaluate([batch()], every=0)


def test_the_best_by_a_number_that_never_comes_is_said(tmp_path: Path) -> None:
    subject = trainer()
    subject.callbacks = (SaveCheckpoints(tmp_path, best="generator/pallete"),)
    with pytest.warns(RuntimeWarning, match="SaveCheckpoints: no step had a number 'generator/pallete'"):
        subject.fit([batch(step) for step in range(2)], steps=2)


def test_a_fit_shows_a_bar_and_logs_by_itself_and_is_silent_when_told(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="agnlib.training")
    subject = trainer()
    subject.fit([batch(step, size=16) for step in range(50)], steps=50)
    assert "50/50" in capsys.readouterr().err
    (line,) = caplog.messages
    assert line.startswith("step 50: ")
    assert "generator/gradient_norm" in line
    caplog.clear()
    subject.fit([batch(step, size=16) for step in range(50)], steps=100, progress=False)
    assert (capsys.readouterr().err, caplog.messages) == ("", [])


def test_a_bar_of_ones_own_is_the_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    subject = trainer()
    subject.callbacks = (ProgressBar(steps=1, batch=2),)
    subject.fit([batch(size=16)], steps=1)
    said = capsys.readouterr().err
    assert "img/s" in said
    assert said.count("1/1") == 1
