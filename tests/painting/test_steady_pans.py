"""A clip's painting goes along with the camera: noise, cells and the last painting."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import shift as shifted
from skimage import data
from torch import Tensor

from agnlib import Stylizer
from agnlib.errors import MissingDependencyError
from agnlib.image import Picture
from agnlib.metrics import flicker
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._camera import Aligned, Camera, Placed
from agnlib.painting._effect import Effect
from agnlib.painting._frames import FramePainter, Steadying
from agnlib.painting._masks import paired
from agnlib.painting._optical_flow import Motion, OpticalFlow, camera, moved
from agnlib.painting._painted_windows import Masks, Painting
from agnlib.painting._temporal_denoising import Denoising
from agnlib.painting._temporal_smoothing import Smoothing
from agnlib.tiling import Box, Computed

pytest.importorskip("cv2", reason="motion is found by OpenCV, of the extra video")

PHOTO = data.astronaut()
HEIGHT, WIDTH = 96, 144


def seen(top: float, left: float, size: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """What a camera sees there of the photo; by SciPy's splines."""
    rows, columns = math.floor(top), math.floor(left)
    part = PHOTO[rows : rows + size[0] + 8, columns : columns + size[1] + 8].astype(float)
    moved_by = (rows - top, columns - left, 0)
    return shifted(part, moved_by, order=3)[: size[0], : size[1]].round().clip(0, 255).astype(np.uint8)


def tensor_of(frame: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None]


# --- what moves, and how ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [(0.0, 0.0), (2.0, -3.0), (0.4, 1.7), (-5.3, 6.6)])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (400, 420)])  # as it is, and sought in smaller frames
def test_flow_is_the_cameras(step: tuple[float, float], size: tuple[int, int]) -> None:
    flow = OpticalFlow()(seen(30, 40, size), seen(30 + step[0], 40 + step[1], size))
    inside = flow[16:-16, 16:-16]
    assert np.abs(np.median(inside, axis=(0, 1)) - [step[1], step[0]]).max() < 0.1
    assert np.mean(np.abs(inside - [step[1], step[0]]).max(axis=2) < 0.5) > 0.85  # less where the photo is flat
    if all(each.is_integer() for each in step):
        assert np.mean((inside == [step[1], step[0]]).all(axis=2)) > 0.9  # nothing is interpolated


def test_noise_does_not_move() -> None:
    rng = np.random.default_rng(0)
    before, after = ((seen(60, 100) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))).clip(0, 255) for _ in range(2))
    flow = OpticalFlow()(before.astype(np.uint8), after.astype(np.uint8))
    assert np.mean((flow == 0).all(axis=2)) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (15, 90), (16, 16), (17, 200), (16, 2000), (2000, 16), (23, 61)])
def test_frames_of_any_size_have_a_flow(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    flow = OpticalFlow()(frame, np.roll(frame, 2, axis=1))
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()


@given(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 9))
def test_moving_by_whole_pixels_is_a_slice(right: int, down: int, seed: int) -> None:
    before = np.random.default_rng(seed).random((12, 15, 3), dtype=np.float32)
    flow = np.full((12, 15, 2), (right, down), dtype=np.float32)
    found = Motion(flow, np.zeros((12, 15), np.float32)).moved(before)
    rows = np.arange(12)[:, None] + down
    columns = np.arange(15) + right
    wanted = before[rows.clip(0, 11), columns.clip(0, 14)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_motion_of_other_sizes() -> None:
    motion = Motion(np.full((20, 30, 2), (3, 2), np.float32), np.full((20, 30), 0.5, np.float32)).at((10, 60))
    np.testing.assert_allclose(motion.flow, np.full((10, 60, 2), (6, 1)), atol=1e-6)
    np.testing.assert_allclose(motion.new, 0.5)


def test_what_moves_loses_its_noise() -> None:
    rng, denoising = np.random.default_rng(0), Denoising(2.0, OpticalFlow())
    for number in range(20):
        clean = seen(20, 20 + 2 * number)
        noisy = (clean + rng.normal(0, 5, clean.shape)).round().clip(0, 255).astype(np.uint8)
        found, motion = denoising(tensor_of(noisy), 0.04 if number else math.inf)
        assert (motion is None) == (number == 0)
    there = found[0].permute(1, 2, 0).numpy()[8:-8, 8:-48].astype(float)  # the right has only just come in
    wanted = clean[8:-8, 8:-48].astype(float)
    assert np.abs(there - wanted).mean() < 0.65 * np.abs(noisy[8:-8, 8:-48] - wanted).mean()


def test_what_is_uncovered_is_new() -> None:
    before, after = seen(30, 40), seen(30, 40)
    before[30:60, 40:70] = (250, 20, 20)
    denoising = Denoising(1.0, OpticalFlow())
    denoising(tensor_of(before), math.inf)
    found, motion = denoising(tensor_of(after), 0.04)
    assert motion is not None
    assert motion.new[34:56, 44:66].min() == 1
    np.testing.assert_array_equal(found[0].permute(1, 2, 0)[34:56, 44:66], after[34:56, 44:66])


# --- the canvas -------------------------------------------------------------------------------------------------------


@given(st.integers(-40, 40), st.integers(-40, 40), st.data())
def test_an_aligned_frame_is_numpys_reflection(row: int, column: int, drawn: st.DataObject) -> None:
    frame = torch.arange(17 * 23.0).view(1, 1, 17, 23)
    aligned = Aligned(Computed((17, 23), lambda box: frame[box.slices]), (row, column), 8)
    (top, left), (height, width) = aligned.shift, aligned.size
    pad = ((0, 0), (0, 0), (top, height - 17 - top), (left, width - 23 - left))
    wanted = np.pad(frame.numpy(), pad, mode="reflect")
    np.testing.assert_array_equal(aligned.window(Box(0, 0, height, width)), wanted)
    assert [each % 8 for each in aligned.origin] == [0, 0]
    assert (aligned.origin[0] + top, aligned.origin[1] + left) == (row, column)
    box = Box(drawn.draw(st.integers(0, 8)), drawn.draw(st.integers(0, 8)), 17, 23)
    placed = Placed(aligned, aligned.shift, (17, 23))
    np.testing.assert_array_equal(placed.window(box), frame[box.slices])


def models() -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    generator = Generator(style_dim=8, channels=(8, 8, 16), blocks=(1, 1, 1))
    for noise in (generator.noise_quarter, generator.noise_eighth):
        torch.nn.init.constant_(noise.gain, 0.5)  # so that where noise lies is to be seen
    return generator, StyleExtractor(style_dim=8)


STYLE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def painter(
    stylizer: Stylizer, seconds: float, masks: Masks | None = None, style: Any = STYLE, **effect: Any
) -> FramePainter:
    smoothing, steadying = Smoothing(seconds), Steadying.chosen(seconds, required=True)
    styles = [style] if masks is None else [style, Image.fromarray(PHOTO)]
    codes = torch.stack([stylizer.encode_style(each).vector for each in styles])
    position = steadying and steadying.camera

    def painting(frames: Picture, photo: Picture) -> Painting:
        given = (stylizer.generator, stylizer.extractor, frames, codes, masks, None, Effect(**effect))
        return Painting(*given, smoothing if seconds else None, position, photo=photo)

    return FramePainter(painting, steadying, smoothing, stylizer.device)


def painted(paint: FramePainter, frames: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
    return [paint(tensor_of(frame), [0.04 if number else math.inf]) for number, frame in enumerate(frames)]


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("effect", [{}, {"tile": 64}, {"strength": 0.6}, {"scale": 2.0}])
def test_a_pan_moves_the_painting_and_changes_nothing(regions: bool, effect: dict[str, Any]) -> None:
    stylizer = Stylizer(*models(), device="cpu")
    masks = paired([STYLE, STYLE], np.ones((HEIGHT, WIDTH), bool), (HEIGHT, WIDTH))[1] if regions else None
    steps = [(20 + 2 * number, 30 + 6 * number) for number in range(6)]
    frames = [seen(*step) for step in steps]
    edge = 40

    def unsteady(seconds: float) -> float:
        found = [each.float() for each in painted(painter(stylizer, seconds, masks, **effect), frames)]
        before = torch.cat(found[:-1])[..., edge + 2 : -edge, edge + 6 : -edge]
        return float((before - torch.cat(found[1:])[..., edge : -edge - 2, edge : -edge - 6]).abs().mean())

    assert unsteady(0.5) < 0.25 * unsteady(0)


def test_tiles_of_a_frame_are_as_the_whole() -> None:
    stylizer = Stylizer(*models(), device="cpu")
    frames = [seen(20 + 1.4 * number, 30 + 3.3 * number) for number in range(4)]
    for whole, tiled in zip(
        painted(painter(stylizer, 0.5, tile=None), frames),
        painted(painter(stylizer, 0.5, tile=64), frames),
        strict=True,
    ):
        assert (whole.int() - tiled.int()).abs().max() <= 1


def test_a_new_scene_begins_at_the_canvas_corner() -> None:
    follows, flow = Camera(0.5), np.full((24, 32, 2), (3, -2), np.float32)
    follows.advance(None, math.inf)
    for number in range(1, 4):
        follows.advance(Motion(flow, np.zeros((24, 32), np.float32)), 0.04)
        assert follows.position((24, 32)) == (-2 * number, 3 * number)
    assert follows.position((48, 32)) == (-12, 9)
    follows.advance(None, math.inf)
    assert follows.position((24, 32)) == (0, 0)


def test_the_last_painting_is_carried_and_the_new_one_comes_in() -> None:
    follows, size = Camera(0.5), (24, 32)
    flow, new = np.zeros((*size, 2), np.float32), np.zeros(size, np.float32)
    flow[..., 0], new[:, 20:] = 2, 1
    one, other = (Computed(size, lambda box, c=c: torch.full((1, 3, box.height, box.width), c)) for c in (0.0, 1.0))
    follows.advance(None, math.inf)
    follows.carried(one, 1.0).window(Box(0, 0, *size))
    follows.advance(Motion(flow, new), 0.04)
    blended = follows.carried(other, 1.0)
    found = torch.cat([blended.window(Box(0, 0, 24, 9)), blended.window(Box(0, 9, 24, 32))], dim=3)
    assert found[..., 20:].eq(1).all()
    torch.testing.assert_close(found[..., :20], torch.full((1, 3, 24, 20), 1 - math.exp(-0.04 / 0.1)))


@pytest.mark.parametrize("step", [(0.0, 2.0), (0.3, 1.6)])
def test_a_pan_flickers_hardly_more_than_the_clip(step: tuple[float, float]) -> None:
    stylizer = Stylizer.from_pretrained("agn-fast", device="cpu")
    rng = np.random.default_rng(0)
    frames = []
    for number in range(8):
        frame = seen(10 + step[0] * number, 150 + step[1] * number, (120, 176))
        frames.append((frame + rng.normal(0, 3, frame.shape)).round().clip(0, 255).astype(np.uint8))
    flow = torch.tensor([step[1], step[0]]).view(1, 2, 1, 1).expand(7, -1, -1, -1)

    def of(clip: Sequence[Tensor]) -> float:
        return float(flicker(torch.cat(list(clip)).float() / 127.5 - 1, flow)[2:].mean())

    own = of([tensor_of(frame) for frame in frames])
    steady, alone = (of(painted(painter(stylizer, seconds, style="auvers"), frames)) for seconds in (0.5, 0.0))
    assert steady <= 1.3 * own
    assert steady < 0.6 * alone


# --- what is missing --------------------------------------------------------------------------------------------------


def test_opencv_missing_is_one_typed_error_for_a_film_and_nothing_for_a_gif(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("av")
    stylizer = Stylizer(*models(), device="cpu")
    frames = [Image.fromarray(seen(20, 30 + number)) for number in range(2)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    stylizer.stylize_video(tmp_path / "clip.gif", tmp_path / "clip.mp4", STYLE)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match=r'smoothing of clips.*pip install "agnlib\[video\]"'):
        stylizer.stylize_video(tmp_path / "clip.mp4", tmp_path / "painted.mp4", STYLE)
    assert not (tmp_path / "painted.mp4").exists()
    stylizer.stylize_video(tmp_path / "clip.mp4", tmp_path / "painted.mp4", STYLE, smoothing=0)
    with caplog.at_level(logging.INFO, logger="agnlib.video"):
        stylizer.stylize_video(tmp_path / "clip.gif", tmp_path / "painted.gif", STYLE)
    assert "each by itself" in caplog.text


def test_helpers_agree() -> None:
    flow = np.full((24, 32, 2), (1.5, -0.5), np.float32)
    np.testing.assert_array_equal(camera(flow), [1.5, -0.5])
    before = np.random.default_rng(0).random((24, 32, 3), dtype=np.float32)
    assert moved(before, np.zeros_like(flow)) is before
