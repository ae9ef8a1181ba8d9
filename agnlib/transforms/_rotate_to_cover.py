"""Rotate a picture and enlarge it just enough that it covers a region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from agnlib._shared.numbers import is_count
from agnlib.errors import InputError
from agnlib.transforms._pil import tensor_of

__all__ = ["RotateToCover"]

_PIL_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "F": "F"}


class RotateToCover(v2.Transform):  # type: ignore[misc] # torchvision tells no types
    """Rotates a picture about its center, scaled so that it just covers a region, and cuts the region out.

    A region `(H, W)` seen from a picture turned by `a` spans `W |cos a| + H |sin a|` across and `H |cos a| + W |sin a|`
    down; the scale is the least at which the picture's width and height reach both, above 1 for a small picture and
    below 1 for a large one. So every pixel lies wholly on the picture and no fill color is ever needed: interpolation
    is bilinear, with the outermost pixels' values held to the picture's very edge as in resizing, and shrinking is
    antialiased.

    Args:
        size: of the region in pixels, one number for a square or `(H, W)`.
        angle: degrees counter-clockwise, or a range `(low, high)` to draw from for each sample with torch's generator.
        margin: pixels around the region that the picture has to cover too.

    Shapes:
        PIL picture (modes 1, L, P, RGB, F; 1 becomes L and P becomes RGB) or tensor `(..., H, W)` of any dtype -> the
        same kind, `size` large. Masks take the nearest value.

    Raises:
        InputError: a size below 1, an angle that is neither number nor range, a negative margin, an empty picture,
            another mode, or a sample with boxes or key points, which it cannot move.

    Example:
        >>> region = RotateToCover(size=200, angle=(-15, 15))(torch.rand(3, 100, 100))
        >>> region.shape
        torch.Size([3, 200, 200])
    """

    def __init__(
        self,
        size: int | Sequence[int] = 200,
        angle: float | Sequence[float] = (-180.0, 180.0),
        margin: int = 0,
    ) -> None:
        super().__init__()
        self.size = _region(size)
        self.angle = _range(angle)
        self.margin = margin
        if not is_count(margin):
            raise InputError(f"RotateToCover: margin is {margin!r}; expected a whole number of pixels, at least 0")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The angle that the whole sample is turned by; torchvision calls it."""
        low, high = self.angle
        return {"angle": low + (high - low) * float(torch.rand((), device="cpu", dtype=torch.float32))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One picture or mask of a sample; torchvision calls it."""
        angle = params["angle"]
        if isinstance(inpt, Image.Image):
            if inpt.mode not in _PIL_MODES:
                raise InputError(
                    f"RotateToCover: the picture's mode is {inpt.mode}; expected {', '.join(_PIL_MODES)}: convert it"
                    ' to "RGB" first'
                )
            mode = _PIL_MODES[inpt.mode]
            turned = self._cover(tensor_of(inpt.convert(mode)), angle, nearest=False)
            return v2.functional.to_pil_image(turned, mode=mode)
        if v2.functional.is_pure_tensor(inpt):
            return self._cover(inpt, angle, nearest=False)
        if not isinstance(inpt, (tv_tensors.Image, tv_tensors.Video, tv_tensors.Mask)):
            raise InputError(
                f"RotateToCover: the sample has {type(inpt).__name__}; expected pictures, videos and masks only:"
                " take it out of the sample"
            )
        turned = self._cover(inpt.as_subclass(Tensor), angle, nearest=isinstance(inpt, tv_tensors.Mask))
        return tv_tensors.wrap(turned, like=inpt)

    def _cover(self, image: Tensor, angle: float, *, nearest: bool) -> Tensor:
        if image.ndim < 2 or 0 in image.shape[-2:]:
            raise InputError(
                f"RotateToCover: the tensor has shape {tuple(image.shape)}; expected (..., H, W), not empty"
            )
        height, width = image.shape[-2:]
        scale = self._scale(height, width, angle)
        exact = torch.float32 if image.dtype in _SHORT else torch.float64
        planes = image.to(exact).reshape(1, -1, height, width)
        if scale < 1 and not nearest:
            small = (math.ceil(height * scale), math.ceil(width * scale))
            planes = F.interpolate(planes, small, mode="bilinear", antialias=True)
        grid = self._grid(height * scale, width * scale, angle).to(planes)
        turned = F.grid_sample(
            planes, grid, mode="nearest" if nearest else "bilinear", padding_mode="border", align_corners=False
        )
        if not image.is_floating_point() and not nearest:
            turned = turned.round()
        return turned.reshape(*image.shape[:-2], *self.size).to(image.dtype)

    def _scale(self, height: int, width: int, angle: float) -> float:
        """The least scale at which a picture turned by `angle` covers region and margin."""
        high, wide = (length + 2 * self.margin for length in self.size)
        cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
        return max((wide * cosine + high * sine) / width, (high * cosine + wide * sine) / height)

    def _grid(self, height: float, width: float, angle: float) -> Tensor:
        """Where each pixel of the region lies on a picture of this size, `(1, H, W, 2)` in [-1, 1]."""
        high, wide = self.size
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        turn = [
            [cosine * wide / width, -sine * high / width, 0.0],
            [sine * wide / height, cosine * high / height, 0.0],
        ]
        return F.affine_grid(
            torch.tensor([turn], dtype=torch.float64, device="cpu"), [1, 1, high, wide], align_corners=False
        )


_SHORT = (torch.uint8, torch.int8, torch.bool, torch.float16, torch.bfloat16, torch.float32)  # exact in float32


def _region(size: int | Sequence[int]) -> tuple[int, int]:
    lengths = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(lengths) != 2 or not all(is_count(length, 1) for length in lengths):
        raise InputError(f"RotateToCover: size is {size!r}; expected pixels of a square, or (H, W), all at least 1")
    return lengths


def _range(angle: float | Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (angle, angle) if isinstance(angle, (int, float, np.number)) else angle
        ends = (float(low), float(high))
    except (TypeError, ValueError):
        ends = (math.nan, math.nan)
    if not all(map(math.isfinite, ends)) or ends[0] > ends[1]:
        raise InputError(f"RotateToCover: angle is {angle!r}; expected degrees, or a range (low, high) of them")
    return ends
