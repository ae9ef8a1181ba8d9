"""The one color of a PNG that is transparent, in the levels that Pillow gives the pixels; it leaves it as stored."""

from __future__ import annotations

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

__all__ = ["fitting_key", "note_transparency"]

_STEPS = {"L;2": 255 // 3, "L;4": 255 // 15}  # of gray of so many bits, in gray of 8


def note_transparency(image: Image.Image) -> None:
    """Correct the `info` of a PNG of 2 or 4 bits that is not yet decoded."""
    if not isinstance(image, PngImageFile) or not image.tile:
        return
    step, key = _STEPS.get(str(image.tile[0].args)), image.info.get("transparency")
    if step and isinstance(key, int) and key * step <= 255:
        image.info["transparency"] = key * step


def fitting_key(image: Image.Image) -> Image.Image:
    """The image, or a copy whose transparent color has 8 bits as its pixels do: of 16, the upper ones."""
    key = image.info.get("transparency")
    if image.mode != "RGB" or not isinstance(key, tuple) or max(key) <= 255:
        return image
    fitting = image.copy()
    fitting.info["transparency"] = tuple(level >> 8 for level in key)
    return fitting
