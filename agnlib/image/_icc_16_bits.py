"""ICC profiles of a matrix and curves applied at 16 bits; Pillow's own conversion (LittleCMS) goes through 8 bits.

Format: ICC.1:2022, "Image technology colour management - Architecture, profile format, and data structure".
"""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

__all__ = ["is_srgb", "srgb_profile", "to_srgb"]

Values = npt.NDArray[np.float64]

_ROWS = 64
_ROUNDING = 2  # of 255, by which profiles differ that all say they are sRGB: tables, rounded colorants
_RAMP = np.arange(256, dtype=np.uint8)[None]
_GRID = np.stack(np.meshgrid(*3 * [np.r_[0:256:17].astype(np.uint8)]), axis=-1).reshape(64, 64, 3)
_LEVELS = 65535
# names of the curves' parameters, by the type of the curve: section 10.18
_PARAMETERS = ("g", "gab", "gabc", "gabcd", "gabcdef")


@functools.cache
def srgb_profile() -> bytes:
    """The profile that every file of ours carries; empty where Pillow was built without LittleCMS."""
    try:
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    except ImportError:
        return b""
    struct.pack_into(">6H", profile, 24, 2000, 1, 1, 0, 0, 0)  # its date: the same picture is always the same file
    return bytes(profile)


@functools.lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether the profile leaves colors as they are: converting would only add rounding.

    Asked of LittleCMS by values, since names say nothing: "DCI-P3 D65 Gamut with sRGB Transfer" is not sRGB.

    Raises:
        ImageCms.PyCMSError: the profile is broken.
        ImportError: Pillow was built without LittleCMS.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode, colors = {"RGB": ("RGB", _GRID), "GRAY": ("L", _RAMP)}.get(source.profile.xcolor_space.strip(), ("", _RAMP))
    if not mode:
        return False
    before = Image.fromarray(colors)
    after = ImageCms.profileToProfile(before, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert after is not None  # it is None only where the picture itself was to be converted
    moved = np.asarray(after).astype(np.int16) - np.asarray(before.convert("RGB"))
    return bool(np.abs(moved).max() <= _ROUNDING)


def to_srgb(pixels: npt.NDArray[np.uint16], profile: bytes) -> bool:
    """Convert `(H, W, 1 to 4)` pixels in place; False where this profile cannot be applied here.

    A profile that is broken, sRGB, or for pixels of another kind changes nothing, as in the 8-bit way.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, ImportError, OSError):
        return True
    try:
        space = source.profile.xcolor_space.strip()
        channels = {"RGB": 3, "GRAY": 1}.get(space)
        if is_srgb(profile) or channels != (3 if pixels.shape[2] >= 3 else 1):
            return True
        if channels == 3 and not source.profile.is_matrix_shaper:
            return False
        names = ("rTRC", "gTRC", "bTRC") if channels == 3 else ("kTRC",)
        curves = [_curve(_tag(profile, name)) for name in names]
        matrix = _to_linear_srgb(source) if channels == 3 else None
    except (ImageCms.PyCMSError, ImportError):
        return True
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError, struct.error):
        return False
    _convert(pixels, curves, matrix)
    return True


def _convert(pixels: npt.NDArray[np.uint16], curves: list[Values], matrix: Values | None) -> None:
    for top in range(0, len(pixels), _ROWS):
        strip = pixels[top : top + _ROWS, :, : len(curves)]
        linear = np.stack([curve[strip[..., i]] for i, curve in enumerate(curves)], axis=-1)
        if matrix is not None:
            linear = linear @ matrix.T
        strip[...] = np.rint(_encoded(np.nan_to_num(linear).clip(0, 1)) * _LEVELS).astype(np.uint16)


def _encoded(linear: Values) -> Values:
    """IEC 61966-2-1."""
    encoded: Values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def _to_linear_srgb(source: ImageCms.ImageCmsProfile) -> Values:
    """From the profile's linear RGB to that of sRGB, by way of XYZ under D50."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    return np.linalg.inv(_colorants(target)) @ _colorants(source)


def _colorants(profile: ImageCms.ImageCmsProfile) -> Values:
    found = (profile.profile.red_colorant, profile.profile.green_colorant, profile.profile.blue_colorant)
    if any(each is None for each in found):
        raise LookupError("a colorant")
    colorants: Values = np.array([each[0] for each in found if each is not None], dtype=np.float64).T
    return colorants


def _tag(profile: bytes, name: str) -> bytes:
    (count,) = struct.unpack_from(">I", profile, 128)
    for index in range(min(count, 100)):
        signature, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if signature == name.encode():
            return profile[offset : offset + size]
    raise LookupError(name)


def _curve(tag: bytes) -> Values:
    """What each of the 65,536 levels is in linear light."""
    levels = np.arange(_LEVELS + 1) / _LEVELS
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return levels
        if count == 1:
            gamma: float = struct.unpack_from(">H", tag, 12)[0] / 256
            levels **= gamma
            return levels
        table = np.frombuffer(tag, ">u2", count, 12) / _LEVELS
        return np.interp(levels, np.linspace(0, 1, count), table)
    if tag[:4] != b"para":
        raise LookupError("curve")
    names = _PARAMETERS[struct.unpack_from(">H", tag, 8)[0]]
    found = {name: struct.unpack_from(">i", tag, 12 + 4 * i)[0] / 65536 for i, name in enumerate(names)}
    return _parametric(levels, found)


def _parametric(x: Values, given: dict[str, float]) -> Values:
    """(a x + b)^g + e from x = d upwards, c x + f below; types 1 and 2 break where a x + b is 0."""
    p = {"a": 1.0, "b": 0.0, "c": 0.0, "e": 0.0, "f": 0.0} | given
    if "d" not in given:
        p |= {"d": -p["b"] / p["a"], "e": given.get("c", 0.0), "f": given.get("c", 0.0), "c": 0.0}
    with np.errstate(all="ignore"):  # a hostile file may ask for anything
        upper = (p["a"] * x + p["b"]).clip(0) ** p["g"] + p["e"]
    return np.nan_to_num(np.where(x >= p["d"], upper, p["c"] * x + p["f"])).clip(0, 1)
