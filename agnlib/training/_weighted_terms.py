"""The terms of a trainer: as they are given, and summed up in a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from agnlib._shared.gradients import ordinary
from agnlib.errors import InputError
from agnlib.training._alternating_steps import scalar
from agnlib.training.data.pairs import Batch
from agnlib.training.objective.terms import SharedEncoder, Weighted

__all__ = ["forget_pictures", "weighted_losses", "weighted_terms"]

LOSS_NAMES = ("adversarial", "feature_matching", "gradient_norm", "identity", "uniformity")  # in the log beside terms


def weighted_terms(terms: Any) -> dict[str, Weighted]:
    """The terms by name, a plain callable with weight 1; the networks that they look through are ordinary ones.

    Raises:
        InputError: no dict of callables, or a name that is one of the trainer's own losses.
    """
    if not isinstance(terms, Mapping) or not all(isinstance(name, str) for name in terms):
        raise InputError(
            f"AdversarialTrainer: terms are {terms!r}; expected a dict of names with callables, each as it is or as"
            " Weighted(callable, weight)"
        )
    taken = sorted(terms.keys() & set(LOSS_NAMES))
    if taken:
        raise InputError(
            f"AdversarialTrainer: the term {', '.join(map(repr, taken))} has the name of a loss that the trainer adds"
            f" itself ({', '.join(LOSS_NAMES)}); give it another name"
        )
    for name, term in terms.items():
        given = term.term if isinstance(term, Weighted) else term
        if isinstance(given, type) or not callable(given):
            raise InputError(
                f"AdversarialTrainer: the term {name!r} is {given!r}; expected a callable (batch, fake) -> scalar, no"
                " class, as it is or as Weighted(callable, weight)"
            )
    found = {name: term if isinstance(term, Weighted) else Weighted(term, 1.0) for name, term in terms.items()}
    for each in found.values():
        for network in _networks_in(each.term):
            ordinary(network)
    return found


def _networks_in(thing: object, depth: int = 2) -> Iterator[nn.Module]:
    """A term that is a network, or the encoders that it holds."""
    if isinstance(thing, nn.Module):
        yield thing
    elif depth:
        for value in getattr(thing, "__dict__", {}).values():
            yield from _networks_in(value, depth - 1)


def weighted_losses(terms: Mapping[str, Weighted], batch: Batch, fake: Tensor, step: int) -> dict[str, Tensor]:
    """The terms in force at a step, weighted, by name.

    Raises:
        InputError: a term gave no scalar.
    """
    losses = {}
    for name, weighted in terms.items():
        weight = weighted.weight_at(step)
        if weight > 0 and not (weighted.needs_content and batch.content is None):
            losses[name] = weight * scalar(weighted.term(batch, fake), f"the term {name!r}")
    return losses


def forget_pictures(terms: Mapping[str, Weighted]) -> None:
    """Let go of what the terms' shared encoders keep of the last picture."""
    for weighted in terms.values():
        encoder = getattr(weighted.term, "encoder", None)
        if isinstance(encoder, SharedEncoder):
            encoder.forget()
