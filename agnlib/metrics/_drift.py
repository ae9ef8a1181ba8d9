"""Colors that come from the network and not from the photo: patches, bands along the border, repeats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics._checks import check_aligned, check_pair
from agnlib.metrics._color import rgb_to_lab
from agnlib.ops._precision import in_full_precision

_SIDE = 96  # shorter side, in cells, of the pictures that drift is seen in: what strokes do is averaged away
_WINDOW = 12  # cells
_ONE_COLOR = 3.0  # Lab, deviation of the photo in a window
_SURELY = 0.5  # Lab: less is not seen
_STEP = 8  # Lab: what is one color
_LEFT = 3 * _STEP**2 / 12  # the variance within such a step, of three channels
_LEAST = 64  # px


@in_full_precision
def color_drift(image: Tensor, content: Tensor, reference: Tensor) -> Tensor:
    """How much colors wander where the photo has one color, in what they wander within the reference.

    All pictures are averaged to a shorter side of 96 cells, which leaves no strokes, and cut in windows of an eighth of
    that. Those count in which the photo deviates by less than 3 from its mean in CIE Lab: the deviation of the
    painting's a* and b* in them, root mean square, over that in all windows of the reference. Where a photo has no such
    window there is nothing to measure.

    Args:
        image, content: float `(B, 3, H, W)` in [-1, 1], both sides at least 64 px.
        reference: float `(B, 3, H', W')` in [-1, 1], as large.

    Returns:
        `(B,)`: at most 1 for a painting whose colors follow the photo; NaN where the photo has nothing of one color.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> photo, rng = torch.zeros(1, 3, 96, 96), torch.Generator().manual_seed(0)
        >>> reference = torch.rand(1, 3, 96, 96, generator=rng) * 2 - 1
        >>> color_drift(photo, photo, reference).item() < 0.1
        True
    """
    check_aligned(("image", "content"), image, content, min_size=_LEAST)
    check_pair(("image", "reference"), image, reference, min_size=_LEAST)
    ours, photo, theirs = (_deviations(_averaged(picture)) for picture in (image, content, reference))
    counted = (photo.sum(2) < _ONE_COLOR**2).to(ours.dtype)
    drift = (ours[:, :, 1:].sum(2) * counted).sum(1) / counted.sum(1)
    return (drift.sqrt() + _SURELY) / (theirs[:, :, 1:].sum(2).mean(1).sqrt() + _SURELY)


@in_full_precision
def edge_shift(image: Tensor, content: Tensor) -> Tensor:
    """How far colors along a border are from those that the same colors of the photo have further in, in CIE Lab.

    A strip of a twelfth of the shorter side along each border, beside the two next to it: of every color that the
    photo has in both, in steps of 8 in Lab, the mean of the painting here and there; their distance, by how much of the
    strip has that color. The border where it is largest counts.

    Args:
        image, content: float `(B, 3, H, W)` in [-1, 1], both sides at least 64 px.

    Returns:
        `(B,)`: up to about 5 is what a painting has anywhere; 0 where strips have no color in common.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> photo = torch.zeros(1, 3, 96, 96)
        >>> banded = photo.clone()
        >>> banded[..., :8, :] = 0.5
        >>> edge_shift(photo, photo).item(), edge_shift(banded, photo).item() > 15
        (0.0, True)
    """
    check_aligned(("image", "content"), image, content, min_size=_LEAST)
    painted, colors = _averaged(image), _colors(_averaged(content))
    sides = [(painted, colors), (painted.mT, colors.mT)]
    sides += [(ours.flip(-2), theirs.flip(-2)) for ours, theirs in sides]
    return torch.stack([torch.stack([_shift(*each) for each in zip(*side, strict=True)]) for side in sides]).amax(0)


@in_full_precision
def repetition(image: Tensor, content: Tensor) -> Tensor:
    """The strongest likeness of a painting to itself, moved by more than a quarter of its shorter side.

    Of what the photo does not explain: colors less the mean of those that the same color of the photo has everywhere
    (in steps of 8 in CIE Lab). Autocorrelation over all shifts that leave half of either side and more.

    Args:
        image, content: float `(B, 3, H, W)` in [-1, 1], both sides at least 64 px.

    Returns:
        `(B,)` in [-1, 1]: 1 for patches that come again and again, 0.2 to 0.4 by chance.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> patch = torch.rand(1, 3, 96, 48, generator=torch.Generator().manual_seed(0)) - 0.5
        >>> repetition(patch.tile(1, 1, 1, 5), torch.zeros(1, 3, 96, 240)).item() > 0.9
        True
    """
    check_aligned(("image", "content"), image, content, min_size=_LEAST)
    pictures = zip(_averaged(image), _colors(_averaged(content)), strict=True)
    return torch.stack([_likeness(_unexplained(ours, colors)) for ours, colors in pictures])


def _averaged(image: Tensor) -> Tensor:
    """CIE Lab of the picture reduced to `_SIDE` cells."""
    height, width = image.shape[2:]
    scale = _SIDE / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return rgb_to_lab(F.interpolate(image, size, mode="area") if scale < 1 else image)


def _deviations(lab: Tensor) -> Tensor:
    """Variance of each channel in windows that overlap by half, `(B, windows, 3)`."""
    mean, square = (F.avg_pool2d(each, _WINDOW, stride=_WINDOW // 2) for each in (lab, lab.square()))
    return (square - mean.square()).clamp_min(0).flatten(2).mT


def _colors(lab: Tensor) -> Tensor:
    """A number for each color, in steps of 8: `(B, H, W)` of `(B, 3, H, W)`."""
    steps = (lab / _STEP).round().long() + 50
    return (steps[:, 0] * 100 + steps[:, 1]) * 100 + steps[:, 2]


def _shift(painted: Tensor, colors: Tensor) -> Tensor:
    """Of one picture, `(3, H, W)` and `(H, W)`: the outermost rows beside the next."""
    rows = _SIDE // 12
    parts = [(painted[:, part].flatten(1), colors[part].flatten()) for part in (slice(0, rows), slice(rows, 3 * rows))]
    total, count = painted.new_zeros(()), 0
    for color in torch.unique(parts[0][1]):
        found = [values[:, keys == color] for values, keys in parts]
        if min(each.shape[1] for each in found) >= rows:
            here, there = (each.mean(1) for each in found)
            total, count = total + found[0].shape[1] * (here - there).norm(), count + found[0].shape[1]
    return total / max(count, 1)


def _unexplained(painted: Tensor, colors: Tensor) -> Tensor:
    """Of one picture, `(3, H, W)` and `(H, W)`: less the mean of each color."""
    _, index, count = torch.unique(colors, return_inverse=True, return_counts=True)
    sums = painted.new_zeros(3, len(count)).index_add_(1, index.flatten(), painted.flatten(1))
    means: Tensor = (sums / count)[:, index]
    return painted - means


def _likeness(field: Tensor) -> Tensor:
    """The highest autocorrelation of `(3, H, W)`, the part that overlaps being normalized for each shift."""
    height, width = field.shape[1:]
    size = (2 * height, 2 * width)
    spectrum, covered = torch.fft.rfft2(field, s=size), torch.fft.rfft2(torch.ones_like(field[0]), s=size)
    energy = torch.fft.rfft2(field.square().sum(0), s=size)
    products = torch.fft.irfft2((spectrum.conj() * spectrum).sum(0), s=size)
    ours, theirs = (torch.fft.irfft2(each, s=size) for each in (energy.conj() * covered, covered.conj() * energy))
    alike = torch.fft.irfft2(covered.conj() * covered, s=size) * _LEFT
    correlation = products / ((ours * theirs).clamp_min(0).sqrt() + alike)
    down, right = (_shifts(n, field) for n in (height, width))
    counted = (down[:, None] <= height / 2) & (right <= width / 2)
    counted &= torch.hypot(down[:, None], right[None]) > _SIDE / 4
    return torch.amax(correlation[counted])


def _shifts(length: int, field: Tensor) -> Tensor:
    """How far each value of a correlation, padded to twice the length, is from no shift."""
    shifts: Tensor = torch.fft.fftfreq(2 * length, 1 / (2 * length), device=field.device, dtype=field.dtype)
    return shifts.abs()
