"""`Picture`: between whatever a user holds and the float `(B, 3, H, W)` tensors in [-1, 1] of the models."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from agnlib.errors import InputError
from agnlib.image._alpha_bleed import CELL, averaged, continued, filled
from agnlib.image._encoded import PictureFile, is_encoded
from agnlib.image._header import first_of
from agnlib.image._kinds_of_pictures import Container, peak, quantized
from agnlib.image._orientation import upright
from agnlib.image._resizing import reduced_size, resized
from agnlib.image._sixteen_bits import eight_bits
from agnlib.image._value_range import must_be_clipped
from agnlib.image.files import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from torch import Tensor

    from agnlib.tiling import Box

__all__ = ["Picture", "PictureLike", "reduced_size"]

_LARGE_PIXELS = 2**20  # a picture is brought down to between 1 and 4 times so many before it is resampled
_STRIP_PIXELS = 2**20  # turned into floats at a time

PictureLike: TypeAlias = "PictureFile | Image.Image | np.ndarray[Any, Any] | Tensor"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a user gave it: its pixels for the models, and what is needed to give a result back in kind.

    `Picture.take` accepts

    - a path, or the bytes of a file or a binary file object (see `agnlib.image.load`): comes back as a PIL image;
    - a PIL image of any mode: comes back as 8-bit RGB, or RGBA where it has transparency;
    - a numpy array `(H, W)` or `(H, W, C)` and
    - a torch tensor `(C, H, W)` or `(B, C, H, W)`, uint8, uint16 or float in [0, 1], C = 1 (gray), 2 (gray, alpha),
      3 (RGB) or 4 (RGB, alpha): come back with the same type, dtype, height, width, device and alpha.

    Floats up to 0.45 outside [0, 1] are clipped: no single bicubic resize of what lies in [0, 1] overshoots further.
    A picture in [-1, 1] usually lies further out, and is an error; one that has nothing dark cannot be told.

    A result has colors, so gray input comes back with three channels (and alpha, if it had one). Transparency is kept;
    the color hidden under fully transparent pixels is replaced by a smooth continuation of the visible color, so that
    it can neither leak into its surroundings nor come back.

    The pixels stay what they were, 8 or 16 bits or floats; only parts of them, see `window`, are turned into floats. So
    a picture of any size needs little besides itself.

    Attributes:
        values: `(B, C, H, W)`, of the dtype and on the device that the picture came in.
        pixels: the whole picture as `window` gives it.
        alpha: float `(B, 1, H, W)` in [0, 1], or None.

    Example:
        >>> picture = Picture.take(np.full((2, 5, 3), 255, dtype=np.uint8))
        >>> picture.pixels.shape, picture.pixels.max().item()
        (torch.Size([1, 3, 2, 5]), 1.0)
        >>> picture.restore(-picture.pixels)[0, 0]
        array([0, 0, 0], dtype=uint8)
    """

    values: Tensor
    _container: Container
    _original: Any
    _given: Tensor | None = None  # floats before they were clipped, of the result's dtype
    _continuation: Tensor | None = None  # of the visible color, at 1/8; None where nothing is hidden

    @classmethod
    def take(cls, value: PictureLike, name: str = "picture", *, limits: Limits = DEFAULT_LIMITS) -> Picture:
        """Turn what the user gave into a `Picture`.

        Args:
            value: see the class.
            name: what error messages call it.
            limits: of a file, checked before it is decoded.

        Raises:
            ImageError: a file cannot be read, or a PIL image cannot be turned into RGB.
            InputError: unknown type, dtype or shape; no pixels; floats further outside [0, 1] than by 0.45; NaN.

        Example:
            >>> Picture.take(np.full((4, 4), 2.0))
            Traceback (most recent call last):
            ...
            agnlib.errors.InputError: picture: a float picture must lie in [0, 1], got values from 2 to 2, which is \
more than a bicubic resize overshoots (0.45): rescale it (x / 255, (x + 1) / 2, or undo Normalize) or clip it
        """
        import torch

        if isinstance(value, (str, os.PathLike)) or is_encoded(value):
            return _picture(_planes(first_of(value, name, limits)), name, Container("pil"), None)
        if isinstance(value, Image.Image):
            return _picture(_planes(eight_bits(value, name)), name, Container("pil"), value)
        if isinstance(value, np.ndarray):
            return _from_array(value, name)
        if isinstance(value, torch.Tensor):
            return _from_tensor(value, name)
        raise InputError(
            f"{name}: expected a path, bytes, a binary file object, a PIL image, a numpy array or a torch tensor, got"
            f" {type(value).__name__}"
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[2], self.values.shape[3]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        return (*self.size, 4 if self._has_alpha() else 3)

    @property
    def kind(self) -> np.dtype[Any]:
        """Of the result, as numpy calls it."""
        return self._container.array_dtype or np.dtype(np.uint8)

    @property
    def pixels(self) -> Tensor:
        return self.window(self._whole())

    @property
    def alpha(self) -> Tensor | None:
        return self.alpha_of(self._whole())

    def window(self, box: Box) -> Tensor:
        """A part of the picture, float32 `(B, 3, h, w)` in [-1, 1], the same as that part of the whole."""
        if self._continuation is None:
            return self._color(box)
        outer = box.grown(CELL, self.size, align=CELL)
        cells = self._continuation[
            ..., outer.top // CELL : -(-outer.bottom // CELL), outer.left // CELL : -(-outer.right // CELL)
        ]
        window = filled(self._color(outer), self._visible(outer), cells)
        return window[box.within(outer).slices]

    @classmethod
    def owning(cls, array: np.ndarray[Any, np.dtype[Any]], name: str = "picture") -> Picture:
        """As `take`, of an array `(H, W, C)` that nobody else will change: it is not copied."""
        return _picture(_planes(array), name, Container("array", array_dtype=array.dtype), None)

    def reduced(self, *, longer: int | None = None, shorter: int | None = None) -> Picture:
        """The picture scaled down until its longer or shorter side has at most so many pixels; never scaled up.

        Raises:
            InputError: not exactly one of `longer` and `shorter`, or one below 1.

        Example:
            >>> Picture.take(np.zeros((30, 60, 3), dtype=np.uint8)).reduced(longer=20).pixels.shape
            torch.Size([1, 3, 10, 20])
        """
        import torch

        size = reduced_size(self.size, longer=longer, shorter=shorter)
        if size == self.size:
            return self
        color = self.resized(size).add(1).mul_(0.5)
        if self._has_alpha():
            alpha = resized(self._coarser(self._some_alpha), size).clamp_(0, 1)
            color = torch.cat([color.to(alpha.dtype), alpha], dim=1)
        return _picture(color, "picture", self._container, None)

    def resized(self, size: tuple[int, int]) -> Tensor:
        """The whole picture at another size, float32 `(B, 3, *size)` in [-1, 1], antialiased."""
        if size == self.size:
            return self.pixels
        return resized(self._coarser(self.window), size).clamp_(-1, 1)

    def unchanged(self) -> Any:
        """A copy of the input, bit for bit; only an EXIF orientation is applied. After `reduced`, the reduced picture.

        Example:
            >>> Picture.take(np.zeros((2, 2), dtype=np.float64)).unchanged().dtype
            dtype('float64')
        """
        import torch

        original = self._original
        if original is None:
            return self.finished(quantized(self.values, self._container.dtype()))
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
        wanted = (len(self.values), 3, *self.size)
        if pixels.shape != wanted:
            raise InputError(f"restore needs pixels of shape {wanted}, got {_dims(pixels)}")
        return self.finished(self.encoded(pixels, self._whole()))

    def encoded(self, pixels: Tensor, box: Box) -> Tensor:
        """Painted pixels of a part, with its alpha, as the result has them: `(B, 3 or 4, h, w)` of its dtype."""
        import torch

        values = pixels.detach().to(self.values.device, torch.float32).add(1).mul_(0.5).clamp_(0, 1)
        alpha = self.alpha_of(box)
        if alpha is not None:
            values = torch.cat([values.to(alpha.dtype), alpha], dim=1)
        return quantized(values, self._container.dtype())

    @property
    def is_exact(self) -> bool:
        """Whether there are floats as they came in, which the way through [-1, 1] rounds and clips."""
        return self._given is not None

    def with_given(self, encoded: Tensor, box: Box, where: Tensor) -> Tensor:
        """What `encoded` gave, with the floats that came in where `where`, `(1, 1, h, w)`, is true.

        What is hidden under fully transparent pixels does not come back.
        """
        import torch

        assert self._given is not None
        given, where = self._given[box.slices], where.to(encoded.device)
        if self._has_alpha():
            where = where & (given[:, -1:] > 0)
        if given.shape[1] < 3:
            given = torch.cat([given[:, :1].expand(-1, 3, -1, -1), given[:, 1:]], dim=1)
        return torch.where(where, given, encoded)

    def blank(self) -> Tensor:
        """Room for the result, to be filled with what `encoded` gives, in the order in which `finished` needs it."""
        import torch

        batch, (height, width) = len(self.values), self.size
        channels, kind, device = self.shape[2], self._container.dtype(), self.values.device
        if self._container.kind == "tensor":
            return torch.empty(batch, channels, height, width, dtype=kind, device=device)
        return torch.empty(batch, height, width, channels, dtype=kind, device="cpu").permute(0, 3, 1, 2)

    def finished(self, values: Tensor) -> Any:
        """The result `(B, C, H, W)` in what this picture came in."""
        return self._container.filled(values)

    def _whole(self) -> Box:
        from agnlib.tiling import Box

        return Box(0, 0, *self.size)

    def _has_alpha(self) -> bool:
        return self.values.shape[1] in (2, 4)

    def _color(self, box: Box) -> Tensor:
        import torch

        channels = 3 if self.values.shape[1] >= 3 else 1
        part = self.values[:, :channels][box.slices]
        color = part.to(torch.float32, copy=True).mul_(2 / peak(part.dtype)).sub_(1)
        return color if channels == 3 else color.repeat(1, 3, 1, 1)

    def alpha_of(self, box: Box) -> Tensor | None:
        """A part of `alpha`."""
        return self._some_alpha(box) if self._has_alpha() else None

    def _some_alpha(self, box: Box) -> Tensor:
        import torch

        part = self.values[:, -1:][box.slices]
        wide = torch.float64 if part.dtype == torch.float64 else torch.float32
        return part.to(wide).div(peak(part.dtype))

    def _visible(self, box: Box) -> Tensor:
        import torch

        return (self._some_alpha(box) > 0).to(torch.float32)

    def _strips(self, rows: int) -> Iterator[Box]:
        from agnlib.tiling import Box

        height, width = self.size
        step = max(rows, _STRIP_PIXELS // width // rows * rows)
        return (Box(top, 0, min(top + step, height), width) for top in range(0, height, step))

    def _coarser(self, window: Callable[[Box], Tensor]) -> Tensor:
        """What `window` gives for the whole picture, as means of squares where it would be large."""
        from torch.nn import functional as F

        height, width = self.size
        side = math.isqrt(height * width // _LARGE_PIXELS)
        if side < 2:
            return window(self._whole())
        means: Tensor | None = None
        for strip in self._strips(side):
            rows = F.avg_pool2d(window(strip), side, ceil_mode=True)
            if means is None:
                means = rows.new_empty(*rows.shape[:2], -(-height // side), rows.shape[3])
            means[:, :, strip.top // side : -(-strip.bottom // side)] = rows
        assert means is not None
        return means

    def _with_continuation(self) -> Picture:
        """The picture, knowing what lies under its transparent pixels, if it has any."""
        import torch

        if not self._has_alpha() or all(bool(self._visible(strip).all()) for strip in self._strips(CELL)):
            return self
        means = [averaged(self._color(strip), self._visible(strip)) for strip in self._strips(CELL)]
        color, visible = (torch.cat(each, dim=2) for each in zip(*means, strict=True))
        whole = continued(torch.where(visible > 0, color, torch.zeros_like(color)), visible)
        return replace(self, _continuation=whole)


def _dims(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _planes(array: np.ndarray[Any, Any]) -> Tensor:
    """`(H, W, C)` as `(1, C, H, W)`, sharing its memory."""
    import torch

    return torch.from_numpy(array).permute(2, 0, 1).unsqueeze(0)


def _from_array(array: np.ndarray[Any, Any], name: str) -> Picture:
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name}: got a masked array, and what it masks has no color; give its filled() values")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if (kind, size) not in (("u", 1), ("u", 2), ("f", 2), ("f", 4), ("f", 8)):
        raise InputError(f"{name}: expected an array of uint8, uint16 or float, got {array.dtype}")
    if array.ndim not in (2, 3):
        raise InputError(f"{name}: expected an array (H, W) or (H, W, C), got the shape {array.shape}")
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
    planes = _planes(native if native.ndim == 3 else native[..., None])
    return _picture(planes, name, Container("array", array_dtype=array.dtype), array)


def check_dense(tensor: Tensor, name: str) -> None:
    """Raise `InputError` for a tensor that has no values, or not one after the other."""
    import torch

    if tensor.device.type == "meta":
        raise InputError(f"{name}: got a tensor on the device meta, which has no values; make it on a real device")
    if tensor.layout != torch.strided or tensor.is_nested:
        layout = "nested" if tensor.is_nested else str(tensor.layout)
        raise InputError(f"{name}: expected a dense tensor, got one of layout {layout}; call its to_dense()")


def has_floats(tensor: Tensor) -> bool:
    """Whether the values are of a floating type that torch computes with; it only stores those of 8 bits."""
    import torch

    return tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _from_tensor(tensor: Tensor, name: str) -> Picture:
    import torch

    check_dense(tensor, name)
    if not (has_floats(tensor) or tensor.dtype in (torch.uint8, torch.uint16)):
        raise InputError(f"{name}: expected a tensor of uint8, uint16 or float, got {tensor.dtype}")
    if tensor.ndim not in (3, 4):
        raise InputError(f"{name}: expected a tensor (C, H, W) or (B, C, H, W), got the shape {_dims(tensor)}")
    kind = type(tensor) if type(tensor).__module__.startswith("torchvision.tv_tensors") else None
    container = Container("tensor", None, tensor.dtype, tensor.device, tensor.ndim == 4, kind)
    values = tensor.detach().as_subclass(torch.Tensor)
    return _picture(values if values.ndim == 4 else values.unsqueeze(0), name, container, tensor)


def _picture(values: Tensor, name: str, container: Container, original: Any) -> Picture:
    """Check `(B, C, H, W)` values of any accepted dtype and split them into color and alpha."""
    channels = values.shape[1]
    if channels not in (1, 2, 3, 4):
        order = "(H, W, C)" if container.kind == "array" else "(C, H, W)"
        raise InputError(f"{name}: expected {order} with C from 1 to 4, got {channels} channels; reorder the axes")
    if values.numel() == 0:
        raise InputError(f"{name}: expected at least one pixel, got the shape {_dims(values)}")
    given = values if values.dtype == container.dtype() and values.is_floating_point() else None
    if values.is_floating_point():
        low, high = (bound.item() for bound in values.aminmax())
        if must_be_clipped(low, high, name):
            values = values.clamp(0, 1)
    return Picture(values, container, original, given)._with_continuation()
