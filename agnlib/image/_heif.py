"""HEIC of more than 8 bits a channel, by pillow-heif, whose Pillow reader gives 8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from agnlib._shared.optional import require

__all__ = ["deep_heic", "is_deep_heic"]


def is_deep_heic(opened: Image.Image) -> bool:
    """Whether it is HEIC that is not yet decoded and has more than 8 bits a channel."""
    return opened.format == "HEIF" and opened.info.get("bit_depth", 8) > 8 and getattr(opened, "fp", None) is not None


def deep_heic(opened: Any) -> npt.NDArray[np.uint16]:
    """All bits `(H, W, 1 to 4)`, upright, with white at 65,535."""
    heif = require("pillow_heif", extra="heif", purpose="HEIC")
    opened.fp.seek(0)
    found = heif.open_heif(opened.fp, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    values: npt.NDArray[Any] = np.asarray(found)
    peak = 2 ** int(found.info["bit_depth"]) - 1
    pixels: npt.NDArray[np.uint16] = np.rint(values.astype(np.float32) * np.float32(65535 / peak)).astype(np.uint16)
    return pixels.reshape(*pixels.shape[:2], -1)
