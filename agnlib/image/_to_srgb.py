"""Any PIL image to 8-bit sRGB: orientation, profile, depth and transparency, for files and pictures in memory alike."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from agnlib.errors import ImageError, InputError
from agnlib.image._color_tags import profile_of
from agnlib.image._decoding import decode
from agnlib.image._icc_16_bits import is_srgb, to_srgb
from agnlib.image._messages import reason
from agnlib.image._orientation import turned_upright
from agnlib.image._png_transparency import fitting_key
from agnlib.image._tiff import levels
from agnlib.image._value_range import must_be_clipped

__all__ = ["DEEP_GRAY", "upright_srgb"]

_ALPHA_MODES = ("LA", "PA", "RGBA")
_GRAY = ("1", "L", "LA", "La")
DEEP_GRAY = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")


def upright_srgb(image: Image.Image, name: str) -> Image.Image:
    """An RGB or RGBA image, upright and in sRGB: the image itself where it is that already.

    `name` is for the error message. What the image's `info` says is no longer of interest.
    """
    decode(image, name)
    try:
        turned = turned_upright(_eight_bits(image) if image.mode in DEEP_GRAY else image)
        if turned.mode in ("La", "RGBa"):  # premultiplied
            turned = turned.convert(turned.mode.upper())
        turned = fitting_key(turned)
        if _has_alpha(turned):  # before all else: Pillow warns of a palette whose alpha would be dropped
            wanted = "LA" if turned.mode in _GRAY else "RGBA"
            turned = turned if turned.mode == wanted else turned.convert(wanted)
        color = _srgb(turned)
        if _has_alpha(turned) and color is not turned:
            color.putalpha(turned.getchannel("A"))
    except InputError as error:
        raise ImageError(f"{name}: {error}") from error
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name} has the mode {image.mode!r}, which cannot be turned into RGB ({reason(error)}); convert it first"
        ) from error
    return color


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _srgb(image: Image.Image) -> Image.Image:
    """The colors as an sRGB image of mode RGB; an image that needs nothing, RGBA too, is given back itself."""
    profile = profile_of(image, gray=image.mode in _GRAY)
    converted = _through_profile(image, profile) if profile else None
    if converted is not None:
        return converted
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit or float grayscale image rounded to 8 bits; Pillow's own conversion clips at 255 instead."""
    values = levels(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        must_be_clipped(low, high, "the image")
        scaled = np.rint(values.clip(0, 1) * 255)
    elif low < 0 or high > 65535:
        raise InputError(f"an integer image must lie in 0..65535, got values from {low} to {high}; rescale it")
    else:
        scaled = (values.astype(np.uint32) + 128) // 257
    gray = Image.fromarray(scaled.astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    gray.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return gray


def _gray_levels(profile: bytes) -> list[int] | None:
    """What each of 256 levels of gray is in sRGB, None if unknown here; LittleCMS' own way is up to ten levels off."""
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(1, 256, 1)
    if not to_srgb(ramp, profile):
        return None
    table: list[int] = np.rint(ramp.flatten() / 257).astype(int).tolist()
    return table


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The image converted from its ICC profile to sRGB, or None where the profile is sRGB, broken or does not fit."""
    try:
        if is_srgb(profile):
            return None
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
        if mode is None or (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and image.mode not in _GRAY):
            return None
        if mode == "L" and (table := _gray_levels(profile)) is not None:
            return image.convert("L").point(table).convert("RGB")
        target = ImageCms.createProfile("sRGB")
        picture = image if image.mode == mode else image.convert(mode)
        return ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return None
