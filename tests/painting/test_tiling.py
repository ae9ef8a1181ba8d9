"""Tiles: the geometry against closed forms, resampling against torch, and tiled pictures against whole ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import Tensor

from agnlib.errors import InputError
from agnlib.layers import Window
from agnlib.models import Generator, StyleExtractor
from agnlib.painting import _painted_windows
from agnlib.stylizer import Stylizer
from agnlib.tiling import Box, Computed, Resampled, bands, paint_tiles, window_side

IMAGES = Path(__file__).resolve().parents[2] / "examples" / "images"
SIDES = st.integers(1, 90)


def of(tensor: Tensor) -> Computed:
    return Computed((tensor.shape[2], tensor.shape[3]), lambda box: tensor[box.slices])


# Geometry


@given(SIDES, SIDES, st.integers(1, 100), st.sampled_from([1, 8]))
def test_tiles_cover_each_pixel_once_in_reading_order(height: int, width: int, side: int, align: int) -> None:
    count = torch.zeros(height, width)
    boxes = Box(0, 0, height, width).split(side, align=align)
    for box in boxes:
        assert box.top % align == box.left % align == 0
        assert max(box.height, box.width) <= max(side + align - 1, align)
        count[box.slices] += 1
    assert (count == 1).all()
    assert boxes == sorted(boxes, key=lambda box: (box.top, box.left))


@given(SIDES, SIDES, st.integers(0, 50), st.data())
def test_a_grown_box_has_its_margin_or_ends_with_the_picture(
    height: int, width: int, margin: int, draw: st.DataObject
) -> None:
    top, left = draw.draw(st.integers(0, height - 1)), draw.draw(st.integers(0, width - 1))
    box = Box(top, left, draw.draw(st.integers(top + 1, height)), draw.draw(st.integers(left + 1, width)))
    grown = box.grown(margin, (height, width), align=8)
    assert grown.top % 8 == grown.left % 8 == 0
    assert grown.top == 0 or margin <= box.top - grown.top < margin + 8
    assert grown.bottom == min(height, box.bottom + margin)
    picture = torch.arange(height * width).reshape(height, width)
    assert torch.equal(picture[grown.slices][box.within(grown).slices], picture[box.slices])


@given(st.integers(1, 10**7), st.integers(0, 200))
def test_a_window_keeps_to_its_budget(pixels: int, halo: int) -> None:
    side = window_side(pixels, halo, align=8)
    assert side == 64 + 2 * halo or side**2 <= pixels < (side + 8) ** 2


@given(st.integers(1, 3000), st.integers(16, 400), st.integers(0, 60), st.sampled_from([1, 8]))
def test_windows_are_of_about_equal_size_and_none_is_longer_than_asked_for(
    length: int, more: int, halo: int, align: int
) -> None:
    side = 2 * halo + more
    boxes = Box(0, 0, 1, length).split(side, align=align, halo=halo)
    assert [box.left for box in boxes[1:]] == [box.right for box in boxes[:-1]]
    assert (boxes[0].left, boxes[-1].right) == (0, length)
    windows = [min(length, box.right + halo) - max(0, box.left - halo) for box in boxes]
    assert max(windows) <= side + align - 1
    assert max(windows) - min(windows) < 2 * align


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.data())
def test_a_resampled_window_is_that_part_of_what_pillow_makes_of_the_whole(
    height: int, width: int, high: int, wide: int, draw: st.DataObject
) -> None:
    picture = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))
    resized = Image.fromarray(picture[0, 0].numpy()).resize((wide, high), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(resized))[None, None]
    top, left = draw.draw(st.integers(0, high - 1)), draw.draw(st.integers(0, wide - 1))
    box = Box(top, left, draw.draw(st.integers(top + 1, high)), draw.draw(st.integers(left + 1, wide)))
    window = Resampled(of(picture), (high, wide)).window(box)
    torch.testing.assert_close(window, expected[box.slices], atol=1e-5, rtol=0)


@given(SIDES, SIDES, st.integers(1, 40))
def test_bands_are_the_picture_in_whole_rows(height: int, width: int, side: int) -> None:
    picture = torch.rand(1, 3, height, width)
    tiles = ((box, picture[box.slices]) for box in Box(0, 0, height, width).split(side))
    found = list(bands(tiles, width))
    assert torch.equal(torch.cat(found, dim=2), picture)
    assert max(band.shape[2] for band in found) <= side


# Memory


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


def limited(picture: Tensor, side: int, error: BaseException) -> Callable[[Box], Tensor]:
    def paint(box: Box) -> Tensor:
        if max(box.height, box.width) > side:
            raise error
        return picture[box.slices]

    return paint


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_tiles_and_goes_on(error: BaseException) -> None:
    picture = torch.rand(1, 3, 300, 500)
    tried: list[Box] = []
    paint = limited(picture, 130, error)

    def noting(box: Box) -> Tensor:
        tried.append(box)
        return paint(box)

    boxes = Box(0, 0, 300, 500).split(400, align=8)
    found = torch.cat(list(bands(paint_tiles(noting, boxes, align=8), 500)), dim=2)
    assert torch.equal(found, picture)
    assert sum(max(box.height, box.width) > 130 for box in tried) == 2  # what did not fit once is not tried again


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_for_nothing_is_an_error_of_ours(error: BaseException) -> None:
    with pytest.raises(InputError, match="fits into memory; give a smaller size"):
        list(paint_tiles(limited(torch.zeros(1, 3, 300, 300), 10, error), [Box(0, 0, 300, 300)]))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug")])
def test_other_errors_are_not_hidden(error: BaseException) -> None:
    with pytest.raises(type(error), match="a bug"):
        list(paint_tiles(limited(torch.zeros(1, 3, 300, 300), 10, error), [Box(0, 0, 300, 300)]))


def test_what_a_failed_tile_held_is_gone_before_the_next_is_tried() -> None:
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def paint(box: Box) -> Tensor:
        assert not alive
        held = Held()
        if box.width > 100:
            raise MemoryError(held)
        return torch.zeros(1, 3, box.height, box.width)

    assert len(list(paint_tiles(paint, [Box(0, 0, 400, 400)]))) == 16


# The network in tiles


def networks() -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(8, 8, 16), blocks=(1, 1, 2))
    generator.seed_gain.data.fill_(2)  # so that a latent matters
    return generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0", "block2"))


STYLIZER = Stylizer(*networks(), device="cpu")


@pytest.mark.parametrize(
    "options", [{}, {"blocks": (0, 1, 1)}, {"blocks": (2, 0, 2), "kernel": 7}, {"blocks": (0, 0, 0)}]
)
def test_the_receptive_field_is_as_wide_as_the_generator_says(options: dict[str, Any]) -> None:
    generator = Generator(latent_dim=4, style_dim=8, channels=(4, 4, 4), **options).double().eval()
    side = 2 * generator.reach + 32
    photo = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    style = torch.randn(1, 8, dtype=torch.float64)
    padded = (side + sum(generator.padding(side, side)[2:]),) * 2
    window = Window(size=padded, whole=padded)
    with torch.no_grad(), window.entered():
        generator(None, style, content=photo)  # the statistics, which reach everywhere, are constants from here on
    furthest = 0
    for row in range(side // 2 - 8, side // 2):
        with window.entered():
            painted = generator(None, style, content=photo)
        (slopes,) = torch.autograd.grad(painted[0, :, row, side // 2].sum() * 1e6, photo)
        rows = slopes[0].abs().amax((0, 2)).nonzero().flatten()
        furthest = max(furthest, row - int(rows.min()), int(rows.max()) - row)
    assert generator.reach - 16 < furthest <= generator.reach


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "latent and strength": {"seed": 3, "strength": 0.6},
    "broad": {"scale": 1.7},
    "fine": {"scale": 0.6, "color": 0.5},
    "color kept": {"preserve_color": True},
    "region": {"mask": [Image.linear_gradient("L")]},
}


@pytest.mark.filterwarnings("ignore:mask 1 has")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["RGB", "RGBA"])
def test_tiled_is_untiled(case: str, kind: str) -> None:
    photo = data.astronaut()[100:400, :421]
    if kind == "RGBA":  # hidden color is continued across tiles too
        alpha = np.asarray(Image.radial_gradient("L").resize((421, 300)))
        photo = np.dstack([photo, np.where(alpha > 150, 0, 255 - alpha).astype(np.uint8)])
    style = data.coffee()
    whole = STYLIZER(photo, style, tile=None, **CASES[case]).astype(int)
    for tile in (64, 150):
        difference = np.abs(STYLIZER(photo, style, tile=tile, **CASES[case]) - whole)
        assert difference.mean() <= 0.02
        assert difference.max() <= 1


def test_two_styles_tiled_are_two_styles_untiled() -> None:
    photo, styles = data.astronaut()[:200, :300], [data.coffee(), data.astronaut()]
    mask = np.asarray(Image.linear_gradient("L").resize((300, 200)))
    whole = STYLIZER(photo, styles, mask=mask, tile=None).astype(int)
    assert np.abs(STYLIZER(photo, styles, mask=mask, tile=96) - whole).max() <= 1


@pytest.mark.parametrize(("name", "side"), [("astronaut.jpg", 700), ("city.jpg", 1200)])
def test_tiled_is_untiled_with_the_shipped_weights(name: str, side: int) -> None:
    """On both sides of the size from which on the statistics are those of the reduced picture."""
    stylizer = Stylizer.from_pretrained(device="cpu")
    with Image.open(IMAGES / name) as opened:
        photo = np.asarray(opened.resize((side, round(side * 0.8)), Image.Resampling.BICUBIC))
    code = stylizer.encode_style(IMAGES / "auvers.jpg")
    difference = np.abs(stylizer(photo, code, tile=600).astype(int) - stylizer(photo, code, tile=None))
    assert difference.mean() <= 0.5
    assert difference.max() <= 4


def test_a_latent_is_stretched_over_the_whole_picture() -> None:
    features = torch.randn(2, 3, 4, 4)
    window = Window(origin=(40, 16), size=(48, 64), whole=(160, 200))
    expected = F.interpolate(features, (20, 25), mode="bilinear")[:, :, 5:11, 2:10]
    torch.testing.assert_close(window.stretched(features, (6, 8)), expected)


def test_auto_tiles_what_is_large_and_halves_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = data.astronaut()
    whole = STYLIZER(photo, photo, tile=None).astype(int)
    seen: list[int] = []
    forward = Generator.forward

    def forgetful(self: Generator, *arguments: Any, content: Tensor, **options: Any) -> Tensor:
        seen.append(content.shape[2] * content.shape[3])
        if seen[-1] > 100_000 and len(seen) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, *arguments, content=content, **options)

    monkeypatch.setattr(Generator, "forward", forgetful)
    monkeypatch.setattr(_painted_windows, "_WINDOW_PIXELS", 512 * 400)
    tiled = STYLIZER(photo, photo)
    assert np.abs(tiled - whole).max() <= 1
    assert seen[0] == 512 * 512  # the overview
    assert any(pixels > 100_000 for pixels in seen[1:])
    with pytest.raises(InputError, match=r'512 x 512 pixels does not fit.*tile="auto"'):
        STYLIZER(photo, photo, tile=None)


def test_the_network_never_sees_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    stylizer = Stylizer(*networks(), device="cpu")
    stylizer.generator.register_forward_pre_hook(
        lambda _, __, options: seen.append(options["content"].shape[2:].numel()), with_kwargs=True
    )
    monkeypatch.setattr(_painted_windows, "OVERVIEW_PIXELS", 200**2)
    monkeypatch.setattr(_painted_windows, "_WINDOW_PIXELS", 320**2)
    most = []
    for side in (500, 1000):
        seen.clear()
        stylizer(np.full((side, side, 3), 99, np.uint8), data.coffee())
        most.append(max(seen))
    assert max(most) <= 320**2


@pytest.mark.parametrize("tile", [0, -5, 1.5, True, "whole", float("nan")])
def test_tiles_of_no_size(tile: Any) -> None:
    with pytest.raises(InputError, match='tile must be "auto", None'):
        STYLIZER(data.astronaut()[:20, :20], data.coffee(), tile=tile)
