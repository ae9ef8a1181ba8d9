"""Our networks without agnlib.ops: where an op is used, what anybody would write in eager PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch.nn.functional as F
from torch import Tensor

from benchmarks.ops._ops_cases import adain_eager, upfirdn2d_eager


@contextmanager
def plain_operators() -> Iterator[None]:
    """Inside, the layers of this process run PyTorch's operators."""
    with ExitStack() as patches:
        patches.enter_context(patch("agnlib.layers.styled.adain", _adain))
        patches.enter_context(patch("agnlib.layers.conv.conv2d", _conv2d))
        patches.enter_context(patch("agnlib.layers.resample.upfirdn2d", _upfirdn2d))
        yield


def _adain(x: Tensor, mean: Tensor, std: Tensor, *, act: str | None = None) -> Tensor:
    if act == "lrelu":
        return adain_eager(x, mean, std)
    return F.instance_norm(x, eps=1e-5) * std[:, :, None, None] + mean[:, :, None, None]


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, *, act: str | None = None, **options: Any) -> Tensor:
    y = F.conv2d(x, weight, bias, **options)
    return F.leaky_relu(y, 0.2) if act == "lrelu" else y


def _upfirdn2d(x: Tensor, filter: Tensor, *, up: int = 1, down: int = 1, padding: Any = 0, gain: float = 1.0) -> Tensor:
    sides = (padding,) * 4 if isinstance(padding, int) else padding
    return upfirdn2d_eager(x, filter, up, down, sides) * gain
