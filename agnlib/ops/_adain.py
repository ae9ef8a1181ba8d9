"""Adaptive instance normalization: one picture's feature statistics replaced by given ones."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import check_companion, check_map, format_of, in_format_of, is_channels_last, narrowed, widened
from agnlib.ops._dispatch import choose, define, vjp
from agnlib.ops._exporting import is_exporting

__all__ = ["adain", "adain_reference", "moments"]

_ACTIVATIONS = (None, "lrelu", "relu")
_SLOPE = 0.2
_LONGEST = 4096  # numbers of which a plain float32 sum is still accurate
_FIRST_CACHE = 2**10  # sums that stay in it, with what they are of
_SMALL = 2**20  # elements of a batch that are quicker looked at together than picture by picture


def adain(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    statistics: tuple[Tensor, Tensor] | None = None,
    act: str | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each picture and give it a new mean and deviation: `std * (x - mu) / sigma + mean`.

    Paper: Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization", ICCV 2017.

    Args:
        x: features `(B, C, H, W)`.
        mean: new mean per picture and channel, `(B, C)`, of the dtype of `x` or float32.
        std: new deviation per picture and channel, likewise.
        statistics: `(mu, var)`, both `(B, C)`, to use instead of those of `x`: for tiles and for video.
        act: activation applied to the result: None, "lrelu" (slope 0.2) or "relu".
        eps: added to the (biased) variance.

    Returns:
        Features `(B, C, H, W)`, of the dtype of `x`.

    Raises:
        InputError: a rank, shape, dtype, device or activation that does not fit; the message names the argument.
        TypeError: an argument is no tensor.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 8, 8)
        >>> y = adain(x, torch.full((2, 3), 5.0), torch.full((2, 3), 0.5))
        >>> bool((y.mean((2, 3)) - 5).abs().max() < 1e-4)
        True
    """
    mu, var = (None, None) if statistics is None else statistics
    _check(x, mean, std, statistics, act)
    how = choose("adain", x, mean, std, mu, var)
    if how == "reference":
        exported = is_exporting() and mu is None and x.dtype in (torch.float32, torch.float64)
        return _exported(x, mean, std, act, eps) if exported else adain_reference(x, mean, std, mu, var, act, eps)
    if how == "triton":
        return _op(x, mean, std, mu, var, act or "linear", eps)[0]  # type: ignore[no-any-return]
    derived = torch.is_grad_enabled() and any(_needs_grad(x, mean, std, mu, var))
    if x.device.type != "cpu":
        return _anywhere(x, mean, std, mu, var, act, eps)
    run = _op if derived else _fastest
    return run(x, mean, std, mu, var, act or "linear", eps)[0]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The `statistics` of `adain`: mean and biased variance of each channel of each picture.

    Args:
        x: features `(B, C, H, W)`.

    Returns:
        Both `(B, C)`, of the dtype of `x`.

    Raises:
        InputError: `x` has another rank.

    Example:
        >>> import torch
        >>> mu, var = moments(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
        >>> mu.item(), var.item()
        (2.0, 1.0)
    """
    check_map("moments", "x", x)
    if x.requires_grad and torch.is_grad_enabled():
        var, mu = torch.var_mean(widened(x), (2, 3), correction=0)
        return narrowed(mu, x), narrowed(var, x)
    floats = (torch.float32, torch.float64, torch.bfloat16)
    quick = x.device.type == "cpu" and x.dtype in floats and x.numel() and x.shape[1] > 1
    if quick and not torch.compiler.is_compiling() and is_channels_last(x):  # a compiler fuses the plain form
        mu, var = _moments_in_channels_last(x)
        return narrowed(mu, x), narrowed(var, x)
    mu, var = _moments(widened(x))
    return narrowed(mu, x), narrowed(var, x)


def adain_reference(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    mu: Tensor | None = None,
    var: Tensor | None = None,
    act: str | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The specification of `adain`, in float32 or wider."""
    wide = widened(x)
    if mu is None or var is None:
        mu, var = _moments(wide)
    scale = widened(std) * (widened(var) + eps).rsqrt()
    y = (wide - _map(widened(mu))) * _map(scale) + _map(widened(mean))
    if act == "lrelu":
        y = F.leaky_relu(y, _SLOPE)
    elif act == "relu":
        y = F.relu(y)
    return narrowed(y, x)


def adain_with_statistics(
    x: Tensor, mean: Tensor, std: Tensor, mu: Tensor | None, var: Tensor | None, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The op: the result, and the mean and `1 / sigma` that it was made with, which have no derivative here."""
    wide = widened(x)
    if mu is None or var is None:
        mu, var = _moments(wide)
    y = adain_reference(x, mean, std, mu, var, act, eps)
    return in_format_of(x, y), mu.to(wide.dtype, copy=True), (var.to(wide.dtype) + eps).rsqrt()


def adain_backward_reference(
    grad: Tensor,
    x: Tensor,
    y: Tensor | None,
    std: Tensor,
    mu: Tensor,
    rsigma: Tensor,
    own: bool,
    act: str,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `grad` is to `x`, to the new mean and to the new deviation.

    With `own` the statistics are those of `x` and move with it; `mu` and `rsigma` then only spare their computation.
    """
    rectified = widened(grad) if y is None else _rectified(widened(grad), y, act)
    centered = widened(x) - _map(mu)
    to_mean = rectified.sum((2, 3))
    to_std = (rectified * centered).sum((2, 3)) * rsigma
    scale = widened(std) * rsigma
    dx = rectified * _map(scale)
    if own:
        n = max(1, x.shape[2] * x.shape[3])
        dx = dx - _map(scale * to_mean / n) - centered * _map(scale * rsigma * to_std / n)
    return dx, to_mean, to_std


def _rectified(grad: Tensor, y: Tensor, act: str) -> Tensor:
    """The activation's derivative, told from its result, which has the sign of what came in."""
    return torch.where(y > 0, grad, grad * (0.0 if act == "relu" else _SLOPE))


def _dense_backward_reference(
    grad: Tensor, x: Tensor, y: Tensor | None, std: Tensor, mu: Tensor, rsigma: Tensor, own: bool, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dx, to_mean, to_std = adain_backward_reference(grad, x, y, std, mu, rsigma, own, act, eps)
    return in_format_of(x, narrowed(dx, x)), to_mean, to_std


def _backward_on_cpu(
    grad: Tensor, x: Tensor, y: Tensor | None, std: Tensor, mu: Tensor, rsigma: Tensor, own: bool, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with two maps of working memory: new memory costs more than the arithmetic."""
    if x.dtype not in (torch.float32, torch.float64):
        return _dense_backward_reference(grad, x, y, std, mu, rsigma, own, act, eps)
    if y is not None:
        grad = torch.ops.aten.leaky_relu_backward(grad, y, 0.0 if act == "relu" else _SLOPE, True)
    to_mean = grad.sum((2, 3))
    work = torch.sub(x, _map(mu))
    to_std = work.mul_(grad).sum((2, 3)).mul_(rsigma)
    scale = std.to(x.dtype) * rsigma
    if not own:
        dx = torch.mul(grad, _map(scale), out=work)
    else:
        n = max(1, x.shape[2] * x.shape[3])
        slope = scale * rsigma * to_std / -n
        dx = torch.addcmul(_map(scale * to_mean / -n - slope * mu), x, _map(slope), out=work)
        dx.addcmul_(grad, _map(scale))
    return in_format_of(x, dx), to_mean, to_std


def _anywhere(
    x: Tensor, mean: Tensor, std: Tensor, mu: Tensor | None, var: Tensor | None, act: str | None, eps: float
) -> Tensor:
    """PyTorch's operators for devices that were not measured."""
    if mu is not None or x.numel() == 0 or x.shape[2] * x.shape[3] < 2:
        return adain_reference(x, mean, std, mu, var, act, eps)
    b, c, h, w = x.shape
    flat = F.group_norm(
        x.reshape(1, b * c, h, w), b * c, std.to(x.dtype).reshape(-1), mean.to(x.dtype).reshape(-1), eps
    )
    return _activate_(flat, act).view(b, c, h, w)


def _exported(x: Tensor, mean: Tensor, std: Tensor, act: str | None, eps: float) -> Tensor:
    """One operator that ONNX has too, where the reference is ten: other programs do not fuse them."""
    b, c, h, w = x.shape
    weights = (std.to(x.dtype).reshape(-1), mean.to(x.dtype).reshape(-1))
    flat = torch.instance_norm(x.reshape(1, b * c, h, w), *weights, None, None, True, 0.0, eps, False)
    return _activate_(flat.reshape(b, c, h, w), act)


def _fastest(
    x: Tensor, mean: Tensor, std: Tensor, mu: Tensor | None, var: Tensor | None, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's operators, chosen for the memory format; not differentiable, `_op` is.

    A map that is larger than the caches costs mostly the writing of new memory: one result, and the rest in place.
    """
    b, c, h, w = x.shape
    if b and x.dtype == torch.bfloat16 and is_channels_last(x) and c > 1 and h * w > 1:
        return _in_bfloat16(x, mean, std, mu, var, act, eps)
    if x.numel() == 0 or h * w < 2 or x.dtype not in (torch.float32, torch.float64):
        return adain_with_statistics(x, mean, std, mu, var, act, eps)
    mean, std = mean.to(x.dtype), std.to(x.dtype)
    if mu is not None and var is not None:
        mu, rsigma = mu.to(x.dtype, copy=True), (var.to(x.dtype) + eps).rsqrt()
    elif is_channels_last(x) and c > 1:
        # Not group_norm: in this format it takes E[x^2] - E[x]^2, in sums without care for rounding.
        mu, var = _moments_in_channels_last(x)
        rsigma = (var + eps).rsqrt()
    else:
        # torch before 2.10 sees to nothing that is not contiguous: an error, or wrong numbers
        one = x.reshape(1, b * c, h, w).contiguous()
        shift, factor = (each.reshape(-1).contiguous() for each in (mean, std))
        flat, mu, rsigma = torch.native_group_norm(one, factor, shift, 1, b * c, h * w, b * c, eps)
        return _activate_(flat, act).view(b, c, h, w), mu.view(b, c), rsigma.view(b, c)
    scale = std * rsigma
    y = torch.addcmul(_map(torch.addcmul(mean, mu, scale, value=-1)), x, _map(scale))
    return in_format_of(x, _activate_(y, act)), mu, rsigma


def _in_bfloat16(
    x: Tensor, mean: Tensor, std: Tensor, mu: Tensor | None, var: Tensor | None, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in channels_last: no map in float32 is written, for batch norm computes in it and writes 16 bits."""
    if mu is None or var is None:
        mu, var = _moments_in_channels_last(x)
    mean, std, mu, var = (values.float() for values in (mean, std, mu, var))
    each = zip(x, mu, var, std, mean, strict=True)
    parts = [F.batch_norm(one[None], m, v, scale, shift, training=False, eps=eps) for one, m, v, scale, shift in each]
    y = parts[0] if len(parts) == 1 else torch.cat(parts)
    return _activate_(in_format_of(x, y), act), mu.clone(), (var + eps).rsqrt()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance `(B, C)`."""
    mu = x.mean((2, 3), keepdim=True)
    return mu[:, :, 0, 0], (x - mu).square().mean((2, 3))


def _moments_in_channels_last(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same, as accurate and several times faster."""
    b, c, h, w = x.shape
    k = _row(h * w, c)
    if not k or (b > 1 and x.numel() <= _SMALL and x.dtype != torch.bfloat16):
        mu = (wide := widened(x)).mean((2, 3), keepdim=True)
        return mu[:, :, 0, 0], (wide - mu).square_().mean((2, 3))
    found = [_moments_of_picture(picture, k) for picture in x]
    if b == 1:
        return found[0][0][None], found[0][1][None]
    return torch.stack([mu for mu, _ in found]), torch.stack([var for _, var in found])


def _moments_of_picture(picture: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each of `k` pixels side by side has channels of its own, so that no sum is long; then Chan, Golub and LeVeque,
    "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    c, h, w = picture.shape
    rows = picture.as_strided((1, k * c, h * w // k, 1), (h * w * c, 1, k * c, k * c))
    # of 16 bits the statistics are float32 where the running ones are, which nobody takes
    running = (
        None if picture.dtype != torch.bfloat16 else torch.zeros(k * c, device=picture.device, dtype=torch.float32)
    )
    found = torch.batch_norm_update_stats(rows, running, running, 0.0)
    means, variances = (each.view(k, c) for each in found)
    mu = means.mean(0)
    means -= mu
    return mu, variances.addcmul_(means, means).mean(0)


@lru_cache(256)
def _row(pixels: int, c: int) -> int:
    """How many pixels stand side by side: sums of all fit into the first cache, and none is too long; 0 for no way."""
    least = max(1, _FIRST_CACHE // c, -(-pixels // _LONGEST))
    return next((k for k in range(least, _LONGEST + 1) if pixels % k == 0), 0)


def _activate_(x: Tensor, act: str | None) -> Tensor:
    """In place: `x` is ours, and writing a second map of this size costs as much as computing it."""
    if act == "lrelu":
        return F.leaky_relu_(x, _SLOPE)
    return F.relu_(x) if act == "relu" else x


def _map(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def _needs_grad(*tensors: Tensor | None) -> Iterator[bool]:
    return (tensor.requires_grad for tensor in tensors if tensor is not None)


def _check(x: Tensor, mean: Tensor, std: Tensor, statistics: tuple[Tensor, Tensor] | None, act: str | None) -> None:
    check_map("adain", "x", x)
    shape = x.shape[:2]
    check_companion("adain", "mean", mean, x, shape=shape, wide=True)
    check_companion("adain", "std", std, x, shape=shape, wide=True)
    if statistics is not None:
        check_companion("adain", "statistics[0]", statistics[0], x, shape=shape, wide=True)
        check_companion("adain", "statistics[1]", statistics[1], x, shape=shape, wide=True)
    if act not in _ACTIVATIONS:
        raise InputError(f"adain: act is {act!r}; expected one of {_ACTIVATIONS}")


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, mean, std, mu, var, ctx.act, ctx.eps = inputs
    y, center, rsigma = output
    ctx.dtypes = mean.dtype, std.dtype
    ctx.mark_non_differentiable(center, rsigma)
    ctx.save_for_backward(x, None if ctx.act == "linear" else y, std, mu, var, center, rsigma)


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, std, mu, var, center, rsigma = ctx.saved_tensors
    own = mu is None
    if not own:  # again, for the second derivative
        center, rsigma = mu.to(center.dtype), (var.to(center.dtype) + ctx.eps).rsqrt()
    dx, to_mean, to_std = _backward_op(grad, x, y, std, center, rsigma, own, ctx.act, ctx.eps)
    dmean, dstd = to_mean.to(ctx.dtypes[0]), to_std.to(ctx.dtypes[1])
    if own:
        return dx, dmean, dstd, None, None, None, None
    scale = widened(std) * rsigma
    return dx, dmean, dstd, (-scale * to_mean).to(mu.dtype), (scale * rsigma * to_std / -2).to(var.dtype), None, None


def _setup_again(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.own, ctx.act, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward_again(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """The second derivative, and every further one, in PyTorch's operators."""
    grad, x, y, std, mu, rsigma = ctx.saved_tensors

    def first(grad: Tensor, x: Tensor, std: Tensor, mu: Tensor, rsigma: Tensor) -> tuple[Tensor, ...]:
        if ctx.own:
            mu, var = _moments(widened(x))
            rsigma = (var + ctx.eps).rsqrt()
        dx, *others = adain_backward_reference(grad, x, y, std, mu, rsigma, ctx.own, ctx.act, ctx.eps)
        return narrowed(dx, x), *others

    dgrad, dx, dstd, dmu, drsigma = vjp(first, (grad, x, std, mu, rsigma), grads)
    return dgrad, dx, None, dstd, dmu, drsigma, None, None, None


def _fake(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    small = widened(x.new_empty(x.shape[:2]))
    return torch.empty_like(x, memory_format=format_of(x)), small, torch.empty_like(small)


_op = define(
    "adain",
    adain_with_statistics,
    cpu=_fastest,
    module="adain",
    fake=_fake,
    public=True,
    setup_context=_setup,
    backward=_backward,
)
_backward_op = define(
    "adain_backward",
    _dense_backward_reference,
    cpu=_backward_on_cpu,
    module="adain",
    fake=lambda grad, x, *_: _fake(x),
    setup_context=_setup_again,
    backward=_backward_again,
)
