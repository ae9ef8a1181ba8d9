"""JPEG files that lack nothing but their end marker, which Pillow refuses as it does those that lack pixels.

All pixels are there if what follows the data makes no difference to them. Format: ISO/IEC 10918-1.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import ImageChops
from PIL.JpegImagePlugin import JpegImageFile

__all__ = ["load_jpeg"]

_END = b"\xff\xd9"
# bits that cannot all mean the same, whatever the tables: ends of blocks in one of them are values in another
_TAILS = tuple(tail * 64 + _END for tail in (b"\x00", b"\xff\x00", b"\x55", b"\xaa", b"\x1b"))
_START_OF_SCAN = 0xDA
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}


def load_jpeg(image: JpegImageFile) -> None:
    """Decode the pixels; those of a file that only lacks its end marker, too.

    Raises:
        OSError: pixels are missing, as `image.load` says it.
    """
    file = image.fp
    try:
        image.load()
    except OSError:
        if file is None or file.closed or image.format != "JPEG":  # others hold several pictures in one file
            raise
        file.seek(0)
        data = file.read().rstrip(b"\xff")  # half an end marker
        if not _has_all_coefficients(data) or not _load_with_tails(image, data):
            raise
        if image._exclusive_fp:
            file.close()


def _load_with_tails(image: JpegImageFile, data: bytes) -> bool:
    """Decode the data with one end after the other; whether the pixels are the same each time."""
    tiles, first = list(image.tile), None
    for tail in _TAILS:
        image.fp, image.tile, image._im = io.BytesIO(data + tail), list(tiles), None
        try:
            image.load()
        except OSError:
            return False
        first = first or image.copy()
        if ImageChops.difference(first, image).getbbox() is not None:
            return False
    return True


def _has_all_coefficients(data: bytes) -> bool:
    """Whether the scans give every coefficient of every component in full: a progressive file may end between scans."""
    components: set[int] = set()
    given: set[tuple[int, int]] = set()
    for marker, segment in _segments(data):
        if marker in _FRAMES and len(segment) > 5:
            components = set(segment[6::3])
        elif marker == _START_OF_SCAN and segment:
            *chosen, first, last, precision = segment[1::2][: segment[0]] + segment[-3:]
            if precision & 15 == 0:
                given |= {(component, place) for component in chosen for place in range(first, last + 1)}
    return bool(components) and given >= {(component, place) for component in components for place in range(64)}


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and what belongs to each, from the beginning of the file."""
    at = data.find(b"\xff", 2)
    while 0 <= at < len(data) - 3:
        marker, skipped = data[at + 1], 1
        if marker not in _WITHOUT_LENGTH:
            skipped = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, data[at + 4 : at + skipped]
        at = data.find(b"\xff", at + skipped)
