"""What layers must know about the whole picture when they see a window of it: statistics, noise, regions of styles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.ops import adain, moments

__all__ = ["Regions", "Window", "current_window"]

# A context variable, not state of the modules: each thread has its own, so calls side by side do not see each other.
_CURRENT: ContextVar[Window | None] = ContextVar("agnlib_window", default=None)

_EPS = 1e-5  # as in `agnlib.ops.adain`


@dataclass(frozen=True)
class Regions:
    """A style code for each region of a picture, and how much of each region there is at each place.

    Attributes:
        codes: `(B, R, style_dim)`.
        masks: `(1, R, H, W)` of the picture that the network sees, margin included; they sum to 1 over R.
    """

    codes: Tensor
    masks: Tensor

    def at(self, size: tuple[int, int]) -> Tensor:
        """The masks reduced to the size of feature maps, `(1, R, h, w)`."""
        return F.adaptive_avg_pool2d(self.masks, size)

    def spread(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Values of each region `(B, R, C)` where it lies, `(B, C, h, w)`."""
        return torch.einsum("brc,rhw->bchw", values, self.at(size)[0].to(values.dtype))


@dataclass(frozen=True)
class Window:
    """A window of a larger picture, on its way through a network.

    While it is `entered`, `Modulation` normalizes by `statistics` instead of by what it sees, `CanvasNoise` takes its
    noise from where the window lies, and `regions` replace the style code that the network was called with. So a window
    becomes what it is within the whole, apart from what its own borders spoil. A layer that `statistics` does not know
    yet measures its input and is noted: one pass over the whole picture, reduced, fills them.

    Args:
        statistics: `(mu, var)`, both `(B, C)`, of each layer's input.
        origin: where the window begins in the picture, top and left, multiples of the network's stride.
        canvas: where the picture begins on the canvas of the noise, top and left, multiples of the network's stride.
        size: height and width of the window, margin included.
        whole: of the whole picture, margin included.
        regions: styles by place; None for the style code that the network was called with.

    Example:
        >>> from agnlib.layers import Modulation
        >>> layer, style, whole = Modulation(4, 8), torch.randn(1, 8), torch.randn(1, 4, 6, 6)
        >>> statistics = {}
        >>> with Window(statistics, size=(6, 6)).entered():
        ...     painted = layer(whole, style)
        >>> with Window(statistics, size=(3, 6)).entered():
        ...     torch.allclose(layer(whole[:, :, :3], style), painted[:, :, :3], atol=1e-5)
        True
    """

    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)
    canvas: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (1, 1)
    whole: tuple[int, int] = (1, 1)
    regions: Regions | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """For the calls inside the block, in this thread alone, the networks see this window."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def styled(self, codes: Tensor) -> Window:
        """The same window with other codes of its regions."""
        assert self.regions is not None
        return replace(self, regions=replace(self.regions, codes=codes))

    def cell(self, height: int) -> tuple[int, int]:
        """Where the window begins, in the cells of its feature maps, which are so high."""
        return self.origin[0] * height // self.size[0], self.origin[1] * height // self.size[0]

    def canvas_cell(self, height: int) -> tuple[int, int]:
        """Where the window begins on the canvas of the noise, in cells as of `cell`."""
        top, left = (one + other for one, other in zip(self.origin, self.canvas, strict=True))
        return top * height // self.size[0], left * height // self.size[0]

    def stretched(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Features stretched over the whole picture, of which this window, `(B, C, *size)`, is cut out."""
        top, left = self.cell(size[0])
        rows, columns = (
            _bilinear(old, whole * new // window, start, start + new).to(features.device, features.dtype)
            for old, whole, window, start, new in zip(
                features.shape[2:], self.whole, self.size, (top, left), size, strict=True
            )
        )
        return rows @ features @ columns.mT

    def modulate(self, layer: nn.Module, affine: nn.Module, x: Tensor, style: Tensor, act: str | None) -> Tensor:
        """What `layer` does to features `(B, C, H, W)`, by this window's statistics and regions."""
        if layer not in self.statistics:
            self.statistics[layer] = moments(x)
        mu, var = self.statistics[layer]
        if self.regions is None:
            mean, std = affine(style).to(x.dtype).chunk(2, dim=1)
            return adain(x, mean, std, statistics=(mu, var), act=act)
        mean, std = affine(self.regions.codes).chunk(2, dim=2)
        scale = std * (var + _EPS).rsqrt()[:, None]
        size = (x.shape[2], x.shape[3])
        scales, shifts = (self.regions.spread(each, size) for each in (scale, mean - mu[:, None] * scale))
        y = torch.addcmul(shifts, x, scales.to(x.dtype)).to(x.dtype)
        return y if act is None else {"lrelu": _leaky, "relu": F.relu_}[act](y)


def _bilinear(length: int, new_length: int, start: int, stop: int) -> Tensor:
    """What samples `start` to `stop - 1` of the new length take of each old one, as `F.interpolate` has it."""
    centers = (torch.arange(start, stop, dtype=torch.float64, device="cpu") + 0.5) * (length / new_length) - 0.5
    distances = torch.arange(length, device="cpu") - centers.clamp(0, length - 1)[:, None]
    return (1 - distances.abs()).clamp_min(0)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, 0.2)


def current_window() -> Window | None:
    """The window that was entered, or None."""
    return _CURRENT.get()
