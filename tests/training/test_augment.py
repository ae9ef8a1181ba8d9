"""Augmentation: what it does to pictures, how often, and that gradients of gradients pass through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toy import AT_ONCE, trainer

from agnlib.errors import InputError
from agnlib.models import Discriminator
from agnlib.testing import check_trainer
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig
from agnlib.training.data.augment import AUGMENTATIONS, AdaptiveProbability, augment

GEOMETRIC = ("translation", "cutout", "flip")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(count: int, height: int = 16, width: int = 24) -> Tensor:
    """Pictures whose every pixel has a value of its own, none of them 0."""
    return torch.arange(1, height * width + 1).view(1, 1, height, width).expand(count, 3, -1, -1) / (height * width)


def test_probability_0_is_the_identity() -> None:
    image = torch.randn(4, 3, 9, 11)
    assert augment(image, tuple(AUGMENTATIONS), probability=0.0, generator=rng()) is image
    assert augment(image, ()) is image


@given(seed=st.integers(0, 2**31), probability=st.floats(0, 1))
def test_the_dice_move_on_alike_whatever_the_probability(seed: int, probability: float) -> None:
    first, second = rng(seed), rng(seed)
    augment(ramp(2), GEOMETRIC, probability=probability, generator=first)
    augment(ramp(2), GEOMETRIC, probability=1.0, generator=second)
    assert torch.equal(first.get_state(), second.get_state())


def test_the_same_dice_give_the_same_change_and_others_another() -> None:
    image = torch.randn(4, 3, 16, 16)
    first, again, other = (augment(image, GEOMETRIC, generator=rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(seed=st.integers(0, 2**31), height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_translation_is_a_shift_of_at_most_an_eighth_filled_with_gray(seed: int, height: int, width: int) -> None:
    image = ramp(1, height, width)
    moved = augment(image, ["translation"], generator=rng(seed))
    inside = moved[0, 0].numpy() != 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert inside[np.ix_(rows, columns)].all()
    assert height - len(rows) <= height // 8
    assert width - len(columns) <= width // 8
    first = (moved[0, 0, rows[0], columns[0]] * height * width).round().long().item() - 1
    shift = rows[0] - first // width, columns[0] - first % width
    expected = np.zeros_like(image[0].numpy())
    for y, x in zip(*np.nonzero(inside), strict=True):
        expected[:, y, x] = image[0, :, y - shift[0], x - shift[1]].numpy()
    np.testing.assert_array_equal(moved[0].numpy(), expected)


def test_shifts_are_evenly_spread_over_an_eighth_to_either_side() -> None:
    image = torch.zeros(3000, 1, 16, 16)
    image[:, :, 8, 8] = 1
    places = augment(image, ["translation"], generator=rng()).flatten(1).argmax(1)
    counts = np.bincount((places // 16 - 8 + 2) * 5 + places % 16 - 8 + 2, minlength=25)
    assert len(counts) == 25  # 5 x 5 shifts, each 120 times; the deviation of such a count is 10.7
    assert np.abs(counts - 120).max() < 5 * 10.7


def test_cutout_is_a_gray_square_of_half_a_side_centered_anywhere() -> None:
    changed = augment(ramp(4000), ["cutout"], generator=rng())
    holes = (changed[:, 0] == 0).numpy()
    assert np.array_equal(changed.numpy()[:, 1] == 0, holes)
    kept = np.broadcast_to(ramp(1)[0, 0].numpy(), holes.shape)
    assert np.array_equal(changed[:, 0].numpy()[~holes], kept[~holes])
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert (heights * widths == holes.sum((1, 2))).all()
    assert (heights.max(), widths.max()) == (8, 12)
    # the center is uniform on 0..16, so the square stands out at either end: of 17 places 9 have all 8 rows inside,
    # and 8 rows less k for the four places by k = 1..4 beyond either end
    assert heights.mean() == pytest.approx(8 - 2 * (1 + 2 + 3 + 4) / 17, abs=5 * 1.4 / 4000**0.5)


def test_a_flip_mirrors_half_of_the_pictures_and_p_of_them_half_that() -> None:
    image = ramp(4000)
    for probability in (1.0, 0.4):
        changed = augment(image, ["flip"], probability=probability, generator=rng())
        mirrored = (changed == image.flip(3)).all((1, 2, 3))
        assert ((changed == image).all((1, 2, 3)) ^ mirrored).all()
        assert mirrored.float().mean().item() == pytest.approx(probability / 2, abs=5 * (0.25 / 4000) ** 0.5)


@pytest.mark.parametrize("name", ["translation", "cutout", "color"])
def test_an_operation_is_carried_out_with_the_probability_asked_for(name: str) -> None:
    image = ramp(4000, 64, 64)
    changed = (augment(image, [name], probability=0.3, generator=rng()) != image).any(3).any(2).any(1)
    untouched = 1 / 17**2 if name == "translation" else 0  # of the shifts by up to 8, one is by nothing
    assert changed.float().mean().item() == pytest.approx(0.3 * (1 - untouched), abs=5 * (0.21 / 4000) ** 0.5)


def test_color_changes_by_the_paper_s_amounts() -> None:
    flat = torch.zeros(2000, 3, 2, 2)
    brightness = augment(flat, ["color"], generator=rng())
    assert (brightness == brightness[:, :1, :1, :1]).all()  # a gray picture has neither saturation nor contrast
    assert brightness.min() == pytest.approx(-0.5, abs=0.01)
    assert brightness.max() == pytest.approx(0.5, abs=0.01)
    colored = torch.tensor([0.3, 0.0, -0.3]).view(1, 3, 1, 1).expand(2000, 3, 1, 1)
    spread = augment(colored, ["color"], generator=rng()).std(1) / colored.std(1)  # saturation 0..2, contrast 0.5..1.5
    assert 0 <= spread.min() < 0.05
    assert 2.7 < spread.max() <= 3
    assert spread.mean().item() == pytest.approx(1, abs=0.1)


def test_gradients_reach_the_picture_where_it_is_shown() -> None:
    image = torch.randn(3, 3, 16, 16, requires_grad=True)
    changed = augment(image, GEOMETRIC, generator=rng())
    changed.sum().backward()
    for one, gradient in zip(changed, image.grad, strict=True):
        assert set(gradient.unique().tolist()) == {0.0, 1.0}
        assert gradient.sum() == (one != 0).sum()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_and_their_gradients_are_right(name: str) -> None:
    image = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)

    def change(x: Tensor) -> Tensor:
        return augment(x, [name], generator=rng()).square()  # so that there is a second derivative

    assert torch.autograd.gradcheck(change, (image,))
    assert torch.autograd.gradgradcheck(change, (image,))


def test_unknown_operations_and_probabilities_are_errors() -> None:
    with pytest.raises(InputError, match=r"unknown augmentation 'rotate'; expected some of translation"):
        augment(ramp(1), ["flip", "rotate"])
    with pytest.raises(InputError, match=r"probability is 1\.5"):
        augment(ramp(1), ["flip"], probability=1.5)


def test_the_probability_follows_the_mean_sign() -> None:
    adaptive = AdaptiveProbability(0.0, target=0.6, images=1000)
    for _ in range(30):
        adaptive.update(0.9, images=10)
    assert adaptive.value == pytest.approx(0.3)
    adaptive.update(0.1, images=100)
    assert adaptive.value == pytest.approx(0.2)
    adaptive.update(0.6, images=500)
    assert adaptive.value == pytest.approx(0.2)
    adaptive.update(0.0, images=900)
    assert adaptive.value == 0
    adaptive.update(1.0, images=5000)
    assert adaptive.value == 1
    steady = AdaptiveProbability(0.5, target=None, images=1)
    steady.update(1.0, images=10)
    assert steady.value == 0.5


# -- in training ------------------------------------------------------------------------------------------------------


def make(**options: object) -> AdversarialTrainer:
    return trainer(given={"extractor": None}, terms={}, **{**AT_ONCE, **options})


def batch(step: int) -> Batch:
    content, style = torch.rand(2, 4, 3, 24, 24, generator=rng(step)) * 2 - 1
    return Batch(content, style, torch.arange(4) % 2, step=step)


class Spy(Discriminator):
    """Remembers what it was shown."""

    shown: list[Tensor]

    def patch_logits(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> list[Tensor]:
        self.shown.append(image.detach().clone())
        return super().patch_logits(image, label, style)


def test_real_and_generated_pictures_are_shown_by_the_same_operations_and_other_draws() -> None:
    subject = make(augment=("cutout",), penalty=0.0)
    subject.discriminator.__class__, subject.discriminator.shown = Spy, []
    subject.fit([batch(0)], steps=1)
    real, fake, wrong, for_generator = subject.discriminator.shown
    assert torch.equal(real, wrong)  # the same picture, with another's code
    holes = [(image == 0).all(1) for image in (real, fake, for_generator)]
    assert all(each.flatten(1).any(1).all() for each in holes)
    assert not torch.equal(holes[0], holes[1])
    assert not torch.equal(holes[1], holes[2])


def test_the_generator_learns_through_what_is_shown() -> None:
    subject = make(augment=GEOMETRIC)
    before = {key: value.clone() for key, value in subject.generator.state_dict().items()}
    logs = subject.fit([batch(step) for step in range(3)], steps=3)
    assert {"discriminator/r1", "generator/adversarial"} <= set(logs)
    assert subject.skipped_steps == 0
    assert any(not torch.equal(value, before[key]) for key, value in subject.generator.state_dict().items())


@pytest.mark.parametrize(
    "options", [{"augment_probability": 0.5}, {"ada_target": -0.5, "ada_images": 40}, {"loss": "wasserstein"}]
)
def test_augmented_training_resumes_exactly(options: dict[str, object]) -> None:
    check_trainer(lambda: make(augment=GEOMETRIC, **options))


def test_the_probability_adapts_and_is_in_the_checkpoint(tmp_path: Path) -> None:
    subject = make(augment=("flip",), ada_target=0.6, ada_images=40)
    for scale in subject.discriminator.scales:
        torch.nn.init.constant_(scale.logit.bias, 5.0)  # it takes everything for real
    subject.fit([batch(step) for step in range(3)], steps=3)
    assert subject._objective.adaptive.value == pytest.approx(3 * 4 / 40)
    subject.save_checkpoint(tmp_path / "c")
    other = make(augment=("flip",), ada_target=0.6, ada_images=40)
    other.load_checkpoint(tmp_path / "c")
    assert other._objective.adaptive.value == subject._objective.adaptive.value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": ("blur",)}, "unknown augmentation 'blur'"),
        ({"augment": ("flip",), "augment_probability": 2.0}, r"augment_probability is 2\.0"),
        ({"ada_target": 0.6}, r"ada_target is 0\.6 with augment \(\)"),
        ({"augment": ("flip",), "ada_target": 1.0}, r"ada_target is 1\.0"),
        ({"augment": ("flip",), "ada_target": 0.6, "ada_images": 0}, "ada_images is 0"),
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainerConfig(**options)  # type: ignore[arg-type]
