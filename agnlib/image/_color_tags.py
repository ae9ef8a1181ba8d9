"""What a picture says of its colors: by a profile, or by numbers, of which a profile is made here.

Of the chunks cICP goes before iCCP, that before sRGB, and that before gAMA and cHRM: "Portable Network Graphics", third
edition, 2025, section 4.3. The numbers of cICP are those of ITU-T H.273, 2024.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from agnlib.errors import ImageError, InputError
from agnlib.image._orientation import METADATA_ERRORS

__all__ = ["note_cicp", "note_nclx", "profile_of"]

Matrix = npt.NDArray[np.float64]

_D65, _D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.82491)  # x, y; and X, Y, Z
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_ADOBE, _ADOBE_GAMMA = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
# White, red, green and blue, by their number in cICP; and the curves, as the parameters of an ICC profile's.
_PRIMARIES = {
    1: (*_D65, *_BT709),
    2: (*_D65, *_BT709),  # unspecified
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, *_P3),
    12: (*_D65, *_P3),
}
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    **dict.fromkeys((2, 13), _SRGB_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
}
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
# By so much a gAMA of 1/2.2 may differ and still mean sRGB, for which older programs wrote it.
_SRGB_GAMMA, _NEAR = 1 / 2.2, 0.05


def note_cicp(image: Image.Image) -> None:
    """Note in the `info` of a PNG that is not yet decoded what its cICP chunk says, which Pillow passes over.

    Raises:
        InputError: it says that the picture is of high dynamic range, or uses the narrow range of video.
    """
    file = image.fp if isinstance(image, PngImageFile) and image.tile else None
    if file is None or file.closed:
        return
    found = _chunk(file, b"cICP")
    if found is None or len(found) != 4:
        return
    _, transfer, matrix, full = found
    if transfer in _HIGH_RANGE or matrix or full != 1:
        kind = _HIGH_RANGE.get(transfer, "YCbCr" if matrix else "narrow-range video")
        raise InputError(f"its cICP chunk says that it is {kind}, which is not read; convert it to sRGB first")
    image.info["cicp"] = tuple(found)


def note_nclx(image: Image.Image, start: bytes, shown: str) -> None:
    """Note in the `info` of a HEIC or AVIF picture what the beginning of its file says of its colors, if no profile.

    Of the transfer only what no sRGB is: writers of still pictures put the number of BT.709 where they mean sRGB.

    Raises:
        ImageError: the picture is of high dynamic range.
    """
    place = start.find(b"colrnclx")
    if place < 0 or image.info.get("icc_profile") or len(start) < place + 12:
        return
    primaries, transfer = struct.unpack_from(">HH", start, place + 8)
    if transfer in _HIGH_RANGE:
        image.close()
        raise ImageError(
            f"{shown} is of high dynamic range ({_HIGH_RANGE[transfer]}), which is not read; convert it to sRGB first"
        )
    image.info["cicp"] = (primaries, 13 if _CURVES.get(transfer) == _BT709_CURVE else transfer, 0, 1)


def profile_of(image: Image.Image, *, gray: bool) -> bytes | None:
    """The ICC profile by which the values are to be understood; None for sRGB.

    Args:
        image: with the `info` of the file.
        gray: whether the values are.
    """
    primaries, transfer = image.info.get("cicp", (0, 0))[:2]
    if primaries in _PRIMARIES and transfer in _CURVES:
        return _profile(_PRIMARIES[primaries], _CURVES[transfer], gray=gray)
    embedded = image.info.get("icc_profile")
    if isinstance(embedded, (bytes, bytearray)) and embedded:
        return bytes(embedded)
    if "srgb" in image.info:
        return None
    if not gray and "exif" in image.info and _is_adobe_rgb(image):
        return _profile(_ADOBE, (_ADOBE_GAMMA,), gray=False)
    return _by_gamma(image.info.get("gamma"), image.info.get("chromaticity"), gray=gray)


def _is_adobe_rgb(image: Image.Image) -> bool:
    """What cameras write in place of a profile: no sRGB in EXIF, and "R03" (DCF 2.0, 2010)."""
    try:
        exif = image.getexif()
        index = exif.get_ifd(ExifTags.IFD.Interop).get(1)
        return exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == 65535 and index == "R03"
    except METADATA_ERRORS:
        return False


def _by_gamma(gamma: float | None, chromaticity: Sequence[float] | None, *, gray: bool) -> bytes | None:
    if gamma is None and chromaticity is None:
        return None
    plain = gamma is None or abs(gamma / _SRGB_GAMMA - 1) <= _NEAR
    if not plain and not 0.1 <= gamma <= 5:  # type: ignore[operator] # it is plain where there is none
        return None
    curve = _SRGB_CURVE if plain or gamma is None else (1 / gamma,)
    try:
        return _profile(chromaticity or _PRIMARIES[1], curve, gray=gray)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError, struct.error):  # colors that are none
        return None


def _chunk(file: Any, wanted: bytes) -> bytes | None:
    """What a PNG's chunk has, where there is one before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == wanted:
            data: bytes = file.read(min(length, 64))
            return data
        if name in (b"IDAT", b"IEND"):
            return None
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _profile(chromaticity: Sequence[float], curve: Sequence[float], *, gray: bool) -> bytes:
    """An ICC profile (ICC.1:2022) of these colors and this curve: of one number, or of five (section 10.18)."""
    kind = 0 if len(curve) == 1 else 3
    transfer = b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _numbers(curve)
    tags = {b"wtpt": b"XYZ " + bytes(4) + _numbers(_D50)}
    if gray:
        tags[b"kTRC"] = transfer
    else:
        for letter, colorant in zip((b"r", b"g", b"b"), _colorants(chromaticity).T, strict=True):
            tags |= {letter + b"XYZ": b"XYZ " + bytes(4) + _numbers(colorant), letter + b"TRC": transfer}
    directory, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, body in tags.items():
        directory += struct.pack(">4sII", name, start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    space = b"GRAY" if gray else b"RGB "
    fields = (start + len(data), b"agnl", 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    head = struct.pack(">I4sI4s4s4s12x4s28x", *fields) + _numbers(_D50)
    return head.ljust(128, b"\0") + directory + data


def _numbers(values: Sequence[float] | Matrix) -> bytes:
    """As fixed-point numbers of 16 bits before the point and 16 after."""
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _colorants(chromaticity: Sequence[float]) -> Matrix:
    """XYZ of red, green and blue, the columns, adapted to the profiles' white by Bradford's matrix."""
    x, y = np.array(chromaticity, np.float64).reshape(4, 2).T
    if not (y > 0).all():
        raise ValueError("a color without light")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white, colors = xyz[:, 0], xyz[:, 1:]
    colors = colors * np.linalg.solve(colors, white)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adapted: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ colors
    return adapted
