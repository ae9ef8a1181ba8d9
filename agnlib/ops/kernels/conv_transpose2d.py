"""`conv_transpose2d`: each phase of the result is a convolution of its own; no inserted zero is ever multiplied."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from torch import Tensor

from agnlib.ops.kernels.conv2d import Axis, launch, result

__all__ = ["conv_transpose2d", "deconvolution_axes"]


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
    act: str,
    gain: float,
) -> Tensor:
    """See `agnlib.ops.conv_transpose2d`."""
    sizes, phases = deconvolution_axes(x, weight, stride, padding, output_padding, dilation)
    y = result(x, weight.shape[1] * groups, *sizes)
    for axes in phases:
        launch(x, weight, bias, y, axes, groups, act=act, gain=gain, transposed=True)
    return y


def deconvolution_axes(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], list[tuple[Axis, Axis]]]:
    """The size of the result, and the axes of each of its phases."""
    sizes, axes = [], []
    for i in (0, 1):
        reach = dilation[i] * (weight.shape[2 + i] - 1) + 1
        size = (x.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + reach + output_padding[i]
        sizes.append(size)
        axes.append(
            [_phase(r, size, weight.shape[2 + i], stride[i], padding[i], dilation[i]) for r in range(stride[i])]
        )
    return (sizes[0], sizes[1]), [(vertical, horizontal) for vertical in axes[0] for horizontal in axes[1]]


def _phase(phase: int, size: int, taps: int, stride: int, padding: int, dilation: int) -> Axis:
    """Cells phase, phase + stride, ...: tap t reaches them where `stride` divides phase + padding - t * dilation.

    Those taps are `first`, `first + next`, ...; the input moves against them.
    """
    cells = max(0, -(-(size - phase) // stride))
    step = stride // gcd(stride, dilation)
    first = next((t for t in range(min(step, taps)) if (phase + padding - t * dilation) % stride == 0), None)
    if first is None:
        return Axis(cells, 0, 1, 0, 0, 0, 0, stride, phase)
    count = (taps - 1 - first) // step + 1
    start = (phase + padding - first * dilation) // stride
    return Axis(cells, start, 1, -(step * dilation) // stride, first, step, count, stride, phase)
