"""What a picture file says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from agnlib.image.files import DEFAULT_LIMITS, Limits, open_file

__all__ = ["Header", "header"]


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


def header(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read a picture file's header; nothing is decoded.

    Raises:
        ImageError: as `probe`.
    """
    with open_file(path, limits) as image:
        several = getattr(image, "is_animated", False) and image.format != "MPO"  # whose others are previews and depths
        return Header(*image.size, ("pages" if image.format == "TIFF" else "frames") if several else "")
