"""What a picture file says of itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from agnlib.image._encoded import Source, held
from agnlib.image._messages import quoted
from agnlib.image.files import DEFAULT_LIMITS, Limits, open_file, read

__all__ = ["Header", "first_of", "header"]


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself.

    Attributes:
        width, height: as stored.
        further: "frames" or "pages" where the file has more than the one that is read, else empty.
    """

    width: int
    height: int
    further: str


def header(path: Source, *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read a picture file's header; nothing is decoded.

    Raises:
        ImageError: as `probe`.
    """
    with open_file(path, limits) as image:
        several = getattr(image, "is_animated", False) and image.format != "MPO"  # whose others are previews and depths
        return Header(*image.size, ("pages" if image.format == "TIFF" else "frames") if several else "")


def first_of(path: Any, name: str, limits: Limits) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels of a file, or of bytes, as 8 bits; warns the caller's caller's caller of further frames."""
    source = held(path, limits, name)
    if further := header(source, limits=limits).further:
        shown = quoted(source)
        named = shown if shown.startswith(f"{name}: ") else f"{name}: {shown}"
        warnings.warn(f"{named} has several {further}; only the first is read", stacklevel=4)
    return read(source, deep=False, limits=limits)
