"""The check of a kernel against the op that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from agnlib.testing._common import SEED, name_of, require, told

__all__ = ["check_kernel"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # relative to size 1


def check_kernel(kernel: Callable[..., Any], reference: Callable[..., Any], samples: Iterable[tuple[Any, ...]]) -> None:
    """Check a kernel against the op's reference, which is its specification: same arguments, same results.

    For each sample the shapes and dtypes have to be equal and the values agree to the precision of the dtype; what
    comes in stays as it is; and where a floating argument requires a gradient, the gradients agree as well.

    Args:
        kernel: what is checked, such as an op inside `agnlib.ops.backend("triton")`.
        reference: for an op of ours `agnlib.ops.backend("reference")` and the same function.
        samples: tuples of arguments; give small and odd shapes, all dtypes, and slices that are not contiguous.

    Raises:
        AssertionError: what differs, for which sample, and by how much.

    Example:
        >>> samples = [(torch.randn(2, 3, 5, requires_grad=True),)]
        >>> check_kernel(lambda x: x.clamp_min(0), torch.relu, samples)
        >>> check_kernel(lambda x: x.abs(), torch.relu, samples)
        Traceback (most recent call last):
        AssertionError: <lambda>, sample 0: the result is off by ...
    """
    name, count = name_of(kernel), 0
    for count, sample in enumerate(samples, start=1):
        where = f"{name}, sample {count - 1}"
        kept = [value.detach().clone() if isinstance(value, Tensor) else value for value in sample]
        with told(where):
            found, wanted = _flat(kernel(*sample)), _flat(reference(*sample))
        for before, after in zip(kept, sample, strict=True):
            same = not isinstance(after, Tensor) or torch.equal(before, after.detach())
            require(same, f"{where}: an argument was changed in place; write to a new tensor")
        require(len(found) == len(wanted), f"{where}: gave {len(found)} tensors; the reference {len(wanted)}")
        for one, other in zip(found, wanted, strict=True):
            _compare(f"{where}: the result", one, other)
        inputs = [value for value in sample if isinstance(value, Tensor) and value.requires_grad]
        if inputs:
            _compare_gradients(where, found, wanted, inputs)
    require(count > 0, f"{name}: there were no samples; give at least one tuple of arguments")


def _compare(what: str, found: Tensor, wanted: Tensor) -> None:
    require(found.shape == wanted.shape, f"{what} has shape {tuple(found.shape)}; expected {tuple(wanted.shape)}")
    require(found.dtype == wanted.dtype, f"{what} is {found.dtype}; expected {wanted.dtype}")
    if not wanted.is_floating_point():
        require(torch.equal(found, wanted), f"{what} differs")
        return
    one, other = found.detach().double(), wanted.detach().double()
    require(torch.equal(one.isfinite(), other.isfinite()), f"{what} is not finite at the same places")
    apart = torch.where(other.isfinite(), (one - other).abs(), 0)
    allowed = _TOLERANCE.get(wanted.dtype, 1e-4)
    scale = max(1.0, float(torch.where(other.isfinite(), other.abs(), 0).max())) if other.numel() else 1.0
    worst = float(apart.max()) if apart.numel() else 0.0
    limit = allowed * scale
    require(worst <= limit, f"{what} is off by {worst:.3g}; at most {limit:.3g} for {wanted.dtype}")


def _compare_gradients(where: str, found: list[Tensor], wanted: list[Tensor], inputs: list[Tensor]) -> None:
    differentiable = [index for index, value in enumerate(wanted) if value.requires_grad]
    missing = [index for index in differentiable if not found[index].requires_grad]
    require(not missing, f"{where}: has no gradient; register one, or fall back where one is needed")
    rng = torch.Generator().manual_seed(SEED)
    weights = [
        torch.randn(wanted[index].shape, generator=rng, device="cpu", dtype=torch.float32).to(wanted[index])
        for index in differentiable
    ]
    gradients = [
        torch.autograd.grad([values[index] for index in differentiable], inputs, weights, allow_unused=True)
        for values in (found, wanted)
    ]
    for index, (one, other) in enumerate(zip(*gradients, strict=True)):
        require((one is None) == (other is None), f"{where}: gradient {index} is there in one of the two alone")
        if one is not None:
            _compare(f"{where}: gradient {index}", one, other)


def _flat(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [each for each in result if isinstance(each, Tensor)]
