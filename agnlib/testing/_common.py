"""What the checks share: random pictures, and errors that say where they arose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.training import Batch

__all__ = ["SEED", "batch_of", "name_of", "pictures", "require", "told"]

SEED = 1234


def pictures(count: int, height: int, width: int, *, seed: int) -> Tensor:
    """Smooth pictures in [-1, 1], each with colors of its own."""
    coarse = (
        torch.rand(
            count, 3, 5, 5, generator=torch.Generator().manual_seed(SEED + seed), device="cpu", dtype=torch.float32
        )
        * 2
        - 1
    )
    return F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def batch_of(count: int, height: int, width: int, *, seed: int = 0, labels: int = 0) -> Batch:
    content, style = (pictures(count, height, width, seed=1000 * seed + salt) for salt in (1, 2))
    label = torch.arange(count, device="cpu") % labels if labels else None
    return Batch(content, style, label, step=seed)


@contextmanager
def told(where: str) -> Iterator[None]:
    """Say at which check an error of the thing that is checked arose."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{where}: raised {type(error).__name__}: {error}") from error


def require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def name_of(thing: object) -> str:
    return getattr(thing, "__name__", type(thing).__name__)
