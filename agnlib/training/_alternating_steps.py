"""What keeps the networks' turns apart: whose parameters, whose gradients, and at which rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.training.config import TrainerConfig
from agnlib.training.distributed import World
from agnlib.training.safety.divergence import gradient_norm

if TYPE_CHECKING:
    from agnlib.training.data.pairs import Batch

__all__ = [
    "backward",
    "checked",
    "forget_gradients",
    "frozen",
    "joined",
    "named_parameters",
    "parameters_of",
    "rate_factor",
    "scalar",
    "slowed",
    "stepped",
    "total_of",
]


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters that an optimizer moves: those it was given and nobody has frozen."""
    return [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]


def named_parameters(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The same by name; one that is not of the module is called by its place in the optimizer."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    moved = enumerate(parameters_of(optimizer))
    return {names.get(id(p), f"parameter {index} of the optimizer"): p for index, p in moved}


def forget_gradients(modules: Iterable[nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Clear every gradient, also of what no optimizer has: a turn leaves some in networks that it does not move."""
    moved = (p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"])
    for parameter in (*moved, *(p for module in modules for p in module.parameters())):
        parameter.grad = None


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze a network for the time inside; what was frozen before stays so.

    Example:
        >>> layers = nn.Sequential(nn.Linear(1, 1).requires_grad_(False), nn.Linear(1, 1))
        >>> with frozen(layers):
        ...     inside = [p.requires_grad for p in layers.parameters()]
        >>> inside, [p.requires_grad for p in layers.parameters()]
        ([False, False, False, False], [False, False, True, True])
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def slowed(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> Iterator[None]:
    """While inside, steps are taken at `factor` times the rates of their groups, which keep the rates that they have.

    So a scheduler of someone else's, which reads and writes the groups' rates, finds its own there at any time.
    """
    kept: dict[int, list[Any]] = {}

    def before(optimizer: torch.optim.Optimizer, *_: object) -> None:
        kept[id(optimizer)] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def after(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group, rate in zip(optimizer.param_groups, kept.pop(id(optimizer), ()), strict=False):
            group["lr"] = rate

    with ExitStack() as stack:
        for optimizer in optimizers:
            stack.callback(after, optimizer)  # where its step was broken off by an error
            stack.callback(optimizer.register_step_pre_hook(before).remove)
            stack.callback(optimizer.register_step_post_hook(after).remove)
        yield


def checked(losses: object, method: str) -> Mapping[str, Tensor]:
    """What a loss method gave, where it is a dict of named scalars.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(losses, Mapping):
        raise InputError(f"{method} gave a {type(losses).__name__}; expected a dict of named numbers, empty for none")
    return {name: scalar(value, f"{method}: the loss {name!r}") for name, value in losses.items()}


def total_of(losses: Mapping[str, Tensor], method: str) -> Tensor:
    """The sum of named losses, to be differentiated.

    Raises:
        InputError: not one of them has a gradient.
    """
    total = torch.stack(list(losses.values())).sum()
    if not total.requires_grad:
        raise InputError(
            f"{method}: no gradient goes from {', '.join(map(repr, losses))} to what is trained;"
            " compute it from the networks' results, without detach() and no_grad()"
        )
    return total


def backward(
    parts: Sequence[Batch],
    losses_of: Callable[[Batch], Mapping[str, Tensor]],
    method: str,
    optimizer: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """Add the gradients of the mean over the parts; the mean of each named loss, detached."""
    means: dict[str, Tensor] = {}
    for part in parts:
        share = len(part) / sum(map(len, parts))
        losses = checked(losses_of(part), method)
        # before the adversary fades in, a generator without terms has nothing to learn; nor has a frozen network
        if losses and parameters_of(optimizer):
            torch.autograd.backward(share * total_of(losses, method))
        for name, value in losses.items():
            value = share * value.detach()  # noqa: PLW2901
            means[name] = means[name] + value if name in means else value
    return means


def rate_factor(config: TrainerConfig, step: int, progress: float) -> float:
    """By what the optimizers' rates are multiplied: rising over the first steps, then half a cosine down.

    Example:
        >>> config = TrainerConfig(rate_warmup=10, final_lr=0.0)
        >>> rate_factor(config, 4, 0.0), rate_factor(config, 10, 0.5)
        (0.5, 0.5)
    """
    rising = min(1.0, (step + 1) / config.rate_warmup) if config.rate_warmup else 1.0
    return rising * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * progress)) / 2)


def stepped(
    losses: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    world: World,
    clip: float,
    before: Callable[[torch.optim.Optimizer], None],
) -> tuple[dict[str, Tensor], Tensor, bool]:
    """Take the optimizer's step if loss and gradient are finite; `before` may change the gradients.

    Returns:
        The losses as the mean over all processes, the gradient's norm, and whether the step was taken.
    """
    parameters = parameters_of(optimizer)
    losses = world.average_gradients(parameters, losses)
    before(optimizer)
    norm = gradient_norm(parameters)
    sound = bool(torch.isfinite(norm)) and bool(torch.isfinite(torch.stack(list(losses.values())).sum()))
    if sound:
        nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optimizer.step()
    return losses, norm, sound


def scalar(value: object, what: str) -> Tensor:
    """The value, where it is one number as a tensor.

    Raises:
        InputError: it is something else; the message says what `what` gave.

    Example:
        >>> scalar(torch.ones(2), "the term 'mine'")
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: the term 'mine' gave a tensor of the shape (2,); expected one number: take the mean
    """
    if isinstance(value, Tensor) and value.shape == () and value.is_floating_point():
        return value
    if not isinstance(value, Tensor):
        raise InputError(
            f"{what} gave a {type(value).__name__}; expected a tensor with one number: give the loss itself"
        )
    if value.shape != ():
        raise InputError(f"{what} gave a tensor of the shape {tuple(value.shape)}; expected one number: take the mean")
    raise InputError(f"{what} gave a number of type {value.dtype}; expected a floating-point number")


def joined(first: Mapping[str, Any], second: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Both together.

    Raises:
        InputError: a name is in both, so that one of the two would be lost.

    Example:
        >>> joined({"r1": 1.0}, {"mine": 2.0}, "penalties")
        {'r1': 1.0, 'mine': 2.0}
    """
    twice: Sequence[str] = sorted(first.keys() & second.keys())
    if twice:
        raise InputError(f"{what}: the name {', '.join(map(repr, twice))} is there twice; give yours another name")
    return {**first, **second}
