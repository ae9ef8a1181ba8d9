"""Repaint black ink on white paper in two other colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageColor
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from agnlib._shared.numbers import is_count
from agnlib.errors import InputError
from agnlib.image._value_range import must_be_clipped
from agnlib.image.picture import check_dense, has_floats
from agnlib.transforms._pil import tensor_of

__all__ = ["Recolor"]

Color = str | Sequence[int]
_GRAY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL's mode "L"
_OPAQUE_MODES = ("1", "L", "P", "RGB")


class Recolor(v2.Transform):  # type: ignore[misc] # torchvision tells no types
    """Paints ink in one color and paper in another: black becomes `foreground`, white `background`, gray lies between.

    Of a colored picture the luminance counts. Both ends are exact and what lies between is linear.

    Args:
        foreground: of the ink; a color's name or `"#rrggbb"` as PIL knows them, or three whole numbers in 0..255.
        background: of the paper.

    Shapes:
        PIL picture of the modes 1, L, P or RGB -> RGB of the same size. Tensor `(..., 1 or 3, H, W)`, uint8 or float in
        [0, 1] -> `(..., 3, H, W)` of the same dtype. Masks and boxes pass through.

    Raises:
        InputError: a color that is none, floats outside [0, 1] by more than a bicubic resize leaves (0.45), which are
            clipped, or a picture of another kind.

    Example:
        >>> digit = torch.tensor([[[0, 255, 127]]], dtype=torch.uint8)
        >>> Recolor("blue", "red")(digit)[:, 0].T
        tensor([[  0,   0, 255],
                [255,   0,   0],
                [127,   0, 128]], dtype=torch.uint8)
    """

    def __init__(self, foreground: Color, background: Color) -> None:
        super().__init__()
        self.foreground = _rgb("foreground", foreground)
        self.background = _rgb("background", background)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One picture of a sample; torchvision calls it."""
        if isinstance(inpt, Image.Image):
            if inpt.mode not in _OPAQUE_MODES:
                raise InputError(
                    f"Recolor: the picture's mode is {inpt.mode}; expected {', '.join(_OPAQUE_MODES)}:"
                    ' lay it on white paper and convert it to "RGB" first'
                )
            pixels = tensor_of(inpt.convert("RGB"))
            return v2.functional.to_pil_image(self._repaint(pixels))
        if v2.functional.is_pure_tensor(inpt):
            return self._repaint(inpt)
        if isinstance(inpt, (tv_tensors.Image, tv_tensors.Video)):
            return tv_tensors.wrap(self._repaint(inpt.as_subclass(Tensor)), like=inpt)
        return inpt

    def _repaint(self, image: Tensor) -> Tensor:
        ink = _ink(image).double()
        colors = torch.tensor([self.background, self.foreground], dtype=ink.dtype, device=ink.device)
        if image.is_floating_point():
            colors = colors / 255
        paper, full = colors[:, :, None, None]
        painted = torch.lerp(paper, full, ink)
        return (painted if image.is_floating_point() else painted.round()).to(image.dtype)


def _ink(image: Tensor) -> Tensor:
    """How much ink each pixel has: `(..., 1, H, W)`, 0 on white paper and 1 where it is black."""
    check_dense(image, "Recolor")
    if image.ndim < 3 or image.shape[-3] not in (1, 3):
        raise InputError(f"Recolor: the tensor has shape {tuple(image.shape)}; expected (..., 1 or 3, H, W)")
    if image.dtype != torch.uint8 and not has_floats(image):
        raise InputError(f"Recolor: the tensor is {image.dtype}; expected uint8, or floats in [0, 1]")
    image = _in_range(image) if image.is_floating_point() else image
    ink = 1 - image.double() / (255 if image.dtype == torch.uint8 else 1)
    if image.shape[-3] == 3:
        weights = torch.tensor(_GRAY_WEIGHTS, dtype=ink.dtype, device=ink.device)
        ink = (ink * (weights / weights.sum()).view(3, 1, 1)).sum(-3, keepdim=True)
        ink = torch.where((image == 0).all(-3, keepdim=True), 1.0, ink)  # a rounded sum of weights is not quite one
    return ink


def _in_range(image: Tensor) -> Tensor:
    low, high = (bound.item() for bound in image.aminmax()) if image.numel() else (0, 0)
    try:
        return image.clamp(0, 1) if must_be_clipped(low, high, "Recolor") else image
    except InputError as error:
        raise InputError(f"{error}; put Recolor before Normalize") from error


def _rgb(name: str, color: Color) -> tuple[int, int, int]:
    try:
        rgb = ImageColor.getrgb(color) if isinstance(color, str) else tuple(color)
    except (ValueError, TypeError):
        rgb = ()
    if len(rgb) != 3 or not all(is_count(value, 0, 255) for value in rgb):
        raise InputError(
            f"Recolor: {name} is {color!r}; expected a color's name, '#rrggbb', or three whole numbers in 0..255"
        )
    return (rgb[0], rgb[1], rgb[2])
