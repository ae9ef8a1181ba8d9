"""GIF and animated WebP as clips, and transparency in clips of any kind; Pillow and PyAV read what we wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agnlib import Stylizer
from agnlib.errors import MissingDependencyError, VideoError
from agnlib.models import Generator, StyleExtractor
from agnlib.video import is_clip
from agnlib.video._names import painted_name
from agnlib.video.repainting import repaint

SAME = lambda size: lambda frames, elapsed: frames  # noqa: E731 - a painter that leaves the frames as they are
Pixels = np.ndarray[Any, Any]
TIMES = [40, 70, 100, 40, 130]
KINDS = [".gif", ".webp"]


def drawn(count: int, *, holes: bool = False, size: tuple[int, int] = (24, 33)) -> list[Pixels]:
    """A few colors, of which a square moves; with holes another square is not there, nor in all of them."""
    height, width = size
    frames = []
    for number in range(count):
        pixels = np.full((height, width, 4), (40, 90, 160, 255), np.uint8)
        pixels[4:12, 2 + 3 * number : 10 + 3 * number] = (220, 60, 30, 255)
        if holes and number != 1:
            pixels[14:20, 3 * number : 9 + 3 * number] = (0, 0, 0, 0)
        frames.append(pixels)
    return frames


def write_animation(path: Path, frames: Sequence[Pixels], times: Sequence[int] = TIMES, **options: Any) -> Path:
    """By Pillow alone, without loss."""
    pictures = [Image.fromarray(frame) for frame in frames]
    more = {"lossless": True, "exact": True} if path.suffix == ".webp" else {"disposal": 2}
    shown = list(times[: len(frames)])
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=shown, **more, **options)
    return path


def seen(path: Path) -> tuple[list[Pixels], list[int]]:
    """Frames and times as Pillow reads them."""
    frames, times = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGBA")))
            times.append(int(image.info["duration"]))
    return frames, times


def assert_like(found: Sequence[Pixels], expected: Sequence[Pixels], within: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        visible = other[..., 3] > 0
        np.testing.assert_array_equal(one[..., 3] > 127, visible)
        assert np.abs(one[..., :3].astype(int) - other[..., :3])[visible].mean() < within


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("holes", [False, True])
def test_frames_times_and_transparency_are_kept(tmp_path: Path, source: str, target: str, holes: bool) -> None:
    clip = write_animation(tmp_path / f"clip{source}", drawn(5, holes=holes), loop=0)
    assert repaint(clip, tmp_path / f"out{target}", SAME) == (5, 24, 33)
    frames, times = seen(tmp_path / f"out{target}")
    assert times == TIMES
    assert_like(frames, seen(clip)[0], within=6)
    assert (frames[0][..., 3] == 0).any() == holes


@pytest.mark.parametrize(
    ("source", "loop", "target", "expected"),
    [
        (".gif", None, ".gif", None),
        (".gif", 0, ".gif", 0),
        (".gif", 2, ".gif", 2),  # of a GIF how often it is shown once more, of a WebP how often it is shown
        (".gif", None, ".webp", 1),
        (".gif", 2, ".webp", 3),
        (".gif", 0, ".webp", 0),
        (".webp", 0, ".gif", 0),
        (".webp", 1, ".gif", None),
        (".webp", 3, ".gif", 2),
    ],
)
def test_how_often_it_is_shown_is_kept(
    tmp_path: Path, source: str, loop: int | None, target: str, expected: int | None
) -> None:
    options = {} if loop is None else {"loop": loop}
    clip = write_animation(tmp_path / f"clip{source}", drawn(2), **options)
    repaint(clip, tmp_path / f"out{target}", SAME)
    with Image.open(tmp_path / f"out{target}") as image:
        assert image.info.get("loop") == expected


@given(
    times=st.lists(st.integers(2, 300).map(lambda each: 10 * each), min_size=1, max_size=6), kind=st.sampled_from(KINDS)
)
def test_any_times_are_kept(tmp_path_factory: pytest.TempPathFactory, times: list[int], kind: str) -> None:
    folder = tmp_path_factory.mktemp("times")
    clip = write_animation(folder / "clip.gif", drawn(len(times), size=(8, 30)), times)
    repaint(clip, folder / f"out{kind}", SAME)
    assert seen(folder / f"out{kind}")[1] == times


def test_what_browsers_show_longer_is_shown_so_long(tmp_path: Path) -> None:
    clip = write_animation(tmp_path / "clip.gif", drawn(3), [10, 20, 30])
    repaint(clip, tmp_path / "out.webp", SAME)
    assert seen(tmp_path / "out.webp")[1] == [100, 20, 30]


def test_a_still_gif_and_one_that_repeats_a_frame(tmp_path: Path) -> None:
    still = tmp_path / "still.gif"
    Image.fromarray(drawn(1)[0]).convert("RGB").save(still)
    assert repaint(still, tmp_path / "out.gif", SAME) == (1, 24, 33)
    gray = lambda size: lambda frames, elapsed: frames * 0 + 100  # noqa: E731 - all frames alike
    for kind in KINDS:
        moving = write_animation(tmp_path / f"moving{kind}", drawn(3))
        repaint(moving, tmp_path / f"gray{kind}", gray)
        frames, times = seen(tmp_path / f"gray{kind}")
        assert times == TIMES[:3]
        assert all(np.abs(frame[..., :3].astype(int) - 100).max() <= 2 for frame in frames)


def test_what_is_hidden_gets_the_colors_around_it(tmp_path: Path) -> None:
    given = []
    painter = lambda size: lambda frames, elapsed: given.append(frames.numpy().copy()) or frames  # noqa: E731
    clip = write_animation(tmp_path / "clip.webp", drawn(1, holes=True))
    repaint(clip, tmp_path / "out.webp", painter)
    assert given[0].shape == (1, 3, 24, 33)
    assert np.abs(given[0][0, :, 15, 2] - np.array([40.0, 90, 160])).max() < 16  # black in the file


@pytest.mark.parametrize("kind", KINDS)
def test_a_stylizer_paints_them_without_pyav(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    small = {"style_dim": 8, "channels": (8, 8, 16), "blocks": (1, 1, 1)}
    stylizer = Stylizer(Generator(**small), StyleExtractor(style_dim=8), device="cpu")
    clip = write_animation(tmp_path / f"clip{kind}", drawn(4, holes=True), loop=0)
    style = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))
    assert stylizer.stylize_video(clip, tmp_path / "out.webp", style, size=22) == (4, 16, 22)
    frames, times = seen(tmp_path / "out.webp")
    assert times == TIMES[:4]
    given = [Image.fromarray(frame[..., 3]) for frame in seen(clip)[0]]
    expected = [np.asarray(alpha.resize((22, 16), Image.Resampling.BOX)) for alpha in given]
    assert expected[0].min() == 0
    for frame, alpha in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame[..., 3], alpha)
        assert frame[..., :3][alpha == 255].std() > 3
    with pytest.raises(MissingDependencyError, match=r"agnlib\[video\]"):
        stylizer.stylize_video(clip, tmp_path / "out.mp4", style)


def test_damaged_and_foreign_files_are_said_and_nothing_is_left(tmp_path: Path) -> None:
    whole = write_animation(tmp_path / "whole.gif", drawn(5)).read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "other.gif").write_bytes(b"\x89PNG" + whole)
    (tmp_path / "empty.webp").write_bytes(b"")
    cut = write_animation(tmp_path / "w.webp", drawn(5)).read_bytes()
    (tmp_path / "cut.webp").write_bytes(cut[: len(cut) // 2])
    for name, words in (
        ("cut.gif", "cannot be"),
        ("other.gif", "is no GIF file, as its name says"),
        ("empty.webp", "is empty"),
        ("cut.webp", "cannot be"),
        ("gone.gif", "does not exist"),
    ):
        before = set(tmp_path.iterdir())
        with pytest.raises(VideoError, match=words) as caught:
            repaint(tmp_path / name, tmp_path / "out.gif", SAME)
        assert "\n" not in str(caught.value)
        assert set(tmp_path.iterdir()) == before


def test_which_names_are_clips(tmp_path: Path) -> None:
    moving = write_animation(tmp_path / "moving.webp", drawn(2))
    Image.fromarray(drawn(1)[0]).save(tmp_path / "still.webp")
    assert [is_clip(name) for name in (moving, tmp_path / "still.webp", "a.GIF")] == [True, False, True]
    assert [painted_name(name) for name in ("a.gif", "b.webp", "c.avi", "d.MOV")] == [
        "a.gif",
        "b.webp",
        "c.mp4",
        "d.MOV",
    ]


# --- with films -------------------------------------------------------------------------------------------------------


def film(path: Path, frames: Sequence[Pixels], *, rate: int = 25, rotation: int = 0, **options: Any) -> Path:
    av = pytest.importorskip("av", reason="films need PyAV, the extra video")
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(options.get("codec", "libx264"), rate=rate, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = width, height, options.get("layout", "yuv420p")
        stream.codec_context.sample_aspect_ratio = options.get("aspect", Fraction(1))
        if stream.pix_fmt == "yuva420p":
            stream.metadata["alpha_mode"] = "1"
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgba")))
        container.mux(stream.encode(None))
    return path


def decoded(path: Path) -> list[Any]:
    av = pytest.importorskip("av", reason="films need PyAV, the extra video")
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("kind", KINDS)
def test_from_an_animation_to_a_film_and_back(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("av", reason="films need PyAV, the extra video")
    frames = drawn(5, size=(24, 32))
    clip = write_animation(tmp_path / f"clip{kind}", frames, loop=0)
    assert repaint(clip, tmp_path / "film.mp4", SAME) == (5, 24, 32)
    starts = [float(frame.pts * frame.time_base) for frame in decoded(tmp_path / "film.mp4")]
    np.testing.assert_allclose(starts, np.cumsum([0, *TIMES[:-1]]) / 1000, atol=1e-4)
    assert repaint(tmp_path / "film.mp4", tmp_path / f"back{kind}", SAME) == (5, 24, 32)
    found, times = seen(tmp_path / f"back{kind}")
    assert times == TIMES
    assert_like(found, frames, within=12)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_film_is_upright_with_square_pixels(tmp_path: Path, rotation: int) -> None:
    clip = film(tmp_path / "clip.mp4", drawn(2, size=(24, 32)), rotation=rotation, aspect=Fraction(3, 2))
    repaint(clip, tmp_path / "out.webp", SAME)
    frame = decoded(clip)[0]
    wide = Image.fromarray(frame.to_ndarray(format="rgb24")).resize((48, 24))
    upright = np.rot90(np.asarray(wide), (frame.rotation // 90) % 4)
    found = seen(tmp_path / "out.webp")[0][0]
    assert found.shape[:2] == upright.shape[:2] == ((24, 48) if rotation % 180 == 0 else (48, 24))
    assert np.abs(found[..., :3].astype(int) - upright).mean() < 12


def test_more_frames_than_a_gif_can_show_are_left_out(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", drawn(60, size=(24, 200)), rate=100)
    count, *_ = repaint(clip, tmp_path / "out.gif", SAME)
    times = seen(tmp_path / "out.gif")[1]
    assert (count, len(times)) == (30, 30)
    assert sum(times) == 600
    assert min(times) >= 20


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [("a.webm", "libvpx-vp9", "yuva420p"), ("a.mov", "qtrle", "argb"), ("b.mov", "png", "rgba")],
)
def test_films_keep_their_transparency(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    frames = drawn(4, holes=True, size=(24, 32))
    clip = film(tmp_path / name, frames, codec=codec, layout=layout)
    for target in ("out.webp", "out.gif"):
        assert repaint(clip, tmp_path / target, SAME)[0] == 4
        found = seen(tmp_path / target)[0]
        for one, other in zip(found, frames, strict=True):
            assert ((one[..., 3] > 127) == (other[..., 3] > 0)).mean() > 0.97
    repaint(clip, tmp_path / "out.webm", SAME)
    repaint(tmp_path / "out.webm", tmp_path / "again.webp", SAME)
    for one, other in zip(seen(tmp_path / "again.webp")[0], frames, strict=True):
        assert np.abs(one[..., 3].astype(int) - other[..., 3]).mean() < 8
    before = set(tmp_path.iterdir())
    with pytest.raises(VideoError, match=r"out\.mp4.*has transparency.*\.webm or \.webp, or in \.gif"):
        repaint(clip, tmp_path / "out.mp4", SAME)
    assert set(tmp_path.iterdir()) == before


def test_a_layout_with_alpha_that_hides_nothing_may_become_any_film(tmp_path: Path) -> None:
    clip = film(tmp_path / "a.mov", drawn(3, size=(24, 32)), codec="qtrle", layout="argb")
    assert repaint(clip, tmp_path / "out.mp4", SAME) == (3, 24, 32)
    assert len(decoded(tmp_path / "out.mp4")) == 3


def test_what_a_format_cannot_count_is_the_most_that_it_can(tmp_path: Path) -> None:
    """A GIF that is shown 65,536 times, as some programs write "for ever", and a frame of a quarter of an hour."""
    frames = [Image.new("RGB", (16, 16), color) for color in ("navy", "gold")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], loop=65535, duration=100)
    stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
    stylizer.stylize_video(tmp_path / "a.gif", tmp_path / "b.webp", "wave")
    with Image.open(tmp_path / "b.webp") as written:
        assert written.info["loop"] == 0
    frames[0].save(tmp_path / "c.webp", save_all=True, append_images=frames[1:], duration=900_000, lossless=True)
    stylizer.stylize_video(tmp_path / "c.webp", tmp_path / "d.gif", "wave")
    with Image.open(tmp_path / "d.gif") as written:
        assert written.info["duration"] == 655_350
