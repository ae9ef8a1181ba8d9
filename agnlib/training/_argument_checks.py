"""What a trainer is given: refused before any time is spent, or brought into the form that it works with."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from agnlib._shared.numbers import is_count, is_number
from agnlib.errors import InputError, WeightsError
from agnlib.image._value_range import OVERSHOOT
from agnlib.models.pretrained import PretrainedModel, loadable_state, plain
from agnlib.training.config import TrainerConfig
from agnlib.training.data.pairs import Batch

__all__ = [
    "check_networks",
    "checked_config",
    "checked_optimizers",
    "learning",
    "name_skipped",
    "placed",
    "reached",
    "started",
    "style_dim",
    "taken",
]

Network = TypeVar("Network", bound=nn.Module)
Optimizers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]
_HALF = (torch.float16, torch.bfloat16)


def check_networks(**networks: nn.Module | None) -> None:
    """Whether what comes out could be saved and loaded again, and they fit each other.

    Raises:
        InputError: a network is wrapped or could not be loaded again; widths or precisions that differ.
    """
    given = {
        name: plain(cast("nn.Module", network), name, "AdversarialTrainer")
        for name, network in networks.items()
        if network is not None or name != "extractor"
    }
    for network in given.values():
        if isinstance(network, PretrainedModel):
            try:
                loadable_state(network)
            except WeightsError as error:
                raise InputError(f"AdversarialTrainer: {error}") from error
    widths = {name: style_dim(network) for name, network in given.items()}
    if len(set(widths.values()) - {None}) > 1:
        raise InputError(f"AdversarialTrainer: style_dim differs: {widths}; expected one width for all")
    found = {name: {_learned(p.dtype) for p in network.parameters()} for name, network in given.items()}
    if len(set[torch.dtype]().union(*found.values())) > 1:
        shown = ", ".join(f"{name} {' and '.join(sorted(map(str, dtypes)))}" for name, dtypes in found.items())
        raise InputError(f"AdversarialTrainer: the precisions differ: {shown}; make them one, by .float() of each")


def _learned(dtype: torch.dtype) -> torch.dtype:
    """In which precision a network is trained: updates are too small for half precision."""
    return torch.float32 if dtype in _HALF else dtype


def checked_config(config: Any) -> TrainerConfig:
    """The options, by default those of `TrainerConfig`."""
    if config is not None and not isinstance(config, TrainerConfig):
        raise InputError(f"AdversarialTrainer: config is a {type(config).__name__}; expected a TrainerConfig(...)")
    return config or TrainerConfig()


def learning(networks: nn.Module) -> list[nn.Parameter]:
    """The parameters of generator and extractor that are not frozen."""
    found = [p for p in networks.parameters() if p.requires_grad]
    if not found:
        raise InputError(
            "AdversarialTrainer: every parameter of generator and extractor is frozen, so nothing could be learned;"
            " leave some with requires_grad, or override configure_optimizers"
        )
    return found


def placed(network: Network, device: torch.device) -> Network:
    """The network as it is trained: on its device, in single precision at least."""
    with torch.inference_mode(False):
        half = any(tensor.dtype in _HALF for tensor in network.state_dict().values())
        network = network.float() if half else network
        return network.to(device).to(memory_format=torch.channels_last).train()


def style_dim(network: nn.Module) -> int | None:
    """The width of the style codes that a network takes; None for the article's, which take none."""
    width: int | None = getattr(network.config, "style_dim", None)
    return width


def checked_optimizers(found: Any, trained: nn.Module, discriminator: nn.Module) -> Optimizers:
    """What `configure_optimizers` gave.

    Raises:
        InputError: no two optimizers, one that moves the other's network, or one whose step asks for a closure.
    """
    given = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    if len(given) != 2 or not all(isinstance(each, torch.optim.Optimizer) for each in given):
        kinds = ", ".join(type(each).__name__ for each in given) or "nothing"
        raise InputError(
            f"configure_optimizers gave {kinds}; expected two optimizers, the generator's and the discriminator's (with"
            " TrainerConfig(adversarial=0) the second one is never used)"
        )
    for each in given:
        closure = inspect.signature(each.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise InputError(
                f"configure_optimizers gave {type(each).__name__}, whose step asks for a closure that computes the loss"
                " again; expected optimizers that step by one gradient, such as Adam or SGD"
            )
    if given[0] is given[1]:
        raise InputError("configure_optimizers gave one optimizer twice; expected one for each turn")
    _check_apart(given[0], discriminator, trained, "the first optimizer", "the discriminator")
    _check_apart(given[1], trained, discriminator, "the second optimizer", "generator and extractor")
    return given[0], given[1]


def _check_apart(optimizer: torch.optim.Optimizer, other: nn.Module, own: nn.Module, which: str, whose: str) -> None:
    """Whether an optimizer leaves the network of the other turn alone, but for what both have."""
    foreign = {id(p) for p in other.parameters()} - {id(p) for p in own.parameters()}
    if any(id(p) in foreign for group in optimizer.param_groups for p in group["params"]):
        raise InputError(
            f"configure_optimizers: {which} has parameters of {whose}; expected first the optimizer of generator and"
            " extractor, then the discriminator's"
        )


def _check_range(batch: Batch) -> None:
    """Whether pictures lie in [-1, 1], or no further out than a bicubic resize carries them.

    Raises:
        InputError: they do not, such as those from 0 to 255.
    """
    for name, picture in (("content", batch.content), ("style", batch.style)):
        if picture is None or not picture.numel():
            continue
        low, high = (bound.item() for bound in picture.detach().aminmax())
        if max(-low, high) > 1 + 2 * OVERSHOOT:
            raise InputError(
                f"fit: the batch's {name} has values from {low:.4g} to {high:.4g}; expected floats in [-1, 1]:"
                " rescale them (x / 127.5 - 1, 2 * x - 1, or undo Normalize)"
            )


def started(batches: Any, steps: Any, minutes: Any) -> Iterator[Any]:
    """The batches, one after the other, where a fit knows when to end.

    Raises:
        InputError: neither limit is given, or one that is none; a single batch, or no batches.
    """
    if steps is None and minutes is None:
        raise InputError("fit: got neither steps nor minutes; give at least one of them")
    if steps is not None and not is_count(steps):
        raise InputError(f"fit: steps is {steps!r}; expected a whole number from 0")
    if minutes is not None and not is_number(minutes, 0):
        raise InputError(f"fit: minutes is {minutes!r}; expected a number from 0")
    if isinstance(batches, (str, Batch)) or not isinstance(batches, Iterable):
        raise InputError(f"fit: batches are a {type(batches).__name__}; expected several, such as a list of one")
    return iter(batches)


def reached(step: int, steps: int | None, minutes_gone: float, minutes: float | None) -> tuple[bool, float]:
    """Whether a limit is reached, and the larger of the shares that are done.

    Example:
        >>> reached(5, 10, 0.2, 1.0), reached(5, None, 1.5, 1.0)
        ((False, 0.5), (True, 1.0))
    """
    shares = [done / limit for done, limit in ((step, steps), (minutes_gone, minutes)) if limit]
    over = (steps is not None and step >= steps) or (minutes is not None and minutes_gone >= minutes)
    return over, min(1.0, max(shares, default=0.0))


def name_skipped(batch: Batch, known: Collection[str]) -> set[str]:
    """Warn of the batch's files that could not be decoded, but for those that are known; all of them."""
    for path in sorted(set(batch.skipped) - set(known)):
        warnings.warn(f"{path} cannot be decoded and gives way to others", RuntimeWarning, stacklevel=3)
    return set(batch.skipped)


def taken(batch: Any, device: torch.device, dtype: torch.dtype, *, ranged: bool = False) -> Batch:
    """A batch on the device, its pictures in the networks' precision.

    Raises:
        InputError: it is no `Batch`, or its pictures have no floats; with `ranged`, floats far outside [-1, 1].
    """
    if not isinstance(batch, Batch):
        raise InputError(f"fit: the batches gave a {type(batch).__name__}; expected an agnlib.training.Batch of each")
    for name, picture in (("content", batch.content), ("style", batch.style)):
        if not isinstance(picture, Tensor) and (name, picture) != ("content", None):
            raise InputError(f"fit: the batch's {name} is a {type(picture).__name__}; expected a tensor (B, 3, H, W)")
        if picture is not None and (picture.ndim != 4 or not picture.is_floating_point()):
            raise InputError(
                f"fit: the batch's {name} has the shape {tuple(picture.shape)} of {picture.dtype}; expected"
                " (B, 3, H, W), floats in [-1, 1]"
            )
    if ranged:
        _check_range(batch)
    here: Batch = batch.to(device)
    content = None if here.content is None else here.content.to(dtype)
    return replace(here, content=content, style=here.style.to(dtype))
