"""Colours by what a profile's numbers say, whatever its name is, against LittleCMS."""

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
from agnlib.image import Picture, _profile

FEW = settings(max_examples=25, deadline=None)
SRGB_NUMBERS = {
    "sRGB IEC61966-2.1": icc.profile("sRGB IEC61966-2.1", icc.SRGB, icc.table(1024)),
    "sRGB v4": icc.profile("sRGB v4", icc.SRGB, icc.SRGB_CURVE),
    "c2": icc.profile("c2", icc.SRGB, icc.table(26)),
    "without a name": icc.profile("", icc.SRGB, icc.table(4096)),
    "ours": _profile.srgb_profile(),
    "grey": icc.profile("grey", None, icc.SRGB_CURVE),
}
OTHERS = {
    "Display P3": icc.profile("Display P3", icc.P3, icc.SRGB_CURVE),
    "Display P3 Gamut with sRGB Transfer": icc.profile("Display P3 Gamut with sRGB Transfer", icc.P3, icc.SRGB_CURVE),
    "DCI-P3 D65 Gamut with sRGB Transfer": icc.profile("DCI-P3 D65 Gamut with sRGB Transfer", icc.P3, icc.SRGB_CURVE),
    "sRGB EOTF with DCI-P3 Color Gamut": icc.profile("sRGB EOTF with DCI-P3 Color Gamut", icc.P3, icc.SRGB_CURVE),
    "GIMP built-in Linear sRGB": icc.profile("GIMP built-in Linear sRGB", icc.SRGB, icc.gamma(1.0)),
    "AdobeRGB, not sRGB": icc.profile("AdobeRGB, not sRGB", icc.ADOBE, icc.gamma(2.19921875)),
    "sRGB with a plain gamma": icc.profile("sRGB", icc.SRGB, icc.gamma(2.2)),
    "linear grey, not sRGB": icc.profile("linear grey, not sRGB", None, icc.gamma(1.0)),
}


def picture(profile: bytes) -> Image.Image:
    """Colours from all over the cube, or all tones, for the kind of the profile."""
    if profile[16:20] == b"GRAY":
        return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8))


def by_littlecms(original: Image.Image, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(original, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted).astype(int)


@pytest.mark.parametrize(
    ("name", "suffix"), [*itertools.product(OTHERS, ("png", "tif")), ("sRGB EOTF with DCI-P3 Color Gamut", "webp")]
)
def test_other_colours_are_converted_whatever_the_name_says(tmp_path: Path, name: str, suffix: str) -> None:
    original = picture(OTHERS[name])
    original.save(tmp_path / f"a.{suffix}", icc_profile=OTHERS[name], lossless=True)
    expected = by_littlecms(original, OTHERS[name])
    assert np.abs(expected - np.asarray(original.convert("RGB"))).max() > 5
    np.testing.assert_array_equal(np.asarray(image.load(tmp_path / f"a.{suffix}")), expected)
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        taken = Picture.take(opened)
    np.testing.assert_array_equal(np.asarray(taken.restore(taken.pixels)), expected)


@pytest.mark.parametrize("name", SRGB_NUMBERS)
def test_what_is_srgb_by_its_numbers_is_left_bit_for_bit(tmp_path: Path, name: str) -> None:
    original = picture(SRGB_NUMBERS[name])
    original.save(tmp_path / "a.png", icc_profile=SRGB_NUMBERS[name])
    np.testing.assert_array_equal(np.asarray(image.load(tmp_path / "a.png")), np.asarray(original.convert("RGB")))


def deep_png(path: Path, pixels: np.ndarray, profile: bytes) -> None:
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2 if pixels.shape[2] == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [
        (b"IHDR", head),
        (b"iCCP", b"x\0\0" + zlib.compress(profile)),
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
def test_sixteen_bits_have_the_colours_of_eight(tmp_path: Path, name: str) -> None:
    profile = (OTHERS | SRGB_NUMBERS)[name]
    eight = np.asarray(picture(profile))
    deep = np.atleast_3d(eight).astype(np.uint16) * 257
    deep_png(tmp_path / "a.png", deep, profile)
    found = image.read(tmp_path / "a.png")
    if name in SRGB_NUMBERS:
        np.testing.assert_array_equal(found, deep)
    else:
        expected = linear_light(deep / 65535) if deep.shape[2] == 1 else by_littlecms(picture(profile), profile)
        assert np.abs(found / 257 - expected).max() < 1.1


def linear_light(values: np.ndarray) -> np.ndarray:
    """sRGB's levels, 0 to 255, of linear grey; LittleCMS is 10 levels off in the shadows of grey of 8 bits."""
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
    assert distance <= _profile._ROUNDING
