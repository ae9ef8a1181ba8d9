"""Encoders that take a picture row by row: PNG, TIFF and JPEG strip by strip, the others through Pillow as a whole.

Pillow encodes only what it holds as a whole, and it holds no color of 16 bits.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, TiffImagePlugin

__all__ = ["Encoder", "JpegEncoder", "PillowEncoder", "PngEncoder", "TiffEncoder"]

Rows = npt.NDArray[Any]

_ROWS = 64  # encoded at a time
_PNG_STRIP_BYTES = 2**19  # filtered at a time
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
        # viewers refuse a profile for color in a gray picture
        if profile and channels >= 3:
            self._chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
        if len(exif):
            self._chunk(b"eXIf", exif.tobytes().removeprefix(_EXIF_HEADER))

    def write(self, rows: Rows) -> None:
        step = max(1, _PNG_STRIP_BYTES // self._above.shape[1])
        for top in range(0, len(rows), step):
            part = np.ascontiguousarray(rows[top : top + step])
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
    """The neighbor nearest to left + above - above_left; section 9.4."""
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
        self._strips = _Strips()
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
        for strip in self._strips.of(rows):
            self._encode(strip)

    def close(self) -> None:
        for strip in self._strips.rest():
            self._encode(strip)
        self._tags.tagtype |= {_STRIP_OFFSETS: 4, 279: 4}
        self._tags[_STRIP_OFFSETS], self._tags[279] = tuple(self._offsets), tuple(self._lengths)
        if self._file.tell() % 2:
            self._file.write(b"\0")
        start = self._file.tell()
        self._file.write(_placed(self._tags.tobytes(start), start, self._offsets))
        self._file.seek(0)
        self._file.write(struct.pack("<2sHI", b"II", 42, start))

    def _encode(self, strip: Rows) -> None:
        differences = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
        data = zlib.compress(differences.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(), 3)
        self._offsets.append(self._file.tell())
        self._lengths.append(len(data))
        self._file.write(data)


def _placed(directory: bytes, start: int, offsets: list[int]) -> bytes:
    """A TIFF directory with the strips where they are; Pillow moves them behind the directory."""
    placed = bytearray(directory)
    (count,) = struct.unpack_from("<H", placed)
    for entry in range(2, 2 + 12 * count, 12):
        tag, _, length, where = struct.unpack_from("<HHII", placed, entry)
        if tag == _STRIP_OFFSETS:
            struct.pack_into(f"<{length}I", placed, entry + 8 if length == 1 else where - start, *offsets)
    return bytes(placed)


class _Strips:
    """Rows that come in any number, as strips of equal height."""

    def __init__(self) -> None:
        self._waiting: list[Rows] = []

    def of(self, rows: Rows) -> Iterator[Rows]:
        """The strips that these rows make whole."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) < _ROWS:
            return
        held = np.concatenate(self._waiting)
        stop = len(held) // _ROWS * _ROWS
        self._waiting = [held[stop:].copy()] if stop < len(held) else []
        for top in range(0, stop, _ROWS):
            yield held[top : top + _ROWS]

    def rest(self) -> Iterator[Rows]:
        """The last strip, which may be lower, if there is one."""
        if self._waiting:
            yield np.concatenate(self._waiting)


class JpegEncoder:
    """Baseline JPEG (ISO/IEC 10918-1) without chroma subsampling: each strip is encoded by Pillow, and they are joined.

    Between strips stands a restart marker, after which a decoder begins anew as if there had been nothing before
    (sections B.1.1.2 and E.1.3), and all strips have the same tables.
    """

    def __init__(
        self, file: BinaryIO, shape: tuple[int, int, int], profile: bytes, exif: Image.Exif, *, quality: int
    ) -> None:
        self._height, self._width, channels = shape
        self._file, self._count, self._strips = file, 0, _Strips()
        self._options: dict[str, Any] = {"quality": quality, "subsampling": 0}
        self._notes: dict[str, Any] = {"icc_profile": profile} if profile and channels >= 3 else {}
        if len(exif):
            self._notes["exif"] = exif.tobytes()

    def write(self, rows: Rows) -> None:
        for strip in self._strips.of(rows):
            self._encode(strip)

    def close(self) -> None:
        for strip in self._strips.rest():
            self._encode(strip)
        self._file.write(b"\xff\xd9")

    def _encode(self, strip: Rows) -> None:
        encoded = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(strip[..., 0] if strip.shape[2] == 1 else strip))
        image.save(encoded, format="JPEG", **self._options, **({} if self._count else self._notes))
        data = encoded.getvalue()
        frame, scan = _jpeg_parts(data)
        if self._count:
            self._file.write(bytes([0xFF, 0xD0 + (self._count - 1) % 8]))
        else:
            head = bytearray(data[:scan])
            struct.pack_into(">H", head, frame + 5, self._height)
            units = -(-self._width // 8) * (_ROWS // 8)  # of 8 x 8 pixels in a strip
            self._file.write(head + struct.pack(">HHH", 0xFFDD, 4, units))
        start = scan if self._count == 0 else scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]
        self._file.write(memoryview(data)[start:-2])
        self._count += 1


def _jpeg_parts(data: bytes) -> tuple[int, int]:
    """Where the segments begin that give the size (SOF0) and that precede the coded pixels (SOS)."""
    frame, at = 0, 2
    while data[at + 1] != 0xDA:
        if data[at + 1] == 0xC0:
            frame = at
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return frame, at


class PillowEncoder:
    """WebP and BMP: the rows are gathered in an image, which Pillow encodes at the end."""

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
