"""What every metric asks of its pictures, said in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.ops._checks import widened

if TYPE_CHECKING:
    from agnlib.models import PerceptualEncoder

_RANGE_SLACK = 1e-3


def check_image(name: str, image: Tensor, *, min_size: int = 1) -> None:
    """Raise `InputError` unless `image` is a finite float `(B, 3, H, W)` batch in [-1, 1]."""
    if not image.is_floating_point() or image.ndim != 4 or image.shape[1] != 3:
        raise InputError(
            f"{name}: got {image.dtype} of shape {tuple(image.shape)}, expected float RGB (B, 3, H, W) in [-1, 1]."
        )
    if image.shape[0] == 0 or min(image.shape[2:]) < min_size:
        raise InputError(
            f"{name}: got shape {tuple(image.shape)}, expected at least one picture of {min_size} px or more a side. "
            "Enlarge it first."
        )
    low, high = (float(bound) for bound in torch.aminmax(image.detach()))
    if not (low >= -1 - _RANGE_SLACK and high <= 1 + _RANGE_SLACK):
        raise InputError(f"{name}: got values in [{low:.4g}, {high:.4g}], expected [-1, 1]. Rescale or clamp it first.")


def check_pair(names: tuple[str, str], first: Tensor, second: Tensor, *, min_size: int = 1) -> None:
    """Check two batches that are compared picture by picture; their heights and widths may differ."""
    check_image(names[0], first, min_size=min_size)
    check_image(names[1], second, min_size=min_size)
    if first.shape[0] != second.shape[0]:
        raise InputError(
            f"got {first.shape[0]} pictures as {names[0]} and {second.shape[0]} as {names[1]}, expected as many of "
            "each. Expand the single one to the batch."
        )


def check_aligned(names: tuple[str, str], first: Tensor, second: Tensor, *, min_size: int = 1) -> None:
    """Check two batches that are compared pixel by pixel."""
    check_pair(names, first, second, min_size=min_size)
    if first.shape != second.shape:
        raise InputError(
            f"got {names[0]} of {tuple(first.shape[2:])} px and {names[1]} of {tuple(second.shape[2:])} px, "
            "expected one size. Resize one to the other first."
        )


def features_of(encoder: PerceptualEncoder, image: Tensor) -> dict[str, Tensor]:
    """An encoder's features in float32 at least, of a picture in any precision: the encoder has its own."""
    own = next(encoder.parameters(), None) if isinstance(encoder, nn.Module) else None
    found = encoder(image if own is None else image.to(own.dtype))
    return {tap: widened(features) for tap, features in found.items()}
