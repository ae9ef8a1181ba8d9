"""Encoders that take a picture row by row: PNG and TIFF strip by strip at 8 and 16 bits, the others through Pillow.

Pillow encodes only what it holds as a whole, and it holds no colour of 16 bits.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, TiffImagePlugin

__all__ = ["Encoder", "PillowEncoder", "PngEncoder", "TiffEncoder"]

Rows = npt.NDArray[Any]

_ROWS = 64  # encoded at a time
_PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_STRIP_OFFSETS = 273
_EXIF_HEADER = b"Exif\0\0"


class Encoder(Protocol):
    """Takes rows `(h, W, C)`, uint8 or uint16, from the top, and then the end."""

    def write(self, rows: Rows) -> None: ...

    def close(self) -> None: ...


class PngEncoder:
    """PNG (ISO/IEC 15948), not interlaced; each row is filtered by what leaves the smallest differences."""

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int, int], kind: np.dtype[Any], profile: bytes, exif: Image.Exif
    ) -> None:
        height, width, channels = shape
        self._file = file
        self._pixel = channels * kind.itemsize
        self._above: Rows = np.zeros((1, width * self._pixel), np.uint8)
        self._compressor = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
        file.write(b"\x89PNG\r\n\x1a\n")
        bits, color = 8 * kind.itemsize, _PNG_COLOR_TYPES[channels]
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
        # viewers refuse a profile for colour in a grey picture
        if profile and channels >= 3:
            self._chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
        if len(exif):
            self._chunk(b"eXIf", exif.tobytes().removeprefix(_EXIF_HEADER))

    def write(self, rows: Rows) -> None:
        for top in range(0, len(rows), _ROWS):
            part = np.ascontiguousarray(rows[top : top + _ROWS])
            part = part.astype(part.dtype.newbyteorder(">"), copy=False)
            lines = part.view(np.uint8).reshape(len(part), -1)
            self._data(self._compressor.compress(self._filtered(lines)))

    def close(self) -> None:
        self._data(self._compressor.flush())
        self._chunk(b"IEND", b"")

    def _filtered(self, lines: Rows) -> bytes:
        above = np.concatenate([self._above, lines[:-1]])
        self._above = lines[-1:].copy()
        left, above_left = (_shifted(each, self._pixel) for each in (lines, above))
        guesses = (left, above, _paeth(left, above, above_left))
        filtered = np.stack([lines - guess for guess in guesses], axis=1)  # uint8 wraps, as the format wants it
        costs = np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
        best = costs.argmin(axis=1)
        numbers = np.array([1, 2, 4], np.uint8)[best]
        chosen = filtered[np.arange(len(lines)), best]
        return np.concatenate([numbers[:, None], chosen], axis=1).tobytes()

    def _data(self, data: bytes) -> None:
        if data:
            self._chunk(b"IDAT", data)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
        )


def _shifted(lines: Rows, by: int) -> Rows:
    shifted = np.zeros_like(lines)
    shifted[:, by:] = lines[:, :-by]
    return shifted


def _paeth(left: Rows, above: Rows, above_left: Rows) -> Rows:
    """The neighbour nearest to left + above - above_left; section 9.4."""
    a, b, c = (each.astype(np.int16) for each in (left, above, above_left))
    to_left, to_above = np.abs(b - c), np.abs(a - c)
    to_corner = np.abs(a + b - 2 * c)
    either = np.where(to_above <= to_corner, above, above_left)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, either)


class TiffEncoder:
    """TIFF 6.0 in deflated strips with horizontal differences; Pillow writes the directory."""

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int, int], kind: np.dtype[Any], profile: bytes, exif: Image.Exif
    ) -> None:
        height, width, channels = shape
        self._file = file
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._waiting: list[Rows] = []
        tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        fixed = {256: width, 257: height, 258: (8 * kind.itemsize,) * channels, 259: 8, 262: 2 if channels >= 3 else 1}
        more = {277: channels, 278: _ROWS, 284: 1, 317: 2, 339: (1,) * channels}
        for tag, value in (fixed | more).items():
            tags[tag] = value
        if channels == 4:
            tags[338] = 2  # alpha, not multiplied in
        if profile and channels >= 3:
            tags.tagtype[34675] = 7
            tags[34675] = profile
        for tag, value in exif.items():
            tags[tag] = value
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if values := exif.get_ifd(directory):
                tags[directory] = values
        self._tags = tags
        file.write(bytes(8))  # the header, once it is known where the directory is

    def write(self, rows: Rows) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS:
            self._flush(everything=False)

    def close(self) -> None:
        self._flush(everything=True)
        self._tags.tagtype |= {_STRIP_OFFSETS: 4, 279: 4}
        self._tags[_STRIP_OFFSETS], self._tags[279] = tuple(self._offsets), tuple(self._lengths)
        if self._file.tell() % 2:
            self._file.write(b"\0")
        start = self._file.tell()
        self._file.write(_placed(self._tags.tobytes(start), start, self._offsets))
        self._file.seek(0)
        self._file.write(struct.pack("<2sHI", b"II", 42, start))

    def _flush(self, *, everything: bool) -> None:
        rows = np.concatenate(self._waiting) if self._waiting else np.empty(0)
        stop = len(rows) if everything else len(rows) // _ROWS * _ROWS
        for top in range(0, stop, _ROWS):
            strip = rows[top : min(top + _ROWS, stop)]
            differences = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
            data = zlib.compress(differences.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(), 3)
            self._offsets.append(self._file.tell())
            self._lengths.append(len(data))
            self._file.write(data)
        self._waiting = [rows[stop:].copy()] if stop < len(rows) else []


def _placed(directory: bytes, start: int, offsets: list[int]) -> bytes:
    """A TIFF directory with the strips where they are; Pillow moves them behind the directory."""
    placed = bytearray(directory)
    (count,) = struct.unpack_from("<H", placed)
    for entry in range(2, 2 + 12 * count, 12):
        tag, _, length, where = struct.unpack_from("<HHII", placed, entry)
        if tag == _STRIP_OFFSETS:
            struct.pack_into(f"<{length}I", placed, entry + 8 if length == 1 else where - start, *offsets)
    return bytes(placed)


class PillowEncoder:
    """JPEG, WebP and BMP: the rows are gathered in an image, which Pillow encodes at the end."""

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, int, int],
        format_name: str,
        profile: bytes,
        exif: Image.Exif,
        **options: Any,
    ) -> None:
        height, width, channels = shape
        self._file, self._format = file, format_name
        self._options = options | ({"icc_profile": profile} if profile and channels >= 3 else {})
        if len(exif):
            self._options["exif"] = exif.tobytes()
        self._image = Image.new({1: "L", 3: "RGB", 4: "RGBA"}[channels], (width, height))
        self._top = 0

    def write(self, rows: Rows) -> None:
        for top in range(0, len(rows), _ROWS):
            part = np.ascontiguousarray(rows[top : top + _ROWS])
            self._image.paste(Image.fromarray(part[..., 0] if part.shape[2] == 1 else part), (0, self._top))
            self._top += len(part)

    def close(self) -> None:
        self._image.save(self._file, format=self._format, **self._options)
