"""Large pictures have strokes as broad beside the picture as small ones, and the photo's edges are sharp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from toy import networks

from agnlib import Stylizer
from agnlib._shared import strokes
from agnlib.errors import InputError
from agnlib.painting import _painted_windows
from agnlib.painting._guided_upsampling import GuidedUpsampled, Once
from agnlib.tiling import Box, Computed

RNG = np.random.default_rng(0)
STYLE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    found = networks()
    return Stylizer(found["generator"], found["extractor"], device="cpu")


def photo(height: int, width: int) -> np.ndarray:
    coarse = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def source(pixels: torch.Tensor) -> Computed:
    return Computed((pixels.shape[2], pixels.shape[3]), lambda box: pixels[box.slices])


def test_strokes_grow_with_large_pictures_alone(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strokes, "_PIXELS", 60 * 80)
    small, large = photo(66, 88), photo(120, 160)  # 1.21 and 4 times as many pixels
    np.testing.assert_array_equal(stylizer(small, STYLE), stylizer(small, STYLE, scale=1))
    np.testing.assert_array_equal(stylizer(large, STYLE), stylizer(large, STYLE, scale=2))
    assert (stylizer(large, STYLE) != stylizer(large, STYLE, scale=1)).any()


def test_neighbors_have_the_strokes_of_their_reference(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strokes, "_PIXELS", 30 * 40)
    given = {"method": "neighbors", "drawing": 1.0}
    picture = photo(60, 80)
    np.testing.assert_array_equal(stylizer(picture, STYLE, **given), stylizer(picture, STYLE, scale=1, **given))


@pytest.mark.parametrize("tile", ["auto", None, 48])
def test_in_parts_or_whole_it_is_the_same(
    stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch, tile: int | str | None
) -> None:
    picture = photo(150, 190)
    whole = stylizer(picture, STYLE, scale=2.3, tile=None).astype(int)
    monkeypatch.setattr(_painted_windows, "_ENLARGED_AT_ONCE", 50 * 50)
    assert np.abs(stylizer(picture, STYLE, scale=2.3, tile=tile).astype(int) - whole).max() <= 1  # type: ignore[arg-type]


def test_the_network_paints_once_for_all_parts(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_painted_windows, "_ENLARGED_AT_ONCE", 40 * 40)
    calls: list[torch.Size] = []
    hook = stylizer.generator.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs["content"].shape), with_kwargs=True
    )
    stylizer(photo(120, 160), STYLE, scale=2)
    hook.remove()
    assert [tuple(shape[2:]) for shape in calls] == [(60, 80)]


def test_a_picture_in_its_own_size_is_painted_in_one_piece(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_painted_windows, "_ENLARGED_AT_ONCE", 40 * 40)
    calls: list[torch.Size] = []
    hook = stylizer.generator.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs["content"].shape), with_kwargs=True
    )
    stylizer(photo(120, 160), STYLE)
    hook.remove()
    assert [tuple(shape[2:]) for shape in calls] == [(120, 160)]


def test_a_painting_that_is_the_photo_is_enlarged_to_the_photo() -> None:
    """Where the painting follows the lightness one to one, the detail that was lost comes back as it was."""
    gray = torch.rand(1, 1, 80, 96).expand(1, 3, -1, -1) * 1.6 - 0.8
    small = F.interpolate(gray, (40, 48), mode="bicubic", antialias=True)
    enlarged = GuidedUpsampled(source(small), source(small), source(gray)).window(Box(0, 0, 80, 96))
    plain = F.interpolate(small, (80, 96), mode="bicubic")
    assert (enlarged - gray).square().mean() < 0.1 * (plain - gray).square().mean()


def test_what_does_not_follow_the_photo_gets_nothing_of_it() -> None:
    detail = torch.rand(1, 1, 80, 96).expand(1, 3, -1, -1) * 2 - 1
    seen = F.interpolate(detail, (40, 48), mode="bicubic", antialias=True)
    flat = torch.full((1, 3, 40, 48), 0.25)
    enlarged = GuidedUpsampled(source(flat), source(seen), source(detail)).window(Box(0, 0, 80, 96))
    torch.testing.assert_close(enlarged, torch.full_like(enlarged, 0.25))


def test_edges_are_nearer_to_the_photos_than_enlarged_ones() -> None:
    """A step that is painted darker and in another color, between two places of the small picture."""
    columns = torch.arange(96, dtype=torch.float32) >= 49
    step = (columns.float() * 1.4 - 0.7).expand(1, 3, 80, 96)
    small = F.interpolate(step, (20, 24), mode="bicubic", antialias=True)
    colors = torch.tensor([0.5, -0.3, 0.2]).view(1, 3, 1, 1)
    expected = step * colors - 0.1
    enlarged = GuidedUpsampled(source(small * colors - 0.1), source(small), source(step)).window(Box(0, 0, 80, 96))
    plain = F.interpolate(small * colors - 0.1, (80, 96), mode="bicubic")
    assert (enlarged - expected).abs().max() < 0.35 * (plain - expected).abs().max()


def test_once_is_once() -> None:
    calls: list[Box] = []
    picture = torch.rand(1, 3, 8, 9)
    once = Once(Computed((8, 9), lambda box: (calls.append(box), picture[box.slices])[1]))  # type: ignore[func-returns-value]
    for box in (Box(0, 0, 3, 4), Box(2, 2, 8, 9)):
        assert torch.equal(once.window(box), picture[box.slices])
    assert calls == [Box(0, 0, 8, 9)]


def test_another_word_is_refused(stylizer: Stylizer) -> None:
    with pytest.raises(InputError, match='scale must be "auto" or a number'):
        stylizer(photo(20, 20), STYLE, scale="large")  # type: ignore[arg-type]
