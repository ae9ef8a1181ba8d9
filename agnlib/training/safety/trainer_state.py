"""A trainer's whole state as nested dicts of tensors, numbers and strings: taken, put back, or nothing changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from agnlib.errors import WeightsError
from agnlib.training.safety.checkpoint import copy_state

if TYPE_CHECKING:
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["differing_options", "groups_options", "restore", "restore_learned", "take", "take_learned"]

State = dict[str, Any]


def take_learned(trainer: AdversarialTrainer) -> State:
    """What training has learned: networks, averages and the optimizers' moments. The tensors are the trainer's own."""
    optimizers = _optimizers(trainer)
    return {
        "networks": {name: dict(module.state_dict()) for name, module in trainer._modules().items()},
        "average": {"weights": dict(trainer.ema.module.state_dict()), "updates": trainer.ema.updates},
        "optimizers": {name: optimizer.state_dict()["state"] for name, optimizer in optimizers.items()},
    }


def take(trainer: AdversarialTrainer) -> State:
    """Everything that the next step depends on. The tensors are the trainer's own."""
    return {
        **take_learned(trainer),
        "config": _as_json(asdict(trainer.config)),
        "optimized": {name: _optimized(optimizer) for name, optimizer in _optimizers(trainer).items()},
        "options": {"configured": trainer._configured, "now": groups_options(trainer)},
        "step": trainer.step,
        "progress": trainer.progress,
        "seconds": trainer.seconds,
        "dice": trainer._rng.get_state(),
        "layer_dice": dict(trainer._layer_rng.states),
        "extra": trainer.get_extra_state(),
        "parts": {name: part.state_dict() for name, part in _parts_with_state(trainer).items()},
    }


def restore_learned(trainer: AdversarialTrainer, state: Mapping[str, Any]) -> None:
    """Put back what `take_learned` gave, in place."""
    for name, module in trainer._modules().items():
        module.load_state_dict(state["networks"][name])
    trainer.ema.module.load_state_dict(state["average"]["weights"])
    trainer.ema.updates = int(state["average"]["updates"])
    for name, optimizer in _optimizers(trainer).items():
        _restore_optimizer(optimizer, state["optimizers"][name])


def restore(trainer: AdversarialTrainer, state: Mapping[str, Any], origin: str) -> None:
    """Put back what `take` gave.

    Raises:
        WeightsError: it belongs to other networks or is not what `take` gives; nothing was changed.
    """
    before = copy_state(take(trainer))
    try:
        _check_networks(trainer, state["networks"])
        _check_optimizers(trainer, state.get("optimized", {}))
        _restore(trainer, state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        _restore(trainer, before)
        detail = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{origin} belongs to other networks or options ({detail}); give the options of that run"
        ) from error


def differing_options(trainer: AdversarialTrainer, state: Mapping[str, Any]) -> list[str]:
    """The names of the options in which the trainer differs from the one whose state it is."""
    mine, theirs = _as_json(asdict(trainer.config)), state.get("config") or {}
    if theirs:  # of an earlier version, which had no such option and did what is now its default
        theirs = {**_as_json(asdict(type(trainer.config)())), **theirs}
    return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


def _restore(trainer: AdversarialTrainer, state: Mapping[str, Any]) -> None:
    restore_learned(trainer, state)
    _restore_options(trainer, state.get("options"))
    trainer._rng.set_state(state["dice"])
    trainer._layer_rng.restore(state["layer_dice"])
    trainer.step, trainer.progress = _not_negative(int(state["step"])), _share(float(state["progress"]))
    trainer.seconds = _not_negative(float(state["seconds"]))
    trainer.set_extra_state(state["extra"])
    for name, part in _parts_with_state(trainer).items():
        if name in state["parts"]:
            part.load_state_dict(state["parts"][name])


def _optimizers(trainer: AdversarialTrainer) -> dict[str, torch.optim.Optimizer]:
    return {"generator": trainer.generator_optimizer, "discriminator": trainer.discriminator_optimizer}


def _parts_with_state(trainer: AdversarialTrainer) -> dict[str, Any]:
    """The trainer's own parts and its callbacks, as far as they have `state_dict` and `load_state_dict`."""
    parts: dict[str, Any] = {"guard": trainer._guard, "game": trainer._objective}
    for callback in trainer.callbacks:
        name, count = type(callback).__name__, 2
        while name in parts:
            name, count = f"{type(callback).__name__} {count}", count + 1
        parts[name] = callback
    return {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}


def _check_networks(trainer: AdversarialTrainer, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    for name, module in trainer._modules().items():
        mine = {key: value.shape for key, value in module.state_dict().items()}
        theirs = {key: value.shape for key, value in states[name].items()}
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                raise ValueError(f"{name}.{key} has the shape {theirs.get(key)}, here it has {mine.get(key)}")


def _optimized(optimizer: torch.optim.Optimizer) -> State:
    """What the moments belong to: the optimizer's kind, and the shapes of its parameters in their order."""
    shapes = [list(p.shape) for group in optimizer.param_groups for p in group["params"]]
    return {"kind": type(optimizer).__name__, "shapes": shapes}


def _check_optimizers(trainer: AdversarialTrainer, then: Mapping[str, Any]) -> None:
    """Nothing is known of those of an earlier version."""
    for name, optimizer in _optimizers(trainer).items():
        mine, theirs = _optimized(optimizer), then.get(name)
        if theirs is not None and mine != theirs:
            kinds = f"{theirs['kind']} of {len(theirs['shapes'])} parameters"
            raise ValueError(
                f"the {name}'s optimizer was {kinds}, here it is {mine['kind']} of {len(mine['shapes'])}, or of others"
            )


def groups_options(trainer: AdversarialTrainer) -> State:
    """The options of each optimizer's groups: learning rate, betas and so on."""
    return {
        name: [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        for name, optimizer in _optimizers(trainer).items()
    }


def _restore_options(trainer: AdversarialTrainer, then: Mapping[str, Any] | None) -> None:
    """Take over what a scheduler had changed by then; the rest is as it was configured now."""
    if then is None:  # of an earlier version
        return
    for name, optimizer in _optimizers(trainer).items():
        pairs = zip(then["configured"][name], then["now"][name], strict=True)
        for group, mine, (old, new) in zip(optimizer.param_groups, trainer._configured[name], pairs, strict=True):
            changed = {key: value for key, value in new.items() if old.get(key) != value}
            group.update(mine | {key: tuple(v) if isinstance(v, list) else v for key, v in changed.items()})


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[Any, Mapping[str, Any]]) -> None:
    """Put back the moments; the groups' options stay those of `optimizer`."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    placed = {index: _placed(parameters[index], entry) for index, entry in state.items()}
    optimizer.load_state_dict({"state": placed, "param_groups": optimizer.state_dict()["param_groups"]})


def _placed(parameter: Tensor, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Moments laid out in memory as their parameter is, which is what fast optimizers ask for.

    Those of another shape (Adafactor keeps rows and columns) are left as they are.
    """
    placed = {}
    for key, value in entry.items():
        if isinstance(value, Tensor) and value.numel() > 1 and value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)  # noqa: PLW2901
        placed[key] = value
    return placed


def _as_json(value: Mapping[str, Any]) -> State:
    return cast("State", json.loads(json.dumps(value)))


def _not_negative(number: Any) -> Any:
    if not 0 <= number < 2**53:
        raise ValueError(f"{number} is no number of steps or seconds")
    return number


def _share(number: float) -> float:
    if not 0 <= number <= 1:
        raise ValueError(f"progress is {number}; expected 0 to 1")
    return number
