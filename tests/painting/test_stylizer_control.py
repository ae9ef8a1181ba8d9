"""Control, regions, files and long service of the stylizer."""

from __future__ import annotations

import gc
import multiprocessing
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import color, data

from agnlib import image
from agnlib.errors import ImageError, InputError
from agnlib.models import Generator, StyleExtractor
from agnlib.painting import _painted_windows
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer


def tiny() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
    return Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0", "block2")), device="cpu")


STYLIZER = tiny()
PHOTO = data.astronaut()[:90, 200:330]
STYLE, OTHER = data.coffee()[:200, :300], 255 - data.chelsea()[:150, :200]


def luma(pixels: np.ndarray) -> np.ndarray:
    return color.rgb2yiq(pixels / 255)[..., 0]


def chroma(pixels: np.ndarray) -> np.ndarray:
    return color.rgb2yiq(pixels / 255)[..., 1:]


def inside(pixels: np.ndarray) -> np.ndarray:
    """Where nothing was clipped to the range of colors."""
    return ((pixels > 1) & (pixels < 254)).all(-1)


# Lightness and colors


def test_preserve_color_keeps_the_colors_and_takes_the_lightness() -> None:
    full, kept = STYLIZER(PHOTO, STYLE), STYLIZER(PHOTO, STYLE, preserve_color=True)
    where = inside(kept)
    assert where.mean() > 0.2
    np.testing.assert_allclose(luma(kept)[where], luma(full)[where], atol=0.01)
    proportional = PHOTO / 255 * (luma(full) / luma(PHOTO).clip(0.02))[..., None]
    where &= (proportional.max(-1) < 0.98) & (luma(full) < 3 * luma(PHOTO)) & (luma(PHOTO) > 0.05)
    assert where.mean() > 0.2
    np.testing.assert_allclose((kept / 255)[where], proportional[where], atol=0.015)
    np.testing.assert_array_equal(kept, STYLIZER(PHOTO, STYLE, color=0))


def test_a_dark_red_that_becomes_light_stays_red_and_nothing_is_clipped() -> None:
    red, luma_of = torch.tensor([0.3, 0.02, 0.02]).view(1, 3, 1, 1) * 2 - 1, _painted_windows.lightness
    for light in (0.05, 0.15, 0.3, 0.6, 0.95):
        found = _painted_windows._with_luma(red, torch.full((1, 1, 1, 1), light * 2 - 1))
        assert (luma_of(found).item() + 1) / 2 == pytest.approx(light, abs=1e-5)
        first, *others = ((found + 1) / 2).flatten().tolist()
        assert others[0] == pytest.approx(others[1], abs=1e-6)  # of the same hue
        assert -1e-6 <= others[0] < first <= 1 + 1e-6
    gray = torch.zeros(1, 3, 1, 1)
    torch.testing.assert_close(_painted_windows._with_luma(gray, gray[:, :1] + 0.4), gray + 0.4)


def test_color_only_keeps_the_lightness_and_takes_the_colors() -> None:
    full, kept = STYLIZER(PHOTO, STYLE), STYLIZER(PHOTO, STYLE, color_only=True)
    where = inside(kept)
    assert where.mean() > 0.2
    np.testing.assert_allclose(luma(kept)[where], luma(PHOTO)[where], atol=0.01)
    hues = [np.arctan2(*np.moveaxis(chroma(pixels)[where], -1, 0)) for pixels in (kept, full)]
    vivid = np.linalg.norm(chroma(kept)[where], axis=-1) > 0.1
    assert vivid.mean() > 0.1
    np.testing.assert_allclose(np.cos(hues[0] - hues[1])[vivid], 1, atol=0.02)
    np.testing.assert_array_equal(kept, STYLIZER(PHOTO, STYLE, texture=0))


@pytest.mark.parametrize("amount", [0.1, 0.5, 1.0])
def test_texture_and_color_alike_are_strength(amount: float) -> None:
    np.testing.assert_array_equal(
        STYLIZER(PHOTO, STYLE, texture=amount, color=amount), STYLIZER(PHOTO, STYLE, strength=amount)
    )
    np.testing.assert_array_equal(
        STYLIZER(PHOTO, STYLE, texture=0.5, strength=amount), STYLIZER(PHOTO, STYLE, texture=0.5 * amount, color=amount)
    )


@pytest.mark.parametrize(
    "options", [{"strength": 0}, {"texture": 0, "color": 0}, {"preserve_color": True, "texture": 0}]
)
def test_nothing_of_the_style_is_the_photo_bit_for_bit(options: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_array_equal(STYLIZER(PHOTO, STYLE, **options), PHOTO)
    image.save(PHOTO, tmp_path / "photo.png")
    STYLIZER.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", STYLE, **options)
    np.testing.assert_array_equal(image.read(tmp_path / "out.png"), PHOTO)


def test_scale_1_is_no_scale_and_every_scale_keeps_the_size() -> None:
    np.testing.assert_array_equal(STYLIZER(PHOTO, STYLE, scale=1), STYLIZER(PHOTO, STYLE))
    for scale in (0.1, 0.37, 2, 10):
        painted = STYLIZER(PHOTO[:20, :31] if scale < 1 else PHOTO, STYLE, scale=scale)
        assert painted.shape == (PHOTO[:20, :31] if scale < 1 else PHOTO).shape


def test_broad_strokes_are_those_of_the_reduced_photo() -> None:
    photo = Image.fromarray(data.astronaut()[:128, 200:360])
    small = photo.resize((80, 64), Image.Resampling.BICUBIC)
    expected = STYLIZER(small, STYLIZER.encode_style(STYLE)).resize(photo.size, Image.Resampling.BICUBIC)
    broad = STYLIZER(photo, STYLIZER.encode_style(STYLE), scale=2)
    assert np.abs(np.asarray(broad).astype(int) - np.asarray(expected)).mean() < 1


# Regions


def halves(height: int = 90, width: int = 130) -> np.ndarray:
    return np.tile(np.arange(width) < width // 2, (height, 1))


def test_a_mask_paints_where_it_is_white() -> None:
    painted, whole = STYLIZER(PHOTO, STYLE, mask=halves()), STYLIZER(PHOTO, STYLE)
    np.testing.assert_array_equal(painted[:, 65:], PHOTO[:, 65:])
    np.testing.assert_array_equal(painted[:, :65], whole[:, :65])


@pytest.mark.parametrize(
    ("kind", "channels"), [(np.float16, 3), (np.float64, 3), *((np.float32, count) for count in (None, 1, 2, 3, 4))]
)
def test_floats_that_no_mask_covers_come_back_bit_for_bit(kind: type, channels: int | None) -> None:
    shape = (20, 30) if channels is None else (20, 30, channels)
    photo = np.random.default_rng(5).uniform(-0.2, 1.2, shape).astype(kind)
    if channels in (2, 4):
        photo[..., -1] = photo[..., -1].clip(0.1, 1)
    expected = photo[..., None] if channels is None else photo
    if expected.shape[2] < 3:
        expected = np.concatenate([expected[..., :1].repeat(3, 2), expected[..., 1:]], axis=2)
    painted = STYLIZER(photo, STYLE, mask=halves(20, 30))
    np.testing.assert_array_equal(painted[:, 15:], expected[:, 15:])
    assert painted[:, :15].min() >= 0
    assert painted[:, :15].max() <= 1
    np.testing.assert_array_equal(STYLIZER(photo, STYLE, mask=np.zeros((20, 30), bool)), expected)


def test_a_gray_mask_is_a_blend() -> None:
    painted = STYLIZER(PHOTO, STYLE, mask=np.full((90, 130), 128, np.uint8)).astype(float)
    expected = PHOTO + (STYLIZER(PHOTO, STYLE).astype(float) - PHOTO) * 128 / 255
    np.testing.assert_allclose(painted, expected, atol=1.01)


@pytest.mark.parametrize("kind", ["bool", "uint8", "float", "tensor", "bool tensor", "pil", "alpha", "path"])
def test_every_kind_of_mask(kind: str, tmp_path: Path) -> None:
    mask = halves()
    gray = Image.fromarray(mask.astype(np.uint8) * 255)
    clear = Image.new("RGBA", gray.size, "white")
    clear.putalpha(gray)
    gray.save(tmp_path / "mask.png")
    kinds: dict[str, Any] = {
        "bool": mask,
        "uint8": np.asarray(gray),
        "float": mask.astype(np.float64),
        "tensor": torch.from_numpy(mask).float()[None],
        "bool tensor": torch.from_numpy(mask),
        "pil": gray.convert("1"),
        "alpha": clear,
        "path": tmp_path / "mask.png",
    }
    np.testing.assert_array_equal(STYLIZER(PHOTO, STYLE, mask=kinds[kind]), STYLIZER(PHOTO, STYLE, mask=mask))


def test_two_styles_far_from_their_border_are_each_as_if_alone() -> None:
    photo = np.tile(PHOTO, (1, 4, 1))
    codes = [STYLIZER.encode_style(each) for each in (STYLE, OTHER)]
    mask = halves(90, 520)
    both = STYLIZER(photo, codes, mask=[mask, ~mask]).astype(int)
    np.testing.assert_array_equal(both, STYLIZER(photo, codes, mask=mask))  # the last style takes the rest
    np.testing.assert_array_equal(both, STYLIZER(photo, codes[::-1], mask=[~mask, mask]))
    same = STYLIZER(photo, [codes[0], codes[0]], mask=mask).astype(int)
    assert np.abs(same - STYLIZER(photo, codes[0])).max() <= 1
    # the statistics of the whole are common to both, so what is far is near what it would be alone
    left, right = (STYLIZER(photo, code).astype(int) for code in codes)
    assert np.abs(both - left)[:, :200].mean() < np.abs(both - right)[:, :200].mean() / 2
    assert np.abs(both - right)[:, -200:].mean() < np.abs(both - left)[:, -200:].mean() / 2


def test_what_no_mask_covers_stays_and_overlaps_share() -> None:
    first, second = np.zeros((90, 130)), np.zeros((90, 130))
    first[:, :60], second[:, 40:90] = 1, 1
    painted = STYLIZER(PHOTO, [STYLE, OTHER], mask=[first, second])
    np.testing.assert_array_equal(painted[:, 90:], PHOTO[:, 90:])
    assert (painted[:, :90] != PHOTO[:, :90]).mean() > 0.8
    assert (
        np.abs(
            STYLIZER(PHOTO, [STYLE, STYLE], mask=[first, first]).astype(int) - STYLIZER(PHOTO, STYLE, mask=first)
        ).max()
        <= 1
    )


def test_a_mask_of_another_size_is_resized_and_that_is_said() -> None:
    mask = Image.fromarray(halves(45, 65))
    with pytest.warns(
        UserWarning, match="mask 1 has 65 x 45 pixels, the picture 130 x 90; the mask is resized"
    ) as said:
        painted = STYLIZER(PHOTO, STYLE, mask=mask)
    assert len(said) == 1
    assert said[0].filename == __file__
    np.testing.assert_array_equal(painted[:, :60], STYLIZER(PHOTO, STYLE)[:, :60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert STYLIZER(PHOTO, STYLE, mask=halves(), size=60).shape == (42, 60, 3)


@pytest.mark.parametrize(
    ("style", "mask", "parts"),
    [
        (STYLE, [halves(), halves()], ["2 masks for 1 style"]),
        ([STYLE, OTHER, STYLE], halves(), ["1 masks for 3 styles"]),
        ([(STYLE, 1), (OTHER, 2)], [halves(), halves()], ["2 masks for 1 style"]),
        (STYLE, [], ["empty list"]),
        (STYLE, 7, ["mask 1", "int"]),
        (STYLE, torch.zeros(2, 1, 90, 130), ["mask 1", "batch of 2"]),
        (STYLE, "missing.png", ["missing.png", "does not exist"]),
    ],
)
def test_masks_that_do_not_fit(style: Any, mask: Any, parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        STYLIZER(PHOTO, style, mask=mask)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"texture": 2}, ["texture", "from 0", "2"]),
        ({"color": -1}, ["color", "-1"]),
        ({"scale": 0}, ["scale", "0.1", "10"]),
        ({"scale": "big"}, ["scale", "'big'"]),
        ({"preserve_color": True, "color_only": True}, ["together", "one of them"]),
        ({"preserve_color": True, "color": 0.5}, ["preserve_color is color=0, and color is 0.5", "one of them"]),
        ({"color_only": True, "texture": 0.5}, ["color_only is texture=0, and texture is 0.5", "one of them"]),
    ],
)
def test_options_out_of_range(options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        STYLIZER(PHOTO, STYLE, **options)
    assert all(part in str(error.value) for part in parts)


# Codes as files, and what a stylizer says of itself


def test_a_saved_code_is_a_style_by_its_path(tmp_path: Path) -> None:
    code = STYLIZER.encode_style(STYLE)
    code.save(tmp_path / "style.safetensors")
    np.testing.assert_array_equal(STYLIZER(PHOTO, tmp_path / "style.safetensors"), STYLIZER(PHOTO, code))
    mixed = STYLIZER.encode_style([(str(tmp_path / "style.safetensors"), 1), (OTHER, 1)])
    assert torch.equal(mixed.vector, StyleCode.mix([(code, 1), (STYLIZER.encode_style(OTHER), 1)]).vector)


def test_repr_names_weights_and_device() -> None:
    assert repr(Stylizer.from_pretrained(device="cpu")) == "Stylizer('agn-small', style_dim=128, device='cpu')"
    assert "16" in repr(STYLIZER)


# Files


def test_sixteen_bits_stay_sixteen(tmp_path: Path) -> None:
    deep = (data.astronaut()[:64, :80].astype(np.uint16) * 257) + 77
    for suffix in ("png", "tif"):
        image.save(deep, tmp_path / f"deep.{suffix}")
        assert STYLIZER.stylize_file(tmp_path / f"deep.{suffix}", tmp_path / f"out.{suffix}", STYLE) == (64, 80)
        painted = image.read(tmp_path / f"out.{suffix}")
        np.testing.assert_array_equal(painted, STYLIZER(deep, STYLE))
        assert len(np.unique(painted)) > 256
    STYLIZER.stylize_file(tmp_path / "deep.png", tmp_path / "out.jpg", STYLE)
    assert image.read(tmp_path / "out.jpg").dtype == np.uint8


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_file_to_file_is_the_same_as_by_hand(tmp_path: Path, suffix: str) -> None:
    photo = np.dstack([PHOTO, np.tile(np.linspace(0, 255, 130).astype(np.uint8), (90, 1))])
    image.save(photo, tmp_path / "photo.png")
    by_hand = STYLIZER(tmp_path / "photo.png", STYLE, strength=0.7, tile=64)
    image.save(by_hand, tmp_path / f"hand.{suffix}")
    STYLIZER.stylize_file(tmp_path / "photo.png", tmp_path / f"file.{suffix}", STYLE, strength=0.7, tile=64)
    np.testing.assert_array_equal(image.read(tmp_path / f"file.{suffix}"), image.read(tmp_path / f"hand.{suffix}"))


def test_a_file_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image.save(PHOTO, tmp_path / "photo.png")
    (tmp_path / "out.png").write_bytes(b"old")
    stylizer = tiny()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(stylizer.generator, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", STYLE, overwrite=True)
    assert (tmp_path / "out.png").read_bytes() == b"old"
    with pytest.raises(ImageError, match="suffix"):
        stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.gif", STYLE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "photo.png"]


# Any size


def assert_painted(height: int, width: int) -> None:
    photo = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * 300 + width))
    painted = STYLIZER(photo, CODE)
    assert painted.shape == photo.shape
    assert painted.isfinite().all()


CODE = STYLIZER.encode_style(STYLE)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 257), st.integers(1, 257))
def test_any_size_comes_out_as_it_went_in(height: int, width: int) -> None:
    assert_painted(height, width)


@pytest.mark.slow
def test_the_whole_border_of_the_range_of_sizes() -> None:
    for side in range(1, 258):
        for other in (1, 257):
            assert_painted(side, other)
            assert_painted(other, side)


# Long service


def test_threads_at_once_give_what_each_gives_alone() -> None:
    """Each with its own statistics, regions and tiles: none may see another's."""
    jobs: list[dict[str, Any]] = [
        {
            "content": np.roll(PHOTO, 20 * n, axis=1),
            "style": [STYLE, OTHER],
            "mask": halves(),
            "tile": 40 + n,
            "seed": n,
        }
        if n % 2
        else {"content": 255 - PHOTO[n:], "style": OTHER, "strength": 0.1 * n + 0.2, "tile": "auto" if n % 4 else 48}
        for n in range(8)
    ]
    alone = [STYLIZER(**job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: STYLIZER(**job), jobs * 3, timeout=300))
    for first, second in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(first, second)


def painted_elsewhere(stylizer: Stylizer) -> np.ndarray:
    torch.set_num_threads(1)
    result: np.ndarray = stylizer(PHOTO, STYLE, tile=48)
    return result


def test_a_spawned_process_paints_the_same() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        elsewhere = pool.submit(painted_elsewhere, STYLIZER).result(timeout=300)
    np.testing.assert_array_equal(elsewhere, painted_elsewhere(STYLIZER))


def grown_by(calls: int, folder: Path) -> tuple[int, int]:
    """Python's memory and objects after so many calls of every kind, beyond what the first ones left."""
    image.save(PHOTO[:24, :24], folder / "photo.png")
    (folder / "broken.png").write_bytes((folder / "photo.png").read_bytes()[:200])

    def call(n: int) -> None:
        if n % 4 == 0:
            STYLIZER.stylize_file(folder / "photo.png", folder / "out.png", CODE, overwrite=True)
        elif n % 4 == 1:
            STYLIZER(PHOTO[:24, :24], CODE, tile=16, seed=n, strength=0.5)
        elif n % 4 == 2:
            STYLIZER(PHOTO[:24, :24], [CODE, CODE], mask=halves(24, 24))
        else:
            with pytest.raises(ImageError):
                STYLIZER(folder / "broken.png", CODE)

    for n in range(20):
        call(n)
    gc.collect()
    tracemalloc.start()
    objects = len(gc.get_objects())
    start, _ = tracemalloc.get_traced_memory()
    for n in range(calls):
        call(n)
    gc.collect()
    stop, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return stop - start, len(gc.get_objects()) - objects


def test_hundreds_of_calls_leave_nothing_behind(tmp_path: Path) -> None:
    grown, objects = grown_by(120, tmp_path)
    assert grown < 120 * 500  # bytes a call, less than the smallest array in it; what remains is caches filling up
    assert objects < 120


@pytest.mark.slow
def test_ten_thousand_calls_leave_nothing_behind(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    grown_by(1000, tmp_path)
    before = psutil.Process().memory_info().rss
    grown, objects = grown_by(9000, tmp_path)
    assert grown < 2**18
    assert objects < 2000
    assert psutil.Process().memory_info().rss - before < 30 * 2**20
