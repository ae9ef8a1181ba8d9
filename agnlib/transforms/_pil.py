"""PIL pictures as tensors in main memory, whatever torch's default device is."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

__all__ = ["tensor_of"]


def tensor_of(image: Image.Image) -> Tensor:
    """The picture as torchvision's `pil_to_tensor` has it: uint8 `(C, H, W)`, on the CPU."""
    with torch.device("cpu"):
        pixels: Tensor = v2.functional.pil_to_tensor(image)
    return pixels
