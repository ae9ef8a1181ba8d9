"""What a picture came in, PIL image, array or tensor, and its result back into the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

__all__ = ["Container", "peak", "quantized"]


@dataclass(frozen=True)
class Container:
    """What a picture came in, to give the result back in the same."""

    kind: Literal["pil", "array", "tensor"]
    array_dtype: np.dtype[Any] | None = None
    tensor_dtype: dtype | None = None
    device: device | None = None
    batched: bool = False
    tv_tensor: type[Tensor] | None = None  # of torchvision, which need not be installed

    def dtype(self) -> dtype:
        """Of the result, as torch calls it."""
        import torch

        if self.tensor_dtype is not None:
            return self.tensor_dtype
        kinds = {("u", 2): torch.uint16, ("f", 2): torch.float16, ("f", 4): torch.float32, ("f", 8): torch.float64}
        own = self.array_dtype or np.dtype(np.uint8)
        return kinds.get((own.kind, own.itemsize), torch.uint8)

    def filled(self, values: Tensor) -> Any:
        """The result `(B, C, H, W)`, of `dtype`, in the same kind of container."""
        if self.kind == "tensor":
            values = values.contiguous() if self.batched else values[0].contiguous()
            return values if self.tv_tensor is None else values.as_subclass(self.tv_tensor)
        array = cast("np.ndarray[Any, Any]", values[0].permute(1, 2, 0).contiguous().numpy())
        if self.kind == "pil":
            return Image.fromarray(array)
        return array.astype(self.array_dtype, copy=False)


def peak(kind: dtype) -> float:
    """The value that is white."""
    import torch

    return {torch.uint8: 255.0, torch.uint16: 65535.0}.get(kind, 1.0)


def quantized(values: Tensor, kind: dtype) -> Tensor:
    """Values in [0, 1] as uint8, uint16 or float."""
    import torch

    if kind.is_floating_point or values.dtype == kind:
        return values.to(kind)
    # by way of int32: not every device converts float to uint16 directly
    return values.mul(peak(kind)).round().to(torch.int32).to(kind)
