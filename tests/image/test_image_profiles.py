"""Colors by what a profile's numbers say, whatever its name is, against LittleCMS."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import icc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from agnlib import image
from agnlib.errors import ImageError
from agnlib.image import Picture, _icc_16_bits

FEW = settings(max_examples=25, deadline=None)
SRGB_NUMBERS = {
    "sRGB IEC61966-2.1": icc.profile("sRGB IEC61966-2.1", icc.SRGB, icc.table(1024)),
    "sRGB v4": icc.profile("sRGB v4", icc.SRGB, icc.SRGB_CURVE),
    "c2": icc.profile("c2", icc.SRGB, icc.table(26)),
    "without a name": icc.profile("", icc.SRGB, icc.table(4096)),
    "ours": _icc_16_bits.srgb_profile(),
    "gray": icc.profile("gray", None, icc.SRGB_CURVE),
}
OTHERS = {
    "Display P3": icc.profile("Display P3", icc.P3, icc.SRGB_CURVE),
    "Display P3 Gamut with sRGB Transfer": icc.profile("Display P3 Gamut with sRGB Transfer", icc.P3, icc.SRGB_CURVE),
    "DCI-P3 D65 Gamut with sRGB Transfer": icc.profile("DCI-P3 D65 Gamut with sRGB Transfer", icc.P3, icc.SRGB_CURVE),
    "sRGB EOTF with DCI-P3 Color Gamut": icc.profile("sRGB EOTF with DCI-P3 Color Gamut", icc.P3, icc.SRGB_CURVE),
    "GIMP built-in Linear sRGB": icc.profile("GIMP built-in Linear sRGB", icc.SRGB, icc.gamma(1.0)),
    "AdobeRGB, not sRGB": icc.profile("AdobeRGB, not sRGB", icc.ADOBE, icc.gamma(2.19921875)),
    "sRGB with a plain gamma": icc.profile("sRGB", icc.SRGB, icc.gamma(2.2)),
    "linear gray, not sRGB": icc.profile("linear gray, not sRGB", None, icc.gamma(1.0)),
}


def picture(profile: bytes) -> Image.Image:
    """Colors from all over the cube, or all tones, for the kind of the profile."""
    if profile[16:20] == b"GRAY":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))


def by_littlecms(original: Image.Image, profile: bytes) -> np.ndarray:
    """Gray by way of RGB with the same curve: LittleCMS' own gray path is up to ten levels off."""
    if profile[16:20] == b"GRAY":
        original, profile = original.convert("RGB"), icc.profile("the same in RGB", icc.SRGB, icc.gamma(1.0))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(original, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted).astype(int)


@pytest.mark.parametrize(
    ("name", "suffix"), [*itertools.product(OTHERS, ("png", "tif")), ("sRGB EOTF with DCI-P3 Color Gamut", "webp")]
)
def test_other_colors_are_converted_whatever_the_name_says(tmp_path: Path, name: str, suffix: str) -> None:
    original = picture(OTHERS[name])
    original.save(tmp_path / f"a.{suffix}", icc_profile=OTHERS[name], lossless=True)
    expected = by_littlecms(original, OTHERS[name])
    assert np.abs(expected - np.asarray(original.convert("RGB"))).max() > 5
    rounding = 1 if original.mode == "L" else 0
    found = np.asarray(image.load(tmp_path / f"a.{suffix}")).astype(int)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        taken = Picture.take(opened)
    np.testing.assert_array_equal(np.asarray(taken.restore(taken.pixels)), found)


def test_linear_gray_is_encoded_as_the_standard_says(tmp_path: Path) -> None:
    original = picture(OTHERS["linear gray, not sRGB"])
    original.save(tmp_path / "a.png", icc_profile=OTHERS["linear gray, not sRGB"])
    linear = np.asarray(original) / 255
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    found = np.asarray(image.load(tmp_path / "a.png"))[..., 0]
    np.testing.assert_allclose(found, 255 * encoded, rtol=0, atol=0.51)


@pytest.mark.parametrize("name", SRGB_NUMBERS)
def test_what_is_srgb_by_its_numbers_is_left_bit_for_bit(tmp_path: Path, name: str) -> None:
    original = picture(SRGB_NUMBERS[name])
    original.save(tmp_path / "a.png", icc_profile=SRGB_NUMBERS[name])
    np.testing.assert_array_equal(np.asarray(image.load(tmp_path / "a.png")), np.asarray(original.convert("RGB")))


def embedded(profile: bytes) -> bytes:
    return b"x\0\0" + zlib.compress(profile)


def png(path: Path, pixels: np.ndarray, **says: bytes) -> None:
    """A PNG of 8 or 16 bits with these chunks."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8 * pixels.itemsize, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    chunks = [
        (b"IHDR", head),
        *((name.encode(), body) for name, body in says.items()),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )


@pytest.mark.parametrize("name", [*OTHERS, *SRGB_NUMBERS])
def test_sixteen_bits_have_the_colors_of_eight(tmp_path: Path, name: str) -> None:
    profile = (OTHERS | SRGB_NUMBERS)[name]
    eight = np.asarray(picture(profile))
    deep = np.atleast_3d(eight).astype(np.uint16) * 257
    png(tmp_path / "a.png", deep, iCCP=embedded(profile))
    found = image.read(tmp_path / "a.png")
    if name in SRGB_NUMBERS:
        np.testing.assert_array_equal(found, deep)
    else:
        expected = linear_light(deep / 65535) if deep.shape[2] == 1 else by_littlecms(picture(profile), profile)
        assert np.abs(found / 257 - expected).max() < 1.1


def linear_light(values: np.ndarray) -> np.ndarray:
    """sRGB's levels, 0 to 255, of linear gray; LittleCMS is 10 levels off in the shadows of gray of 8 bits."""
    return 255 * np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


@FEW
@given(
    st.floats(1, 2.6),
    st.lists(st.floats(-0.03, 0.03), min_size=9, max_size=9),
    st.sampled_from(["sRGB", "sRGB IEC61966-2.1", "mine"]),
)
def test_any_matrix_and_gamma_is_what_littlecms_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, exponent: float, moved: list[float], name: str
) -> None:
    colorants = np.array(icc.SRGB) + np.array(moved).reshape(3, 3)
    profile = icc.profile(name, colorants.tolist(), icc.gamma(exponent))
    original, path = picture(profile), tmp_path_factory.mktemp("matrix") / "a.png"
    original.save(path, icc_profile=profile)
    distance = np.abs(np.asarray(image.load(path)).astype(int) - by_littlecms(original, profile)).max()
    assert distance <= _icc_16_bits._ROUNDING


# What a PNG says of its colors without a profile

D65 = (31270, 32900)
CHROMATICITIES = {
    "P3": (*D65, 68000, 32000, 26500, 69000, 15000, 6000),
    "Adobe": (*D65, 64000, 33000, 21000, 71000, 15000, 6000),
    "sRGB": (*D65, 64000, 33000, 30000, 60000, 15000, 6000),
}
BT709_CURVE = (
    b"para" + bytes(4) + struct.pack(">HH", 3, 0) + icc.numbers(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
)
SAYS = {
    "P3 by cICP": ({"cICP": bytes([12, 13, 0, 1])}, icc.P3, icc.SRGB_CURVE),
    "linear sRGB by cICP": ({"cICP": bytes([1, 8, 0, 1])}, icc.SRGB, icc.gamma(1.0)),
    "BT.709 by cICP": ({"cICP": bytes([1, 1, 0, 1])}, icc.SRGB, BT709_CURVE),
    "P3 by cHRM": ({"cHRM": struct.pack(">8I", *CHROMATICITIES["P3"])}, icc.P3, icc.SRGB_CURVE),
    "Adobe RGB by cHRM and gAMA": (
        {"gAMA": struct.pack(">I", 40_000), "cHRM": struct.pack(">8I", *CHROMATICITIES["Adobe"])},
        icc.ADOBE,
        icc.gamma(2.5),
    ),
    "linear by gAMA": ({"gAMA": struct.pack(">I", 100_000)}, icc.SRGB, icc.gamma(1.0)),
    "1.8 by gAMA": ({"gAMA": struct.pack(">I", 55_556)}, icc.SRGB, icc.gamma(1.8)),
    "cICP before iCCP": (
        {"cICP": bytes([12, 13, 0, 1]), "iCCP": embedded(OTHERS["AdobeRGB, not sRGB"])},
        icc.P3,
        icc.SRGB_CURVE,
    ),
    "iCCP before gAMA": (
        {"iCCP": embedded(OTHERS["Display P3"]), "gAMA": struct.pack(">I", 100_000)},
        icc.P3,
        icc.SRGB_CURVE,
    ),
}
NOTHING_TO_DO = {
    "sRGB by cICP": {"cICP": bytes([1, 13, 0, 1])},
    "sRGB before gAMA": {"sRGB": b"\0", "gAMA": struct.pack(">I", 100_000)},
    "cICP before gAMA": {"cICP": bytes([1, 13, 0, 1]), "gAMA": struct.pack(">I", 100_000)},
    "gAMA of 1/2.2": {"gAMA": struct.pack(">I", 45_455)},
    "both as sRGB has them": {
        "gAMA": struct.pack(">I", 45_455),
        "cHRM": struct.pack(">8I", *CHROMATICITIES["sRGB"]),
    },
    "no gamma": {"gAMA": struct.pack(">I", 0)},
    "no colors": {"gAMA": struct.pack(">I", 100_000), "cHRM": bytes(32)},
    "a short chunk": {"cHRM": bytes(8)},
    "unknown numbers": {"cICP": bytes([99, 99, 0, 1])},
}


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.parametrize("bits", [8, 16])
def test_colors_by_chunks_are_those_of_the_profile_that_says_the_same(tmp_path: Path, kind: str, bits: int) -> None:
    chunks, colorants, curve = SAYS[kind]
    pixels = np.asarray(picture(b""))
    png(tmp_path / "a.png", pixels if bits == 8 else pixels.astype(np.uint16) * 257, **chunks)
    expected = by_littlecms(Image.fromarray(pixels), icc.profile("", colorants, curve))
    assert np.abs(expected - pixels).max() > 5
    found = image.read(tmp_path / "a.png")
    assert found.itemsize == bits // 8
    distance = np.abs(found / (1 if bits == 8 else 257) - expected)
    assert distance.max() <= 3  # the colorants of real profiles are rounded
    assert distance.mean() < 0.4
    with Image.open(tmp_path / "a.png") as opened:
        taken = Picture.take(opened)
    assert np.abs(np.asarray(taken.restore(taken.pixels)).astype(int) - expected).max() <= 3


@pytest.mark.parametrize("kind", NOTHING_TO_DO)
@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_that_say_srgb_or_nonsense_change_nothing(tmp_path: Path, kind: str, bits: int) -> None:
    pixels = np.asarray(picture(b"")).astype(f"u{bits // 8}") * (1 if bits == 8 else 257)
    png(tmp_path / "a.png", pixels, **NOTHING_TO_DO[kind])
    np.testing.assert_array_equal(image.read(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_goes_by_gamma_too(tmp_path: Path, channels: int) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16, 1) * 257
    pixels = np.concatenate([levels, np.full_like(levels, 65535)], axis=2)[..., :channels]
    png(tmp_path / "a.png", pixels, gAMA=struct.pack(">I", 100_000))
    found = image.read(tmp_path / "a.png")
    assert np.abs(found[..., 0] / 257 - linear_light(levels[..., 0] / 65535)).max() < 0.01


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ((9, 16, 0, 1), "PQ"),
        ((9, 18, 0, 1), "HLG"),
        ((1, 13, 0, 0), "narrow-range video"),
        ((1, 13, 1, 1), "YCbCr"),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_high_dynamic_range_is_refused_in_words(tmp_path: Path, said: tuple[int, ...], kind: str, bits: int) -> None:
    pixels = np.asarray(picture(b"")).astype(f"u{bits // 8}")
    png(tmp_path / "a.png", pixels, cICP=bytes(said))
    for reading in (image.load, image.read):
        with pytest.raises(
            ImageError, match=rf"a\.png' cannot be read: its cICP chunk says that it is {kind}, .* sRGB"
        ):
            reading(tmp_path / "a.png")


def test_what_is_saved_is_in_the_colors_that_are_shown(tmp_path: Path) -> None:
    png(tmp_path / "a.png", np.asarray(picture(b"")), gAMA=struct.pack(">I", 100_000))
    with Image.open(tmp_path / "a.png") as opened:
        image.save(opened, tmp_path / "b.png")
    np.testing.assert_array_equal(
        np.asarray(image.load(tmp_path / "b.png")), np.asarray(image.load(tmp_path / "a.png"))
    )
