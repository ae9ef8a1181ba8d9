"""Augmentation for little data: what the discriminator sees is changed at random, so that it cannot learn by heart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["AUGMENTATIONS", "AdaptiveProbability", "augment", "check_augmentations"]

_SHIFT = 1 / 8  # of a side: the furthest that a picture is moved
_CUT = 1 / 2  # of a side: the square that is taken out
_NUMBERS = 4  # random numbers of a picture and operation: whether, and up to three that say how


def check_augmentations(operations: Sequence[str]) -> None:
    """Raise `InputError` where an operation is unknown."""
    unknown = [name for name in operations if not isinstance(name, str) or name not in AUGMENTATIONS]
    if unknown:
        raise InputError(f"unknown augmentation {unknown[0]!r}; expected some of {', '.join(AUGMENTATIONS)}")


def augment(
    image: Tensor, operations: Sequence[str], *, probability: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Pictures changed at random, each by draws of its own; differentiable, and so is its gradient.

    The discriminator sees real and generated pictures through this, in its own turn and in the generator's, so that the
    generator learns the distribution before the change. Translation moves a picture by up to an eighth of a side and
    fills up with gray, cutout grays a square of half a side, flip mirrors left and right, color changes brightness,
    saturation and contrast. Color is what a style is made of: changed that often, the change leaks into the results.
    Papers: Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020 (the operations);
    Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020 (the probability).

    Args:
        image: `(B, C, H, W)` in [-1, 1].
        operations: names from `AUGMENTATIONS`, carried out in this order.
        probability: that an operation is carried out on a picture; a flip then happens half of the time.
        generator: of all draws, on the CPU. How many it gives does not depend on the probability.

    Raises:
        InputError: an unknown operation, or a probability outside [0, 1].

    Example:
        >>> augment(torch.ones(1, 3, 8, 8), ["cutout"], generator=torch.Generator().manual_seed(3)).min()
        tensor(0.)
    """
    check_augmentations(operations)
    if not 0 <= probability <= 1:
        raise InputError(f"augment: probability is {probability}; expected a number from 0 to 1")
    if not operations:
        return image
    numbers = torch.rand(len(image), len(operations), _NUMBERS, generator=generator, device="cpu", dtype=torch.float32)
    for index, name in enumerate(operations):
        chosen = numbers[:, index, 0] < probability
        if chosen.any():
            image = AUGMENTATIONS[name](image, chosen, numbers[:, index, 1:])
    return image


class AdaptiveProbability:
    """The probability of augmentation that keeps the discriminator from being sure of the real pictures.

    The mean sign of its logits of real pictures is near 0 while it learns and near 1 once it knows them by heart. Above
    `target` the probability grows, below it falls, always at one speed.
    Paper: Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020.

    Args:
        start: the probability before the first update.
        target: the mean sign that is aimed at; None leaves the probability alone.
        images: real pictures seen while it goes from 0 to 1 at the fastest.

    Example:
        >>> adaptive = AdaptiveProbability(0.0, target=0.6, images=100)
        >>> adaptive.update(mean_sign=0.9, images=10)
        >>> adaptive.value
        0.1
    """

    def __init__(self, start: float, *, target: float | None, images: int) -> None:
        self.value, self.target, self.images = start, target, images

    def update(self, mean_sign: float, images: int) -> None:
        """Take a step after the discriminator has judged so many real pictures."""
        if self.target is None:
            return
        step = images / self.images * ((mean_sign > self.target) - (mean_sign < self.target))
        self.value = min(1.0, max(0.0, self.value + step))


def _translate(image: Tensor, chosen: Tensor, numbers: Tensor) -> Tensor:
    height, width = image.shape[2:]
    down, right = _whole(numbers[:, 0], height * _SHIFT), _whole(numbers[:, 1], width * _SHIFT)
    moved = [
        _moved(picture, dy, dx) if doing else picture
        for picture, doing, dy, dx in zip(image, chosen.tolist(), down, right, strict=True)
    ]
    return torch.stack(moved)


def _whole(uniform: Tensor, most: float) -> list[int]:
    """Whole numbers from -most to most, each as likely as any other."""
    count = 2 * int(most) + 1
    return [int(value) for value in (uniform * count).floor().clamp_max(count - 1) - int(most)]


def _moved(picture: Tensor, down: int, right: int) -> Tensor:
    height, width = picture.shape[1:]
    kept = picture[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    pad = (max(0, right), max(0, -right), max(0, down), max(0, -down))
    return torch.nn.functional.pad(kept, pad)


def _cut_out(image: Tensor, chosen: Tensor, numbers: Tensor) -> Tensor:
    rows, columns = (
        _outside(numbers[:, axis], chosen, length).to(image.device) for axis, length in enumerate(image.shape[2:])
    )
    return image * (rows[:, None, :, None] | columns[:, None, None, :])


def _outside(uniform: Tensor, chosen: Tensor, length: int) -> Tensor:
    """`(B, length)`: True where a cell is outside an interval of half the length, which may stand out over the ends."""
    side = int(length * _CUT)
    start = (uniform * (length + 1)).floor().clamp_max(length) - side // 2
    inside = torch.arange(length, device="cpu") - start[:, None]
    return (inside < 0) | (inside >= side) | ~chosen[:, None]


def _flip(image: Tensor, chosen: Tensor, numbers: Tensor) -> Tensor:
    mirrored = (chosen & (numbers[:, 0] < 0.5)).to(image.device)
    return torch.where(mirrored[:, None, None, None], image.flip(3), image)


def _recolor(image: Tensor, chosen: Tensor, numbers: Tensor) -> Tensor:
    brightness, saturation, contrast = numbers.to(image)[:, :, None, None, None].unbind(1)
    changed = image + (brightness - 0.5)
    gray = changed.mean(1, keepdim=True)
    changed = gray + 2 * saturation * (changed - gray)
    middle = changed.mean((1, 2, 3), keepdim=True)
    changed = middle + (contrast + 0.5) * (changed - middle)
    return torch.where(chosen.to(image.device)[:, None, None, None], changed, image)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "translation": _translate,
    "cutout": _cut_out,
    "flip": _flip,
    "color": _recolor,
}
