"""Random styles beside real ones: is a photograph painted in as many ways?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from agnlib import image
from agnlib._shared.progress import Listener, watched
from agnlib.errors import InputError
from agnlib.evaluation._pairs import Pair
from agnlib.evaluation._scoring import Judge
from agnlib.evaluation._table import RESAMPLES, Summary, Values, markdown_table
from agnlib.styles.code import StyleCode

__all__ = ["Improviser", "random_styles", "variety", "variety_table"]

_KINDS = ("random", "real")


class Improviser(Protocol):
    """What paints in styles by chance as well as by reference; a `Stylizer` does."""

    def __call__(self, content: Any, style: Any) -> Image.Image:
        """The photograph, repainted in the style of a picture, or in a `StyleCode`."""

    def random_style(self, seed: int) -> StyleCode:
        """A style by chance."""


def random_styles(
    painters: Mapping[str, Improviser],
    photos: Sequence[Path],
    references: Sequence[Path],
    judge: Judge,
    *,
    count: int = 10,
    seed: int = 0,
    progress: bool | Listener = False,
) -> dict[str, list[dict[str, float]]]:
    """Each photograph in `count` random styles and in as many real ones: row -> the numbers of each photograph.

    The numbers are those of `Judge.variety`, for "random" and for "real": "distance, random" and so on.

    Args:
        painters: row -> weights, as a `Stylizer`.
        photos: picture files.
        references: at least `count` picture files, dealt to the photographs in turn.
        judge: from `installed_judge`, or one's own.
        count: styles of a photograph, at least 2.
        seed: of the random styles; no two photographs have the same.
        progress: see `evaluate`; in photographs.

    Raises:
        InputError: a count below 2, or fewer references.
        ImageError: a file cannot be read.

    Example:
        >>> random_styles({}, [], [Path("a.jpg"), Path("b.jpg")], Judge({}), count=2)
        {}
    """
    if count < 2 or len(references) < count:
        raise InputError(
            f"count: got {count}, with {len(references)} references; expected at least 2 and as many of them"
        )
    scores: dict[str, list[dict[str, float]]] = {row: [] for row in painters}
    for number, file in enumerate(watched(photos, progress, "photo", desc="random styles", disable=None)):
        dealt = range(number * count, (number + 1) * count)
        photo, _ = Pair(file, references[0]).open()
        real = [image.load(references[i % len(references)]).convert("RGB") for i in dealt]
        for row, painter in painters.items():
            styles: dict[str, list[Any]] = {"random": [painter.random_style(seed + i) for i in dealt], "real": real}
            scores[row].append(_judged({of: [painter(photo, each) for each in styles[of]] for of in _KINDS}, judge))
    return scores


def _judged(pictures: Mapping[str, Sequence[Image.Image]], judge: Judge) -> dict[str, float]:
    found = {of: judge.variety(pictures[of]) for of in _KINDS}
    return {f"{name}, {of}": found[of][name] for name in found["real"] for of in _KINDS}


def variety(
    scores: Mapping[str, Sequence[Mapping[str, float]]], *, seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> number -> the means "random" and "real", their ratio "value", and its "low" and "high" (95% bootstrap).

    Args:
        scores: from `random_styles`, of at least one photograph.
        seed: of the bootstrap over photographs.

    Example:
        >>> scores = {"mine": [{"distance, random": 0.25, "distance, real": 0.5}] * 3}
        >>> variety(scores)["mine"]["distance"]
        {'random': 0.25, 'real': 0.5, 'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    return {row: {name: _compared(found, name, seed) for name in _names(found)} for row, found in scores.items()}


def _names(found: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(key.rpartition(", ")[0] for each in found for key in each))


def _compared(found: Sequence[Mapping[str, float]], name: str, seed: int) -> dict[str, float]:
    random, real = (np.array([each[f"{name}, {of}"] for each in found]) for of in _KINDS)
    draws = np.random.default_rng(seed).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.quantile(_ratio(random[draws].mean(1), real[draws].mean(1)), (0.025, 0.975))
    means = {"random": float(random.mean()), "real": float(real.mean())}
    value = float(_ratio(random.mean(), real.mean()))
    return {**means, "value": value, "low": float(low), "high": float(high)}


def _ratio(random: Values, real: Values) -> Values:
    return random / np.maximum(real, np.finfo(float).tiny)


def variety_table(summary: Summary) -> str:
    """What `variety` gave as a table in Markdown: of each number random, real, and the ratio with its interval."""
    names = list(next(iter(summary.values())))
    columns = [f"{name}, {part}" for name in names for part in (*_KINDS, "ratio")]
    rows = [[row, *(text for name in names for text in _texts(cells[name]))] for row, cells in summary.items()]
    return markdown_table(["", *columns], rows)


def _texts(cell: Mapping[str, float]) -> list[str]:
    means = [f"{cell[of]:.3f}" for of in _KINDS]
    return [*means, f"{cell['value']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]"]
