"""Collapse: the numbers it is told by, constructed collapses that are reported in time, healthy runs that are not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.models import Discriminator, Generator
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.training.objective.terms import PaletteTerm
from agnlib.training.safety.collapse import CollapseWatch, diversity, hue_entropy

scipy_distance = pytest.importorskip("scipy.spatial.distance")
colorsys = pytest.importorskip("colorsys")
SIZE, STEPS = 16, 150
TINY = {"channels": (4, 4, 8), "blocks": (0, 0, 1), "image_size": 16, "margin": 0}
JUDGED = [f"discriminator/{name}" for name in ("real", "fake", "real_sign", "fake_sign")]


# -- the numbers ------------------------------------------------------------------------------------------------------


@given(count=st.integers(2, 9), seed=st.integers(0, 1000))
def test_diversity_is_the_mean_distance_of_pairs(count: int, seed: int) -> None:
    images = torch.randn(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    expected = scipy_distance.pdist(images.flatten(1).numpy().astype(float)).mean() / math.sqrt(3 * 4 * 5)
    assert diversity(images) == pytest.approx(expected)
    assert diversity(images[:1].expand(count, -1, -1, -1)) == 0
    assert diversity(images[:1]) == 0


def hues(*values: float, saturation: float = 1.0) -> Tensor:
    colors = [colorsys.hsv_to_rgb(value % 1, saturation, 1.0) for value in values]
    return torch.tensor(colors).T.reshape(1, 3, 1, -1) * 2 - 1


def test_hue_entropy_counts_the_hues() -> None:
    middles = [(k + 0.5) / 12 for k in range(12)]
    for count in range(1, 13):
        assert hue_entropy(hues(*middles[:count])) == pytest.approx(math.log(count) / math.log(12), abs=1e-3)
    assert hue_entropy(torch.full((2, 3, 4, 4), 0.3)) == 0  # gray has no hue
    assert hue_entropy(hues(*middles, saturation=0.01)) == 0  # nor has what nobody would call colored
    assert hue_entropy(torch.randn(0, 3, 4, 4)) == 0


def test_hue_entropy_weighs_by_chroma() -> None:
    strong, faint = hues(0.04), hues(0.54, saturation=0.2)
    shares = np.array([2 - 0.02, 0.4 - 0.02])  # of a range of 2, less what counts as gray
    shares /= shares.sum()
    expected = -(shares * np.log(shares)).sum() / math.log(12)
    assert hue_entropy(torch.cat([strong, faint], dim=3)) == pytest.approx(expected, rel=0.02)


# -- whole runs -------------------------------------------------------------------------------------------------------


def pictures(count: int, rng: torch.Generator) -> Tensor:
    """Pictures with a color of their own and large shapes in others."""
    shapes = torch.rand(count, 3, 3, 3, generator=rng) * 2 - 1
    return F.interpolate(shapes, size=SIZE, mode="bicubic").clamp(-1, 1)


def batches(count: int, seed: int) -> list[Batch]:
    rng = torch.Generator().manual_seed(100 + seed)
    return [Batch(pictures(2, rng), pictures(2, rng), step=step) for step in range(count)]


def trainer(
    seed: int, *, generator: Generator | None = None, watch: CollapseWatch, **options: object
) -> AdversarialTrainer:
    torch.manual_seed(seed)
    generator = generator or Generator(8, 16, **TINY)
    settings = {"warmup": 0, "adversarial_ramp": 20, "penalty_every": 4, "seed": seed, **options}
    return AdversarialTrainer(
        generator,
        Discriminator(style_dim=16, channels=(8, 8), scales=1),
        terms={"palette": Weighted(PaletteTerm(), 0.3)},
        callbacks=[watch],
        config=TrainerConfig(**settings),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(5))
def test_healthy_seeds_raise_no_alarm(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject = trainer(seed, watch=CollapseWatch())
        subject.fit(batches(STEPS, seed), steps=STEPS)
    assert subject.step == STEPS


def constant(image: Tensor) -> Tensor:
    return image * 0 + torch.tensor([0.5, 0.1, -0.4]).view(3, 1, 1)


def one_hue(image: Tensor) -> Tensor:
    return image.mean(1, keepdim=True).sigmoid() * torch.tensor([0.9, 0.1, 0.05]).view(3, 1, 1) + 0.05


class Collapsing(Generator):
    """A generator that is sound up to a step, and then does something else to its results."""

    collapse: Callable[[Tensor], Tensor] | None = None

    def forward(self, *arguments: Tensor | None, **named: object) -> Tensor:
        image = super().forward(*arguments, **named)  # type: ignore[arg-type]
        return image if self.collapse is None else self.collapse(image)


class CollapseAt:
    """Breaks the run at a step."""

    def __init__(self, step: int, breaking: Callable[[AdversarialTrainer], None]) -> None:
        self.step, self.breaking = step, breaking

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        if trainer.step == self.step:
            self.breaking(trainer)


def make_constant(trainer: AdversarialTrainer) -> None:
    trainer.generator.collapse = constant  # type: ignore[assignment]


def make_one_hue(trainer: AdversarialTrainer) -> None:
    trainer.generator.collapse = one_hue  # type: ignore[assignment]


def bias(trainer: AdversarialTrainer, value: float) -> None:
    for scale in trainer.discriminator.scales:
        nn.init.zeros_(scale.logit.weight)
        nn.init.constant_(scale.logit.bias, value)
    for group in trainer.discriminator_optimizer.param_groups:
        group["lr"] = 1e-12


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (make_constant, r"nearly all alike.*diversity 0\.0"),
        (make_one_hue, r"nearly one hue.*hue entropy 0\.[0-2]"),
        (lambda trainer: bias(trainer, 5.0), r"says the same of everything.*real sign 1\.0.*fake sign 1\.0"),
    ],
    ids=["alike", "one hue", "discriminator"],
)
def test_a_constructed_collapse_is_reported_within_200_steps(
    breaking: Callable[[AdversarialTrainer], None], words: str
) -> None:
    start = 40
    generator = Collapsing(8, 16, **TINY)
    # without the projection on the code the logits are what the last bias says
    subject = trainer(0, generator=generator, watch=CollapseWatch(), wrong_code=0.0)
    for projection in subject.discriminator.style_projection:
        nn.init.zeros_(projection.weight)
        nn.init.zeros_(projection.bias)
    subject.callbacks = (CollapseAt(start, breaking), *subject.callbacks)
    with pytest.warns(RuntimeWarning, match=f"(?s)may have collapsed at step.*{words}") as said:
        subject.fit(batches(start + 200, 0), steps=start + 200)
    assert len(said) == 1  # not again at every step


def test_a_discriminator_that_is_always_right_is_reported() -> None:
    subject = trainer(0, watch=CollapseWatch(every=1, window=4, patience=2, again=5))
    batch = batches(1, 0)[0]
    subject.latest = batch, batch.content
    watch = subject.callbacks[0]
    assert isinstance(watch, CollapseWatch)
    said = []
    for step in range(1, 13):
        subject.step = step
        logs = dict(zip(JUDGED, (3.0, -3.0, 1.0, -1.0), strict=True))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            watch.on_step_end(subject, logs)
        said += [(step, str(warning.message)) for warning in caught]
        assert logs["watch/accuracy"] == 1
    assert [step for step, _ in said] == [5, 10]  # four looks fill the window, the second bad one tells; then every 5
    assert "always right" in said[0][1]


def test_little_to_compare_with_is_no_collapse() -> None:
    subject = trainer(0, watch=CollapseWatch(every=1, window=2, patience=1))
    gray = torch.zeros(2, 3, SIZE, SIZE)
    subject.latest = Batch(gray, gray), gray  # references of one gray: results cannot be other
    watch, logs = subject.callbacks[0], {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(1, 5):
            subject.step = step
            watch.on_step_end(subject, logs)  # type: ignore[attr-defined]
    assert logs["watch/diversity"] == logs["watch/real_diversity"] == 0


def test_plain_reconstruction_is_passed_over() -> None:
    subject = trainer(0, watch=CollapseWatch(every=1, window=2, patience=1), warmup=10)
    logs = subject.fit(batches(3, 0), steps=3)
    assert not [name for name in logs if name.startswith("watch/")]


def test_a_resumed_run_watches_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    def watched(first: int) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        subject, source = trainer(0, watch=CollapseWatch(every=2, window=4)), batches(16, 0)
        for part in (source[:first], source[first:]):
            subject.callbacks = (subject.callbacks[0], Keep(found))
            subject.fit(part, steps=16)
            subject.save_checkpoint(tmp_path / "c")
            subject = trainer(1, watch=CollapseWatch(every=2, window=4))
            subject.load_checkpoint(tmp_path / "c")
        return found

    assert watched(16) == watched(7)


class Keep:
    """Keeps the numbers of the watch."""

    def __init__(self, found: list[dict[str, float]]) -> None:
        self.found = found

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        self.found.append({name: value for name, value in logs.items() if name.startswith("watch/")})


@pytest.mark.parametrize("options", [{"every": 0}, {"window": 1}, {"patience": 0}, {"again": 0}])
def test_numbers_that_are_too_small_are_errors(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        CollapseWatch(**options)
