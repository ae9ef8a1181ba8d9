"""How far a result may be from the truth: what the ops promise, measured against PyTorch's own error."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_accurate(ours: Tensor, theirs: Tensor, exact: Tensor, *, factor: float = 2, size: float = 1.0) -> None:
    """The error of `ours` is at most `factor` times that of `theirs`, or as many units in the last place.

    Args:
        ours: the result.
        theirs: PyTorch's own implementation's, in the dtype of `ours`.
        exact: the same in float64.
        factor: 2 for results, 3 for derivatives.
        size: how many times larger than the result the numbers are that it is the difference of: a unit in the last
            place of theirs is lost whoever computes it.
    """
    assert ours.shape == exact.shape
    ours, theirs, exact = ours.detach(), theirs.detach(), exact.detach()
    if exact.numel() == 0:
        return
    scale = exact.abs().max()
    ulp = scale * torch.finfo(ours.dtype).eps
    allowed = max(factor * float((theirs.double() - exact).abs().max()), factor * size * float(ulp))
    error = float((ours.double() - exact).abs().max())
    assert error <= allowed


def stored(x: Tensor, layout: str) -> Tensor:
    """The same values, stored as "contiguous", "channels_last" or "strided"."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        return torch.stack([x, x], -1)[..., 0]
    return x.contiguous()


LAYOUTS = ("contiguous", "channels_last", "strided")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
