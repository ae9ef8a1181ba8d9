"""What benchmarks/ops/bench_ops.py measures: calls with the shapes of the shipped generator and of training.

A file that registers cases of further ops calls `register`; bench_ops.py imports it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode

from agnlib.ops import adain, bias_act, fir_filter, upfirdn2d

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """One op on one shape: ours, and what a person would write in PyTorch without it."""

    op: str
    where: str  # "generator 1024", "training", "goal"
    shape: tuple[int, ...]
    layout: str  # "contiguous" or "channels_last"
    ours: Function
    eager: Function
    inputs: Callable[[Tensor], tuple[Tensor, ...]]  # from the map to all arguments
    moved: Callable[[int, int], float]  # from elements in and out to elements that must be read and written at least
    flops: float = 0.0  # of a convolution; 0 where memory is the limit

    @property
    def name(self) -> str:
        """One line of the table."""
        return f"{self.op} {'x'.join(map(str, self.shape))} {self.layout}"


_REGISTRY: list[Callable[[], Iterator[Case]]] = []


def register(cases: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
    """Add a function that yields cases."""
    _REGISTRY.append(cases)
    return cases


def all_cases() -> list[Case]:
    """Every registered case."""
    return [case for cases in _REGISTRY for case in cases()]


def adain_eager(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """instance_norm, modulation, leaky ReLU."""
    return F.leaky_relu(F.instance_norm(x, eps=1e-5) * std[:, :, None, None] + mean[:, :, None, None], 0.2)


def bias_act_eager(x: Tensor, bias: Tensor) -> Tensor:
    """Bias, leaky ReLU, gain."""
    return F.leaky_relu(x + bias[:, None, None], 0.2) * 2**0.5


def upfirdn2d_eager(x: Tensor, filter: Tensor, up: int, down: int, padding: tuple[int, int, int, int]) -> Tensor:
    """Zeros between the samples, padding, a depthwise convolution, slicing."""
    b, c, h, w = x.shape
    if up > 1:
        spread = x.new_zeros(b, c, h, up, w, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(b, c, h * up, w * up)
    kernel = (filter[:, None] * filter).flip((0, 1)).to(x.dtype)
    y = F.conv2d(F.pad(x, padding), kernel.expand(c, 1, *kernel.shape), groups=c)
    return y[:, :, ::down, ::down]


def _maps(where: dict[str, tuple[tuple[int, ...], ...]]) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """The generator works in channels_last; what stands for other people's networks comes in both formats."""
    for name, shapes in where.items():
        for shape in shapes:
            for layout in ("channels_last",) if name.startswith("generator") else ("contiguous", "channels_last"):
                yield name, shape, layout


def generator_shapes(side: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """The maps that the shipped generator hands to adain for a picture of that size; it runs without numbers."""
    from agnlib.models import Generator
    from agnlib.models.pretrained import available, load
    from agnlib.ops import _adain

    generator = load(available()[0]).generator.eval()
    assert isinstance(generator, Generator)
    found: list[tuple[int, ...]] = []
    check, _adain._check = _adain._check, lambda x, *_: found.append(tuple(x.shape))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            generator(None, torch.empty(1, generator.config.style_dim), content=torch.empty(1, 3, *side))
    finally:
        _adain._check = check
    return tuple(dict.fromkeys(found))


@functools.cache
def _places() -> dict[str, tuple[tuple[int, ...], ...]]:
    return {
        "goal": ((1, 32, 1024, 1024),),
        "generator 256": generator_shapes((256, 256)),
        "generator 1024": generator_shapes((1024, 1024)),
        "generator 4K": generator_shapes((2160, 3840)),
        "training": tuple((8, *shape[1:]) for shape in generator_shapes((128, 128))),
    }


@register
def _adain_cases() -> Iterator[Case]:
    def inputs(x: Tensor) -> tuple[Tensor, ...]:
        return (x, *(torch.randn(x.shape[:2], device=x.device).to(x.dtype) for _ in range(2)))

    for where, shape, layout in _maps(_places()):
        yield Case(
            "adain", where, shape, layout, lambda x, m, s: adain(x, m, s, act="lrelu"), adain_eager, inputs,
            lambda read, written: 2 * read + written,
        )  # fmt: skip


@register
def _bias_act_cases() -> Iterator[Case]:
    def inputs(x: Tensor) -> tuple[Tensor, ...]:
        return x, torch.randn(x.shape[1], device=x.device).to(x.dtype)

    for where, shape, layout in _maps({k: v[-1:] for k, v in _places().items()}):
        yield Case(
            "bias_act", where, shape, layout, bias_act, bias_act_eager, inputs, lambda read, written: read + written
        )


@register
def _upfirdn2d_cases() -> Iterator[Case]:
    forms: tuple[tuple[str, list[int], dict[str, Any]], ...] = (
        ("up 2", [1, 3, 3, 1], {"up": 2, "down": 1, "padding": (2, 1, 2, 1)}),
        ("down 2", [1, 3, 3, 1], {"up": 1, "down": 2, "padding": (1, 1, 1, 1)}),
        ("blur", [1, 2, 1], {"up": 1, "down": 1, "padding": (0, 0, 0, 0)}),
    )
    places: dict[str, dict[str, tuple[tuple[int, ...], ...]]] = {
        "up 2": {"goal": ((1, 32, 512, 512),), "training": ((8, 64, 64, 64),)},
        "down 2": {"goal": ((1, 32, 1024, 1024),), "training": ((8, 64, 64, 64),)},
        "blur": {
            "goal": ((1, 64, 256, 256),),
            "generator 256": ((1, 3, 274, 274),),
            "generator 1024": ((1, 3, 1042, 1042),),
            "generator 4K": ((1, 3, 2178, 3858),),
            "training": ((8, 3, 146, 146),),
        },
    }
    for form, taps, options in forms:

        def inputs(x: Tensor, taps: list[int] = taps) -> tuple[Tensor, ...]:
            return x, fir_filter(taps).to(x.device)

        def ours(x: Tensor, filter: Tensor, options: dict[str, Any] = options) -> Tensor:
            return upfirdn2d(x, filter, **options)

        def eager(x: Tensor, filter: Tensor, options: dict[str, Any] = options) -> Tensor:
            return upfirdn2d_eager(x, filter, **options)

        for where, shape, layout in _maps(places[form]):
            yield Case(
                f"upfirdn2d {form}", where, shape, layout, ours, eager, inputs,
                lambda read, written: read + written,
            )  # fmt: skip
