"""A trainer's whole state in a file, and back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from agnlib.errors import WeightsError
from agnlib.training.safety.checkpoint import load_state, pack, save_state, unpack
from agnlib.training.safety.trainer_state import differing_options, restore, take

if TYPE_CHECKING:
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["load", "save"]


def save(trainer: AdversarialTrainer, path: str | Path) -> None:
    """See `AdversarialTrainer.save_checkpoint`."""
    tensors: dict[str, Tensor] = {}
    meta = {name: pack(name, value, tensors) for name, value in take(trainer).items()}
    save_state(path, tensors, meta)


def load(trainer: AdversarialTrainer, path: str | Path) -> None:
    """See `AdversarialTrainer.load_checkpoint`."""
    tensors, meta = load_state(path)
    try:
        state = unpack(meta, tensors)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a whole agnlib checkpoint ({error}); take another one") from error
    restore(trainer, state, str(path))
    others = differing_options(trainer, state)
    if others:
        warnings.warn(
            f"{path} was written with other options ({', '.join(others)}); it goes on with those given now",
            RuntimeWarning,
            stacklevel=4,
        )
