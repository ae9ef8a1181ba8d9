"""Pictures of 16 bits a channel, which Pillow decodes but cannot hold in color.

Pillow's unpackers of 16-bit color keep one byte of each sample: ";16B" the first, ";16L" the second. So the pixels are
decoded twice, once for the upper bytes and once for the lower.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from agnlib.errors import InputError
from agnlib.image._color_tags import profile_of
from agnlib.image._decoding import decode, decoded
from agnlib.image._heif import deep_heic, is_deep_heic
from agnlib.image._icc_16_bits import to_srgb
from agnlib.image._orientation import orientation
from agnlib.image._tiff import deep_samples, has_deep_samples, levels
from agnlib.image._tiff_samples import is_premultiplied
from agnlib.image._to_srgb import DEEP_GRAY, upright_srgb
from agnlib.image._value_range import must_be_clipped

__all__ = ["DEEP_GRAY", "array_of", "check_pixels", "deep_pixels", "eight_bits", "is_deep", "needs_all_bits", "shallow"]

Pixels = npt.NDArray[np.uint16]

_OTHER_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
_ROWS = 256  # converted at a time, so that a large picture needs little besides itself
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def is_deep(opened: Image.Image) -> bool:
    """Whether a picture that is not yet decoded has more than 8 bits a channel and `deep_pixels` may know it."""
    known = has_deep_samples(opened) or is_deep_heic(opened) or _sixteen_bit_mode(opened) is not None
    return known or opened.mode in DEEP_GRAY


def needs_all_bits(opened: Image.Image) -> bool:
    """Whether 8 bits a channel do not tell which pixels are transparent: those of one color of 16 bits."""
    return isinstance(opened.info.get("transparency"), tuple) and _sixteen_bit_mode(opened) is not None


def shallow(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """16 bits rounded to 8."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def deep_pixels(opened: Image.Image, reopen: Callable[[], Image.Image], name: str) -> Pixels | None:
    """The pixels `(H, W, 1 to 4)` of a 16-bit picture, upright and in sRGB; None where 8 bits hold all that there is.

    Also None, so that the 8-bit way takes over: CMYK, and a profile that is not made of a matrix and curves.

    Args:
        opened: the picture, not yet decoded.
        reopen: opens it again.
        name: for error messages.

    Raises:
        ImageError: the data are damaged.
    """
    if opened.mode in DEEP_GRAY:
        decode(opened, name)
        pixels = _gray(opened)
    elif has_deep_samples(opened):
        pixels = _stacked(opened, name)
    elif is_deep_heic(opened):
        pixels = decoded(lambda: deep_heic(opened), opened, name)
    else:
        pixels = _color(opened, reopen, name)
    if pixels is None:
        return None
    pixels = _with_transparency(pixels, opened)
    profile = profile_of(opened, gray=pixels.shape[2] < 3)
    if profile and not to_srgb(pixels, profile):
        return None
    return np.ascontiguousarray(_TURNS[orientation(opened)](pixels))


def _gray(image: Image.Image) -> Pixels | None:
    values = levels(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        with suppress(InputError):
            must_be_clipped(low, high, "the image")
            return _as_pixels(np.rint(values.clip(0, 1) * 65535))
    elif low >= 0 and high <= 65535:
        return _as_pixels(values)
    return None  # the 8-bit way says what is wrong


def _as_pixels(values: npt.NDArray[Any]) -> Pixels:
    return values.astype(np.uint16)[..., None]


def _stacked(opened: Image.Image, name: str) -> Pixels:
    assert isinstance(opened, TiffImageFile)
    pixels = decoded(lambda: deep_samples(opened), opened, name)
    return _straight(pixels) if pixels.shape[2] in (2, 4) and is_premultiplied(opened) else pixels


def _color(opened: Image.Image, reopen: Callable[[], Image.Image], name: str) -> Pixels | None:
    mode = _sixteen_bit_mode(opened)
    if mode is None:
        return None
    if mode.startswith("LA"):  # four bytes a pixel: as good as any four channels
        pixels = _empty(opened, 2)
        _decoded(opened, "RGBA", "RGBA", pixels.view(np.uint8), name)
        if sys.byteorder == "little":
            pixels.byteswap(inplace=True)
        return pixels
    letters, ending = mode.split(";")[0], ";" + mode.split(";")[1]
    plain = letters.upper()  # "RGBa" is multiplied by its alpha, which is undone below, at full depth
    kind = plain if plain == "RGBX" else plain[:4]
    pixels = _empty(opened, len(kind))
    lower, upper = (0, 1) if sys.byteorder == "little" else (1, 0)
    with reopen() as again:  # first, so that what Pillow holds of it is gone when it decodes the other
        _decoded(again, kind, plain + _OTHER_BYTE[ending], pixels.view(np.uint8)[..., lower::2], name)
    _decoded(opened, kind, plain + ending, pixels.view(np.uint8)[..., upper::2], name)
    if plain == "RGBX":
        return pixels[..., :3]
    return _straight(pixels) if letters == "RGBa" else pixels


def _empty(image: Image.Image, channels: int) -> Pixels:
    return np.empty((image.height, image.width, channels), np.uint16)


def _sixteen_bit_mode(image: Image.Image) -> str | None:
    """How the file has its pixels, such as "RGB;16B"; None where that is not 16-bit color."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return None
    codec, args = image.tile[0].codec_name, image.tile[0].args
    mode = args if isinstance(args, str) else args[0] if isinstance(args, tuple) and args else None
    if not isinstance(mode, str) or codec not in ("zip", "raw", "libtiff"):
        return None
    return mode if mode[:-4] in ("RGB", "RGBA", "RGBX", "RGBa", "LA") and mode[-4:] in _OTHER_BYTE else None


def _decoded(image: Image.Image, mode: str, raw_mode: str, out: npt.NDArray[np.uint8], name: str) -> None:
    """Write the bytes that Pillow's unpacker for `raw_mode` gives."""
    assert isinstance(image, ImageFile.ImageFile)
    image._mode = mode
    image.tile = [tile._replace(args=_with_mode(tile.args, raw_mode)) for tile in image.tile]
    decode(image, name)
    _copy(image, out)


def _with_mode(args: Any, raw_mode: str) -> Any:
    return raw_mode if isinstance(args, str) else (raw_mode, *args[1:])


def eight_bits(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    """The pixels `(H, W, 3 or 4)` of a PIL image, upright and in sRGB.

    One that was opened and not yet decoded is asked for all its bits where that tells what is transparent.

    Raises:
        ImageError: the data are damaged, or the mode cannot be turned into RGB.
        InputError: it has no pixels.
    """
    check_pixels(image, name)
    if needs_all_bits(image) and isinstance(image, PngImageFile) and image.fp is not None and not image.fp.closed:
        place = image.fp.tell()
        image.fp.seek(0)
        data = image.fp.read()
        image.fp.seek(place)
        deep = deep_pixels(PngImageFile(io.BytesIO(data)), lambda: PngImageFile(io.BytesIO(data)), name)
        if deep is not None:
            return shallow(deep)
    return array_of(upright_srgb(image, name))


def check_pixels(image: Image.Image, name: str) -> None:
    """Raise `InputError` for a PIL image without pixels."""
    if 0 in image.size:
        raise InputError(f"{name}: expected at least one pixel, got {image.width} x {image.height}")


def array_of(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels `(H, W, C)` of a decoded image."""
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    _copy(image, pixels)
    return pixels


def _copy(image: Image.Image, out: npt.NDArray[np.uint8]) -> None:
    """In strips: all at once Pillow makes two copies on the way. By paste, since crop obeys Pillow's own limit."""
    width, height = image.size
    for top in range(0, height, _ROWS):
        bottom = min(height, top + _ROWS)
        strip = Image.new(image.mode, (width, bottom - top))
        strip.paste(image, (0, -top))
        out[top:bottom] = np.asarray(strip).reshape(bottom - top, width, -1)


def _straight(pixels: Pixels) -> Pixels:
    """Color that was multiplied by its alpha, divided by it."""
    for top in range(0, len(pixels), _ROWS):
        strip = pixels[top : top + _ROWS]
        alpha = strip[..., -1:].astype(np.float32)
        color = strip[..., :-1] * (65535 / np.maximum(alpha, 1))
        strip[..., :-1] = np.rint(np.minimum(color, 65535)).astype(np.uint16)
    return pixels


def _with_transparency(pixels: Pixels, image: Image.Image) -> Pixels:
    """The pixels with alpha, where the file names one color that is transparent."""
    key: Any = image.info.get("transparency")
    wanted = pixels.shape[2] in (1, 3) and isinstance(key, (int, tuple))
    if not wanted or np.size(key) != pixels.shape[2]:
        return pixels
    visible = (pixels != np.array(key)).any(axis=2, keepdims=True)
    return np.concatenate([pixels, visible.astype(np.uint16) * 65535], axis=2)
