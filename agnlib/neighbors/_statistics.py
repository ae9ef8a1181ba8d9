"""Means and deviations of features over a whole picture, of which only a window is at hand.

Paper: the loss of Huang and Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV 2017. Nearest neighbors alone choose a few rows of the reference over and over; this asks for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agnlib.neighbors._features import Columns

__all__ = ["MomentSlopes", "Moments", "Sums", "mixed", "moment_distance"]

_FLOOR = 1e-6  # of a variance

Moments = dict[str, tuple[Tensor, Tensor]]  # tap -> mean (C,) and deviation (C,)


@dataclass(frozen=True)
class Sums:
    """What moments are made of, added up window by window: `{tap: (sum (C,), sum of squares (C,))}` of `count` rows."""

    count: int
    values: Mapping[str, tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, rows: Columns) -> Sums:
        """Of rows `(N, C)`; added up in float64."""
        values, count = {}, len(next(iter(rows.values())))
        for tap, each in rows.items():
            mean = each.mean(0)
            variance = (each - mean).square_().mean(0)
            values[tap] = count * mean.double(), count * (variance.double() + mean.double().square())
        return cls(count, values)

    def __add__(self, other: Sums) -> Sums:
        values = {tap: (a + other.values[tap][0], b + other.values[tap][1]) for tap, (a, b) in self.values.items()}
        return Sums(self.count + other.count, values)

    def moments(self) -> Moments:
        """Mean and deviation of each channel."""
        result = {}
        for tap, (total, squares) in self.values.items():
            mean = total / self.count
            variance = (squares / self.count - mean.square()).clamp_min(_FLOOR)
            result[tap] = mean.float(), variance.sqrt().float()
        return result


def mixed(parts: list[tuple[Moments, float]]) -> Moments:
    """The moments of what is made of several, each with its share; shares are 1 together."""
    if len(parts) == 1:
        return parts[0][0]
    result = {}
    for tap in parts[0][0]:
        mean = torch.stack([share * moments[tap][0] for moments, share in parts]).sum(0)
        square = torch.stack([share * (m[tap][1].square() + m[tap][0].square()) for m, share in parts]).sum(0)
        result[tap] = mean, (square - mean.square()).clamp_min(_FLOOR).sqrt()
    return result


def moment_distance(found: Moments, wanted: Moments) -> Tensor:
    """How far means and deviations are apart, in deviations of the reference, a mean over channels and taps.

    Example:
        >>> zero = {"a": (torch.zeros(2), torch.ones(2))}
        >>> moment_distance({"a": (torch.tensor([0.5, 0.0]), torch.ones(2))}, zero)
        tensor(0.2500)
    """
    apart = []
    for tap, (mean, deviation) in wanted.items():
        steps = (found[tap][0] - mean).abs().mean() + (found[tap][1] - deviation).abs().mean()
        apart.append(steps / deviation.mean())
    return torch.stack(apart).mean()


@dataclass(frozen=True)
class MomentSlopes:
    """The slope of `moment_distance` at a whole picture's moments, to go down in one window after the other."""

    found: Moments
    slopes: Moments
    count: int

    @classmethod
    def at(cls, sums: Sums, wanted: Moments) -> MomentSlopes:
        """The slope where the picture is."""
        found = {tap: (m.requires_grad_(), d.requires_grad_()) for tap, (m, d) in sums.moments().items()}
        flat = [each for pair in found.values() for each in pair]
        with torch.enable_grad():
            slopes = torch.autograd.grad(moment_distance(found, wanted), flat)
        pairs = dict(zip(found, zip(slopes[::2], slopes[1::2], strict=True), strict=True))
        return cls({tap: (m.detach(), d.detach()) for tap, (m, d) in found.items()}, pairs, sums.count)

    def by_rows(self, rows: Columns) -> Columns:
        """The slope by some of the picture's rows, as long as the moments are those."""
        result = {}
        for tap, (by_mean, by_deviation) in self.slopes.items():
            mean, deviation = self.found[tap]
            factor = by_deviation / (deviation * self.count)
            result[tap] = torch.addcmul(by_mean / self.count - mean * factor, rows[tap], factor)
        return result
