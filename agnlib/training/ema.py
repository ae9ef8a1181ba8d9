"""An exponential moving average of weights: what is shipped, steadier than what is trained."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

from agnlib._shared.numbers import is_number
from agnlib.errors import InputError

__all__ = ["ExponentialMovingAverage"]


Network = TypeVar("Network", bound=nn.Module)


class ExponentialMovingAverage(Generic[Network]):
    """A copy of a module that follows it slowly: `average = decay * average + (1 - decay) * weights`.

    Paper: Karras et al., "Progressive growing of GANs", ICLR 2018.

    Args:
        module: what to follow; its state at this moment is the start.
        decay: in [0, 1); early on it is lowered to (1 + n) / (10 + n) after n updates, so the start is forgotten.

    Raises:
        InputError: a decay outside the range.
    """

    def __init__(self, module: Network, decay: float = 0.999) -> None:
        if not is_number(decay, 0, math.nextafter(1, 0)):
            raise InputError(f"EMA decay is {decay!r}; expected a number in [0, 1)")
        self.decay, self.updates = decay, 0
        self.module: Network = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: Network) -> None:
        """Take one step towards `module`; weights that are not finite are left out, all of them."""
        new = module.state_dict()
        if not torch.isfinite(nn.utils.get_total_norm([value for value in new.values() if value.is_floating_point()])):
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for key, average in self.module.state_dict().items():
            if average.is_floating_point():
                average.lerp_(new[key].to(average.device), 1 - decay)
            else:
                average.copy_(new[key])
