"""`upfirdn2d` as a sum of shifted maps, one for each tap of each phase: no zeros inserted, none multiplied.

Paper: Bellanger, Bonnerot and Coudreuse, "Digital filtering by polyphase network", IEEE Trans. ASSP, 1976.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from agnlib.ops._checks import format_of

__all__ = ["polyphase", "smoothed"]

_CACHE = 2**20  # elements of working memory that stay close to the processor


@dataclass(frozen=True)
class _Axis:
    """What happens along one axis."""

    taps: int
    up: int
    down: int
    before: int  # padding
    size: int
    result: int

    def phases(self) -> list[tuple[slice, list[tuple[int, slice, slice]]]]:
        """The places of each phase in the result; for each tap, which of them it reaches, and from which samples."""
        step = self.down // gcd(self.up, self.down)
        phases = self.up // gcd(self.up, self.down)
        found = []
        for phase in range(min(phases, self.result)):
            count = -((phase - self.result) // phases)
            reached = []
            for tap in range(self.taps):
                first, rest = divmod(phase * self.down + self.taps - 1 - tap - self.before, self.up)
                low, high = max(0, -(first // step)), min(count, (self.size - 1 - first) // step + 1)
                if rest == 0 and low < high:
                    samples = slice(first + low * step, first + (high - 1) * step + 1, step)
                    # A tap that reaches everything can be written, the others have to be added.
                    reached.append((tap, slice(None) if high - low == count else slice(low, high), samples))
            found.append((slice(phase, None, phases), reached))
        return found


def polyphase(
    x: Tensor, filter: Tensor, *, up: int, down: int, padding: Sequence[int], gain: float, shape: Sequence[int]
) -> Tensor:
    """The result, `shape`, of `upfirdn2d` on a map that is contiguous or in channels_last."""
    left, _, top, _ = padding
    (b, c, h, w), (high, wide) = x.shape, (filter.shape[0], filter.shape[-1])
    rows, columns = _Axis(high, up, down, top, h, shape[2]), _Axis(wide, up, down, left, w, shape[3])
    y = torch.empty(tuple(shape), dtype=x.dtype, memory_format=format_of(x), device=x.device)
    maps, results = (
        (x, y) if format_of(x) == torch.channels_last else (x.view(b * c, 1, h, w), y.view(-1, 1, *shape[2:]))
    )
    if filter.ndim == 2:
        weights = (filter * gain).tolist()
        for one, result in _shared_out(maps, results, 1):
            _accumulate(one, weights, rows, columns, result)
        return y
    taps = filter.tolist()
    passes = [
        ([[tap * gain] for tap in taps], rows, _Axis(1, 1, 1, 0, w, w)),
        ([taps], _Axis(1, 1, 1, 0, shape[2], shape[2]), columns),
    ]
    if up > down:  # the interleaved writing on the smaller map
        passes = [
            ([taps], _Axis(1, 1, 1, 0, h, h), columns),
            ([[tap * gain] for tap in taps], rows, _Axis(1, 1, 1, 0, shape[3], shape[3])),
        ]
    middle = (passes[0][1].result, passes[0][2].result)
    group = max(1, _CACHE // max(1, maps.shape[1] * middle[0] * middle[1]))
    work = torch.empty(
        (min(group, maps.shape[0]), maps.shape[1], *middle),
        dtype=x.dtype,
        memory_format=format_of(maps),
        device=maps.device,
    )
    for one, result in _shared_out(maps, results, group):
        between = work[: one.shape[0]]
        _accumulate(one, *passes[0], between)
        _accumulate(between, *passes[1], result)
    return y


def smoothed(x: Tensor, taps: Sequence[float], gain: float) -> Tensor:
    """A map in channels_last, filtered along both axes; nothing is inserted, padded or left out.

    Band by band, so that what the first axis gives is still close to the processor when the second takes it.
    """
    (b, c, h, w), n = x.shape, len(taps)
    height, width = h - n + 1, (w - n + 1) * c
    y = torch.empty((b, c, height, w - n + 1), dtype=x.dtype, memory_format=torch.channels_last, device=x.device)
    rows, result = x.permute(0, 2, 3, 1).reshape(b, h, w * c), y.permute(0, 2, 3, 1).view(b, height, width)
    band = max(1, min(height, _CACHE // max(1, b * w * c)))
    work = torch.empty((b, band, w * c), dtype=x.dtype, device=x.device)
    first, *others = sorted(range(n), key=lambda tap: -abs(taps[tap]))
    scale = taps[first] * gain
    for top in range(0, height, band):
        count = min(band, height - top)
        seen = [rows[:, top + tap : top + tap + count] for tap in range(n)]
        between, part = work[:, :count], result[:, top : top + count]
        second = others[0]
        torch.add(seen[first], seen[second], alpha=taps[second] / taps[first], out=between)
        for tap in others[1:]:
            between.add_(seen[tap], alpha=taps[tap] / taps[first])
        seen = [between[:, :, tap * c : tap * c + width] for tap in range(n)]
        torch.mul(seen[first], taps[first] * scale, out=part)
        for tap in others:
            part.add_(seen[tap], alpha=taps[tap] * scale)
    return y


def _shared_out(maps: Tensor, results: Tensor, group: int) -> Iterator[tuple[Tensor, Tensor]]:
    for begin in range(0, maps.shape[0], group):
        yield maps[begin : begin + group], results[begin : begin + group]


def _accumulate(x: Tensor, weights: list[list[float]], rows: _Axis, columns: _Axis, y: Tensor) -> None:
    for places_y, taps_y in rows.phases():
        for places_x, taps_x in columns.phases():
            result = y[:, :, places_y, places_x]
            terms = [
                (weights[ky][kx], (part_y, part_x), x[:, :, samples_y, samples_x])
                for ky, part_y, samples_y in taps_y
                for kx, part_x, samples_x in taps_x
            ]
            whole = (slice(None), slice(None))
            begin = next((i for i, (_, part, _) in enumerate(terms) if part == whole), None)
            if begin is None:
                result.zero_()
            else:
                weight, _, samples = terms.pop(begin)
                torch.mul(samples, weight, out=result)
            for weight, (part_y, part_x), samples in terms:
                result[:, :, part_y, part_x].add_(samples, alpha=weight)
