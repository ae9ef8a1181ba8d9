"""What is measured on the frames of a clip, smoothed over time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from agnlib._shared.numbers import is_number
from agnlib.errors import InputError

__all__ = ["SmoothedStatistics", "Smoothing"]


class Smoothing:
    """Exponential moving averages of what is measured on each frame of a clip, batch after batch.

    Each is `mean + (1 - exp(-elapsed / seconds)) * (measured - mean)`, so that the frame rate does not matter.

    Args:
        seconds: after so long a change has come through to 1 - 1/e; 0 for every frame by itself.

    Raises:
        InputError: `seconds` is not a number from 0 to 60.

    Example:
        >>> smoothing = Smoothing(1.0)
        >>> smoothing.advance([math.inf, math.log(2)])  # a first frame, and one after which half is left of it
        >>> smoothing.smoothed("brightness", torch.tensor([[4.0], [8.0]])).tolist()
        [[4.0], [6.0]]
    """

    def __init__(self, seconds: float) -> None:
        if not is_number(seconds, 0, 60):
            raise InputError(
                f"smoothing must be a number of seconds from 0 (each frame by itself) to 60, got {seconds!r}"
            )
        self._seconds = float(seconds)
        self._before: dict[Hashable, Tensor] = {}
        self._now: dict[Hashable, Tensor] = {}
        self._shares = torch.ones(1, 2, device="cpu", dtype=torch.float32)

    def advance(self, elapsed: Sequence[float]) -> None:
        """Go on to the next frames: the seconds from the frame before to each; infinity where a new scene begins."""
        self._before |= self._now
        self._now.clear()
        row, rows = [1.0] + [0.0] * len(elapsed), []
        for frame, seconds in enumerate(elapsed, 1):
            kept = math.exp(-seconds / self._seconds) if self._seconds else 0.0
            row = [kept * share for share in row]
            row[frame] = 1 - kept
            rows.append(row)
        # of the mean before and of each frame, in the mean at each frame
        self._shares = torch.tensor(rows, device="cpu", dtype=torch.float32)

    def smoothed(self, key: Hashable, measured: Tensor) -> Tensor:
        """The means after each of these frames, `(B, ...)` like what was measured on them."""
        flat = measured.flatten(1)
        shares = self._shares.to(flat.device, flat.dtype)
        before = self._before.get(key)
        means = shares[:, 1:] @ flat
        if before is not None:
            means = means.addcmul_(shares[:, :1], before)
        self.keep(key, means)
        return means.view_as(measured)

    @property
    def share(self) -> Tensor:
        """Of each frame's own, `(B, B)`, in the mean at each of these frames."""
        return self._shares[:, 1:]

    def before(self, key: Hashable) -> Tensor | None:
        """What the frames before add to the mean at each of these, `(B, N)`; None where there were none."""
        before = self._before.get(key)
        return None if before is None else self._shares[:, :1].to(before.device, before.dtype) * before

    def keep(self, key: Hashable, means: Tensor) -> None:
        """Note the means after each of these frames, `(B, N)`, for the frames to come."""
        self._now[key] = means[-1:]


class SmoothedStatistics(dict[nn.Module, tuple[Tensor, Tensor]]):
    """`agnlib.layers.Window.statistics` of some frames: what a layer measures is smoothed as it is noted.

    Args:
        smoothing: of the clip; at the frames that are being painted.
        name: of this use of the network; the same layers may see the clip in several ways.
    """

    def __init__(self, smoothing: Smoothing, name: Hashable) -> None:
        super().__init__()
        self._smoothing, self._name = smoothing, name

    def __setitem__(self, layer: nn.Module, measured: tuple[Tensor, Tensor]) -> None:
        mu, var = self._smoothing.smoothed((self._name, layer), torch.stack(measured, dim=1)).unbind(1)
        super().__setitem__(layer, (mu, var))

    @property
    def share(self) -> Tensor:
        """Of each frame's own statistics, `(B, B)`, in those of each; for engines, which average by themselves."""
        return self._smoothing.share

    def before(self, layer: nn.Module) -> tuple[Tensor, Tensor] | None:
        """What the frames before add to a layer's means and variances, `(B, C)` each; None where there were none."""
        found = self._smoothing.before((self._name, layer))
        return None if found is None else found.chunk(2, dim=1)  # type: ignore[return-value]

    def keep(self, layer: nn.Module, averaged: tuple[Tensor, Tensor]) -> None:
        """Note a layer's means and variances as they are, averaged already."""
        self._smoothing.keep((self._name, layer), torch.cat(averaged, dim=1))
        super().__setitem__(layer, averaged)
