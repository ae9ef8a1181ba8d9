"""What a discriminator is told about the batch as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnlib.errors import InputError

__all__ = ["MinibatchStdDev"]


class MinibatchStdDev(nn.Module):
    """Appends a channel that says how much the pictures of a group differ: few different pictures give a fake away.

    Paper: Karras et al., "Progressive growing of GANs", ICLR 2018, section 3.

    Args:
        group: pictures to a group; a batch that it does not divide uses the largest smaller number that does.

    Shapes:
        `(B, C, H, W)` -> `(B, C + 1, H, W)`.

    Raises:
        InputError: a group of less than 1.

    Example:
        >>> MinibatchStdDev()(torch.ones(4, 8, 2, 2))[:, 8].abs().max() < 1e-3
        tensor(True)
    """

    def __init__(self, *, group: int = 4) -> None:
        super().__init__()
        if group < 1:
            raise InputError(f"MinibatchStdDev: group is {group}; expected at least 1")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        size = next((n for n in range(min(self.group, batch), 0, -1) if batch % n == 0), 1)
        groups = x.float().reshape(size, batch // size, *x.shape[1:])  # a group's pictures lie batch / size apart
        deviation = (groups.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        channel = deviation.repeat(size)[:, None, None, None].to(x.dtype).expand(batch, 1, height, width)
        return torch.cat([x, channel], dim=1)
