"""Noise that becomes strokes: flat parts of a photo give the network nothing to make them of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnlib.layers.window import current_window

__all__ = ["CanvasNoise"]


class CanvasNoise(nn.Module):
    """Adds noise, the same for all channels and weighed for each; what becomes of it is the next blocks' work.

    With a `style_dim` the style code says how much of it each channel gets, and can turn it off.

    In eval mode it is a fixed canvas, repeated to any size, so that the same photo in the same style is always the same
    picture. While training each picture gets white noise, drawn anew from torch's global generator, or with a `slope`
    another place of the canvas.
    Paper: Karras et al., "A style-based generator architecture for generative adversarial networks", CVPR 2019.

    Args:
        channels: of the features.
        style_dim: of the code; None for noise that is the same in every style.
        side: of the canvas, in cells.
        seed: of the canvas.
        slope: how fast the canvas' amplitude falls with frequency: 0 is white noise, 1 clouds and grain alike ("pink").

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` or None -> as the first; without gradients that is changed in place.

    Example:
        >>> layer = CanvasNoise(4).eval()
        >>> torch.equal(layer(torch.zeros(1, 4, 8, 8)), layer(torch.zeros(1, 4, 8, 8)))
        True
    """

    canvas: Tensor

    def __init__(
        self, channels: int, style_dim: int | None = None, *, side: int = 128, seed: int = 0, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.slope = slope
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.1, dtype=torch.float32))
        self.by_style = None if style_dim is None else nn.Linear(style_dim, channels, dtype=torch.float32)
        if self.by_style is not None:  # at first every style has the same
            nn.init.zeros_(self.by_style.weight)
            nn.init.zeros_(self.by_style.bias)
        white = torch.randn(
            side, side, generator=torch.Generator().manual_seed(seed), device="cpu", dtype=torch.float32
        )
        self.register_buffer("canvas", _tilted(white, slope).to(self.gain.device), persistent=False)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        height, width = x.shape[2:]
        if self.training and self.slope == 0:
            noise = torch.randn(len(x), 1, height, width, device=x.device, dtype=x.dtype)
        elif self.training:
            top, left = torch.randint(len(self.canvas), (2, len(x), 1), device=x.device)
            noise = self._cut(top, left, height, width)[:, None].to(x.dtype)
        else:
            window = current_window()
            top, left = (0, 0) if window is None else window.cell(height)
            noise = self._cut(top, left, height, width).to(x.dtype)
        gain = self._gain(style, (height, width)).to(x.dtype)
        return torch.addcmul(x, noise, gain) if torch.is_grad_enabled() else x.addcmul_(noise, gain)

    def _gain(self, style: Tensor | None, size: tuple[int, int]) -> Tensor:
        if self.by_style is None or style is None:
            return self.gain
        window = current_window()
        if window is not None and window.regions is not None:
            return self.gain * (1 + window.regions.spread(self.by_style(window.regions.codes), size))
        gain: Tensor = self.gain * (1 + self.by_style(style)[:, :, None, None])
        return gain

    def _cut(self, top: int | Tensor, left: int | Tensor, height: int, width: int) -> Tensor:
        """The canvas from a corner on, `(height, width)`, or `(B, height, width)` from corners of `(B, 1)`."""
        rows = (top + torch.arange(height, device=self.canvas.device)) % len(self.canvas)
        columns = (left + torch.arange(width, device=self.canvas.device)) % len(self.canvas)
        return self.canvas[rows[..., :, None], columns[..., None, :]]


def _tilted(noise: Tensor, slope: float) -> Tensor:
    """The noise with its spectrum's amplitude times frequency ** -slope, of mean 0 and deviation 1; it still tiles."""
    if slope == 0:
        return noise
    frequency = torch.fft.fftfreq(len(noise), device="cpu", dtype=torch.float32)
    radius = torch.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = torch.inf  # no mean
    tilted: Tensor = torch.fft.ifft2(torch.fft.fft2(noise) * radius**-slope).real
    return tilted / tilted.std()
