"""The painting network as a graph for other runtimes: a window of a picture, and what it must know of the whole.

A picture comes in with its margin, so that no padding is in the graph. Noise, the features of a seed and the masks of
regions, which depend on where a window lies, come in as maps that PyTorch has cut; statistics are given, measured, or
each picture's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.engines._layout import Layout, paint
from agnlib.layers import Regions, Window
from agnlib.models import Generator
from agnlib.ops import adain

__all__ = ["Graph", "Variant"]

_EPS = 1e-5  # as in `agnlib.ops.adain`
_SLOPE = 0.2

Statistics = Literal["own", "measured", "given"]


@dataclass(frozen=True)
class Variant:
    """What one graph is for.

    Args:
        statistics: "own" of each picture; "measured" likewise, mixed with those of frames before, and handed out;
            "given", those of the whole picture.
        regions: whether there are several styles, with masks.
        seed: whether a latent varies the painting.
    """

    statistics: Statistics = "own"
    regions: bool = False
    seed: bool = False

    def __str__(self) -> str:
        return "-".join([self.statistics, *(["regions"] if self.regions else []), *(["seed"] if self.seed else [])])

    @property
    def about(self) -> str:
        """For people."""
        what = {"own": "pictures", "measured": "measuring", "given": "windows"}[self.statistics]
        return what + (" with regions" if self.regions else "") + (" and seeds" if self.seed else "")


class Graph(nn.Module):
    """A generator's work on a window, all that it must know of the whole being inputs.

    Its inputs, of which `names` says which there are, and in which order:

    - `image` `(B, 3, H, W)` in [-1, 1], with its margin; sides are multiples of the stride
    - `style` `(B, style_dim)`, or with regions `(B, R, style_dim)`
    - `noise_I` `(1, 1, h, w)`, for each layer that adds noise
    - `seed` `(B, C, h, w)`, what the deepest features get added
    - `masks_S` `(1, R, H / S, W / S)`, for each scale S
    - `statistics` `(B, 2, N)`, means and variances of all layers' channels
    - `share` `(B, B)`, of each frame's own statistics in those of each, and `before` `(B, 2, N)`, what is added

    Its outputs are the painting `(B, 3, H, W)` and, where they are measured, the statistics `(B, 2, N)`.
    """

    def __init__(self, generator: Generator, layout: Layout, variant: Variant) -> None:
        super().__init__()
        self.generator, self.layout, self.variant = generator, layout, variant
        self._given = _Given()
        for name in layout.noises:
            cast("Any", generator.get_submodule(name))._cut = _Reader(self._given, f"noise_{name}")
        cast("Any", generator)._seed_features = _Reader(self._given, "seed")

    @cached_property
    def names(self) -> list[str]:
        """Of the inputs."""
        names = ["image", "style", *(f"noise_{name}" for name in self.layout.noises)]
        names += ["seed"] if self.variant.seed else []
        names += [f"masks_{scale}" for scale in self.layout.scales] if self.variant.regions else []
        return names + {"own": [], "measured": ["share", "before"], "given": ["statistics"]}[self.variant.statistics]

    def shape_of(self, name: str) -> tuple[int | tuple[str, int], ...]:
        """An input's sides: a number, or which it is, and for rows and columns pixels to a cell."""
        kind, _, which = name.partition("_")
        style_dim, batch = self.generator.config.style_dim, ("batch", 1)
        scale = self.layout.noises[which] if kind == "noise" else int(which or 1) if kind == "masks" else 1
        field = (("rows", scale), ("columns", scale))
        if kind == "style":
            return (batch, ("regions", 1), style_dim) if self.variant.regions else (batch, style_dim)
        if kind == "seed":
            deepest = self.generator.stride
            return (batch, self.generator.config.channels[2], ("rows", deepest), ("columns", deepest))
        shapes: dict[str, tuple[int | tuple[str, int], ...]] = {
            "image": (batch, 3, *field),
            "noise": (1, 1, *field),
            "masks": (1, ("regions", 1), *field),
            "share": (batch, batch),
            "before": (batch, 2, self.layout.width),
            "statistics": (batch, 2, self.layout.width),
        }
        return shapes[kind]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, inputs, strict=True))
        self._given.inputs = given
        window = self._window(given)
        style = given["style"][:, 0] if self.variant.regions else given["style"]
        with window.entered():
            painted = paint(self.generator, given["image"], style, seed=self.variant.seed)
        self._given.inputs = {}
        if self.variant.statistics != "measured":
            return (painted,)
        return painted, torch.cat([torch.stack(pair, dim=1) for pair in window.statistics.values()], dim=2)

    def _window(self, given: Mapping[str, Tensor]) -> Window:
        regions = None
        if self.variant.regions:
            maps = [given[f"masks_{scale}"] for scale in self.layout.scales]
            regions = _MaskedRegions(given["style"], maps[0], maps)
        statistics = {} if (own := self.variant.statistics == "own") else self._statistics(given)
        return _GraphWindow(statistics, regions=regions, affines=_Affines(self._layers), own=own)

    def _statistics(self, given: Mapping[str, Tensor]) -> dict[nn.Module, tuple[Tensor, Tensor]]:
        known = given["before" if self.variant.statistics == "measured" else "statistics"]
        parts = torch.split(known, list(self.layout.measuring.values()), dim=2)
        pairs = {layer: (part[:, 0], part[:, 1]) for layer, part in zip(self._layers, parts, strict=True)}
        return pairs if self.variant.statistics == "given" else _Mixed(given["share"], pairs)

    @property
    def _layers(self) -> list[nn.Module]:
        return [self.generator.get_submodule(name) for name in self.layout.measuring]


@dataclass
class _Given:
    """The inputs while the graph is traced: an object, as tensors in a module's own dict are taken for weights."""

    inputs: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reader:
    """A method's place taken by an input of the graph."""

    given: _Given
    name: str

    def __call__(self, *_: Any) -> Tensor:
        return self.given.inputs[self.name]


class _Mixed(dict[nn.Module, tuple[Tensor, Tensor]]):
    """Statistics that are mixed with others as they are noted."""

    def __init__(self, share: Tensor, before: Mapping[nn.Module, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self._share, self._before = share, before

    def __setitem__(self, layer: nn.Module, measured: tuple[Tensor, Tensor]) -> None:
        mu, var = (self._share @ each + old for each, old in zip(measured, self._before[layer], strict=True))
        super().__setitem__(layer, (mu, var))


@dataclass(frozen=True)
class _MaskedRegions(Regions):
    """Regions whose masks are there at each scale."""

    maps: Sequence[Tensor] = ()

    def at(self, size: tuple[int, int]) -> Tensor:
        return next(each for each in self.maps if each.shape[2] == size[0])

    def spread(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        masks = self.at(size)
        return (values.mT @ masks.flatten(2)).reshape(values.shape[0], -1, *masks.shape[2:])


class _Affines:
    """The layers' maps of a code as one map: a runtime's threads wait for each other at each, however small it is."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        affines = (getattr(layer, "affine", None) for layer in layers)
        self._affines = [each for each in affines if isinstance(each, nn.Linear) and each.bias is not None]
        self._codes: Tensor | None = None
        self._found: dict[nn.Module, Tensor] = {}

    def __call__(self, affine: nn.Module, codes: Tensor) -> Tensor:
        if self._codes is None:
            self._codes = codes
            weight = torch.cat([each.weight for each in self._affines])
            everything = F.linear(codes, weight, torch.cat([each.bias for each in self._affines]))
            parts = torch.split(everything, [each.out_features for each in self._affines], dim=-1)
            self._found.update(zip(self._affines, parts, strict=True))
        found: Tensor = self._found[affine] if codes is self._codes and affine in self._found else affine(codes)
        return found


@dataclass(frozen=True)
class _GraphWindow(Window):
    """A window whose arithmetic is what other runtimes fuse: one product and one sum for each value."""

    affines: _Affines = field(kw_only=True)
    own: bool = field(kw_only=True)

    def modulate(self, layer: nn.Module, affine: nn.Module, x: Tensor, style: Tensor, act: str | None) -> Tensor:
        codes = style if self.regions is None else self.regions.codes
        mean, std = self.affines(affine, codes).chunk(2, dim=-1)
        if self.own:
            return adain(x, mean, std, act=act)
        if layer not in self.statistics:
            self.statistics[layer] = _moments(x)
        mu, var = (each if self.regions is None else each[:, None] for each in self.statistics[layer])
        scale = std * (var + _EPS).rsqrt()
        size = (x.shape[2], x.shape[3])
        scales, shifts = (self._spread(each, size) for each in (scale, mean - mu * scale))
        y = x * scales + shifts
        return F.relu(y) if act == "relu" else F.leaky_relu(y, _SLOPE) if act == "lrelu" else y

    def _spread(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        return values[:, :, None, None] if self.regions is None else self.regions.spread(values, size)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mu = x.mean((2, 3), keepdim=True)
    return mu[:, :, 0, 0], (x - mu).square().mean((2, 3))
