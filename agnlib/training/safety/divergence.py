"""When a loss or a gradient is not finite: the step is skipped; after five the run goes back; then it gives up."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from agnlib.errors import TrainingDivergedError
from agnlib.training.safety.checkpoint import copy_state

__all__ = ["DivergenceGuard", "gradient_norm", "name_the_bad"]

PATIENCE = 5  # failures in a row of one network


class DivergenceGuard:
    """Counts the steps of each network whose loss or gradient was not finite.

    The fifth in a row is a divergence. The first divergence of a run is answered by going back to the last good state
    at half the learning rate; at the second the run is over.

    Example:
        >>> guard = DivergenceGuard(["generator", "discriminator"])
        >>> for _ in range(5):
        ...     guard.failed("generator", "the loss is nan")
        >>> guard.skipped, guard.is_healthy, guard.diverged
        (5, False, True)
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self.failures = dict.fromkeys(networks, 0)  # in a row
        self.skipped = 0
        self.went_back = False
        self._cause = ""
        self._good: tuple[int, dict[str, Any]] | None = None  # the step, and what had been learned by then

    @property
    def rate(self) -> float:
        """What learning rates are multiplied by."""
        return 0.5 if self.went_back else 1.0

    @property
    def is_healthy(self) -> bool:
        """Whether the last step of every network was a good one."""
        return not any(self.failures.values())

    @property
    def diverged(self) -> bool:
        """Whether a network has failed so often that the run cannot just go on."""
        return max(self.failures.values()) >= PATIENCE

    @property
    def has_good(self) -> bool:
        """Whether there is a state to go back to."""
        return self._good is not None

    def passed(self, network: str) -> None:
        """Note a good step."""
        self.failures[network] = 0

    def failed(self, network: str, cause: str) -> None:
        """Note a skipped step and what was not finite."""
        self.failures[network] += 1
        self.skipped += 1
        self._cause = cause

    def remember(self, step: int, learned: Mapping[str, Any]) -> None:
        """Keep a copy of a good state."""
        self._good = step, copy_state(learned)

    def go_back(self, step: int) -> dict[str, Any]:
        """The last good state, and a count from nothing.

        Raises:
            TrainingDivergedError: the run went back before.
        """
        said = f"no finite loss or gradient {PATIENCE} times in a row, the last time in step {step}, {self._cause}"
        if self.went_back or self._good is None:
            raise TrainingDivergedError(
                f"{said}; going back and half the learning rate did not help: lower the learning rate, or the weight"
                " of the term that is not finite"
            )
        self.went_back = True
        self.failures = dict.fromkeys(self.failures, 0)
        good, learned = self._good
        message = f"{said}; training goes on from what was learned by step {good}, at half the learning rate"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        return cast("dict[str, Any]", copy_state(learned))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"failures": dict(self.failures), "skipped": self.skipped, "went_back": self.went_back}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        self.failures = {name: int(state["failures"][name]) for name in self.failures}
        self.skipped, self.went_back = int(state["skipped"]), bool(state["went_back"])


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of the gradients of parameters together, 0 without any."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def name_the_bad(losses: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> str:
    """Which losses, and which parameter's gradient first, are not finite."""
    bad = [f"the loss {name!r} is {float(value)}" for name, value in losses.items() if not torch.isfinite(value)]
    for name, parameter in parameters.items():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            bad.append(f"the gradient of {name!r} is not finite")
            break
    return ", ".join(bad) or "the gradients are too large to be added up"
