"""TIFF files that Pillow refuses or gets wrong: decoded here sample by sample, or read for what their values mean.

Seen in Pillow 12.3, besides what `_tiff_samples` says: an uncompressed file is mapped with height and width exchanged
where its orientation is 5 to 8; gray of 12 bits is not scaled, and gray of 16 bits or floats whose 0 is white is not
inverted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from agnlib.image._tiff_samples import (
    BITS,
    FORMAT,
    PHOTOMETRIC,
    PLANAR,
    SAMPLES,
    alpha_place,
    colors,
    described,
    is_premultiplied,
    samples,
    tag,
)

__all__ = ["Tiff", "deep_samples", "has_deep_samples", "levels", "load_tiff"]

Pixels = npt.NDArray[Any]

_YCBCR, _LAB = 6, 8
_HERE = "agnlib"  # the codec of what only we decode
_MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA", (4, False): "CMYK"}
_DEEP_GRAY = {(1, 16): "I;16", (2, 16): "I", (1, 32): "I", (2, 32): "I", (3, 32): "F"}  # by format and bits


class Tiff(TiffImageFile):
    """Pillow's reader, which also opens what Pillow does not know and we do."""

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read(4) == b"MM\0\x2b":
            raise SyntaxError("BigTIFF from the highest byte on")  # Pillow takes its directory for a TIFF's
        self.fp.seek(0)
        super()._open()

    def _setup(self) -> None:
        try:
            super()._setup()
            if tag(self, FORMAT) == (2,) and self.mode == "L":
                raise SyntaxError("Pillow takes signed integers for others")
        except (SyntaxError, LookupError) as error:
            mode = _mode(self)
            if mode is None:
                raise SyntaxError(described(self)) from error
            self._mode = mode
            self.tile = [ImageFile._Tile(_HERE, (0, 0, *self._tile_size), 0, "")]
            if 34675 in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[34675]


def load_tiff(image: TiffImageFile) -> None:
    """Decode the pixels, as `image.load` would if it knew the file's organization."""
    if tag(image, PLANAR)[:1] == (2,) and tag(image, SAMPLES, 1)[0] == 1:
        image.tag_v2[PLANAR] = 1  # one plane is both, and Pillow takes the other for several
        image._setup()
    if _is_ours(image):
        _hold(image)
        return
    if tag(image, PHOTOMETRIC) == (_YCBCR,) and image.tile[0].codec_name == "raw":
        _by_libtiff(image)
    if image._im is None:  # before Pillow does it, which has limits of its own; ours are checked already
        image.im = Image.new(image.mode, image._tile_size).im
    name, image.filename = image.filename, ""  # without a name there is no mapping
    try:
        image.load()
    finally:
        image.filename = name


def _by_libtiff(image: TiffImageFile) -> None:
    """Let libtiff read what is not compressed, which converts to RGB; Pillow itself takes YCbCr for RGB."""
    box = (0, 0, *image._tile_size)
    image.tile = [ImageFile._Tile("libtiff", box, 0, ("RGBX", "raw", False, image.tag_v2.offset))]
    image.use_load_libtiff = True


def has_deep_samples(image: Image.Image) -> bool:
    """Whether a file that is not yet decoded has 16 bits of color, or of gray with alpha, that only we decode."""
    if not isinstance(image, TiffImageFile) or not _is_ours(image):
        return False
    return _mode(image) in ("LA", "RGB", "RGBA") and tag(image, BITS)[0] == 16


def deep_samples(image: TiffImageFile) -> Pixels:
    """What they are, `(H, W, 2 to 4)`; color may be multiplied by alpha.

    Raises:
        OSError, SyntaxError, ValueError: the data are damaged.
    """
    number = colors(image)
    assert number is not None
    pixels = samples(image, number)
    if tag(image, PHOTOMETRIC, 0)[0] == 0:
        pixels[..., :number] = np.iinfo(pixels.dtype).max - pixels[..., :number]
    return pixels


def levels(image: Image.Image) -> Pixels:
    """What the values of a decoded gray picture of more than 8 bits mean: from black to white, all 16 bits."""
    values = _unsigned(np.asarray(image), image)
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") and isinstance(image, TiffImageFile) and tag(image, BITS) == (12,):
        values = (values << 4) | (values >> 8)
    out_of_range = image.mode == "I" and (values.min() < 0 or values.max() > 65535)  # which is said of what is stored
    if tags.get(PHOTOMETRIC) == 0 and not out_of_range:
        values = (1 if image.mode == "F" else 65535) - values
    return values


def _unsigned(values: Pixels, image: Image.Image) -> Pixels:
    """Values from 2**31 on, which Pillow's mode "I" has as negative ones, where the file's have no sign."""
    if image.mode != "I" or not isinstance(image, TiffImageFile) or tag(image, FORMAT, 1)[0] != 1:
        return values
    return values.astype(np.int64) & 0xFFFFFFFF if tag(image, BITS) == (32,) and values.min() < 0 else values


def _is_ours(image: TiffImageFile) -> bool:
    if not image.tile or _mode(image) is None:
        return False
    count, planar = (tag(image, number, 1)[0] for number in (SAMPLES, PLANAR))
    from_high = image.tag_v2.prefix == b"MM" and tag(image, BITS, 1)[0] > 8
    return image.tile[0].codec_name == _HERE or (planar == 2 and count > 1) or (from_high and count == 1)


def _mode(image: TiffImageFile) -> str | None:
    """Pillow's name for what is decoded here; None where nothing can be."""
    number = colors(image)
    if number is None:
        return None
    alpha = alpha_place(image, number) is not None
    if number == 1 and not alpha and tag(image, BITS, 1)[0] > 8:
        return _DEEP_GRAY.get((tag(image, FORMAT, 1)[0], tag(image, BITS, 1)[0]))
    if tag(image, PHOTOMETRIC)[:1] == (_LAB,):
        return "LAB" if not alpha and tag(image, BITS)[0] == 8 else None
    return _MODES.get((number, alpha))


def _hold(image: TiffImageFile) -> None:
    """Decode what is ours, and make it the image's pixels, as Pillow has them: color and alpha in 8 bits."""
    number, mode = colors(image), _mode(image)
    assert number is not None
    assert mode is not None
    if mode in _DEEP_GRAY.values():  # whose meaning `levels` knows
        gray = samples(image, number)[..., 0]
        held = Image.fromarray(np.ascontiguousarray(gray.astype(np.int32) if mode == "I" else gray))
    else:
        pixels = deep_samples(image)
        pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype != np.uint8 else pixels
        if mode == "LAB":
            pixels[..., 1:] ^= 128  # a and b are signed
        bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(pixels.shape[2])]
        multiplied = mode in ("LA", "RGBA") and is_premultiplied(image)
        held = Image.merge(mode[:-1] + "a" if multiplied else mode, bands).convert(mode)
    image._mode, image.im = mode, held.im
    image.tile, image.readonly = [], 0
    image.load_end()
