"""What a reference offers at one size: rows of features to be matched, and their moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.neighbors._features import ALIGN, Columns, Encoder, chosen
from agnlib.neighbors._matching import directions, nearest_by_share
from agnlib.neighbors._statistics import Moments, Sums, mixed
from agnlib.neighbors._windows import windows

__all__ = ["Keys", "Reference", "aligned_size", "resized"]

_LARGEST = 2.0  # a reference is enlarged no more than so, lest it be all blur
_MOST = 8192  # rows of a reference that are matched; more of them are found no nearer, and take longer


@dataclass(frozen=True)
class Reference:
    """A picture `(1, 3, H, W)` in [-1, 1], and its share of the result; shares of several are 1 together."""

    pixels: Tensor
    share: float = 1.0

    def at(self, side: int) -> Tensor:
        """The picture with its shorter side near so many pixels, enlarged no more than twice."""
        height, width = self.pixels.shape[2:]
        factor = min(_LARGEST, side / min(height, width))
        return resized(self.pixels, aligned_size((round(height * factor), round(width * factor))))


def aligned_size(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest sides that are multiples of 16, at least 32."""
    height, width = (max(2 * ALIGN, round(side / ALIGN) * ALIGN) for side in size)
    return height, width


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels `(B, C, H, W)` at another size, antialiased."""
    if pixels.shape[2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)


@dataclass(frozen=True)
class Keys:
    """Rows of one or more references at one size.

    Attributes:
        sets: the rows of each reference, `{tap: (K, C)}`.
        shares: of the references.
        moments: of all of them together.
    """

    sets: Sequence[Columns]
    shares: Sequence[float]
    moments: Moments

    @classmethod
    @torch.no_grad()
    def of(cls, references: Sequence[Reference], encoder: Encoder, side: int, *, seed: int = 0) -> Keys:
        """The references and their mirror images, seen with their shorter sides near so many pixels."""
        sets, moments = [], []
        for reference in references:
            rows, sums = _seen(encoder, reference.at(side), seed)
            moments.append((sums.moments(), reference.share))
            sets.append(rows)
        return cls(sets, [reference.share for reference in references], mixed(moments))

    def match(self, rows: Columns, mean: Moments, taps: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """For each place the index of its nearest row, by all taps of a group together: `{tap: (N,)}`.

        Args:
            rows: of the picture.
            mean: the whole picture's moments; both sides are centered by their own means.
            taps: groups; the taps of one are matched as one row.
        """
        found: dict[str, Tensor] = {}
        for group in taps:
            own = torch.cat([mean[tap][0] for tap in group])
            middle = torch.cat([self.moments[tap][0] for tap in group])
            queries = directions(_joined(rows, group), own)
            keys = [directions(_joined(each, group), middle) for each in self.sets]
            found |= dict.fromkeys(group, nearest_by_share(queries, keys, self.shares))
        return found

    def rows(self, tap: str) -> Tensor:
        """The rows `(K, C)` of a tap, one reference behind the other, as indices of `match` count them."""
        return self.sets[0][tap] if len(self.sets) == 1 else torch.cat([each[tap] for each in self.sets])


def _joined(rows: Columns, taps: Sequence[str]) -> Tensor:
    return rows[taps[0]] if len(taps) == 1 else torch.cat([rows[tap] for tap in taps], dim=1)


def _seen(encoder: Encoder, picture: Tensor, seed: int) -> tuple[Columns, Sums]:
    """Rows of a picture and its mirror image, some by chance where they are many, and the sums of all."""
    parts = windows(picture.shape[2:])
    count = sum(len(window.places) for window in parts)
    kept, sums, found = _some(2 * count, seed), [], []
    for index, side in enumerate((picture, picture.flip(3))):
        for window in parts:
            rows, numbers = window.rows(encoder, side), window.places + index * count
            mine = kept[numbers]
            sums.append(Sums.of(rows))
            found.append((numbers[mine], chosen(rows, mine)))
    order = torch.cat([numbers for numbers, _ in found]).argsort()
    rows = {tap: torch.cat([each[tap] for _, each in found]) for tap in found[0][1]}
    return chosen(rows, order), sum(sums[1:], sums[0])


def _some(count: int, seed: int) -> Tensor:
    """Which of so many rows are kept, bool `(count,)`."""
    kept = torch.zeros(count, dtype=torch.bool, device="cpu")
    kept[torch.randperm(count, generator=torch.Generator().manual_seed(seed), device="cpu")[:_MOST]] = True
    return kept
