"""A style code that takes the photo into account: one palette asks for other things of a night than of snow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.layers.window import current_window
from agnlib.ops import moments

__all__ = ["ContentAdapter"]

_EPS = 1e-5


class ContentAdapter(nn.Module):
    """Moves a style code by what a photo's features are like as a whole, as a step of refinement would.

    A code that is refined for one photo by gradient descent paints it closer to the reference than other photos; this
    learns part of that step. It begins as a small one.
    Paper: after the amortised inference of Marino et al., "Iterative amortized inference", ICML 2018.

    Args:
        channels: of the features.
        style_dim: of the code.
        hidden: units between.

    Shapes:
        features `(B, channels, H, W)`, codes `(B, style_dim)` or `(B, R, style_dim)` -> as the codes.

    Example:
        >>> layer, code = ContentAdapter(4, 8), torch.randn(2, 8)
        >>> layer(torch.randn(2, 4, 6, 6), code).shape
        torch.Size([2, 8])
    """

    def __init__(self, channels: int, style_dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.from_mean = nn.Linear(channels, hidden, dtype=torch.float32)
        self.from_std = nn.Linear(channels, hidden, bias=False, dtype=torch.float32)
        self.from_code = nn.Linear(style_dim, hidden, bias=False, dtype=torch.float32)
        self.step = nn.Linear(hidden, style_dim, dtype=torch.float32)
        for layer in (self.from_mean, self.from_std):  # an encoder's features are some ten times a code's numbers
            nn.init.normal_(layer.weight, std=0.1 / channels**0.5)
        nn.init.normal_(self.step.weight, std=0.1 / hidden**0.5)
        nn.init.zeros_(self.step.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        mean, var = self._moments(x)
        of_photo = self.from_mean(mean) + self.from_std((var + _EPS).sqrt())
        if code.ndim == 3:
            of_photo = of_photo[:, None]
        moved: Tensor = code + self.step(F.leaky_relu(of_photo + self.from_code(code), 0.2))
        return moved

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the whole picture, where this is a window of one."""
        window = current_window()
        if window is None:
            found = moments(x)
        else:
            if self not in window.statistics:
                window.statistics[self] = moments(x)
            found = window.statistics[self]
        return found[0].to(self.step.weight.dtype), found[1].to(self.step.weight.dtype)
