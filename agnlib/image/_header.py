"""What a picture file says of itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from agnlib.image._encoded import Source, held
from agnlib.image._messages import quoted
from agnlib.image.files import DEFAULT_LIMITS, Limits, open_file, read

__all__ = ["Header", "first_of", "has_gain_map", "header"]

_GAIN_MAP = "a gain map, by which some screens show a photo brighter, is left out; the picture itself is read"
_GAIN_MAP_MARKS = (b"hdrgm:Version", b"ns.apple.com/HDRGainMap", b"urn:iso:std:iso:ts:21496")


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself.

    Attributes:
        width, height: as stored.
        further: "frames" or "pages" where the file has more than the one that is read, else empty.
        kind: its format, as Pillow calls it.
    """

    width: int
    height: int
    further: str
    kind: str = ""


def header(path: Source, *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read a picture file's header; nothing is decoded. Warns of a gain map, in the same words for every file.

    Raises:
        ImageError: as `probe`.
    """
    with open_file(path, limits) as image:
        several = getattr(image, "is_animated", False) and image.format != "MPO"  # whose others are previews and depths
        if has_gain_map(image):
            warnings.warn(_GAIN_MAP, stacklevel=3)
        further = ("pages" if image.format == "TIFF" else "frames") if several else ""
        return Header(*image.size, further, str(image.format))


def has_gain_map(image: Image.Image) -> bool:
    """Whether a phone's picture that is not yet decoded says that it has one (ISO 21496-1, Ultra HDR, Apple's)."""
    if image.format == "HEIF":
        return any("gainmap" in kind.lower() for kind in image.info.get("aux", {}))
    return any(mark in text for _, text in getattr(image, "applist", ()) for mark in _GAIN_MAP_MARKS)


def first_of(path: Any, name: str, limits: Limits) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels of a file, or of bytes, as 8 bits; warns the caller's caller's caller of further frames."""
    source = held(path, limits, name)
    if further := header(source, limits=limits).further:
        shown = quoted(source)
        named = shown if shown.startswith(f"{name}: ") else f"{name}: {shown}"
        warnings.warn(f"{named} has several {further}; only the first is read", stacklevel=4)
    return read(source, deep=False, limits=limits)
