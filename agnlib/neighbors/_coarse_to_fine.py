"""A picture painted by neural neighbors, from its coarse forms to its strokes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib._shared.numbers import is_number, settle
from agnlib.errors import InputError
from agnlib.neighbors._color import color_moments, recolored
from agnlib.neighbors._features import ALIGN, Encoder, grid
from agnlib.neighbors._pyramid import collapsed, pyramid
from agnlib.neighbors._reference import Keys, Reference, aligned_size, resized
from agnlib.neighbors._scale import Scale, Weights

__all__ = ["Plan", "Progress", "paint"]

_COARSEST = 64  # pixels of the shorter side, where the composition dissolves into the reference's forms
_FINE = 320  # pixels, from where on fewer steps do
_STEPS, _FINE_STEPS = 18, 10


@dataclass(frozen=True)
class Plan:
    """How a picture is painted.

    Args:
        drawing: how much of the photo's drawing stays, from 0 (its forms dissolve into the reference's) to 1 (only the
            finest strokes are the reference's).

    Raises:
        InputError: a value outside its range.

    Example:
        >>> Plan(drawing=1.0).sides(256), Plan(drawing=0.0).sides(256)
        ([(256, 18)], [(64, 18), (128, 18), (256, 18)])
    """

    drawing: float = 0.5

    def __post_init__(self) -> None:
        if not is_number(self.drawing, 0, 1):
            raise InputError(
                "drawing must be a number from 0 (forms dissolve into the reference's) to 1 (the photo's drawing"
                f" stays), got {self.drawing!r}"
            )
        settle(self)

    def sides(self, shorter: int) -> list[tuple[int, int]]:
        """The shorter sides at which a picture is painted, coarse to fine, and the steps at each."""
        doublings = (1 - self.drawing) ** 2 * max(0.0, math.log2(shorter / _COARSEST))
        count = math.ceil(doublings - 1e-9)
        sides = [round(shorter / 2 ** (doublings * (count - k) / max(count, 1))) for k in range(count)]
        return [(side, _STEPS if side <= _FINE else _FINE_STEPS) for side in [*sides, shorter]]


@dataclass(frozen=True)
class Progress:
    """How far a painting is.

    Attributes:
        done, total: work, in steps of the finest size; of a batch, that on all its pictures.
        picture: `(1, 3, h, w)` in about [-1, 1], as it is now; smaller than the result at first.
    """

    done: float
    total: float
    picture: Tensor


def paint(
    start: Tensor,
    photo: Tensor,
    references: Sequence[Sequence[Reference]],
    encoder: Encoder,
    *,
    shares: Tensor | None = None,
    amount: float = 1.0,
    plan: Plan | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Tensor:
    """The picture, painted with the forms, strokes and colors of references.

    Args:
        start: `(1, 3, H, W)` in [-1, 1], what composes the picture: a network's painting, or the photo.
        photo: `(1, 3, H, W)` in [-1, 1], whose drawing stays.
        references: of each region; several of one region have their shares of it.
        encoder: gives `{tap: features}`, shallow taps first; see `agnlib.models.PerceptualEncoder`.
        shares: `(1, R, H, W)`, how much of each region there is at a place; each place is matched with the region that
            has most of it. None for one region.
        amount: of the style, above 0, at most 1.
        plan: how.
        on_step: is told how far it is, after each step; what it raises ends the work.

    Returns:
        `(1, 3, H, W)` in [-1, 1].
    """
    plan = plan or Plan()
    check_listener(on_step)
    size = (photo.shape[2], photo.shape[3])
    start, photo = (_padded(each) for each in (start, photo))
    shares = None if shares is None else _padded(shares)
    steps = _Steps(plan.sides(min(photo.shape[2:])), photo, size, on_step)
    picture = None
    for index, (side, count) in enumerate(steps.sides):
        small, seen = (_at(each, side) for each in (start, photo))
        begun = small if picture is None else _carried(picture, small, min(1.0, 2 * plan.drawing))
        scale = Scale(
            encoder,
            seen,
            [Keys.of(each, encoder, side) for each in references],
            regions=None if shares is None else _regions(shares, (seen.shape[2], seen.shape[3])),
            split=index == len(steps.sides) - 1,
            amount=amount,
            weights=Weights(similarity=2 * plan.drawing**2),
        )
        picture = scale.paint(begun, count, steps.listener(seen))
    assert picture is not None
    return _colored(picture, references, shares, amount).clamp(-1, 1)[..., : size[0], : size[1]]


def check_listener(on_step: object) -> None:
    """Raise `InputError` unless this can be told how far a painting is, or is None."""
    if on_step is not None and not callable(on_step):
        raise InputError(f"on_step must be a function that takes a Progress, got {on_step!r}")


class _Steps:
    """Counts the work done, by the pixels of each size."""

    def __init__(
        self,
        sides: list[tuple[int, int]],
        photo: Tensor,
        size: tuple[int, int],
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        self.sides, self._on_step, self._done = sides, on_step, 0.0
        self._shown = size[0] / photo.shape[2], size[1] / photo.shape[3]  # the rest was padded
        self._whole = math.prod(photo.shape[2:])
        self._total = sum(count * math.prod(_at_size(photo, side)) / self._whole for side, count in sides)

    def listener(self, seen: Tensor) -> Callable[[Tensor], None] | None:
        """What a size calls after each step."""
        if self._on_step is None:
            return None
        tell, each = self._on_step, math.prod(seen.shape[2:]) / self._whole
        height, width = (max(1, round(share * side)) for share, side in zip(self._shown, seen.shape[2:], strict=True))

        def step(picture: Tensor) -> None:
            self._done = min(self._total, self._done + each)
            tell(Progress(self._done, self._total, picture[..., :height, :width]))

        return step


def _padded(image: Tensor) -> Tensor:
    """With its last rows and columns repeated up to a multiple of 16, at least 32."""
    height, width = (max(2 * ALIGN, -(-side // ALIGN) * ALIGN) for side in image.shape[2:])
    return F.pad(image, (0, width - image.shape[3], 0, height - image.shape[2]), mode="replicate")


def _at_size(image: Tensor, side: int) -> tuple[int, int]:
    height, width = image.shape[2:]
    factor = side / min(height, width)
    return (height, width) if factor == 1 else aligned_size((round(height * factor), round(width * factor)))


def _at(image: Tensor, side: int) -> Tensor:
    return resized(image, _at_size(image, side))


def _carried(coarse: Tensor, start: Tensor, share: float) -> Tensor:
    """A coarser painting at the next size, its finest level in part the start's."""
    larger = F.interpolate(coarse, start.shape[2:], mode="bilinear", align_corners=False)
    levels, other = pyramid(larger, 2), pyramid(start, 2)
    return collapsed([torch.lerp(levels[0], other[0], share), *levels[1:]])


def _regions(shares: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(shares, grid(size), mode="area")[0].flatten(1).argmax(0).cpu()


def _colored(
    picture: Tensor, references: Sequence[Sequence[Reference]], shares: Tensor | None, amount: float
) -> Tensor:
    """Each region with the colors of its references."""
    result = torch.zeros_like(picture)
    whole = torch.ones_like(picture[:, :1])
    parts = (
        [whole] if shares is None else list(torch.split(shares / shares.sum(1, keepdim=True).clamp_min(1e-6), 1, dim=1))
    )
    for own, part in zip(references, parts, strict=True):
        if part.max() > 0:
            moved = recolored(picture, color_moments(picture, part), _mixed_colors(own))
            result += part.to(picture) * torch.lerp(picture, moved, amount)
    return torch.where(sum(parts, torch.zeros_like(whole)) > 0, result, picture)


def _mixed_colors(references: Sequence[Reference]) -> tuple[Tensor, Tensor]:
    parts = [(color_moments(each.pixels), each.share) for each in references]
    mean = torch.stack([share * moments[0] for moments, share in parts]).sum(0)
    squares = [share * (moments[1] + torch.outer(moments[0], moments[0])) for moments, share in parts]
    return mean, torch.stack(squares).sum(0) - torch.outer(mean, mean)
