"""Which class's style is this? A classifier of statistics of features, trained on real art."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Classifier", "by_class"]

_DEVIATIONS = 5.0  # a statistic further out counts as so far


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression on standardized statistics.

    Args:
        mean, deviation: `(n,)`, of what it was trained on.
        weight: `(n, classes)`.
        bias: `(classes,)`.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def trained(cls, statistics: Tensor, labels: Tensor, classes: int, *, decay: float = 3e-3) -> Classifier:
        """Fitted to `(N, n)` with labels `(N,)`; every class weighs the same, however many pictures it has."""
        mean, deviation = statistics.mean(0), statistics.std(0).clamp_min(1e-4)
        seen = _standard(statistics, mean, deviation)
        weight = torch.zeros(seen.shape[1], classes, requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        balance = 1 / torch.bincount(labels, minlength=classes).clamp_min(1).float()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(seen @ weight + bias, labels, weight=balance) + decay * weight.square().sum()
            value.backward()
            return value.detach()

        optimizer.step(loss)
        return cls(mean, deviation, weight.detach(), bias.detach())

    def __call__(self, statistics: Tensor) -> Tensor:
        """The most likely class of each row, `(N,)`."""
        return (_standard(statistics, self.mean, self.deviation) @ self.weight + self.bias).argmax(1)


def _standard(statistics: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    return ((statistics - mean) / deviation).clamp(-_DEVIATIONS, _DEVIATIONS)


def by_class(found: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often each class is recognized, `(classes,)`; NaN for one without pictures."""
    return torch.stack([(found[labels == label] == label).float().mean() for label in range(classes)])
