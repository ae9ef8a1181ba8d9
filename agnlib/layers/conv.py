"""Convolutions over `agnlib.ops.conv2d`: torch's own layer, and with equalized learning rates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.ops import bias_act, conv2d

__all__ = ["Conv2d", "EqualizedConv2d", "EqualizedLinear"]


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` by `agnlib.ops.conv2d`, with the activation in the same op; the same options, the same weights.

    Args:
        channels: in.
        out_channels: out.
        kernel: size of the kernel.
        stride: of the windows.
        padding: zeros at each border.
        groups: the channels fall into so many parts.
        bias: whether there is one.
        act: an activation of `agnlib.ops.bias_act`, or None.

    Shapes:
        `(B, channels, H, W)` -> `(B, out_channels, (H + 2 * padding - kernel) // stride + 1, ...)`.

    Example:
        >>> Conv2d(3, 8, 3, padding=1, act="lrelu")(torch.randn(2, 3, 6, 6)).shape
        torch.Size([2, 8, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        act: str | None = None,
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride, padding, 1, groups, bias, dtype=torch.float32)
        self.act = act
        self._geometry = {"stride": stride, "padding": padding, "groups": groups}

    def forward(self, x: Tensor) -> Tensor:
        return self._convolved(x, self.weight, **self._geometry)

    def _convolved(self, x: Tensor, weight: Tensor, **geometry: int) -> Tensor:
        return conv2d(x, weight, self.bias, **geometry, act=self.act)


class EqualizedConv2d(nn.Module):
    """A convolution whose weight is drawn from N(0, 1) and scaled in use: every layer then learns at the same speed.

    Paper: Karras et al., "Progressive growing of GANs", ICLR 2018, section 4.1.

    Args:
        channels: in.
        out_channels: out.
        kernel: size of the kernel.
        stride: of the windows.
        padding: zeros at each border.
        bias: whether there is one; it starts at zero.
        act: an activation of `agnlib.ops.bias_act`, or None.
        gain: factor after the activation.

    Shapes:
        `(B, channels, H, W)` -> `(B, out_channels, (H + 2 * padding - kernel) // stride + 1, ...)`.

    Example:
        >>> EqualizedConv2d(3, 8, 3, padding=1, act="lrelu", gain=2**0.5)(torch.randn(2, 3, 6, 6)).shape
        torch.Size([2, 8, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        act: str | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.act, self.gain = stride, padding, act, gain
        self.weight = nn.Parameter(torch.randn(out_channels, channels, kernel, kernel, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(out_channels, dtype=torch.float32)) if bias else None
        self.scale = (channels * kernel**2) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        options = {"stride": self.stride, "padding": self.padding}
        return conv2d(x, weight, self.bias, **options, act=self.act, gain=self.gain)


class EqualizedLinear(nn.Module):
    """A linear map whose weight is drawn from N(0, 1) and scaled in use: every layer then learns at the same speed.

    Papers: Karras et al., "Progressive growing of GANs", ICLR 2018, section 4.1; "A style-based generator architecture
    for generative adversarial networks", CVPR 2019 (`speed`: the mapping network learns at a hundredth).

    Args:
        features: in.
        out_features: out.
        bias: what the biases start at; None for no bias.
        act: an activation of `agnlib.ops.bias_act`, or None.
        gain: factor after the activation.
        speed: how fast it learns relative to other layers, above 0.

    Shapes:
        `(B, features)` -> `(B, out_features)`.

    Raises:
        InputError: a speed that is not above 0.

    Example:
        >>> EqualizedLinear(8, 4, act="lrelu", gain=2**0.5)(torch.randn(2, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        features: int,
        out_features: int,
        *,
        bias: float | None = 0.0,
        act: str | None = None,
        gain: float = 1.0,
        speed: float = 1.0,
    ) -> None:
        super().__init__()
        if not speed > 0:
            raise InputError(f"EqualizedLinear: speed is {speed}; expected a number above 0")
        self.act, self.gain, self.speed = act, gain, speed
        self.weight = nn.Parameter(torch.randn(out_features, features, dtype=torch.float32) / speed)
        self.bias = (
            None if bias is None else nn.Parameter(torch.full((out_features,), bias / speed, dtype=torch.float32))
        )
        self.scale = speed * features**-0.5

    def forward(self, x: Tensor) -> Tensor:
        y = x @ (self.weight * self.scale).t()
        bias = None if self.bias is None else self.bias * self.speed
        return bias_act(y, bias, act=self.act or "linear", gain=self.gain)
