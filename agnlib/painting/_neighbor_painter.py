"""`method="neighbors"` as a `Stylizer` knows it: references and options in, a painter of whole pictures out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from agnlib._shared.progress import Listener
from agnlib.engines._device import fast_dtype, placed
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, reduced_size
from agnlib.models import VGG16Features
from agnlib.neighbors import Plan, Progress, Reference, paint
from agnlib.neighbors._coarse_to_fine import check_listener
from agnlib.styles._reader import listed, weighted
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import unpacked

__all__ = ["METHODS", "NeighborPainter"]

METHODS = ("network", "neighbors")
_TAPS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_1")
_MOST_SIDE = 1536  # pixels of a reference's shorter side that are kept

OnStep = Callable[[Progress], None]


@dataclass(frozen=True)
class NeighborPainter:
    """Paints whole pictures by neural neighbors.

    Args:
        references: of each region.
        plan: how.
        on_step: is told how far each picture is.
        told: is told the same, as a share of 1.
    """

    references: Sequence[Sequence[Reference]]
    plan: Plan
    on_step: OnStep | None = None
    told: Listener | None = None

    @classmethod
    def chosen(
        cls,
        method: str,
        styles: Sequence[Any],
        device: torch.device,
        *,
        drawing: float | None,
        on_step: OnStep | None = None,
        told: Listener | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> NeighborPainter | None:
        """The painter that the method asks for, None for the network alone.

        Args:
            method: one of `METHODS`.
            styles: of each region, a picture or a list of (picture, weight).
            device: where it paints.
            drawing: see `agnlib.neighbors.Plan`; None for its own default.
            on_step: see the class.
            told: see the class.
            limits: of the styles' files.

        Raises:
            InputError: an unknown method, options of another one or none of this one, or a style that is no picture.
        """
        if method not in METHODS:
            raise InputError(f"method must be {' or '.join(map(repr, METHODS))}, got {method!r}")
        if method == "network":
            if drawing is not None or on_step is not None:
                given = "drawing" if drawing is not None else "on_step"
                raise InputError(f'{given} is for method="neighbors"; the network paints in one step')
            return None
        check_listener(on_step)
        plan = Plan() if drawing is None else Plan(drawing)
        return cls([_references(style, device, limits) for style in styles], plan, on_step, told)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides how a painting looks, as JSON has it."""
        pictures = [[_digest(each.pixels) for each in references] for references in self.references]
        shares = [[round(each.share, 6) for each in references] for references in self.references]
        return {"method": "neighbors", "drawing": self.plan.drawing, "references": pictures, "shares": shares}

    def paint(
        self, start: Tensor, photo: Tensor, shares: Tensor | None, amount: float, turn: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Pictures `(B, 3, H, W)`, begun with the network's painting; see `agnlib.neighbors.paint`."""
        pairs = list(zip(torch.split(start, 1), torch.split(photo, 1), strict=True))
        before, count = turn[0] * len(pairs), turn[1] * len(pairs)
        with torch.inference_mode(False), torch.autocast(start.device.type, enabled=False):
            each = [
                self._paint(*pair, shares, amount, _as_part(self._listener, before + index, count))
                for index, pair in enumerate(pairs)
            ]
        return torch.cat(each).to(photo.device)

    @property
    def _listener(self) -> OnStep | None:
        on_step, told = self.on_step, self.told
        if told is None:
            return on_step

        def listener(now: Progress) -> None:
            if on_step is not None:
                on_step(now)
            told(now.done / now.total, 1)

        return listener

    def _paint(
        self, start: Tensor, photo: Tensor, shares: Tensor | None, amount: float, on_step: OnStep | None
    ) -> Tensor:
        device = self.references[0][0].pixels.device
        return paint(
            placed(start, device).clone(),  # clones of what inference mode made can be differentiated
            placed(photo, device).clone(),
            self.references,
            _encoder(device),
            shares=None if shares is None else shares.to(device).clone(),
            amount=amount,
            plan=self.plan,
            on_step=on_step,
        )


def _as_part(on_step: OnStep | None, index: int, count: int) -> OnStep | None:
    """What is told of one painting of several of one size, told as of all together."""
    if on_step is None or count == 1:
        return on_step
    return lambda now: on_step(Progress(index * now.total + now.done, count * now.total, now.picture))


@lru_cache(maxsize=2)
def _encoder(device: torch.device) -> VGG16Features:
    with torch.inference_mode(False), torch.device("cpu"):
        return VGG16Features.pretrained(_TAPS).to(device, fast_dtype(device))


def _digest(pixels: Tensor) -> str:
    eight_bits = ((pixels + 1) * 127.5).round().to("cpu", torch.uint8).contiguous()
    return hashlib.sha256(eight_bits.numpy().tobytes()).hexdigest()[:16]


def _references(style: Any, device: torch.device, limits: Limits) -> list[Reference]:
    pairs = [weighted(entry) for entry in listed(style)]
    total = sum(weight for _, weight in pairs)
    if not (0 < total < math.inf and all(weight >= 0 for _, weight in pairs)):
        raise InputError(f"style: expected weights from 0 with a positive sum, got {[weight for _, weight in pairs]}")
    parts = [part for pair in pairs if pair[1] > 0 for part in unpacked(*pair)]
    return [Reference(_pixels(picture, device, limits), weight / total) for picture, weight in parts if weight > 0]


def _pixels(style: Any, device: torch.device, limits: Limits) -> Tensor:
    """A reference as `(1, 3, h, w)`.

    Raises:
        InputError: a style that has no picture.
    """
    if isinstance(style, StyleCode):
        raise InputError(
            'style: method="neighbors" paints with the strokes of a picture, and a style code has none;'
            ' give a picture, or method="network"'
        )
    taken = Picture.take(style, "style", limits=limits)
    if len(taken.values) != 1:
        raise InputError(f"style: expected one picture, got a batch of {len(taken.values)}; give them in a list")
    with torch.inference_mode(False):
        return placed(taken.resized(reduced_size(taken.size, shorter=_MOST_SIDE)), device).clone()
