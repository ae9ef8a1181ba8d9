"""TIFF files that Pillow opens but gets wrong: decoded here plane by plane, or read for what their values mean.

Seen in Pillow 12.3: an uncompressed file is mapped with height and width exchanged where its orientation is 5 to 8;
16-bit planes without compression are unpacked as if they had 8 bits; grey of 12 bits is not scaled, and grey of 16 bits
or floats whose 0 is white is not inverted. Format: TIFF, revision 6.0, 1992.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["has_deep_planes", "is_premultiplied", "levels", "load_tiff", "planes"]

Pixels = npt.NDArray[Any]

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA = 258, 262, 277, 284, 338
_ROWS_PER_STRIP = 278
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, and bytes of each
_COPIED = (256, 257, 259, 266, _ROWS_PER_STRIP, 317, 322, 323)  # size, compression, fill order, predictor, tiles
_PREMULTIPLIED = 1


def load_tiff(image: TiffImageFile) -> None:
    """Decode the pixels, as `image.load` would if it knew the file's organisation."""
    if image.tag_v2.get(_PLANAR) == 2 and image.tag_v2.get(_SAMPLES, 1) == 1:
        image.tag_v2[_PLANAR] = 1  # one plane is both, and Pillow takes the other for several
        image._setup()
    pixels = planes(image)
    if pixels is not None:
        _hold(image, pixels)
        return
    if image._im is None:  # before Pillow does it, which has limits of its own; ours are checked already
        image.im = Image.new(image.mode, image._tile_size).im
    name, image.filename = image.filename, ""  # without a name there is no mapping
    try:
        image.load()
    finally:
        image.filename = name


def has_deep_planes(image: Image.Image) -> bool:
    """Whether a file that is not yet decoded has planes of 16 bits."""
    return isinstance(image, TiffImageFile) and bool(image.tile) and image.mode != "CMYK" and _plane_bits(image) == 16


def planes(image: TiffImageFile) -> Pixels | None:
    """The samples `(H, W, C)`, as they are stored, of a file with planes that Pillow gets wrong; None for any other.

    Raises:
        OSError, SyntaxError, ValueError: the data are damaged.
    """
    if _plane_bits(image) is None:
        return None
    count = len(Image.new(image.mode, (1, 1)).getbands())
    return np.stack([_plane(image, number, count) for number in range(count)], axis=-1)


def is_premultiplied(image: TiffImageFile) -> bool:
    """Whether colour is multiplied by its alpha."""
    return _listed(image.tag_v2.get(_EXTRA, ()))[:1] == (_PREMULTIPLIED,)


def levels(image: Image.Image) -> Pixels:
    """What the values of a decoded grey picture of more than 8 bits mean: from black to white, all 16 bits."""
    values = np.asarray(image)
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") and _listed(tags.get(_BITS, ())) == (12,):
        values = (values << 4) | (values >> 8)
    if tags.get(_PHOTOMETRIC) == 0:
        values = (1 if image.mode == "F" else 65535) - values
    return values


def _plane_bits(image: TiffImageFile) -> int | None:
    """Of each sample, where there are planes of 16 bits, or of 8 that are multiplied by alpha."""
    tags = image.tag_v2
    if tags.get(_PLANAR) != 2 or image.mode not in ("RGB", "RGBA", "CMYK"):
        return None
    bits = set(_listed(tags.get(_BITS, ())))
    return 16 if bits == {16} else 8 if bits == {8} and is_premultiplied(image) else None


def _plane(image: TiffImageFile, number: int, count: int) -> Pixels:
    """One of the planes, by way of a file in memory that holds it alone, as grey."""
    tags, file = image.tag_v2, image.fp
    assert file is not None
    offsets, lengths = (_listed(tags.get(tag, ())) for tag in (_TILES if _TILES[0] in tags else _STRIPS))
    each = len(offsets) // tags.get(_SAMPLES, count)
    offsets, lengths = (some[number * each :][:each] for some in (offsets, lengths))
    if not offsets or len(lengths) != len(offsets) or sum(lengths) > file.seek(0, io.SEEK_END):
        raise OSError("its strips do not fit into the file")
    parts = []
    for offset, length in zip(offsets, lengths, strict=True):
        file.seek(offset)
        parts.append(file.read(length))
    starts = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    place, size = _TILES if _TILES[0] in tags else _STRIPS
    bits = _listed(tags[_BITS])[:1]
    entries: dict[int, Sequence[int]] = {tag: _listed(tags[tag]) for tag in _COPIED if tag in tags}
    entries |= {_BITS: bits, _PHOTOMETRIC: (1,), _SAMPLES: (1,), place: starts, size: [len(part) for part in parts]}
    grey = TiffImageFile(io.BytesIO(_file(image.tag_v2.prefix, entries, b"".join(parts))))
    load_tiff(grey)
    return np.asarray(grey)


def _file(prefix: bytes, entries: Mapping[int, Sequence[int]], data: bytes) -> bytes:
    """A TIFF with the data at its beginning and a directory of whole numbers at its end."""
    order = "<" if prefix == b"II" else ">"
    body = bytearray(data + bytes(len(data) % 2))
    directory = struct.pack(f"{order}H", len(entries))
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        field = packed if len(values) == 1 else struct.pack(f"{order}I", 8 + len(body))
        directory += struct.pack(f"{order}HHI", tag, 4, len(values)) + field
        body += packed if len(values) > 1 else b""
    return prefix + struct.pack(f"{order}HI", 42, 8 + len(body)) + bytes(body) + directory + bytes(4)


def _hold(image: TiffImageFile, pixels: Pixels) -> None:
    """Make these the image's pixels, at 8 bits, as Pillow has them."""
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8).astype(np.uint8)
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(pixels.shape[2])]
    merged = Image.merge("RGBa" if is_premultiplied(image) and image.mode == "RGBA" else image.mode, bands)
    image.im = merged.convert(image.mode).im
    image.tile, image.readonly = [], 0
    image.load_end()


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
