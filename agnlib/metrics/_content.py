"""Learned perceptual distance (LPIPS) between the result and the photograph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib._shared import optional
from agnlib.errors import InputError
from agnlib.metrics._checks import check_aligned, features_of
from agnlib.ops._precision import in_full_precision

if TYPE_CHECKING:
    from agnlib.models.encoders import PerceptualEncoder

_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


@in_full_precision
def content_distance(
    image: Tensor, content: Tensor, encoder: PerceptualEncoder, heads: Mapping[str, Tensor] | None = None
) -> Tensor:
    """LPIPS on VGG16: Zhang et al., "The Unreasonable Effectiveness of Deep Features" (CVPR 2018).

    Sum over taps of the head-weighted squared differences of unit-length feature vectors, averaged over positions. Only
    the taps that `encoder` has are summed. The paper sums five; where VGG16 stops at conv4_3 there are four of them (no
    relu5_3), so that the numbers are smaller than the paper's and good for ranking only.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].
        content: the photograph, same shape.
        encoder: VGG16 with taps among `relu1_2, relu2_2, relu3_3, relu4_3, relu5_3`.
        heads: tap name -> `(1, C, 1, 1)` weights; `lpips_heads()` when left out, which needs the package `lpips`.
            `even_heads(encoder)` needs none, for other numbers.

    Returns:
        `(B,)`, 0 for the photograph itself; an unrelated picture lies around 0.5 with four taps, 0.65 with five.

    Raises:
        InputError: a batch is not float RGB in [-1, 1], the shapes differ, or the encoder has no tap that a head fits.
        MissingDependencyError: `heads` was left out and `lpips` is not installed.

    Example:
        >>> import torch
        >>> class Pixels:
        ...     channels, min_size = {"relu1_2": 3}, 1
        ...     def __call__(self, image):
        ...         return {"relu1_2": image}
        >>> photo = torch.full((1, 3, 8, 8), 0.5)
        >>> content_distance(-photo, photo, Pixels(), {"relu1_2": torch.ones(1, 3, 1, 1)}).round().item()
        4.0
    """
    check_aligned(("image", "content"), image, content, min_size=encoder.min_size)
    heads = lpips_heads() if heads is None else heads
    taps = shared_taps(encoder, heads)
    of_image, of_content = features_of(encoder, image), features_of(encoder, content)
    return torch.stack([_tap_distance(of_image[tap], of_content[tap], heads[tap]) for tap in taps]).sum(dim=0)


@lru_cache(maxsize=1)
def lpips_heads() -> Mapping[str, Tensor]:
    """The five linear heads of LPIPS v0.1 for VGG16, tap name -> `(1, C, 1, 1)`, from the package `lpips`.

    Raises:
        MissingDependencyError: `lpips` is not installed.

    Example:
        >>> lpips_heads()["relu4_3"].shape  # doctest: +SKIP
        torch.Size([1, 512, 1, 1])
    """
    package = optional.require("lpips", extra="evaluate", purpose="LPIPS (content_distance)")
    file = Path(str(package.__file__)).parent / "weights" / "v0.1" / "vgg.pth"
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return MappingProxyType({tap: stored[f"lin{number}.model.1.weight"] for number, tap in enumerate(_TAPS)})


def even_heads(encoder: PerceptualEncoder) -> Mapping[str, Tensor]:
    """Heads that weigh all channels of all taps alike: `content_distance` without what LPIPS learned from people.

    This is what the paper compares its fitted heads with. It needs no further package, and any encoder will do. Unit
    vectors are at most 2 apart, so each tap adds 4 at most.

    Args:
        encoder: whose taps; see `agnlib.models.PerceptualEncoder`.

    Returns:
        Tap name -> `(1, C, 1, 1)`, all ones.

    Example:
        >>> class Pixels:
        ...     channels, min_size = {"pixels": 3}, 1
        >>> even_heads(Pixels())["pixels"].shape
        torch.Size([1, 3, 1, 1])
    """
    return MappingProxyType(
        {
            tap: torch.ones(1, channels, 1, 1, device="cpu", dtype=torch.float32)
            for tap, channels in encoder.channels.items()
        }
    )


def shared_taps(encoder: PerceptualEncoder, heads: Mapping[str, Tensor]) -> list[str]:
    taps = [tap for tap, channels in encoder.channels.items() if tap in heads and heads[tap].shape[1] == channels]
    if not taps:
        raise InputError(
            f"the encoder has the taps {dict(encoder.channels)}, the heads fit "
            f"{ {tap: head.shape[1] for tap, head in heads.items()} }. Hand over a VGG16 with taps named like these."
        )
    return taps


def _tap_distance(features: Tensor, target: Tensor, head: Tensor) -> Tensor:
    squared = (unit_length(features) - unit_length(target)).square()
    return (squared * head.to(squared)).sum(dim=1).mean(dim=(1, 2))


def unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
