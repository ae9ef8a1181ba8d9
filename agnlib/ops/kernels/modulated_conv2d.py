"""`modulated_conv2d`: the convolution's kernel, with a scale per picture and channel before and behind it."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from agnlib.ops.kernels.conv2d import convolution_axes, launch, result
from agnlib.ops.kernels.conv_transpose2d import deconvolution_axes

__all__ = ["modulated_conv2d", "modulated_conv_transpose2d"]


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    scale_in: Tensor | None,
    scale_out: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    """See `agnlib.ops._modulated_conv2d.scaled_conv2d_reference`."""
    axes = convolution_axes(x, weight, stride, padding, (1, 1))
    y = result(x, weight.shape[0], axes[0].cells, axes[1].cells)
    launch(x, weight, None, y, axes, 1, scale_in=_flat(scale_in), scale_out=_flat(scale_out))
    return y


def modulated_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    scale_in: Tensor | None,
    scale_out: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
) -> Tensor:
    """See `agnlib.ops._modulated_conv2d.scaled_conv_transpose2d_reference`."""
    sizes, phases = deconvolution_axes(x, weight, stride, padding, output_padding, (1, 1))
    y = result(x, weight.shape[1], *sizes)
    for axes in phases:
        launch(x, weight, None, y, axes, 1, transposed=True, scale_in=_flat(scale_in), scale_out=_flat(scale_out))
    return y


def _flat(scale: Tensor | None) -> Tensor | None:
    return None if scale is None else scale.float().contiguous()
