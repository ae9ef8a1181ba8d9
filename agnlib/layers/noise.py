"""Noise that becomes strokes: flat parts of a photo give the network nothing to make them of."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from agnlib.layers.window import current_window

__all__ = ["CanvasNoise"]

_LINE = 1 << 14  # cells of white noise from which rows are cut
_FLAT_BELOW = 1 / 128  # waves in a cell: below, amplitudes do not grow any more
_CUT = 1 / 16  # waves in a cell: what is below is left out


class CanvasNoise(nn.Module):
    """Adds noise, the same for all channels and weighed for each; what becomes of it is the next blocks' work.

    With a `style_dim` the style code says how much of it each channel gets, and can turn it off.

    In eval mode it is a fixed field, so that the same photo in the same style is always the same picture. In training
    each picture gets white noise, drawn anew from torch's global generator, or with a `slope` another place of the
    field.
    Paper: Karras et al., "A style-based generator architecture for generative adversarial networks", CVPR 2019.

    Args:
        channels: of the features.
        style_dim: of the code; None for noise that is the same in every style.
        side: cells after which the field repeats.
        seed: of the field.
        slope: how fast the field's amplitude falls with frequency: 0 is white noise, 1 clouds and grain alike ("pink").
            Waves of more than 16 cells are left out all the same: they would be patches of other colors in a sky.

    Shapes:
        `(B, channels, H, W)`, `(B, style_dim)` or None -> as the first; without gradients that is changed in place.

    Example:
        >>> layer = CanvasNoise(4).eval()
        >>> torch.equal(layer(torch.zeros(1, 4, 8, 8)), layer(torch.zeros(1, 4, 8, 8)))
        True
    """

    canvas: Tensor
    shifts: Tensor

    def __init__(
        self, channels: int, style_dim: int | None = None, *, side: int = 1024, seed: int = 0, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.side, self.slope = side, slope
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.1, dtype=torch.float32))
        self.by_style = None if style_dim is None else nn.Linear(style_dim, channels, dtype=torch.float32)
        if self.by_style is not None:  # at first every style has the same
            nn.init.zeros_(self.by_style.weight)
            nn.init.zeros_(self.by_style.bias)
        field = _tilted(side, seed, slope) if slope else _white_rows(side, seed)
        for name, values in field.items():
            self.register_buffer(name, values.to(self.gain.device), persistent=False)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        height, width = x.shape[2:]
        if self.training and self.slope == 0:
            noise = torch.randn(len(x), 1, height, width, device=x.device, dtype=x.dtype)
        elif self.training:
            top, left = torch.randint(self.side, (2, len(x), 1), device=x.device)
            noise = self._cut(top, left, height, width)[:, None].to(x.dtype)
        else:
            window = current_window()
            top, left = (0, 0) if window is None else window.canvas_cell(height)
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
        """The field from a corner on, `(height, width)`, or `(B, height, width)` from corners of `(B, 1)`."""
        rows = (top + torch.arange(height, device=self.canvas.device)) % self.side
        columns = (left + torch.arange(width, device=self.canvas.device)) % self.side
        if self.slope:
            return self.canvas[rows[..., :, None], columns[..., None, :]]
        return self.canvas[self.shifts[rows][..., :, None] + columns[..., None, :]]


def _white_rows(side: int, seed: int) -> dict[str, Tensor]:
    """A line of white noise, and where in it each row begins: no two rows are alike, and little is kept."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.randn(_LINE + side, generator=generator, device="cpu", dtype=torch.float32)
    return {"canvas": line, "shifts": torch.randint(_LINE, (side,), generator=generator, device="cpu")}


@cache
@torch.inference_mode(False)  # else it would be no tensor for training, for ever
def _tilted(side: int, seed: int, slope: float) -> dict[str, Tensor]:
    """Noise `(side, side)` whose amplitude goes with frequency ** -slope, up to waves of 16 cells; it tiles.

    Its deviation is that of noise with longer waves, up to 128 cells, before those are left out.
    """
    white = torch.randn(side, side, generator=torch.Generator().manual_seed(seed), device="cpu", dtype=torch.float32)
    rows, columns = (f(side, device="cpu", dtype=torch.float32) for f in (torch.fft.fftfreq, torch.fft.rfftfreq))
    radius = torch.hypot(rows[:, None], columns[None])
    amplitude = radius.clamp_min(_FLAT_BELOW) ** -slope
    amplitude[0, 0] = 0  # no mean
    waves = torch.fft.rfft2(white) * amplitude
    short = (radius / _CUT).pow(4)
    whole, cut = (torch.fft.irfft2(each, s=(side, side)) for each in (waves, waves * short / (1 + short)))
    return {"canvas": cut / whole.std()}
