"""Picture files, PIL images and arrays to tensors and back: the only room that knows image formats.

`load` and `save` deal with files and need no torch. `Picture` is the door between whatever a user holds and the float
`(B, 3, H, W)` tensors in [-1, 1] that the models speak.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from agnlib._atomic import write_bytes
from agnlib.errors import ImageError, InputError

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = [
    "SUFFIXES",
    "Limits",
    "Picture",
    "PictureLike",
    "check_output",
    "load",
    "probe",
    "save",
    "shrink",
    "write_file",
]

PictureLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any] | Tensor"

_READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_READABLE_TEXT = "JPEG, PNG, WebP, TIFF or BMP"
_FORMAT_OF = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
SUFFIXES = tuple(_FORMAT_OF)
# Modes that a format stores as they are; every other mode is first turned into RGB or RGBA.
_MODES_OF = {
    "JPEG": ("L", "RGB"),
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "I;16"),
    "BMP": ("L", "RGB"),
}
_METADATA_ERRORS = (
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


@dataclass(frozen=True)
class Limits:
    """What a picture file may claim before it is decoded.

    Args:
        pixels: width times height; the default, 64 Mi, lets a 64-megapixel camera through.
        side: pixels along the longer side.
        bytes: size of the file.

    Example:
        >>> Limits(pixels=1_000_000).side
        16384
    """

    pixels: int = 64 * 2**20
    side: int = 16_384
    bytes: int = 256 * 2**20


DEFAULT_LIMITS = Limits()


# Reading


def probe(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a picture file as stored, from its header alone: nothing is decoded.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, or larger than `limits`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("RGB", (4, 3)), f"{folder}/a.png")
        ...     probe(f"{folder}/a.png")
        (4, 3)
    """
    with _open(path, limits) as image:
        width, height = image.size
    return width, height


def load(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read a picture file as 8-bit sRGB: mode RGB, or RGBA where the file has transparency.

    EXIF orientation is applied to the pixels, an ICC profile is converted to sRGB, and no metadata is kept. Of a file
    with several frames the first is read. A colour profile that cannot be understood is ignored.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.
        limits: checked before decoding.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, damaged, or larger than `limits`; one line that
            names the file and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("L", (4, 3), 128), f"{folder}/grey.png")
        ...     load(f"{folder}/grey.png").mode
        'RGB'
    """
    with _open(path, limits) as image:
        return _upright_srgb(image, _shown(path))


def _shown(path: str | os.PathLike[str]) -> str:
    """The path for a message: quoted, and on one line whatever characters it has."""
    return repr(os.fspath(path))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_file(path: str | os.PathLike[str], limits: Limits) -> None:
    """A regular, non-empty file of acceptable length, or an `ImageError`."""
    shown = _shown(path)
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise ImageError(f"{shown} does not exist; check the name and the folder") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown} cannot be reached ({_reason(error)}); check the name and the permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{shown} is a folder, expected a picture file; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{shown} is not a regular file; copy the picture to a file first")
    if status.st_size == 0:
        raise ImageError(f"{shown} is empty (0 bytes); get the picture again from its source")
    if status.st_size > limits.bytes:
        raise ImageError(
            f"{shown} has {status.st_size:,} bytes, more than the limit of {limits.bytes:,}; reduce the picture first"
        )


def _open(path: str | os.PathLike[str], limits: Limits) -> Image.Image:
    """The file with its header read and checked, its pixels not yet decoded."""
    _check_file(path, limits)
    shown = _shown(path)
    try:
        image = Image.open(path, formats=_READABLE)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{shown} claims too many pixels ({_reason(error)}); reduce the picture first") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{shown} is not a picture that can be read; expected {_READABLE_TEXT}, convert it to one of these"
        ) from error
    except Exception as error:  # a hostile header makes Pillow's readers fail in many ways, not only with OSError
        closed = isinstance(error, OSError) and error.errno is not None  # the system says no, not the decoder
        remedy = "check its permissions" if closed else "it is damaged, get it again from its source"
        raise ImageError(f"{shown} cannot be read ({_reason(error)}); {remedy}") from error
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        image.close()
        raise ImageError(
            f"{shown} is {width} x {height} pixels, more than the limit of {limits.pixels:,} pixels and "
            f"{limits.side:,} a side; reduce the picture first"
        )
    return image


# Any mode to 8-bit sRGB


def _upright_srgb(image: Image.Image, name: str) -> Image.Image:
    """A fresh RGB or RGBA image, upright, in sRGB, without metadata; `name` is for the error message."""
    try:
        image.load()
    except Exception as error:  # decoders of damaged data raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise ImageError(
            f"{name} cannot be decoded ({_reason(error)}); it is damaged or incomplete, get it again from its source"
        ) from error
    try:
        upright = _upright(image)
        if upright.mode in ("La", "RGBa"):  # premultiplied
            upright = upright.convert(upright.mode.upper())
        color = _srgb(upright)
        if _has_alpha(upright):
            color.putalpha(upright.convert("RGBA").getchannel("A"))
    except InputError as error:
        raise ImageError(f"{name}: {error}") from error
    except (ValueError, OSError) as error:
        raise ImageError(
            f"{name} has the mode {image.mode!r}, which cannot be turned into RGB ({_reason(error)}); convert it first"
        ) from error
    color.info = {}
    return color


def _upright(image: Image.Image) -> Image.Image:
    """A copy with the EXIF orientation applied and its tag gone; an unreadable EXIF block counts as none."""
    try:
        return ImageOps.exif_transpose(image)
    except _METADATA_ERRORS:  # the pixels are already decoded: only the metadata can be at fault
        return image.copy()


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or ("transparency" in image.info and image.mode not in _SIXTEEN_BITS)


def _srgb(image: Image.Image) -> Image.Image:
    """The colours as a fresh sRGB image of mode RGB."""
    profile = image.info.get("icc_profile")
    if image.mode in _SIXTEEN_BITS or image.mode == "F":
        image = _eight_bits(image)
    converted = _through_profile(image, profile) if profile else None
    if converted is not None:
        return converted
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


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
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None  # converting would only add rounding
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
        is_grey = image.mode in ("1", "L", "LA", "La")
        if mode is None or (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and not is_grey):
            return None
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image.convert(mode), source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return None


# Writing


def check_output(path: str | os.PathLike[str]) -> None:
    """Say beforehand what would keep `save` from writing to `path`.

    Raises:
        ImageError: unknown suffix, a folder of that name, or a parent folder that is missing, no folder or read-only.

    Example:
        >>> check_output("picture.gif")
        Traceback (most recent call last):
        ...
        agnlib.errors.ImageError: 'picture.gif' has the suffix '.gif', which cannot be written; \
use .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp
    """
    _format_of(Path(path))
    _check_place(Path(path))


def save(image: Image.Image, path: str | os.PathLike[str], *, quality: int = 95) -> None:
    """Write an image in the format of the path's suffix, whole or not at all.

    The pixels are written upright and in sRGB, without metadata. JPEG is written without chroma subsampling. JPEG and
    BMP hold no transparency: there the picture is laid on white.

    Args:
        image: any mode; modes that the format cannot hold are converted to RGB or RGBA.
        path: .jpg, .jpeg, .png, .webp, .tif, .tiff or .bmp; an existing file is replaced.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        InputError: `quality` is outside 1 to 100.
        ImageError: unknown suffix, or the file cannot be written there; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Image.new("RGBA", (4, 3)), f"{folder}/a.webp")
        ...     os.listdir(folder)
        ['a.webp']
    """
    if not 1 <= quality <= 100:
        raise InputError(f"quality must be from 1 to 100, got {quality}")
    target = Path(path)
    format_name = _format_of(target)
    prepared = _prepared(image, format_name, _shown(path))
    per_format: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_lzw"},
    }
    encoded = io.BytesIO()
    try:
        prepared.save(encoded, format=format_name, **per_format.get(format_name, {}))
    except Exception as error:  # encoders raise OSError, ValueError or struct.error
        raise ImageError(
            f"{_shown(path)} cannot be encoded as {format_name} ({_reason(error)}); choose another format"
        ) from error
    write_file(target, encoded.getvalue())


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ImageError: the folder is missing or cannot be written to; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/note", b"whole")
        ...     Path(folder, "note").read_bytes()
        b'whole'
    """
    _check_place(Path(path))
    try:
        write_bytes(Path(path), data)
    except OSError as error:
        raise ImageError(
            f"{_shown(path)} cannot be written ({_reason(error)}); check space and permissions or choose another place"
        ) from error


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _FORMAT_OF:
        *most, last = _FORMAT_OF
        got = f"the suffix {path.suffix!r}" if suffix else "no suffix"
        note = ", which cannot be written" if suffix else ""
        raise ImageError(f"{_shown(path)} has {got}{note}; use {', '.join(most)} or {last}")
    return _FORMAT_OF[suffix]


def _check_place(target: Path) -> None:
    folder, shown = target.parent, _shown(target)
    try:
        if not folder.exists():
            raise ImageError(f"{shown} cannot be written: the folder {_shown(folder)} does not exist; create it first")
        if not folder.is_dir():
            raise ImageError(f"{shown} cannot be written: {_shown(folder)} is not a folder; choose another place")
        if target.is_dir():
            raise ImageError(f"{shown} cannot be written: it is a folder; give a file name")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ImageError(
                f"{shown} cannot be written: the folder {_shown(folder)} is read-only; choose another place"
            )
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{shown} cannot be written ({_reason(error)}); choose another place") from error


def _prepared(image: Image.Image, format_name: str, name: str) -> Image.Image:
    """The image in a mode that the format holds, without metadata that would be written along."""
    if image.mode in _MODES_OF[format_name] and not {"icc_profile", "transparency", "exif"} & image.info.keys():
        prepared = image.copy()
        prepared.info = {}
    else:
        prepared = _upright_srgb(image, name)
    if prepared.mode == "RGBA" and "RGBA" not in _MODES_OF[format_name]:
        white = Image.new("RGBA", prepared.size, "white")
        prepared = Image.alpha_composite(white, prepared).convert("RGB")
    return prepared


# The door


@dataclass(frozen=True)
class _Container:
    """What a picture came in, to give the result back in the same."""

    kind: Literal["pil", "array", "tensor"]
    array_dtype: np.dtype[Any] | None = None
    tensor_dtype: dtype | None = None
    device: device | None = None
    batched: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture at the door: its pixels for the models, and what is needed to give a result back in kind.

    `Picture.take` accepts

    - a path: comes back as a PIL image;
    - a PIL image of any mode: comes back as 8-bit RGB, or RGBA where it has transparency;
    - a numpy array `(H, W)` or `(H, W, C)` and
    - a torch tensor `(C, H, W)` or `(B, C, H, W)`, uint8, uint16 or float in [0, 1], C = 1 (grey), 2 (grey, alpha),
      3 (RGB) or 4 (RGB, alpha): come back with the same type, dtype, height, width, device and alpha.

    A result has colours, so grey input comes back with three channels (and alpha, if it had one). Transparency is kept;
    the colour hidden under fully transparent pixels is replaced by a smooth continuation of the visible colour, so that
    it can neither leak into its surroundings nor come back.

    Attributes:
        pixels: float32 `(B, 3, H, W)` in [-1, 1].
        alpha: float `(B, 1, H, W)` in [0, 1], or None.

    Example:
        >>> picture = Picture.take(np.full((2, 5, 3), 255, dtype=np.uint8))
        >>> picture.pixels.shape, picture.pixels.max().item()
        (torch.Size([1, 3, 2, 5]), 1.0)
        >>> picture.restore(-picture.pixels)[0, 0]
        array([0, 0, 0], dtype=uint8)
    """

    pixels: Tensor
    alpha: Tensor | None
    _container: _Container
    _original: Any

    @classmethod
    def take(cls, value: PictureLike, name: str = "picture") -> Picture:
        """Turn what the user gave into a `Picture`.

        Args:
            value: see the class.
            name: what error messages call it.

        Raises:
            ImageError: a file cannot be read, or a PIL image cannot be turned into RGB.
            InputError: unknown type, dtype or shape; no pixels; floats outside [0, 1]; NaN.

        Example:
            >>> Picture.take(np.full((4, 4), 2.0))
            Traceback (most recent call last):
            ...
            agnlib.errors.InputError: picture: a float picture must lie in [0, 1], got values from 2 to 2; \
rescale it (x / 255, or (x + 1) / 2) or clip it
        """
        import torch

        if isinstance(value, (str, os.PathLike)):
            return _from_pil(load(value), _shown(value))
        if isinstance(value, Image.Image):
            return _from_pil(value, name)
        if isinstance(value, np.ndarray):
            return _from_array(value, name)
        if isinstance(value, torch.Tensor):
            return _from_tensor(value, name)
        raise InputError(
            f"{name}: expected a path, a PIL image, a numpy array or a torch tensor, got {type(value).__name__}"
        )

    def reduced(self, *, longer: int | None = None, shorter: int | None = None) -> Picture:
        """The picture scaled down until its longer or shorter side has at most so many pixels; never scaled up.

        Raises:
            InputError: not exactly one of `longer` and `shorter`, or one below 1.

        Example:
            >>> Picture.take(np.zeros((30, 60, 3), dtype=np.uint8)).reduced(longer=20).pixels.shape
            torch.Size([1, 3, 10, 20])
        """
        pixels = shrink(self.pixels, longer=longer, shorter=shorter)
        if pixels is self.pixels:
            return self
        alpha = None if self.alpha is None else _resized(self.alpha, pixels.shape[-2:]).clamp_(0, 1)
        return Picture(pixels, alpha, self._container, None)

    def unchanged(self) -> Any:
        """A copy of the input, bit for bit; only an EXIF orientation is applied. After `reduced`, the reduced picture.

        Example:
            >>> Picture.take(np.zeros((2, 2), dtype=np.float64)).unchanged().dtype
            dtype('float64')
        """
        import torch

        original = self._original
        if original is None:
            return self.restore(self.pixels)
        if isinstance(original, Image.Image):
            return _upright(original)
        return original.detach().clone() if isinstance(original, torch.Tensor) else original.copy()

    def restore(self, pixels: Tensor) -> Any:
        """Give `pixels` back in what this picture came in.

        Args:
            pixels: float `(B, 3, H, W)` in [-1, 1], of this picture's shape; values outside are clamped.

        Raises:
            InputError: `pixels` has another shape.

        Example:
            >>> picture = Picture.take(Image.new("RGB", (5, 4), "red"))
            >>> picture.restore(picture.pixels).getpixel((0, 0))
            (255, 0, 0)
        """
        import torch

        if pixels.shape != self.pixels.shape:
            raise InputError(f"restore needs pixels of shape {_dims(self.pixels)}, got {_dims(pixels)}")
        values = pixels.detach().to(self.pixels.device, torch.float32).add(1).mul_(0.5).clamp_(0, 1)
        if self.alpha is not None:
            values = torch.cat([values.to(self.alpha.dtype), self.alpha], dim=1)
        container = self._container
        if container.kind == "tensor":
            assert container.tensor_dtype is not None  # narrowed for the type checker
            values = _quantised(values, container.tensor_dtype).contiguous()
            return values if container.batched else values[0]
        return _array_or_image(values[0], container)


def _dims(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _from_pil(image: Image.Image, name: str) -> Picture:
    import torch

    rgb = _upright_srgb(image, name)
    values = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).unsqueeze(0)
    return _picture(values, name, _Container("pil"), image)


def _from_array(array: np.ndarray[Any, Any], name: str) -> Picture:
    import torch

    kind, size = array.dtype.kind, array.dtype.itemsize
    if (kind, size) not in (("u", 1), ("u", 2), ("f", 2), ("f", 4), ("f", 8)):
        raise InputError(f"{name}: expected an array of uint8, uint16 or float, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise InputError(f"{name}: expected an array (H, W) or (H, W, C), got the shape {array.shape}")
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
    values = torch.from_numpy(native if native.ndim == 3 else native[..., None])
    values = values.permute(2, 0, 1).unsqueeze(0)
    return _picture(values, name, _Container("array", array_dtype=array.dtype), array)


def _from_tensor(tensor: Tensor, name: str) -> Picture:
    import torch

    if not (tensor.is_floating_point() or tensor.dtype in (torch.uint8, torch.uint16)):
        raise InputError(f"{name}: expected a tensor of uint8, uint16 or float, got {tensor.dtype}")
    if tensor.ndim not in (3, 4):
        raise InputError(f"{name}: expected a tensor (C, H, W) or (B, C, H, W), got the shape {_dims(tensor)}")
    container = _Container("tensor", tensor_dtype=tensor.dtype, device=tensor.device, batched=tensor.ndim == 4)
    values = tensor.detach()
    return _picture(values if values.ndim == 4 else values.unsqueeze(0), name, container, tensor)


def _picture(values: Tensor, name: str, container: _Container, original: Any) -> Picture:
    """Check `(B, C, H, W)` values of any accepted dtype and split them into colour and alpha."""
    import torch

    channels = values.shape[1]
    if channels not in (1, 2, 3, 4):
        order = "(H, W, C)" if container.kind == "array" else "(C, H, W)"
        raise InputError(f"{name}: expected {order} with C from 1 to 4, got {channels} channels; reorder the axes")
    if values.numel() == 0:
        raise InputError(f"{name}: expected at least one pixel, got the shape {_dims(values)}")
    if values.is_floating_point():
        _check_range(values, name)
    peak = _peak(values.dtype)
    color_channels = 3 if channels >= 3 else 1
    color = values[:, :color_channels].to(torch.float32).mul(2 / peak).sub_(1)
    alpha = None
    if channels in (2, 4):
        wide = torch.float64 if values.dtype == torch.float64 else torch.float32
        alpha = values[:, -1:].to(wide).div(peak)
        color = _fill_hidden(color, (alpha > 0).to(color.dtype))
    if color_channels == 1:
        color = color.repeat(1, 3, 1, 1)
    return Picture(color, alpha, container, original)


def _check_range(values: Tensor, name: str) -> None:
    low, high = (bound.item() for bound in values.aminmax())
    if math.isnan(low):
        raise InputError(f"{name}: a float picture must lie in [0, 1], got NaN; find its cause or replace it")
    if low < 0 or high > 1:
        raise InputError(
            f"{name}: a float picture must lie in [0, 1], got values from {low:g} to {high:g}; "
            "rescale it (x / 255, or (x + 1) / 2) or clip it"
        )


def _peak(kind: dtype) -> float:
    import torch

    return {torch.uint8: 255.0, torch.uint16: 65535.0}.get(kind, 1.0)


def _fill_hidden(color: Tensor, visible: Tensor) -> Tensor:
    """Replace colour where `visible` is 0 by that of ever coarser averages of the visible surroundings."""
    import torch
    from torch.nn import functional as F

    if bool((visible > 0).all()):
        return color
    known = torch.where(visible > 0, color, torch.zeros_like(color))
    if max(color.shape[-2:]) == 1:
        return known
    weight = F.avg_pool2d(visible, 2, ceil_mode=True)
    mean = F.avg_pool2d(known * visible, 2, ceil_mode=True) / weight.clamp(min=1e-12)
    coarse = _fill_hidden(mean, weight)
    around = F.interpolate(coarse, size=color.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(visible > 0, known, around)


def shrink(pixels: Tensor, *, longer: int | None = None, shorter: int | None = None) -> Tensor:
    """Scale `(B, C, H, W)` pixels in [-1, 1] down until the longer or shorter side is at most so long; never up.

    Returns:
        `(B, C, h, w)` in [-1, 1], antialiased bicubic; `pixels` itself where it is small enough.

    Raises:
        InputError: not exactly one of `longer` and `shorter`, or one below 1.

    Example:
        >>> import torch
        >>> shrink(torch.zeros(1, 3, 30, 60), shorter=10).shape
        torch.Size([1, 3, 10, 20])
    """
    limit = longer if longer is not None else shorter
    if limit is None or limit < 1 or (longer is not None and shorter is not None):
        raise InputError(f"give one of longer and shorter, at least 1; got longer={longer}, shorter={shorter}")
    height, width = pixels.shape[-2:]
    side = max(height, width) if longer is not None else min(height, width)
    if side <= limit:
        return pixels
    size = (max(1, round(height * limit / side)), max(1, round(width * limit / side)))
    return _resized(pixels, size).clamp_(-1, 1)


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    from torch.nn import functional as F

    return F.interpolate(values, size=tuple(size), mode="bicubic", align_corners=False, antialias=True)


def _quantised(values: Tensor, kind: dtype) -> Tensor:
    """Values in [0, 1] as uint8, uint16 or float."""
    import torch

    if kind.is_floating_point:
        return values.to(kind)
    # by way of int32: not every device converts float to uint16 directly
    return values.mul(_peak(kind)).round().to(torch.int32).to(kind)


def _array_or_image(values: Tensor, container: _Container) -> Any:
    """`(C, H, W)` values in [0, 1] as an array `(H, W, C)` or a PIL image."""
    import torch

    kinds = {("u", 1): torch.uint8, ("u", 2): torch.uint16, ("f", 2): torch.float16, ("f", 8): torch.float64}
    array_dtype = container.array_dtype or np.dtype(np.uint8)
    kind = kinds.get((array_dtype.kind, array_dtype.itemsize), torch.float32)
    channels_last = _quantised(values, kind).permute(1, 2, 0).contiguous().cpu()
    array = cast("np.ndarray[Any, Any]", channels_last.numpy())
    if container.kind == "pil":
        return Image.fromarray(array)
    return array.astype(array_dtype, copy=False)
