"""Styles by name that tell their class: the judge against closed forms, and what is learned from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agnlib import Generator, StyleExtractor
from agnlib.errors import InputError
from agnlib.losses import content_loss, normalize_features
from agnlib.training.class_styles.classifier import ClassJudge, sharpen_classes

MEANS = torch.tensor([[2.0, 0.0, 0.5], [-1.0, 1.5, 0.0], [0.0, -1.0, -2.0]])
MIXING = torch.tensor([[0.9, 0.2, 0.0], [0.0, 0.7, 0.3], [0.1, 0.0, 0.5]])
LABELS = torch.arange(3).repeat_interleave(300)
UNIT = 0.05  # of color, so that paintings stay in [-1, 1]


def statistics() -> Tensor:
    noise = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(0))
    return (MEANS[LABELS] + noise @ MIXING.T) * UNIT


def test_without_shrinkage_the_judge_is_fishers_discriminant() -> None:
    """Log odds of Gaussians of one covariance: (x - (a + b) / 2) S^-1 (b - a)."""
    real, asked = statistics().double(), torch.randn(20, 3, dtype=torch.float64) * UNIT
    logits = ClassJudge.fitted(real, LABELS, 3, shrinkage=0.0)(asked).numpy()
    x, groups = asked.numpy(), [real[label == LABELS].numpy() for label in range(3)]
    within = np.mean([np.cov(group.T, bias=True) for group in groups], axis=0)
    for one in range(3):
        for other in range(3):
            a, b = groups[one].mean(0), groups[other].mean(0)
            expected = (x - (a + b) / 2) @ np.linalg.solve(within, b - a)
            np.testing.assert_allclose(logits[:, other] - logits[:, one], expected, rtol=1e-6, atol=1e-6)


def test_with_all_shrinkage_the_nearest_mean_wins() -> None:
    real = statistics()
    judge = ClassJudge.fitted(real, LABELS, 3, shrinkage=1.0)
    standard = ((real - real.mean(0)) / real.std(0, correction=0)).numpy()
    means = np.stack([standard[label == LABELS].mean(0) for label in range(3)])
    nearest = ((standard[:, None] - means) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(judge(real).argmax(1).numpy(), nearest)


def test_a_class_that_was_not_seen_is_never_found() -> None:
    real, labels = statistics(), torch.where(LABELS == 1, 3, LABELS)
    found = ClassJudge.fitted(real, labels, 4)(real)
    assert not (found.argmax(1) == 1).any()
    assert found[:, 1].isinf().all()
    assert found[:, [0, 2, 3]].isfinite().all()


@pytest.mark.parametrize(("shape", "labels"), [((4, 2), 3), ((4,), 4), ((0, 2), 0)])
def test_what_the_judge_cannot_be_fitted_to(shape: tuple[int, ...], labels: int) -> None:
    with pytest.raises(InputError, match=r"expected \(N, n\) and \(N,\)"):
        ClassJudge.fitted(torch.zeros(shape), torch.zeros(labels, dtype=torch.long), 2)


# -- sharpening --------------------------------------------------------------------------------------------------------


class Painter(Generator):
    """Paints a photo in a color that answers less to one number of the code than to another."""

    def forward(self, z: Tensor | None = None, style: Tensor | None = None, **options: Any) -> Tensor:
        assert z is None
        assert style is not None
        answer = style @ torch.tensor([[0.5, 0.1, 0.0], [0.0, 0.6, 0.0], [0.2, -0.3, 0.4]])
        color = 0.05 * options["content"].mean((2, 3)) + UNIT * answer
        return color[:, :, None, None].expand(-1, -1, *options["content"].shape[2:])


class Reader(StyleExtractor):
    """Its statistics are a picture's mean color."""

    def statistics(self, image: Tensor, features: object = None) -> Tensor:
        return image.mean((2, 3))


PHOTOS = torch.rand(5, 3, 9, 12, generator=torch.Generator().manual_seed(2)) * 2 - 1
EXTRACTOR = Reader(3, hidden=4, taps=("block0",))


def painter(classes: int = 3) -> Painter:
    generator = Painter(3, 3, num_classes=classes, channels=(4, 4, 8), blocks=(1, 1, 1))
    with torch.no_grad():
        maps = generator.mapping.weight.view(-1, 3, 4)
        maps[:, :, :-1] = 0.3 * torch.eye(3)
        maps[1:, :, -1] = 0.6 * MEANS[:classes]
    return generator.eval()


def maps_of(generator: Generator) -> Tensor:
    return generator.mapping.weight.detach().clone().view(-1, 3, 4)


def judge() -> ClassJudge:
    return ClassJudge.fitted(statistics(), LABELS, 3)


def sharpened(**options: Any) -> tuple[Painter, Tensor, Tensor]:
    generator = painter()
    before = maps_of(generator)
    sharpen_classes(generator, EXTRACTOR, PHOTOS, options.pop("judge", judge()), **options)
    return generator, before, maps_of(generator)


def recognized(generator: Generator) -> float:
    """How often paintings in a class's random styles are known as the class."""
    z = torch.randn(200, 3, generator=torch.Generator().manual_seed(3))
    photos = PHOTOS[torch.arange(200) % len(PHOTOS)]
    found = []
    for label in range(3):
        style = generator.sample_style(z, torch.full((200,), label))
        seen = EXTRACTOR.statistics(generator(None, style, content=photos))
        found.append((judge()(seen).argmax(1) == label).float().mean().item())
    return float(np.mean(found))


def test_a_class_is_known_more_often() -> None:
    before = recognized(painter())
    after = recognized(sharpened(steps=60, reach=3.0)[0])
    assert before < 0.8
    assert after > 0.95


def test_nothing_but_the_means_of_classes_is_moved() -> None:
    generator, before, after = sharpened()
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[:, :, :-1], before[:, :, :-1])
    assert (after[1:, :, -1] != before[1:, :, -1]).any(1).all()
    assert all(parameter.grad is None for parameter in generator.parameters())


@pytest.mark.parametrize("reach", [0.5, 1.0])
def test_no_class_goes_further_than_its_reach(reach: float) -> None:
    _, before, after = sharpened(steps=80, reach=reach)
    middle = before[1:, :, -1].mean(0)
    of_codes = ((before[1:, :, -1] - middle).square().sum(1) + 3 * 0.3**2).sqrt()
    distance = (after[1:, :, -1] - middle).norm(dim=1)
    assert (distance < 1.001 * reach * of_codes).all()
    assert (distance > 0.999 * reach * of_codes).any()  # it is what held it


def test_it_is_the_same_each_time_whatever_the_dice_and_without_gradients() -> None:
    first = sharpened()[2]
    torch.manual_seed(5)
    with torch.no_grad():
        assert torch.equal(sharpened()[2], first)


def test_a_class_that_the_judge_has_not_seen_is_left_alone() -> None:
    seen = LABELS != 1
    _, before, after = sharpened(judge=ClassJudge.fitted(statistics()[seen], LABELS[seen], 3))
    assert (after != before).flatten(1).any(1).tolist() == [False, True, False, True]


def test_it_can_be_left_off() -> None:
    asked = iter([False] * 4 + [True])
    _, before, after = sharpened(stopping=lambda: next(asked), steps=3)
    assert (after != before).flatten(1).any(1).tolist() == [False, True, False, False]


class Dissolving(Painter):
    """The further a code's first number goes, the more of the photo dissolves in noise."""

    def forward(self, z: Tensor | None = None, style: Tensor | None = None, **options: Any) -> Tensor:
        assert style is not None
        content = options["content"]
        noise = torch.rand(content.shape[1:], generator=torch.Generator().manual_seed(4)) * 2 - 1
        dissolved = torch.sigmoid(2 * style[:, 0] - 2)[:, None, None, None]
        return super().forward(z, style, **options) + content.lerp(noise.expand_as(content), dissolved)


def drawing_lost(generator: Generator, label: int) -> float:
    style = generator.sample_style(torch.zeros(len(PHOTOS), 3), torch.full((len(PHOTOS),), label))
    with torch.no_grad():
        target = {tap: normalize_features(f) for tap, f in EXTRACTOR.trunk(PHOTOS).items()}
        return content_loss(EXTRACTOR.trunk(generator(None, style, content=PHOTOS)), target).item()


def test_photos_do_not_dissolve_for_the_judge() -> None:
    lost: dict[str | float, float] = {}
    for drawing in (0.0, 1e3):
        generator = Dissolving(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1)).eval()
        generator.load_state_dict(painter().state_dict())
        lost["before"] = drawing_lost(generator, 0)
        sharpen_classes(generator, EXTRACTOR, PHOTOS, judge(), steps=40, reach=3.0, drawing=drawing)
        lost[drawing] = drawing_lost(generator, 0)
    assert lost[0.0] > lost["before"] + 0.05
    assert lost[1e3] < lost["before"] + 0.02


def test_one_class_has_nothing_to_be_told_from() -> None:
    generator = painter(1)
    before = maps_of(generator)
    sharpen_classes(generator, EXTRACTOR, PHOTOS, ClassJudge.fitted(statistics(), 0 * LABELS, 1))
    assert torch.equal(maps_of(generator), before)


def test_large_paintings_are_read_as_small_as_style_pictures() -> None:
    sides = []

    class Watching(Reader):
        def statistics(self, image: Tensor, features: object = None) -> Tensor:
            sides.append(tuple(image.shape[2:]))
            return super().statistics(image, features)

    watching = Watching(3, hidden=4, taps=("block0",))
    sharpen_classes(painter(), watching, torch.zeros(2, 3, 416, 500), judge(), steps=1)
    assert set(sides) == {(208, 250)}
