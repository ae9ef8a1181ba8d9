"""Painters, judged pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from PIL import Image

from agnlib._shared.progress import Listener, watched
from agnlib.evaluation._pairs import Pair
from agnlib.evaluation._scoring import Judge
from agnlib.image import Picture
from agnlib.metrics import flicker, shared_texture

__all__ = ["BASELINES", "Painter", "evaluate"]

Painter: TypeAlias = Callable[[Image.Image, Image.Image], Image.Image]
_PAN = (5, 3)  # px to the right and downwards: no multiple of a network's strides

BASELINES: Mapping[str, Painter] = MappingProxyType(
    {
        "identity": lambda photo, reference: photo,
        "style copied": lambda photo, reference: reference.resize(photo.size, Image.Resampling.LANCZOS),
    }
)


def evaluate(
    painters: Mapping[str, Painter],
    pairs: Sequence[Pair],
    judge: Judge,
    *,
    pan: bool = True,
    texture: bool = True,
    progress: bool | Listener = False,
) -> dict[str, list[dict[str, float]]]:
    """What each painter's pictures are worth: row -> the scores of each pair; `BASELINES` are the first rows.

    Beside the judge's columns there is "flicker": the mean change, in steps of 8 bits, between the paintings of two
    overlapping parts of the photograph, as in a camera's pan. What comes from the photograph moves along and counts
    nothing. "shared texture" is `metrics.shared_texture` of the photograph, 384 px at its shorter side, painted after
    its own reference and after the next pair's.

    Args:
        painters: row -> a callable that makes a picture of a photograph and a reference; a `Stylizer` is one.
        pairs: from `choose_pairs`.
        judge: from `installed_judge`, or one's own.
        pan: measure flicker, for which each photograph is painted twice more.
        texture: measure shared texture, for which each photograph is painted twice more; there must be two references.
        progress: True shows a bar on a terminal; a function is told `(done, total)` in pairs, and ends the work by
            raising.

    Raises:
        ImageError: a file cannot be read.

    Example:
        >>> evaluate({}, [], Judge({}))
        {'identity': [], 'style copied': []}
    """
    rows = {**BASELINES, **painters}
    scores: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
    texture = texture and len({pair.reference for pair in pairs}) > 1
    for index, pair in enumerate(watched(pairs, progress, "pair", desc="pairs", disable=None)):
        photo, reference = pair.open()
        large, other = (pair.open(shorter=True)[0], _another(pairs, index).open()[1]) if texture else (photo, reference)
        for row, painter in rows.items():
            found = judge(painter(photo, reference), photo, reference)
            if pan:
                found["flicker"] = _panned(painter, photo, reference)
            if texture:
                found["shared texture"] = _shared(painter, large, reference, other)
            scores[row].append(found)
    return scores


def _another(pairs: Sequence[Pair], index: int) -> Pair:
    """The next pair with another reference, round and round."""
    following = (*pairs[index + 1 :], *pairs[:index])
    return next(pair for pair in following if pair.reference != pairs[index].reference)


def _shared(painter: Painter, photo: Image.Image, reference: Image.Image, other: Image.Image) -> float:
    """Shared texture of a photograph after two references."""
    paintings = (painter(photo, each) for each in (reference, other))
    return shared_texture(*(Picture.take(np.asarray(p.convert("RGB"))).pixels for p in (*paintings, photo))).item()


def _panned(painter: Painter, photo: Image.Image, reference: Image.Image) -> float:
    """Flicker between the photograph without its last columns and rows, and without its first."""
    import torch

    right, down = (min(step, length // 2) for step, length in zip(_PAN, photo.size, strict=True))
    width, height = photo.size
    parts = [photo.crop((0, 0, width - right, height - down)), photo.crop((right, down, width, height))]
    frames = torch.cat([Picture.take(np.asarray(painter(part, reference).convert("RGB"))).pixels for part in parts])
    return 255 * flicker(frames, torch.tensor([right, down], dtype=torch.float32, device="cpu").view(1, 2, 1, 1)).item()
