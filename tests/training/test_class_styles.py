"""Styles by chance and by name: the maps that are fitted to codes, and steered by what is painted with them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import make_folders, networks, picture

from agnlib import Generator, Stylizer
from agnlib.errors import ImageError
from agnlib.models import StyleExtractor
from agnlib.training import PictureFolder
from agnlib.training.class_styles import fitting
from agnlib.training.class_styles.calibration import calibrate_classes
from agnlib.training.class_styles.fitting import fit_class_styles
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.class_styles.unfinished import Unfinished

MEANS = torch.tensor([[3.0, 0.0, 0.0], [-1.0, 2.0, 0.0], [-2.0, -2.0, 0.0]])
KINDS = torch.arange(3).repeat_interleave(400)


def codes() -> Tensor:
    """Three classes, each of its own covariance."""
    noise = torch.randn(1200, 3, generator=torch.Generator().manual_seed(0))
    spread = torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 1.0], [0.5, 1.0, 2.0]])
    return MEANS[KINDS] + noise * spread[KINDS]


def fitted(**options: float) -> Generator:
    generator = Generator(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1))
    fit_mapping(generator, codes(), KINDS, **options)
    return generator


def drawn(generator: Generator, label: int) -> np.ndarray:
    z = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    return generator.sample_style(z, torch.full((len(z),), label)).detach().numpy()


@pytest.mark.parametrize("label", range(3))
def test_without_options_a_class_has_its_mean_and_covariance(label: int) -> None:
    of, members = drawn(fitted(spread=1.0, shrinkage=0.0), label), codes()[label == KINDS].numpy()
    np.testing.assert_allclose(of.mean(0), members.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(of.T), np.cov(members.T), atol=0.15)


@pytest.mark.parametrize("label", range(3))
def test_shrinkage_goes_to_the_covariance_of_all_classes(label: int) -> None:
    real = codes().numpy()
    within = np.mean([np.cov(real[KINDS.numpy() == each].T) for each in range(3)], axis=0)
    np.testing.assert_allclose(np.cov(drawn(fitted(spread=1.0, shrinkage=1.0), label).T), within, atol=0.1)


@pytest.mark.parametrize("label", range(3))
def test_what_spread_gives_up_goes_into_the_mean(label: int) -> None:
    whole, half = (drawn(fitted(spread=spread, shrinkage=0.0), label) for spread in (1.0, 0.5))
    middle = np.mean([codes()[each == KINDS].numpy().mean(0) for each in range(3)], axis=0)
    np.testing.assert_allclose(np.cov(half.T), np.cov(whole.T) / 4, atol=0.05)
    distance = [((each - middle) ** 2).sum(1).mean() for each in (whole, half)]
    assert distance[1] == pytest.approx(distance[0], rel=0.03)
    offsets = [each.mean(0) - middle for each in (whole, half)]
    cosine = offsets[0] @ offsets[1] / np.linalg.norm(offsets[0]) / np.linalg.norm(offsets[1])
    assert cosine > 0.995


def test_a_class_in_the_middle_is_not_thrown_far_out() -> None:
    generator = Generator(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1))
    alike = codes() - MEANS[KINDS]
    fit_mapping(generator, alike, KINDS, spread=0.1)
    real = [alike[label == KINDS].mean(0) for label in range(3)]
    middle = torch.stack(real).mean(0)
    for label in range(3):
        mean = torch.from_numpy(drawn(generator, label).mean(0))
        assert (mean - middle).norm() < 3.1 * (real[label] - middle).norm() + 0.02


def test_styles_without_a_class_keep_mean_and_covariance() -> None:
    z = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    of = fitted().sample_style(z).detach().numpy()
    np.testing.assert_allclose(of.mean(0), codes().numpy().mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(of.T), np.cov(codes().numpy().T), atol=0.3)


def test_one_class_keeps_its_codes_as_they_are() -> None:
    generator = Generator(3, 3, num_classes=1, channels=(4, 4, 8), blocks=(1, 1, 1))
    real = codes()[:400]
    fit_mapping(generator, real, KINDS[:400])
    z = torch.randn(50, 3)
    torch.testing.assert_close(generator.sample_style(z, torch.zeros(50, dtype=torch.long)), generator.sample_style(z))


# -- calibration -------------------------------------------------------------------------------------------------------

ANSWER = torch.tensor([[0.6, 0.1, 0.0], [0.0, 0.5, -0.1], [0.1, 0.0, 0.7]])  # to a code, as a change of color
UNIT = 0.02  # of color, so that paintings stay in [-1, 1]


class Painter(Generator):
    """Paints a photo's mean color with a color that is linear in the code."""

    def forward(self, z: Tensor | None = None, style: Tensor | None = None, **options: Any) -> Tensor:
        assert z is None
        assert style is not None
        color = 0.1 * options["content"].mean((2, 3)) + UNIT * style @ ANSWER.T
        return color[:, :, None, None].expand(-1, -1, *options["content"].shape[2:])


class Reader(StyleExtractor):
    """Reads a picture's mean color as a code."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3)) / UNIT + 0.3


def painter() -> Painter:
    generator = Painter(3, 3, num_classes=3, channels=(4, 4, 8), blocks=(1, 1, 1))
    fit_mapping(generator, codes(), KINDS)
    return generator


def maps_of(generator: Generator) -> Tensor:
    return generator.mapping.weight.detach().clone().view(-1, 3, 4)


PHOTOS = torch.rand(5, 3, 9, 12, generator=torch.Generator().manual_seed(2)) * 2 - 1


def calibrated(**options: Any) -> tuple[Tensor, Tensor]:
    """The maps before and after."""
    generator = painter()
    before = maps_of(generator)
    calibrate_classes(generator, Reader(3, hidden=4, taps=("block0",)), PHOTOS, **options)
    return before, maps_of(generator)


def test_calibration_goes_to_where_a_linear_painter_is_read_as_asked() -> None:
    before, after = calibrated(rounds=60, reach=1e9)
    own = 0.1 * PHOTOS.mean((0, 2, 3)) / UNIT + 0.3  # read of a photo in the style 0
    expected = torch.linalg.solve(ANSWER, (before[1:, :, -1] - own).T).T
    torch.testing.assert_close(after[1:, :, -1], expected, atol=1e-3, rtol=1e-4)


def test_calibration_moves_nothing_but_the_means_of_classes() -> None:
    before, after = calibrated()
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[:, :, :-1], before[:, :, :-1])
    assert (after[1:, :, -1] != before[1:, :, -1]).all()


@pytest.mark.parametrize("reach", [0.5, 1.0])
def test_no_class_is_calibrated_further_than_its_reach(reach: float) -> None:
    before, after = calibrated(rounds=60, reach=reach)
    middle = before[1:, :, -1].mean(0)
    drawn_before = [torch.from_numpy(drawn(painter(), label)) for label in range(3)]
    of_codes = torch.stack([(each - middle).square().sum(1).mean().sqrt() for each in drawn_before])
    distance = (after[1:, :, -1] - middle).norm(dim=1)
    assert (distance < 1.02 * reach * of_codes).all()
    assert (distance > 0.98 * reach * of_codes).any()  # it is what held it


def test_calibration_is_the_same_each_time_and_whatever_the_dice() -> None:
    first = calibrated()[1]
    torch.manual_seed(5)
    assert torch.equal(calibrated()[1], first)


def test_calibration_can_be_left_off() -> None:
    asked = iter([False, True])
    before, after = calibrated(stopping=lambda: next(asked))
    assert (after != before).flatten(1).any(1).tolist() == [False, True, False, False]


@pytest.mark.parametrize("classes", [0, 1])
def test_there_is_nothing_to_calibrate_without_another_class(classes: int) -> None:
    generator = Painter(3, 3, num_classes=classes, channels=(4, 4, 8), blocks=(1, 1, 1))
    before = maps_of(generator)
    calibrate_classes(generator, Reader(3, hidden=4, taps=("block0",)), PHOTOS)
    assert torch.equal(maps_of(generator), before)


def test_large_paintings_are_read_as_small_as_style_pictures() -> None:
    sides = []

    class Watching(Reader):
        def forward(self, image: Tensor) -> Tensor:
            sides.append(tuple(image.shape[2:]))
            return super().forward(image)

    calibrate_classes(painter(), Watching(3, hidden=4, taps=("block0",)), torch.zeros(2, 3, 416, 500), rounds=1)
    assert set(sides) == {(208, 250)}


# -- styles by name, of folders ----------------------------------------------------------------------------------------


def painter_and_reader() -> tuple[Generator, StyleExtractor]:
    found = networks(num_classes=2)
    return found["generator"].eval(), found["extractor"].eval()


def test_a_class_with_one_style_is_read_as_the_stylizer_reads_it(tmp_path: Path) -> None:
    """Two copies of a picture of 300 x 400 pixels: the map without spread is their code by reference."""
    for name, seed in (("ink", 1), ("oil", 2)):
        for copy in ("a", "b"):
            picture(tmp_path / "style" / name / f"{copy}.png", (300, 400), seed)
    picture(tmp_path / "photos" / "one.png", (40, 30), 3)
    (tmp_path / "style" / "oil" / "torn.png").write_bytes((tmp_path / "style" / "oil" / "a.png").read_bytes()[:9000])
    generator, extractor = painter_and_reader()
    stylizer = Stylizer(generator, extractor, device="cpu")
    folders = PictureFolder(tmp_path / "photos", 16), PictureFolder(tmp_path / "style", 16)
    assert fit_class_styles(generator, extractor, *folders)
    expected = stylizer.encode_style([tmp_path / "style" / name / "a.png" for name in ("ink", "oil")]).vector
    of_all = generator.mapping.weight.detach().view(3, 16, 9)[0, :, -1]
    torch.testing.assert_close(of_all, expected, atol=1e-4, rtol=1e-4)


def test_naming_leaves_off_when_it_is_told_to(tmp_path: Path) -> None:
    folders = [PictureFolder(folder, 16) for folder in make_folders(tmp_path)]
    for calls in (0, 3, 5, 7):
        asked = itertools.count()
        generator, extractor = painter_and_reader()
        assert not fit_class_styles(generator, extractor, *folders, stopping=lambda: next(asked) >= calls)  # noqa: B023
    assert fit_class_styles(generator, extractor, *folders)


def test_naming_goes_on_where_it_left_off(tmp_path: Path) -> None:
    folders = [PictureFolder(folder, 16) for folder in make_folders(tmp_path / "pictures")]
    whole = painter_and_reader()
    assert fit_class_styles(*whole, *folders, steps=2)
    for calls in range(0, 40, 3):
        asked, kept = itertools.count(), Unfinished(tmp_path / f"{calls}.safetensors", "this")
        stopped = {"stopping": lambda asked=asked, calls=calls: next(asked) >= calls}
        done = fit_class_styles(*painter_and_reader(), *folders, steps=2, unfinished=kept, **stopped)
        again = painter_and_reader()
        assert fit_class_styles(*again, *folders, steps=2, unfinished=kept)
        assert torch.equal(again[0].mapping.weight, whole[0].mapping.weight)
    assert done
    assert int(kept.read()["classes"]) == 2
    assert not Unfinished(tmp_path / f"{calls}.safetensors", "another").read()


def test_with_no_time_some_pictures_of_every_class_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ink", "oil"):
        for number in range(9):
            picture(tmp_path / "style" / name / f"{number}.png", (20, 20), number)
    picture(tmp_path / "photos" / "one.png", (40, 30), 3)
    folders = PictureFolder(tmp_path / "photos", 16), PictureFolder(tmp_path / "style", 16)
    counted: list[Tensor] = []
    monkeypatch.setattr(fitting, "fit_mapping", lambda generator, codes, labels, **_: counted.append(labels))
    told: list[tuple[float, float]] = []
    assert fit_class_styles(*painter_and_reader(), *folders, seconds=0.0, progress=lambda *now: told.append(now))
    assert torch.bincount(counted[0]).tolist() == [4, 4]
    assert fit_class_styles(*painter_and_reader(), *folders, steps=1, progress=lambda *now: told.append(now))
    assert torch.bincount(counted[1]).tolist() == [9, 9]
    assert told[-1] == (20, 20)


@pytest.mark.parametrize(("size", "side"), [(40, 40), (252, 252), (400, 252)])
def test_photos_are_painted_at_252_pixels_at_most(
    size: int, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = (
        PictureFolder(folder, each) for folder, each in zip(make_folders(tmp_path), (size, 16), strict=True)
    )
    given = []
    monkeypatch.setattr(fitting, "calibrate_classes", lambda generator, extractor, photos, **_: given.append(photos))
    monkeypatch.setattr(
        fitting, "sharpen_classes", lambda generator, extractor, photos, judge, **_: given.append(photos)
    )
    fit_class_styles(*painter_and_reader(), content, style)
    assert given[0] is given[1]
    assert given[0].shape[1:] == (3, side, side)
    assert given[0].min() >= -1
    assert given[0].max() <= 1


def test_a_folder_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    content, style = make_folders(tmp_path)
    folders = [PictureFolder(folder, 16) for folder in (content, style)]
    for folder in (content, style):
        for file in folder.rglob("*.png"):
            file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(ImageError, match=rf"{folder.name}: not one of its pictures can be decoded"):
            fit_class_styles(*painter_and_reader(), *folders)
