"""`Picture`, the door between whatever a user holds and the float `(B, 3, H, W)` tensors in [-1, 1] of the models."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from PIL import Image

from agnlib.errors import InputError
from agnlib.image._srgb import upright, upright_srgb
from agnlib.image._words import quoted
from agnlib.image.files import load

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Picture", "PictureLike", "shrink"]

PictureLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any] | Tensor"


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
            return _from_pil(load(value), quoted(value))
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
            return upright(original)
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

    rgb = upright_srgb(image, name)
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
