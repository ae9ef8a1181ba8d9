"""What a fit shows by itself: a bar for people, lines of the log for programs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agnlib.training.callbacks import ProgressBar

if TYPE_CHECKING:
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["shown"]

_LOGGER = logging.getLogger("agnlib.training")
_EVERY = 50  # steps between two lines


class _LogLines:
    """The named numbers of some steps, by Python's own logging."""

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Log a line when it is time."""
        if trainer.step % _EVERY == 0 and _LOGGER.isEnabledFor(logging.INFO):
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in sorted(logs.items()))
            _LOGGER.info("step %d: %s", trainer.step, numbers)


def shown(callbacks: Sequence[object], *, steps: int | None, minutes: float | None) -> tuple[object, ...]:
    """Callbacks beside the caller's own: lines of the log, and a bar where there is none yet."""
    if any(isinstance(callback, ProgressBar) for callback in callbacks):
        return (_LogLines(),)
    return _LogLines(), ProgressBar(steps=steps, minutes=minutes)
