"""Clips: what comes out is painted, and all else is as it went in; PyAV reads what we wrote."""

from __future__ import annotations

import itertools
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import Tensor
from toy import make_start, picture, program, start_process

from agnlib import Stylizer
from agnlib.cli.main import main
from agnlib.errors import InputError, MissingDependencyError, VideoError
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._effect import Effect
from agnlib.painting._frames import FramePainter, Steadying
from agnlib.painting._masks import paired
from agnlib.painting._optical_flow import OpticalFlow
from agnlib.painting._painted_windows import Masks, Painting
from agnlib.painting._temporal_denoising import Denoising
from agnlib.painting._temporal_smoothing import Smoothing
from agnlib.video import _reading, _writing, is_clip
from agnlib.video._threads import ahead, behind
from agnlib.video.repainting import repaint

av = pytest.importorskip("av", reason="clips need PyAV, the extra video")

TICK = Fraction(1, 12800)
EVENLY = [512 * number for number in range(10)]  # 25 frames a second
SAME = lambda size: lambda frames, elapsed: frames  # noqa: E731 - a painter that leaves the frames as they are


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    small = {"style_dim": 8, "channels": (8, 8, 16), "blocks": (1, 1, 1)}
    return Stylizer(Generator(**small), StyleExtractor(style_dim=8), device="cpu")


@pytest.fixture(scope="module")
def painting() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def photo(height: int = 24, width: int = 32) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 + 60, columns * 4 + 40, (rows + columns) * 3], axis=2).clip(0, 255).astype(np.uint8)


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray[Any, Any]],
    *,
    times: Sequence[int] = EVENLY,
    sound: str | None = "aac",
    rotation: int = 0,
    codec: str = "libx264",
    faststart: bool = False,
) -> Path:
    """A clip by PyAV alone; lossless, without chroma subsampling where the sizes are odd."""
    height, width = frames[0].shape[:2]
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", container_options=options) as container:
        video = container.add_stream(codec, rate=25, options={"qp": "0"}, time_base=TICK)
        video.width, video.height = width, height
        video.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(4, 3)
        video.codec_context.colorspace = 1
        video.codec_context.flags |= av.codec.context.Flags.frame_duration
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=48000) if sound else None
        if audio:
            audio.layout = "mono"
        for array, pts, following in zip(frames, times, [*times[1:], times[-1] + 512], strict=False):
            frame = av.VideoFrame.from_ndarray(array, "rgb24").reformat(format=video.pix_fmt, dst_colorspace="ITU709")
            frame.pts, frame.time_base, frame.duration = pts, TICK, following - pts
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for number in range(16 if audio else 0):
            wave = np.sin(np.arange(1024) * (0.02 + number * 0.01)).astype(np.float32)[None] / 3
            samples = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            if sound == "flac":
                samples = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16), "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, 1024 * number, Fraction(1, 48000)
            container.mux(audio.encode(samples))
        if audio:
            container.mux(audio.encode(None))
    return path


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    return np.stack([frame.reformat(format="rgb24", threads=1).to_ndarray() for frame in frames_of(path)])


def sound_of(path: Path) -> list[tuple[bytes, float]]:
    with av.open(str(path)) as container:
        return [(bytes(each), float(each.pts * each.time_base)) for each in container.demux(audio=0) if each.size]


def times_of(path: Path) -> list[float]:
    return [float(frame.pts * frame.time_base) for frame in frames_of(path)]


# --- what stays as it was ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
def test_times_sound_rotation_and_pixel_shape_are_the_clips(tmp_path: Path, suffix: str) -> None:
    unevenly = [0, 512, 700, 1900, 1901, 5000, 5512, 6000, 6400, 9000]
    clip = write_clip(tmp_path / f"clip{suffix}", [photo()] * 10, times=unevenly, rotation=90)
    target = tmp_path / f"painted{suffix}"
    assert repaint(clip, target, SAME) == (10, 24, 32)
    assert times_of(target) == times_of(clip) == [float(tick * TICK) for tick in unevenly]
    assert sound_of(target) == sound_of(clip)
    assert len(sound_of(target)) >= 16
    with av.open(str(clip)) as before, av.open(str(target)) as after:
        assert after.streams.video[0].time_base == before.streams.video[0].time_base
        assert after.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert frames_of(target)[0].rotation == 90


def test_the_frame_rate_is_the_clips(tmp_path: Path) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", [photo()] * 10), tmp_path / "painted.mp4"
    repaint(clip, target, SAME)
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == 25
        assert container.streams.video[0].duration == 10 * 512


def test_matroska_and_webm_are_read_and_written(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [photo()] * 10, sound="libopus")
    for name in ("painted.mkv", "painted.webm"):
        assert repaint(clip, tmp_path / name, SAME)[0] == 10
        assert times_of(tmp_path / name) == pytest.approx(times_of(clip), abs=1e-9)
        assert sound_of(tmp_path / name) == sound_of(clip)
    again = tmp_path / "again.mp4"
    assert repaint(tmp_path / "painted.webm", again, SAME)[0] == 10


def test_colors_survive_and_are_tagged(tmp_path: Path) -> None:
    colors = [(200, 30, 40), (20, 180, 60), (30, 40, 210), (255, 255, 255), (0, 0, 0), (128, 128, 128)]
    flat = [np.full((24, 32, 3), color, np.uint8) for color in colors]
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:  # tagged as BT.601, full range: neither is what we write
        video = container.add_stream("libx264", rate=25, options={"qp": "0"})
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        video.codec_context.colorspace, video.codec_context.color_range = 6, 2
        for array in flat:
            frame = av.VideoFrame.from_ndarray(array, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="SMPTE170M", dst_color_range="JPEG")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    seen: list[Tensor] = []
    repaint(clip, tmp_path / "painted.mp4", lambda size: lambda frames, elapsed: seen.append(frames) or frames)
    # one step for rounding in YUV, which is up to two in RGB, and swscale's own arithmetic
    for color, frames in zip(colors, seen, strict=True):
        assert (frames[0].permute(1, 2, 0) - torch.tensor(color)).abs().max() <= 3
    painted = frames_of(tmp_path / "painted.mp4")
    tags = {(each.colorspace, each.color_range, each.color_trc, each.color_primaries) for each in painted}
    assert tags == {(1, 1, 1, 1)}  # BT.709 in all, limited range
    given = np.concatenate([frames.permute(0, 2, 3, 1) for frames in seen]).astype(int)
    assert np.abs(pixels_of(tmp_path / "painted.mp4") - given).max() <= 6  # and crf 18


@pytest.mark.parametrize(("height", "width"), [(23, 32), (24, 31), (23, 31), (1, 1)])
def test_odd_sizes_repeat_their_last_row_and_column(tmp_path: Path, height: int, width: int) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [photo(height, width)] * 3, sound=None)
    painted = tmp_path / "painted.mp4"
    even = (height + height % 2, width + width % 2)
    assert repaint(clip, painted, SAME) == (3, *even)
    found = pixels_of(painted)[0].astype(int)
    wanted = np.pad(photo(height, width), ((0, even[0] - height), (0, even[1] - width), (0, 0)), mode="edge")
    assert np.abs(found - wanted).mean() < 4  # chroma at half the size, and crf 18


def test_a_clip_without_sound_stays_silent(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 4, sound=None)
    assert repaint(clip, tmp_path / "painted.mkv", SAME)[0] == 4
    with av.open(str(tmp_path / "painted.mkv")) as container:
        assert not container.streams.audio


# --- what is wrong with it --------------------------------------------------------------------------------------------


def check_refused(clip: Path, target: Path, words: str) -> None:
    before = set(target.parent.iterdir())
    with pytest.raises(VideoError, match=words) as caught:
        repaint(clip, target, SAME)
    assert "\n" not in str(caught.value)
    assert set(target.parent.iterdir()) == before


@pytest.mark.parametrize("kept", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_that_was_cut_off_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 24, 32, 3), dtype=np.uint8)
    whole = write_clip(tmp_path / f"whole{suffix}", list(noise), times=[512 * i for i in range(30)], faststart=True)
    data = whole.read_bytes()
    clip = tmp_path / f"clip{suffix}"
    clip.write_bytes(data[: int(len(data) * kept)])
    check_refused(clip, tmp_path / "painted.mp4", "breaks off|cannot be decoded|no frame")


def test_files_that_are_no_clips_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "painted.mp4"
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mkv").write_text("not a clip " * 100)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("empty.mp4", "text.mkv", "list.mp4"):
        check_refused(tmp_path / name, target, "cannot be decoded|no video")
    check_refused(tmp_path / "folder.mp4", target, "is not a file")
    check_refused(tmp_path / "missing.mp4", target, "does not exist")
    check_refused(tmp_path / "photo.jpg", target, "expected a clip that ends in")


def test_a_file_of_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "mono"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 48000
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    check_refused(tmp_path / "sound.mp4", tmp_path / "painted.mp4", "has no video in it")


def test_targets_that_cannot_be_are_refused_before_painting(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", [photo()] * 2, sound="flac")
    check_refused(clip, tmp_path / "painted.png", "must end in .gif, .m4v, .mkv, .mov, .mp4, .webm or .webp")
    check_refused(clip, tmp_path / "painted.avi", "must end in")
    check_refused(clip, clip, "is the clip itself")
    with pytest.raises(VideoError, match="not an existing folder"):
        repaint(clip, tmp_path / "no" / "painted.mp4", SAME)
    check_refused(clip, tmp_path / "painted.mov", r"does not take the clip's sound, which is flac; .*\.mkv")


def test_huge_frames_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 2)
    monkeypatch.setattr(_reading, "DEFAULT_LIMITS", _reading.DEFAULT_LIMITS.__class__(pixels=24 * 32 - 1))
    check_refused(clip, tmp_path / "painted.mp4", "32 x 24 pixels; expected at most 767 pixels")


def test_another_encoder_takes_the_place_of_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 5)
    lacking = {name: options for name, options in _writing._H264.items() if name != "libx264"}
    monkeypatch.setattr(_writing, "_H264", lacking)
    repaint(clip, tmp_path / "painted.mp4", SAME)
    assert times_of(tmp_path / "painted.mp4") == times_of(clip)
    assert np.abs(pixels_of(tmp_path / "painted.mp4").astype(int) - pixels_of(clip)).mean() < 6
    monkeypatch.setattr(_writing, "_H264", {"libmissing264": {}})
    check_refused(clip, tmp_path / "none.mp4", "none of the encoders libmissing264")


def test_what_goes_wrong_in_painting_leaves_the_old_file(tmp_path: Path) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", [photo()] * 10), tmp_path / "painted.mp4"
    target.write_bytes(b"old")

    def breaking(size: tuple[int, int]) -> Any:
        done = []

        def paint(frames: Tensor, elapsed: Sequence[float]) -> Tensor:
            done.append(frames)
            if len(done) == 6:
                raise KeyboardInterrupt
            return frames

        return paint

    with pytest.raises(KeyboardInterrupt):
        repaint(clip, target, breaking, overwrite=True)
    assert target.read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "painted.mp4"]


@pytest.mark.parametrize("claimed", [None, 1, 4, 10, 25])
@pytest.mark.parametrize("batch", [1, 3])
def test_progress_is_told_in_frames_whatever_the_clip_claims(
    tmp_path: Path, claimed: int | None, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, seen = write_clip(tmp_path / "clip.mp4", [photo()] * 10), list[tuple[float, float]]()
    making = _reading.Clip.__init__

    def claiming(self: Any, *given: Any) -> None:
        making(self, *given)
        self.count = claimed

    monkeypatch.setattr(_reading.Clip, "__init__", claiming)
    repaint(clip, tmp_path / "a.mp4", SAME, batch=batch, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, claimed or 1)
    assert seen[-1] == (10, 10)
    assert all(one[0] <= other[0] for one, other in itertools.pairwise(seen))
    assert all(done < total for done, total in seen[:-1])
    told = {done for done, _ in seen}
    assert told >= {*range(0, 10, batch), 10} - {claimed}  # of what may be the end nothing is said


@pytest.mark.parametrize("at", [0, 3, 10])
@pytest.mark.parametrize("error", [TimeoutError("late"), OSError(32, "gone"), ValueError("no"), KeyboardInterrupt()])
def test_what_progress_raises_comes_out_and_leaves_the_old_file(tmp_path: Path, at: int, error: BaseException) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", [photo()] * 10), tmp_path / "painted.mp4"
    target.write_bytes(b"old")
    painted = []

    def stop(done: float, total: float) -> None:
        if done >= at:
            raise error

    def counting(frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        painted.append(frames)
        return frames

    with pytest.raises(type(error)) as raised:
        repaint(clip, target, lambda size: counting, overwrite=True, progress=stop)
    assert raised.value is error
    assert len(painted) == at
    assert target.read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "painted.mp4"]


def test_an_error_in_painting_is_not_said_to_be_one_of_writing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 2)

    def paint(frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        raise InputError("a picture does not fit into the memory")

    with pytest.raises(InputError, match=r"^a picture does not fit into the memory$"):
        repaint(clip, tmp_path / "a.mp4", lambda size: paint)
    with pytest.raises(InputError, match=r"^progress must be True, False or a function"):
        repaint(clip, tmp_path / "a.mp4", SAME, progress=1)


def test_pyav_missing_is_one_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 2)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[video\]"'):
        repaint(clip, tmp_path / "painted.mp4", SAME)


# --- smoothing --------------------------------------------------------------------------------------------------------


def painter(
    stylizer: Stylizer, painting: Image.Image, seconds: float, masks: Masks | None = None, **effect: Any
) -> FramePainter:
    smoothing, codes = Smoothing(seconds), stylizer.encode_style(painting).vector[None]
    steadying = Steadying.chosen(seconds, required=True)
    camera = None if steadying is None else steadying.camera

    def of(frames: Any, seen: Any) -> Painting:
        smooth, look = smoothing if seconds else None, Effect(**effect)
        given = (stylizer.generator, stylizer.extractor, frames, codes, masks, None, look, smooth, camera)
        return Painting(*given, photo=seen)

    return FramePainter(of, steadying, smoothing, stylizer.device)


def tensor_of(*arrays: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(-3, 3)), min_size=1, max_size=8),
    st.floats(0.05, 5),
    st.integers(1, 4),
)
def test_smoothing_is_the_recurrence_in_batches_of_any_size(
    steps: list[tuple[float, float]], seconds: float, batch: int
) -> None:
    elapsed = [math.inf, *(each for each, _ in steps[1:])]
    mean, wanted = 0.0, []
    for step, (_, value) in zip(elapsed, steps, strict=True):
        mean += (1 - math.exp(-step / seconds)) * (value - mean)
        wanted.append(mean)
    smoothing, found = Smoothing(seconds), []
    for start in range(0, len(steps), batch):
        smoothing.advance(elapsed[start : start + batch])
        values = torch.tensor([[value] for _, value in steps[start : start + batch]], dtype=torch.float64)
        found += smoothing.smoothed("value", values).flatten().tolist()
    assert found == pytest.approx(wanted, abs=1e-6)  # the shares are float32


@pytest.mark.parametrize("effect", [{}, {"strength": 0.5}, {"color": 0.3}, {"scale": 2.0}, {"tile": 64}])
def test_a_constant_clip_is_painted_as_the_picture_is(
    stylizer: Stylizer, painting: Image.Image, effect: dict[str, Any]
) -> None:
    height, width = (24, 32) if "tile" not in effect else (100, 90)
    frame = photo(height, width)
    alone = torch.from_numpy(stylizer(frame, painting, **effect)).permute(2, 0, 1)
    paint = painter(stylizer, painting, 0.5, **effect)
    for elapsed in ([math.inf, 0.04], [0.04, 0.04]):
        painted = paint(tensor_of(frame, frame), elapsed)
        assert (painted.int() - alone.int()).abs().max() <= 1  # rounding


def test_a_new_scene_is_painted_as_if_it_were_the_first(stylizer: Stylizer, painting: Image.Image) -> None:
    paint, fresh = painter(stylizer, painting, 0.5), painter(stylizer, painting, 0.5)
    other = 255 - photo()
    paint(tensor_of(photo()), [math.inf])
    assert torch.equal(paint(tensor_of(other), [math.inf]), fresh(tensor_of(other), [math.inf]))
    kept = painter(stylizer, painting, 0.5)
    kept(tensor_of(photo()), [math.inf])
    assert not torch.equal(kept(tensor_of(other), [0.04]), fresh(tensor_of(other), [0.04]))


def test_scene_cuts_are_found_and_time_is_told(tmp_path: Path) -> None:
    scenes = [photo()] * 4 + [255 - photo()] * 6
    told: list[float] = []
    clip = write_clip(tmp_path / "clip.mp4", scenes)
    repaint(clip, tmp_path / "out.mp4", lambda size: lambda frames, elapsed: told.extend(elapsed) or frames, batch=3)
    assert [math.isinf(each) for each in told] == [True, False, False, False, True, *[False] * 5]
    assert [each for each in told if math.isfinite(each)] == pytest.approx([0.04] * 8)


def test_noise_flickers_less_than_frame_by_frame(stylizer: Stylizer, painting: Image.Image) -> None:
    rng = np.random.default_rng(0)
    still = data.astronaut()[:48, 180:244]  # in a ramp nobody can see what moves
    clip = [(still + rng.normal(0, 4, still.shape)).clip(0, 255).astype(np.uint8) for _ in range(5)]

    def flicker(seconds: float) -> float:
        paint = painter(stylizer, painting, seconds)
        frames = [
            paint(tensor_of(frame), [0.04 if number else math.inf])[0].float() for number, frame in enumerate(clip)
        ]
        return float(np.mean([(a - b).abs().mean() for a, b in zip(frames[1:], frames, strict=False)]))

    assert flicker(0.5) < 0.25 * flicker(0)


def test_what_moves_is_not_smeared() -> None:
    denoising, before = Denoising(1.0, OpticalFlow()), np.full((24, 32, 3), 40, np.uint8)
    after = before.copy()
    after[8:16, 8:16] = 200
    denoising(tensor_of(before), math.inf)
    found, _ = denoising(tensor_of(after), 0.04)
    assert torch.equal(found[:, :, 8:16, 8:16], tensor_of(after)[:, :, 8:16, 8:16])
    gone, _ = denoising(tensor_of(before), 0.04)
    assert torch.equal(gone[:, :, 8:16, 8:16], tensor_of(before)[:, :, 8:16, 8:16])


def noisy_frames() -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [tensor_of((photo() + rng.normal(0, 4, (24, 32, 3))).clip(0, 255).astype(np.uint8)) for _ in range(3)]


@pytest.mark.parametrize("effect", [{"strength": 0.0}, {"color_only": True, "color": 0.0}])
def test_steadying_leaves_a_clip_alone_that_is_not_painted(
    stylizer: Stylizer, painting: Image.Image, effect: dict[str, Any]
) -> None:
    paint = painter(stylizer, painting, 0.5, **effect)
    for number, frame in enumerate(noisy_frames()):
        assert torch.equal(paint(frame, [0.04 if number else math.inf]), frame)


def test_steadying_leaves_alone_what_a_mask_leaves_to_the_photo(stylizer: Stylizer, painting: Image.Image) -> None:
    left = np.tile(np.arange(32) < 16, (24, 1))
    paint = painter(stylizer, painting, 0.5, paired(painting, left, (24, 32))[1])
    for number, frame in enumerate(noisy_frames()):
        painted = paint(frame, [0.04 if number else math.inf])
        assert torch.equal(painted[..., 16:], frame[..., 16:])
        assert not torch.equal(painted[..., :16], frame[..., :16])


def test_steadying_leaves_alone_the_lightness_that_stays_the_photos(stylizer: Stylizer, painting: Image.Image) -> None:
    paint, lightness = painter(stylizer, painting, 0.5, color_only=True), torch.tensor([0.299, 0.587, 0.114])
    for number, frame in enumerate(noisy_frames()):
        painted = paint(frame, [0.04 if number else math.inf])
        inside = ((painted > 0) & (painted < 255)).all(1)  # what is clipped has another lightness
        difference = torch.einsum("bchw,c->bhw", painted.float() - frame.float(), lightness)[inside]
        assert difference.numel() > 100
        assert difference.abs().max() <= 0.51  # rounding of each channel


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_stylize_video_paints_what_the_stylizer_paints(
    stylizer: Stylizer, painting: Image.Image, tmp_path: Path
) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", [photo(48, 64)] * 3), tmp_path / "painted.mkv"
    assert stylizer.stylize_video(clip, target, painting) == (3, 48, 64)
    decoded = pixels_of(clip)
    wanted = stylizer(decoded[0], painting).astype(int)
    seen: list[tuple[float, float]] = []
    half = tmp_path / "half.mp4"
    told = {"progress": lambda done, total: seen.append((done, total))}
    assert stylizer.stylize_video(clip, half, painting, size=32, smoothing=0.0, **told) == (3, 24, 32)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for frame in pixels_of(target):
        assert np.abs(frame.mean((0, 1)) - wanted.mean((0, 1))).max() < 3  # crf 18, chroma at half the size
    left = np.arange(64) < 32
    masked = tmp_path / "masked.mp4"
    stylizer.stylize_video(clip, masked, painting, mask=np.tile(left, (48, 1)))
    right = pixels_of(masked)[:, :, 36:].astype(int)
    assert np.abs(right - decoded[:, :, 36:]).mean() < 3  # the photo, where the mask is black


def test_a_painter_looks_at_frames_in_order_before_it_paints_them(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 3 + [255 - photo()] * 4)
    seen: list[tuple[Tensor, list[float]]] = []
    given: list[tuple[Tensor, list[float]]] = []

    class Looking:
        def look_ahead(self, frames: Tensor, elapsed: list[float]) -> None:
            seen.append((frames, elapsed))

        def __call__(self, frames: Tensor, elapsed: list[float]) -> Tensor:
            given.append((frames, elapsed))
            assert len(seen) >= len(given)
            return frames

    repaint(clip, tmp_path / "out.mp4", lambda size: Looking(), batch=2)
    assert sum(len(frames) for frames, _ in given) == 7
    for (looked, _), (painted, _) in zip(seen, given, strict=True):
        assert looked is painted
    assert [elapsed for _, elapsed in seen] == [elapsed for _, elapsed in given]


def test_looking_ahead_changes_nothing(stylizer: Stylizer, painting: Image.Image) -> None:
    frames = [*noisy_frames(), 255 - noisy_frames()[0], *noisy_frames()]
    elapsed = [math.inf, 0.04, 0.04, math.inf, 0.04, 0.04, 0.04]
    at_once, looked = painter(stylizer, painting, 0.5), painter(stylizer, painting, 0.5)
    for frame, seconds in zip(frames, elapsed, strict=True):
        looked.look_ahead(frame, [seconds])
    for frame, seconds in zip(frames, elapsed, strict=True):
        assert torch.equal(looked(frame, [seconds]), at_once(frame, [seconds]))


def test_wrong_options_are_refused(stylizer: Stylizer, painting: Image.Image, tmp_path: Path) -> None:
    clip, target = write_clip(tmp_path / "clip.mp4", [photo()] * 2), tmp_path / "painted.mp4"
    for options in ({"smoothing": -1.0}, {"smoothing": math.nan}, {"strength": 2.0}, {"size": 0}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(options))):
            stylizer.stylize_video(clip, target, painting, **options)
    assert not target.exists()


@pytest.fixture
def files(tmp_path: Path, stylizer: Stylizer, painting: Image.Image) -> Iterator[tuple[str, str, str]]:
    """A clip, a style and weights, as the command line takes them."""
    stylizer.generator.save_pretrained(tmp_path / "weights")
    painting.save(tmp_path / "style.png")
    clip = write_clip(tmp_path / "clip.mp4", [photo()] * 3)
    with warnings.catch_warnings():
        yield str(clip), str(tmp_path / "style.png"), str(tmp_path)


def test_command_line_refuses_what_clips_do_not_have(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    clip, style, folder = files
    for more, words in (
        (["--metadata", "all"], "--metadata: is for photographs"),
        (["--format", "png"], "--format: is for photographs"),
        (["--shard", "1/2"], "--shard: is for a folder"),
        (["--smoothing", "61"], "expected seconds from 0"),
        ([clip], "2 photos need a folder"),
        (["--method", "neighbors"], "--method: neighbors is for photographs"),
        (["--no-clips"], "--no-clips: is for a folder"),
    ):
        assert main(["stylize", clip, *more, "--style", style, "-o", f"{folder}/out.mp4"]) == 2
        assert words in capsys.readouterr().err
    assert main(["stylize", style, "--smoothing", "1", "--style", style, "-o", f"{folder}/out.png"]) == 2
    assert "--smoothing: is for a clip" in capsys.readouterr().err
    assert main(["stylize", clip, "--style", style, "-o", f"{folder}/out.png"]) == 2
    assert "must end in" in capsys.readouterr().err


def test_command_line_paints_a_clip(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    clip, style, folder = files
    arguments = ["stylize", clip, "--style", style, "--smoothing", "1", "--device", "cpu"]
    assert main([*arguments, "-o", f"{folder}/out.mp4"]) == 0
    assert "3 frames of 32 x 24 pixels" in capsys.readouterr().err
    assert len(frames_of(Path(folder) / "out.mp4")) == 3


def slowly(arguments: list[str], log: Path) -> int:
    """The program, which takes its time with every frame."""
    inner = FramePainter.__call__

    def painted(painter: FramePainter, *given: Any) -> Tensor:
        time.sleep(0.1)
        return inner(painter, *given)

    FramePainter.__call__ = painted  # type: ignore[method-assign]
    return program(arguments, log)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_signal_while_a_clip_is_painted_leaves_nothing(tmp_path: Path, before: bytes | None) -> None:
    clip, start, out = (
        write_clip(tmp_path / "clip.mp4", [photo()] * 10),
        make_start(tmp_path / "start"),
        tmp_path / "out",
    )
    out.mkdir()
    if before is not None:
        (out / "a.mp4").write_bytes(before)
    given = ["--style", str(start.parent / "style.png"), "--weights", str(start), "--device", "cpu", "--overwrite"]
    picture(tmp_path / "style.png", (20, 16), 0)
    process = start_process(slowly, ["stylize", str(clip), "-o", str(out / "a.mp4"), *given], tmp_path / "log.txt")
    end = time.monotonic() + 120
    while not list(out.glob(".agnlib-*.tmp")) and time.monotonic() < end and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(120)
    said = (tmp_path / "log.txt").read_text()
    assert process.exitcode == 128 + signal.SIGTERM, said
    assert said.splitlines()[-1] == "agnlib: ended by SIGTERM"
    assert {each.name: each.read_bytes() for each in out.iterdir()} == ({} if before is None else {"a.mp4": before})


# --- threads ----------------------------------------------------------------------------------------------------------


def test_ahead_gives_all_and_passes_errors_on() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broken")

    found: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        found.extend(ahead(items(), 3))
    assert list(ahead(range(20), 4)) == list(range(20))


def test_behind_calls_in_order_and_passes_errors_on() -> None:
    done: list[int] = []

    def call(number: int) -> None:
        if number == 3:
            raise ValueError("broken")
        done.append(number)

    def all_calls() -> None:
        with behind(2) as later:
            for number in range(10):
                later.call(call, number)

    with pytest.raises(ValueError, match="broken"):
        all_calls()
    assert done[:3] == [0, 1, 2]
    assert 9 not in done


def test_clips_are_told_by_their_names() -> None:
    assert is_clip("a.MOV")
    assert not is_clip("mov")
