"""The convolutions' cases for benchmarks/ops/bench_ops.py: the generator's layers, deconvolutions, styled ones."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode

from agnlib.ops import conv2d, conv_transpose2d, fir_filter, modulated_conv2d
from benchmarks.ops._ops_cases import Case, register

_LAYOUTS = ("contiguous", "channels_last")
_SLOPE = 0.2


def _product(read: int, written: int) -> float:
    return read + written


@functools.cache
def layers(side: tuple[int, int], batch: int = 1) -> tuple[tuple[tuple[int, ...], tuple[int, ...], int, int, int], ...]:
    """Input, weight, stride, padding and groups of the shipped generator's convolutions; it runs without numbers."""
    from agnlib.layers import Conv2d
    from agnlib.models.pretrained import available, load

    generator = load(available()[0]).generator.eval()
    found: dict[Any, None] = {}

    def note(module: Any, arguments: tuple[Tensor, ...]) -> None:
        geometry = (module.stride[0], module.padding[0], module.groups)
        found[(tuple(arguments[0].shape), tuple(module.weight.shape), *geometry)] = None

    handles = [m.register_forward_pre_hook(note) for m in generator.modules() if isinstance(m, Conv2d)]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            style = torch.empty(batch, generator.config.style_dim)
            generator(None, style, content=torch.empty(batch, 3, *side))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(found)


@register
def _conv2d_cases() -> Iterator[Case]:
    places = {
        "generator 256": layers((256, 256)),
        "generator 1024": layers((1024, 1024)),
        "generator 4K": layers((2160, 3840)),
        "training": layers((128, 128), 8),
    }
    for where, found in places.items():
        for shape, weight, stride, padding, groups in found:
            options: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}

            def inputs(x: Tensor, weight: tuple[int, ...] = weight) -> tuple[Tensor, ...]:
                kernel = torch.randn(weight, device=x.device) / (weight[1] * weight[2] * weight[3]) ** 0.5
                return x, kernel.to(x.dtype), torch.randn(weight[0], device=x.device).to(x.dtype)

            def ours(x: Tensor, w: Tensor, b: Tensor, options: dict[str, Any] = options) -> Tensor:
                return conv2d(x, w, b, **options, act="lrelu")

            def eager(x: Tensor, w: Tensor, b: Tensor, options: dict[str, Any] = options) -> Tensor:
                return F.leaky_relu(F.conv2d(x, w, b, **options), _SLOPE)

            cells = [(n + 2 * padding - k) // stride + 1 for n, k in zip(shape[2:], weight[2:], strict=True)]
            flops = 2.0 * shape[0] * cells[0] * cells[1] * torch.Size(weight).numel()
            kind = f"conv2d {weight[2]}x{weight[3]} to {weight[0]}" + (" depthwise" if groups > 1 else "")
            yield Case(kind, where, shape, "channels_last", ours, eager, inputs, _product, flops=flops)


@register
def _conv_transpose2d_cases() -> Iterator[Case]:
    for kernel, channels, side, where in (
        (4, 32, 512, "goal"), (2, 32, 512, "large"), (4, 64, 128, "middle"), (4, 128, 64, "small"),
    ):  # fmt: skip
        padding = (kernel - 2) // 2

        def inputs(x: Tensor, kernel: int = kernel) -> tuple[Tensor, ...]:
            c = x.shape[1]
            return x, (torch.randn(c, c, kernel, kernel, device=x.device) / (2 * c) ** 0.5).to(x.dtype)

        def ours(x: Tensor, w: Tensor, padding: int = padding) -> Tensor:
            return conv_transpose2d(x, w, stride=2, padding=padding)

        def eager(x: Tensor, w: Tensor, padding: int = padding) -> Tensor:
            return F.conv_transpose2d(x, w, stride=2, padding=padding)

        shape, flops = (1, channels, side, side), 2.0 * (channels * side * kernel) ** 2
        for layout in _LAYOUTS:
            kind = f"conv_transpose2d {kernel}x{kernel}"
            yield Case(kind, where, shape, layout, ours, eager, inputs, _product, flops=flops)


def _grouped(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """A weight for each picture, the pictures as groups."""
    own = weight * style[:, None, :, None, None]
    own = own * (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    joined = x.reshape(1, -1, *x.shape[2:])
    return F.conv2d(joined, own.flatten(0, 1), padding=1, groups=x.shape[0]).view(x.shape[0], -1, *x.shape[2:])


@register
def _modulated_conv2d_cases() -> Iterator[Case]:
    def inputs(x: Tensor) -> tuple[Tensor, ...]:
        c = x.shape[1]
        return (
            x,
            torch.randn(c, c, 3, 3, device=x.device).to(x.dtype),
            torch.rand(x.shape[:2], device=x.device).to(x.dtype),
        )

    def ours(x: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return modulated_conv2d(x, w, s, padding=1)

    for shape in ((1, 64, 64, 64), (4, 64, 64, 64), (16, 512, 8, 8)):
        flops = 18.0 * shape[0] * (shape[1] * shape[2]) ** 2
        for layout in _LAYOUTS:
            yield Case("modulated_conv2d", "training", shape, layout, ours, _grouped, inputs, _product, flops=flops)


@register
def _resampled_cases() -> Iterator[Case]:
    filter = fir_filter([1, 3, 3, 1])

    def inputs(x: Tensor) -> tuple[Tensor, ...]:
        return x, torch.randn(32, x.shape[1], 3, 3, device=x.device).to(x.dtype), filter.to(x.device)

    def ours(x: Tensor, w: Tensor, f: Tensor) -> Tensor:
        from agnlib.ops import conv2d_resample

        return conv2d_resample(x, w, filter=f, up=2, padding=1)

    def eager(x: Tensor, w: Tensor, f: Tensor) -> Tensor:
        from agnlib.ops import upfirdn2d

        return F.conv2d(upfirdn2d(x, f, up=2, padding=(3, 2, 3, 2), gain=4.0), w)

    for layout in _LAYOUTS:
        flops = 18.0 * 4 * 64 * 32 * 4 * 64 * 64
        yield Case(
            "conv2d_resample up 2", "training", (4, 64, 64, 64), layout, ours, eager, inputs, _product, flops=flops
        )
