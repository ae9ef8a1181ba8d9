"""Watching for collapse: a generator whose results are all alike, or a discriminator that judges nothing any more."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["CollapseWatch", "diversity", "hue_entropy"]

_THUMBNAIL = 8  # cells a side: what remains of pictures that are told apart by their composition and colors
_HUES = 12
_LEAST_CHROMA = 0.02  # of a range of 2: below it a color is gray and has no hue
_LEAST_DIVERSITY, _LEAST_HUE_ENTROPY = 0.1, 0.25  # of what the real pictures have
_MOST_ACCURACY, _MOST_SIGN = 0.99, 0.98
_SATURATED = 2.0  # a logit beyond all margins: below it a discriminator of one mind is only undecided
_JUDGED = ("real", "fake", "real_sign", "fake_sign")


def diversity(images: Tensor) -> float:
    """How far pictures are from each other: the mean over pairs of the root mean square of their difference.

    Args:
        images: `(B, C, H, W)`, or features of any shape `(B, ...)`.

    Example:
        >>> round(diversity(torch.tensor([[0.0, 0.0], [3.0, 3.0]])), 6)
        3.0
    """
    if len(images) < 2:
        return 0.0
    rows = images.flatten(1).double()
    return float(torch.pdist(rows).mean() / rows.shape[1] ** 0.5)


def hue_entropy(images: Tensor) -> float:
    """Entropy of the pictures' hues taken together, weighed by their chroma: 0 is one hue or gray, 1 is all of twelve.

    Args:
        images: RGB `(B, 3, H, W)` in [-1, 1].

    Example:
        >>> hue_entropy(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1))
        0.0
    """
    red, green, blue = images.double().unbind(1)
    across, up = red - (green + blue) / 2, (green - blue) * (math.sqrt(3) / 2)
    chroma = (torch.hypot(across, up) - _LEAST_CHROMA).clamp_min(0).flatten()
    hue = ((torch.atan2(up, across) / (2 * math.pi) % 1) * _HUES).long().clamp_max(_HUES - 1).flatten()
    share = torch.zeros(_HUES, dtype=chroma.dtype, device="cpu").index_add_(0, hue.cpu(), chroma.cpu())
    if share.sum() <= 0:
        return 0.0
    return max(0.0, float(torch.special.entr(share / share.sum()).sum()) / math.log(_HUES))


class CollapseWatch:
    """A callback that warns when training collapses, with the numbers, and gives them to the callbacks after it.

    Over the last `window` looks it compares the results with the real pictures, in diversity and in hues, and follows
    the discriminator's accuracy and mean sign. It warns when the results are nearly all alike or of one hue though the
    real pictures are not, when the discriminator is always right, and when it says the same of everything; then not
    again before `again` steps. Steps of plain reconstruction are passed over.

    Args:
        every: steps between looks.
        window: looks that are taken together, at least 2.
        patience: looks in a row that must be bad.
        again: steps without another warning.

    Raises:
        InputError: numbers that are too small.

    Example:
        >>> CollapseWatch(every=10).every
        10
    """

    def __init__(self, *, every: int = 5, window: int = 16, patience: int = 8, again: int = 1000) -> None:
        if min(every, patience, again) < 1 or window < 2:
            raise InputError(
                f"CollapseWatch: every {every}, window {window}, patience {patience}, again {again};"
                " expected a window of at least 2 and no other below 1"
            )
        self.every, self.window, self.patience, self.again = every, window, patience, again
        self._fake: deque[Tensor] = deque(maxlen=window)
        self._real: deque[Tensor] = deque(maxlen=window)
        self._judged: deque[list[float]] = deque(maxlen=window)
        self._bad, self._warned = 0, -again

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        """Look at every few steps' results."""
        if trainer.step % self.every or trainer.latest is None or trainer.latest[0].identity:
            return
        batch, fake = trainer.latest
        self._fake.append(_thumbnails(fake))
        self._real.append(_thumbnails(batch.style))
        if "discriminator/real_sign" in logs:
            self._judged.append([logs[f"discriminator/{name}"] for name in _JUDGED])
        numbers = self._numbers()
        logs |= {f"watch/{name}": value for name, value in numbers.items()}
        troubles = _troubles(numbers) if len(self._fake) == self.window else []
        self._bad = self._bad + 1 if troubles else 0
        if self._bad >= self.patience and trainer.step - self._warned >= self.again:
            self._warned = trainer.step
            said = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items())
            warnings.warn(
                f"training may have collapsed at step {trainer.step}: {'; '.join(troubles)} ({said}). Compare the"
                " samples with earlier ones; go back to a checkpoint before it with a lower learning rate, more penalty"
                " or, for little data, augmentation",
                RuntimeWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        looks = {"fake": list(self._fake), "real": list(self._real), "judged": list(self._judged)}
        return {**looks, "bad": self._bad, "warned": self._warned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        for looks, name in ((self._fake, "fake"), (self._real, "real"), (self._judged, "judged")):
            looks.clear()
            looks.extend(state[name])
        self._bad, self._warned = int(state["bad"]), int(state["warned"])

    def _numbers(self) -> dict[str, float]:
        fake, real = torch.cat(list(self._fake)), torch.cat(list(self._real))
        numbers = {
            "diversity": diversity(fake),
            "real_diversity": diversity(real),
            "hue_entropy": hue_entropy(fake) if fake.shape[1] == 3 else 1.0,
            "real_hue_entropy": hue_entropy(real) if real.shape[1] == 3 else 1.0,
        }
        if self._judged:
            means = (sum(column) / len(self._judged) for column in zip(*self._judged, strict=True))
            numbers |= dict(zip(_JUDGED, means, strict=True))
            numbers["accuracy"] = (2 + numbers["real_sign"] - numbers["fake_sign"]) / 4
        return numbers


def _troubles(numbers: dict[str, float]) -> list[str]:
    found = []
    if numbers["diversity"] < _LEAST_DIVERSITY * numbers["real_diversity"]:
        found.append("the results are nearly all alike")
    if numbers["hue_entropy"] < _LEAST_HUE_ENTROPY * numbers["real_hue_entropy"]:
        found.append("the results have nearly one hue")
    if "accuracy" not in numbers:
        return found
    if numbers["accuracy"] > _MOST_ACCURACY:
        found.append("the discriminator is always right")
    real, fake = numbers["real_sign"], numbers["fake_sign"]
    sure = min(abs(numbers["real"]), abs(numbers["fake"])) > _SATURATED
    if real * fake > 0 and min(abs(real), abs(fake)) > _MOST_SIGN and sure:
        found.append("the discriminator says the same of everything")
    return found


@torch.no_grad()
def _thumbnails(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.detach().float().clamp(-1, 1), _THUMBNAIL).cpu()
