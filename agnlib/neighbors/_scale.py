"""One size of a picture, painted until its features are those of their neighbors in the reference.

Paper: Kolkin et al., "Neural neighbor style transfer", 2022. Beside its loss: the reference's moments, so that all of
the reference is used; and self-similarity with the photo (Kolkin et al., "Style transfer by relaxed optimal transport
and self-similarity", CVPR 2019), so that the photo's drawing stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.neighbors._features import Columns, Encoder, Places, chosen, columns, grid
from agnlib.neighbors._pyramid import collapsed, pyramid
from agnlib.neighbors._reference import Keys
from agnlib.neighbors._statistics import MomentSlopes, Sums
from agnlib.neighbors._windows import Window, windows

__all__ = ["Scale", "Weights"]

_LEVELS = 7  # of the pyramid
_RATE = 0.007  # of Adam, in pictures of [-1, 1]; larger ones leave grain and lose drawing, for no more of the style
_SHORT = 1e-8  # a row without a direction
_DEEP = 2  # the last so many taps, for self-similarity


@dataclass(frozen=True)
class Weights:
    """How much each wish counts beside the others: the nearest rows, the moments, the photo's self-similarity."""

    nearest: float = 1.0
    moments: float = 2.0
    similarity: float = 0.0


class Scale:
    """A picture of one size on its way.

    Args:
        encoder: gives the features.
        photo: `(1, 3, H, W)` in [-1, 1], sides a multiple of 16.
        keys: of each region.
        regions: int64 `(N,)`, the region of each place; None for one.
        split: match each tap by itself, for sharp strokes, rather than all together, for forms.
        amount: of the style; below 1 the features go only so far from the photo's to the reference's.
        weights: of the wishes.
    """

    def __init__(
        self,
        encoder: Encoder,
        photo: Tensor,
        keys: Sequence[Keys],
        *,
        regions: Tensor | None = None,
        split: bool = False,
        amount: float = 1.0,
        weights: Weights | None = None,
    ) -> None:
        self._encoder, self._photo, self._keys, self._amount = encoder, photo, keys, amount
        self._weights = weights or Weights()
        count = grid(photo.shape[2:])[0] * grid(photo.shape[2:])[1]
        self._regions = torch.zeros(count, dtype=torch.int64, device="cpu") if regions is None else regions
        self._windows = windows((photo.shape[2], photo.shape[3]))
        taps = list(keys[0].moments)
        self._groups = [[tap] for tap in taps] if split else [taps]
        self._deep = taps[-_DEEP:]
        self._table = {tap: torch.cat([each.rows(tap) for each in keys]) for tap in taps}

    def paint(self, start: Tensor, steps: int, on_step: Callable[[Tensor], None] | None = None) -> Tensor:
        """The picture after so many steps of Adam on its pyramid's levels, in [-1, 1].

        Args:
            start: `(1, 3, H, W)`.
            steps: 0 gives the start.
            on_step: is called with the picture after each.
        """
        wanted, sums = self._match(start)
        drawing = self._drawing() if self._weights.similarity else None
        levels = [level.requires_grad_() for level in pyramid(start, _LEVELS)]
        adam = torch.optim.Adam(levels, lr=_RATE, betas=(0.9, 0.99))
        for _ in range(steps):
            image = collapsed(levels)
            slope, sums = self._slope(image.detach(), wanted, sums, drawing)
            adam.zero_grad()
            torch.autograd.backward(image, slope + _outside(image.detach()))
            adam.step()
            if on_step is not None:
                on_step(image.detach())
        return collapsed([level.detach() for level in levels]).clamp(-1, 1)

    @torch.no_grad()
    def _match(self, image: Tensor) -> tuple[list[dict[str, Tensor]], list[Sums | None]]:
        """For each window the rows wanted at its places, as indices into the table; and the picture's sums."""
        parts = [self._sums(window.rows(self._encoder, image), window) for window in self._windows]
        sums = _added(parts)
        return [self._neighbors(window.rows(self._encoder, image), window, sums) for window in self._windows], sums

    def _sums(self, rows: Columns, window: Window) -> list[Sums | None]:
        return [Sums.of(chosen(rows, each)) if _count(each, rows) else None for each in self._places(window)]

    def _places(self, window: Window) -> list[Places]:
        """Which of the window's own places are in each region."""
        if len(self._keys) == 1:
            return [slice(None)]
        region = self._regions[window.places]
        return [(region == index).nonzero()[:, 0] for index in range(len(self._keys))]

    def _neighbors(self, rows: Columns, window: Window, sums: Sequence[Sums | None]) -> dict[str, Tensor]:
        offset = 0
        found = {tap: torch.zeros(len(window.places), dtype=torch.int64, device=rows[tap].device) for tap in rows}
        for mine, keys, whole in zip(self._places(window), self._keys, sums, strict=True):
            if _count(mine, rows) and whole is not None:
                matched = keys.match(chosen(rows, mine), whole.moments(), self._groups)
                for tap, places in matched.items():
                    found[tap][mine] = places + offset
            offset += sum(len(next(iter(each.values()))) for each in keys.sets)
        return found

    @torch.no_grad()
    def _drawing(self) -> list[Tensor]:
        """For each window how alike its sampled places are in the photo, `(n, n)`."""
        rows = ((columns(self._encoder, self._photo[window.box.slices]), window) for window in self._windows)
        return [_likeness(chosen(each, window.sample), self._deep) for each, window in rows]

    def _slope(
        self,
        image: Tensor,
        wanted: Sequence[Mapping[str, Tensor]],
        sums: Sequence[Sums | None],
        drawing: Sequence[Tensor] | None,
    ) -> tuple[Tensor, list[Sums | None]]:
        """The derivative by the pixels, window by window, and the picture's sums as they were found."""
        total, found = torch.zeros_like(image), []
        for index, window in enumerate(self._windows):
            pixels = image[window.box.slices].clone().requires_grad_()
            with torch.enable_grad():
                every = columns(self._encoder, pixels)
            seen = {tap: each.detach() for tap, each in every.items()}
            known = None if len(self._windows) == 1 else sums
            slope, own = self._by_rows(seen, window, wanted[index], known)
            found.append(own)
            if drawing is not None:
                self._add_likeness(slope, seen, window, drawing[index])
            total[window.box.slices] += torch.autograd.grad(list(every.values()), pixels, list(slope.values()))[0]
        return total, _added(found)

    def _by_rows(
        self, seen: Columns, window: Window, wanted: Mapping[str, Tensor], sums: Sequence[Sums | None] | None
    ) -> tuple[Columns, list[Sums | None]]:
        """The slope by all that is seen of a window, without similarity, and the sums of its own places.

        `sums` are the picture's; None where the window is all of it. What this takes is given back before the encoder
        is gone through backwards.
        """
        rows = chosen(seen, window.inside)
        own = self._sums(rows, window)
        slope = self._by_neighbors(rows, self._wanted(wanted, window))
        self._add_moments(slope, rows, window, own if sums is None else sums)
        return _spread(slope, seen, window), own

    @torch.no_grad()
    def _wanted(self, indices: Mapping[str, Tensor], window: Window) -> Columns:
        """The rows to be had: the matched ones, or on the way to them from the photo's."""
        matched = {tap: self._table[tap][each] for tap, each in indices.items()}
        if self._amount == 1:
            return matched
        own = window.rows(self._encoder, self._photo)
        return {tap: torch.lerp(own[tap], each, self._amount) for tap, each in matched.items()}

    def _by_neighbors(self, rows: Columns, wanted: Columns) -> Columns:
        """The slope of 1 - cosine between rows and wanted ones, a mean over groups of taps and over places."""
        weight = self._weights.nearest / (len(self._groups) * len(self._regions))
        slope: Columns = {}
        for group in self._groups:
            slope |= cosine_slope({tap: rows[tap] for tap in group}, {tap: wanted[tap] for tap in group}, weight)
        return slope

    def _add_moments(self, slope: Columns, rows: Columns, window: Window, sums: Sequence[Sums | None]) -> None:
        """Of each region, by its share of the picture."""
        for mine, keys, whole in zip(self._places(window), self._keys, sums, strict=True):
            if whole is not None and _count(mine, rows):
                weight = self._weights.moments * self._amount * whole.count / len(self._regions)
                by_rows = MomentSlopes.at(whole, keys.moments).by_rows(chosen(rows, mine))
                for tap, each in by_rows.items():
                    slope[tap][mine] += weight * each

    def _add_likeness(self, slope: Columns, rows: Columns, window: Window, drawing: Tensor) -> None:
        """Of the mean difference between how alike the sampled places are and how alike they are in the photo."""
        sample = {tap: rows[tap][window.sample].requires_grad_() for tap in self._deep}
        with torch.enable_grad():
            unlike = (_likeness(sample, self._deep) - drawing).abs().mean()
            slopes = torch.autograd.grad(unlike, list(sample.values()))
        for tap, each in zip(self._deep, slopes, strict=True):
            slope[tap][window.sample] += each * (self._weights.similarity * len(window.places) / len(self._regions))


def cosine_slope(rows: Columns, wanted: Columns, weight: float) -> Columns:
    """The slope of `weight` times the sum of 1 - cosine between rows and wanted ones, all taps as one row.

    Example:
        >>> rows, wanted = {"a": torch.tensor([[0.0, 2.0]])}, {"a": torch.tensor([[3.0, 0.0]])}
        >>> cosine_slope(rows, wanted, 1.0)
        {'a': tensor([[-0.5000,  0.0000]])}
    """
    product, own, other = (
        torch.stack([torch.linalg.vecdot(a[tap], b[tap]) for tap in rows]).sum(0)
        for a, b in ((rows, wanted), (rows, rows), (wanted, wanted))
    )
    length = own.sqrt().clamp_min(_SHORT)
    towards = weight / (length * other.sqrt().clamp_min(_SHORT))
    back = product * towards / length.square()
    return {tap: (rows[tap] * back[:, None]).addcmul_(wanted[tap], towards[:, None], value=-1) for tap in rows}


def _count(mine: Places, rows: Columns) -> int:
    return len(next(iter(rows.values()))) if isinstance(mine, slice) else len(mine)


def _spread(slope: Columns, seen: Columns, window: Window) -> Columns:
    """The slope by all that is seen of a window, 0 in its margin."""
    if isinstance(window.inside, slice):
        return slope
    result = {tap: torch.zeros_like(each) for tap, each in seen.items()}
    for tap, each in slope.items():
        result[tap][window.inside] = each
    return result


def _added(parts: Sequence[Sequence[Sums | None]]) -> list[Sums | None]:
    """The sums of each region over all windows."""
    result: list[Sums | None] = []
    for of_region in zip(*parts, strict=True):
        known = [each for each in of_region if each is not None]
        result.append(sum(known[1:], known[0]) if known else None)
    return result


def _likeness(rows: Columns, taps: Sequence[str]) -> Tensor:
    """Cosines between all pairs of places, `(n, n)`, of rows less their mean."""
    joined = torch.cat([rows[tap] for tap in taps], dim=1)
    unit = F.normalize(joined - joined.mean(0), dim=1)
    return unit @ unit.T


def _outside(image: Tensor) -> Tensor:
    """The slope of a small cost for values outside [-1, 1]."""
    return ((image > 1).to(image.dtype) - (image < -1).to(image.dtype)) / image.numel()
