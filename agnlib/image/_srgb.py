"""Any PIL image to 8-bit sRGB: orientation, profile, depth and transparency, for files and for the door alike."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from agnlib.errors import ImageError, InputError
from agnlib.image._profile import is_srgb
from agnlib.image._words import reason

__all__ = ["METADATA_ERRORS", "decode", "orientation", "upright", "upright_srgb"]

METADATA_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
_ALPHA_MODES = ("LA", "PA", "RGBA")
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def upright_srgb(image: Image.Image, name: str) -> Image.Image:
    """An RGB or RGBA image, upright and in sRGB: the image itself where it is that already.

    `name` is for the error message. What the image's `info` says is no longer of interest.
    """
    decode(image, name)
    try:
        turned = _turned(image)
        if turned.mode in ("La", "RGBa"):  # premultiplied
            turned = turned.convert(turned.mode.upper())
        color = _srgb(turned)
        if _has_alpha(turned) and color is not turned:
            color.putalpha(turned.convert("RGBA").getchannel("A"))
    except InputError as error:
        raise ImageError(f"{name}: {error}") from error
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name} has the mode {image.mode!r}, which cannot be turned into RGB ({reason(error)}); convert it first"
        ) from error
    return color


def decode(image: Image.Image, name: str) -> None:
    """Decode the pixels, whatever the data do to the decoder.

    Raises:
        ImageError: the data are damaged.
    """
    try:
        image.load()
    except Exception as error:  # decoders of damaged data raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise ImageError(
            f"{name} cannot be decoded ({reason(error)}); it is damaged or incomplete, get it again from its source"
        ) from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except METADATA_ERRORS:  # the pixels are already decoded: only the metadata can be at fault
        return 1
    return found if found in range(1, 9) else 1


def upright(image: Image.Image) -> Image.Image:
    """A copy with the EXIF orientation applied and its tag gone; an unreadable EXIF block counts as none."""
    try:
        return ImageOps.exif_transpose(image)
    except METADATA_ERRORS:
        return image.copy()


def _turned(image: Image.Image) -> Image.Image:
    return image if orientation(image) == 1 else upright(image)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or ("transparency" in image.info and image.mode not in _SIXTEEN_BITS)


def _srgb(image: Image.Image) -> Image.Image:
    """The colours as an sRGB image of mode RGB; an image that needs nothing, RGBA too, is given back itself."""
    profile = image.info.get("icc_profile")
    if image.mode in _SIXTEEN_BITS or image.mode == "F":
        image = _eight_bits(image)
    converted = _through_profile(image, profile) if profile else None
    if converted is not None:
        return converted
    plain = image.mode == "RGBA" or (image.mode == "RGB" and "transparency" not in image.info)
    return image if plain else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit or float greyscale image rounded to 8 bits; Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):
            raise InputError(f"a float image must lie in [0, 1], got values from {low:g} to {high:g}; rescale it")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if low < 0 or high > 65535:
        raise InputError(f"an integer image must lie in 0..65535, got values from {low} to {high}; rescale it")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The image converted from its ICC profile to sRGB, or None where the profile is sRGB, broken or does not fit."""
    try:
        if is_srgb(profile):
            return None
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
        is_grey = image.mode in ("1", "L", "LA", "La")
        if mode is None or (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and not is_grey):
            return None
        target = ImageCms.createProfile("sRGB")
        picture = image if image.mode == mode else image.convert(mode)
        return ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return None
