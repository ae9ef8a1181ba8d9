"""The samples of a TIFF, decoded as bytes whatever they mean, and the channels that they are.

Pillow (seen in 12.3) gets many organizations wrong or refuses them: planes with alpha, with further channels or of 16
bits, further channels of 16 bits, some orders of bytes. So strips and tiles are put into a file in memory that says of
itself that it is gray of 8 bits, as wide as a row has bytes; order, predictor and channels are dealt with here.
Format: TIFF, revision 6.0, 1992; Adobe Photoshop TIFF Technical Note 3, 2005 (predictor of floats).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import COMPRESSION_INFO, TiffImageFile

__all__ = [
    "BITS",
    "FORMAT",
    "PHOTOMETRIC",
    "PLANAR",
    "SAMPLES",
    "alpha_place",
    "colors",
    "described",
    "is_premultiplied",
    "samples",
    "tag",
]

Pixels = npt.NDArray[Any]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES, PLANAR, PREDICTOR, EXTRA, FORMAT = 277, 284, 317, 338, 339
_FILL_ORDER, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 266, 278, 322, 323
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, and bytes of each
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate, PackBits, deflate, LZMA, Zstandard
_PREDICTED = (5, 8, 32946, 34925, 50000)
_MOST_SAMPLES = 8
_WIDER_AT_MOST = 2048  # a tile than the picture: it takes memory
_UNSPECIFIED, _PREMULTIPLIED, _UNMULTIPLIED = 0, 1, 2
_NAMES = {0: "gray", 1: "gray", 2: "RGB", 3: "a palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 32803: "a sensor's colors"}
_FORMATS = {1: "integers", 2: "signed integers", 3: "floats", 6: "complex numbers"}


def tag(image: TiffImageFile, number: int, otherwise: Any = ()) -> tuple[Any, ...]:
    """What the file says, as a tuple."""
    value = image.tag_v2.get(number, otherwise)
    return value if isinstance(value, tuple) else (value,)


def colors(image: TiffImageFile) -> int | None:
    """How many channels are color, of samples that can be decoded here; None of others."""
    count, sizes = _first(image, SAMPLES, 1), set(tag(image, BITS, 1))
    number = {0: 1, 1: 1, 2: 3, 5: 4, 8: 3}.get(_first(image, PHOTOMETRIC, 0))
    if number is None or not number <= count <= _MOST_SAMPLES or len(sizes) != 1:
        return None
    whole, kinds = sizes <= {8, 16, 32}, set(tag(image, FORMAT, 1))
    plain = sizes <= {8, 16} and kinds == {1}
    if number == 1 and alpha_place(image, number) is None:
        plain = count <= 2 and (
            kinds == {1} or (len(kinds) == 1 and sizes != {8})
        )  # more are bands, of which gray is only one
    return number if whole and plain and _first(image, COMPRESSION, 1) in _LOSSLESS else None


def alpha_place(image: TiffImageFile, number: int) -> int | None:
    """Which sample is alpha, after so many of color; where the file does not say what one more is, it is alpha."""
    further = _first(image, SAMPLES, 1) - number
    kinds = tag(image, EXTRA)[: max(0, further)] or ((_UNMULTIPLIED,) if further == 1 else ())
    return next((number + place for place, kind in enumerate(kinds) if kind != _UNSPECIFIED), None)


def is_premultiplied(image: TiffImageFile) -> bool:
    """Whether color is multiplied by its alpha."""
    return next((kind for kind in tag(image, EXTRA) if kind != _UNSPECIFIED), 0) == _PREMULTIPLIED


def described(image: TiffImageFile) -> str:
    """What kind of picture it is, for messages."""
    count, photometric, compression = (
        _first(image, *each) for each in ((SAMPLES, 1), (PHOTOMETRIC, 0), (COMPRESSION, 1))
    )
    name = _NAMES.get(photometric, f"photometric interpretation {photometric}")
    sizes = "/".join(str(size) for size in sorted(set(tag(image, BITS, 1))))
    values = _FORMATS.get(_first(image, FORMAT, 1), "values")
    said = f"{name} in {count} channel{'s' if count > 1 else ''}, {sizes}-bit {values}"
    known = COMPRESSION_INFO.get(compression, str(compression)).removeprefix("tiff_")
    return said if compression == 1 else f"{said}, compression {known}"


def samples(image: TiffImageFile, number: int) -> Pixels:
    """The color, `number` channels, and alpha, if there is one: `(H, W, C)`, as they are stored.

    Raises:
        OSError, SyntaxError, ValueError: the data are damaged.
    """
    alpha = alpha_place(image, number)
    wanted = [*range(number), *([] if alpha is None else [alpha])]
    count = _first(image, SAMPLES, 1)
    if _first(image, PLANAR, 1) == 2:
        return np.stack([_decoded(image, plane, count, 1)[..., 0] for plane in wanted], axis=-1)
    found = _decoded(image, 0, 1, count)
    return found if len(wanted) == count else found[..., wanted]


def _decoded(image: TiffImageFile, plane: int, planes: int, channels: int) -> Pixels:
    """One of the planes, `(H, W, channels)`, in this machine's order of bytes."""
    item = _first(image, BITS, 1) // 8
    gray = TiffImageFile(io.BytesIO(_as_bytes(image, plane, planes, channels * item)))
    gray.load()
    rows = np.asarray(gray)
    height, width = rows.shape[0], rows.shape[1] // (channels * item)  # of whole tiles
    predictor = _first(image, PREDICTOR, 1) if _first(image, COMPRESSION, 1) in _PREDICTED else 1
    order = ">" if predictor == 3 or image.tag_v2.prefix == b"MM" else "<"
    if predictor == 3:
        rows = _without_float_predictor(rows, channels, item, _tile_width(image, width))
    kind = "f" if _first(image, FORMAT, 1) == 3 else "i" if _first(image, FORMAT, 1) == 2 else "u"
    values = rows.reshape(height, width, -1).view(f"{order}{kind}{item}").astype(f"{kind}{item}")
    if predictor == 2:
        for left in range(0, width, _tile_width(image, width)):
            part = values[:, left : left + _tile_width(image, width)]
            np.cumsum(part, axis=1, dtype=part.dtype, out=part)
    return values[:, : _first(image, WIDTH, width)]


def _without_float_predictor(rows: Pixels, channels: int, item: int, tile_width: int) -> Pixels:
    """Bytes from the highest to the lowest of each sample: they were apart, and each the difference to the last."""
    whole = np.empty_like(rows)
    step = tile_width * channels * item
    for left in range(0, rows.shape[1], step):
        part = rows[:, left : left + step]
        summed = np.cumsum(part.reshape(len(part), -1, channels), axis=1, dtype=np.uint8)
        whole[:, left : left + step] = summed.reshape(len(part), item, -1).swapaxes(1, 2).reshape(len(part), -1)
    return whole


def _as_bytes(image: TiffImageFile, plane: int, planes: int, pixel: int) -> bytes:
    """A file that holds the bytes of one plane as levels of gray, so many of them for each pixel."""
    file = image.fp
    assert file is not None
    place, size = _TILES if _TILES[0] in image.tag_v2 else _STRIPS
    offsets, lengths = tag(image, place), tag(image, size)
    each = len(offsets) // planes
    offsets, lengths = (some[plane * each :][:each] for some in (offsets, lengths))
    if not offsets or len(lengths) != len(offsets) or sum(lengths) > file.seek(0, io.SEEK_END):
        raise OSError("its strips do not fit into the file")
    parts = []
    for offset, length in zip(offsets, lengths, strict=True):
        file.seek(offset)
        parts.append(file.read(length))
    starts = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    kept = (HEIGHT, COMPRESSION, _FILL_ORDER, _ROWS_PER_STRIP, _TILE_HEIGHT)
    entries: dict[int, Sequence[int]] = {number: tag(image, number) for number in kept if number in image.tag_v2}
    width = _first(image, WIDTH, 1)
    tile = _tile_width(image, width)
    if not 0 < tile <= width + _WIDER_AT_MOST:
        raise OSError(f"its tiles are {tile} pixels wide, the picture {width}")
    entries |= {WIDTH: [-(-width // tile) * tile * pixel]} | ({_TILE_WIDTH: [tile * pixel]} if place in _TILES else {})
    entries |= {BITS: [8], PHOTOMETRIC: [1], SAMPLES: [1], place: starts, size: [len(part) for part in parts]}
    return _file(image.tag_v2.prefix, entries, b"".join(parts))


def _tile_width(image: TiffImageFile, otherwise: int) -> int:
    return _first(image, _TILE_WIDTH, otherwise) if _TILES[0] in image.tag_v2 else otherwise


def _file(prefix: bytes, entries: Mapping[int, Sequence[int]], data: bytes) -> bytes:
    """A TIFF with the data at its beginning and a directory of whole numbers at its end."""
    order = "<" if prefix == b"II" else ">"
    body = bytearray(data + bytes(len(data) % 2))
    directory = struct.pack(f"{order}H", len(entries))
    for number, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        field = packed if len(values) == 1 else struct.pack(f"{order}I", 8 + len(body))
        directory += struct.pack(f"{order}HHI", number, 4, len(values)) + field
        body += packed if len(values) > 1 else b""
    return prefix + struct.pack(f"{order}HI", 42, 8 + len(body)) + bytes(body) + directory + bytes(4)


def _first(image: TiffImageFile, number: int, otherwise: int) -> int:
    found = tag(image, number, otherwise)
    return found[0] if found and isinstance(found[0], int) else otherwise
