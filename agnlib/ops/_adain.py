"""Adaptive instance normalisation: one picture's feature statistics replaced by given ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["adain", "adain_reference"]

_ACTIVATIONS = (None, "lrelu", "relu")


def adain(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    statistics: tuple[Tensor, Tensor] | None = None,
    act: str | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each picture and give it a new mean and deviation: `std * (x - mu) / sigma + mean`.

    Paper: Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization", ICCV 2017.

    Args:
        x: features `(B, C, H, W)`.
        mean: new mean per picture and channel, `(B, C)`.
        std: new deviation per picture and channel, `(B, C)`.
        statistics: `(mu, var)`, both `(B, C)`, to use instead of those of `x`: for tiles and for video.
        act: activation applied to the result: None, "lrelu" (slope 0.2) or "relu".
        eps: added to the (biased) variance.

    Returns:
        Features `(B, C, H, W)`, of the dtype of `x`.

    Raises:
        InputError: a rank, shape or activation that does not fit; the message names the argument.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 8, 8)
        >>> y = adain(x, torch.full((2, 3), 5.0), torch.full((2, 3), 0.5))
        >>> bool((y.mean((2, 3)) - 5).abs().max() < 1e-4)
        True
    """
    _check(x, mean, std, statistics, act)
    if statistics is not None or x.shape[2] * x.shape[3] < 2:
        y = adain_reference(x, mean, std, statistics=statistics, eps=eps)
    elif x.shape[0] == 1:
        y = F.group_norm(x, x.shape[1], std[0], mean[0], eps)  # one pass: statistics, scale and shift together
    else:
        normal = F.group_norm(x, x.shape[1], None, None, eps)
        y = torch.addcmul(mean[:, :, None, None], normal, std[:, :, None, None])
    return _activate(y, act)


def adain_reference(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    statistics: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The specification of `adain`, without the activation."""
    if statistics is None:
        mu = x.mean((2, 3))
        var = x.var((2, 3), correction=0)
    else:
        mu, var = statistics
    scale = std * (var + eps).rsqrt()
    return torch.addcmul((mean - mu * scale)[:, :, None, None], x, scale[:, :, None, None])


def _activate(x: Tensor, act: str | None) -> Tensor:
    """In place: `x` is ours, and writing a second map of this size costs as much as computing it."""
    if act == "lrelu":
        return F.leaky_relu_(x, 0.2)
    if act == "relu":
        return F.relu_(x)
    return x


def _check(x: Tensor, mean: Tensor, std: Tensor, statistics: tuple[Tensor, Tensor] | None, act: str | None) -> None:
    if x.ndim != 4:
        raise InputError(f"adain: x has {x.ndim} dimensions {tuple(x.shape)}; expected 4, (B, C, H, W)")
    named = {"mean": mean, "std": std}
    if statistics is not None:
        named |= {"statistics[0]": statistics[0], "statistics[1]": statistics[1]}
    for name, value in named.items():
        if value.shape != x.shape[:2]:
            raise InputError(f"adain: {name} has shape {tuple(value.shape)}; expected (B, C) = {tuple(x.shape[:2])}")
    if act not in _ACTIVATIONS:
        raise InputError(f"adain: act is {act!r}; expected one of {_ACTIVATIONS}")
