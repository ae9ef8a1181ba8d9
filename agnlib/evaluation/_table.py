"""Scores summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

__all__ = ["COLUMNS", "RESAMPLES", "markdown_table", "summarize", "table"]

RESAMPLES = 2000
Values: TypeAlias = "np.ndarray[Any, Any]"
Summary: TypeAlias = "Mapping[str, Mapping[str, Mapping[str, float]]]"


@dataclass(frozen=True)
class _Column:
    """How a number is summed up, how far a value is from the best one, and how it is printed."""

    average: Callable[..., Values]
    badness: Callable[[Values], Values]
    digits: int


def _ratio(values: Values) -> Values:
    """The distance of a ratio from 1, alike for a half and for twice as much."""
    return np.abs(np.log(values))


COLUMNS: Mapping[str, _Column] = MappingProxyType(
    {
        "style": _Column(np.mean, np.abs, 3),
        "deep style": _Column(np.mean, np.abs, 3),
        "trained style": _Column(np.mean, np.abs, 3),
        "content": _Column(np.mean, np.abs, 3),
        "VGG16 content": _Column(np.mean, np.abs, 3),
        "product": _Column(np.mean, np.abs, 3),
        "palette": _Column(np.mean, np.abs, 2),
        "structure": _Column(np.mean, lambda values: 1 - values, 3),
        "color ratio": _Column(np.median, _ratio, 2),
        "detail ratio": _Column(np.median, _ratio, 2),
        "shared texture": _Column(np.mean, np.abs, 2),
        "flicker": _Column(np.mean, np.abs, 1),
    }
)


def summarize(
    scores: Mapping[str, Sequence[Mapping[str, float]]], *, peer: str = "identity", seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> column -> "value", "low" and "high" (95% bootstrap over pairs), and "wins" against a peer.

    Ratios are summed up by their median, the rest by the mean.

    Args:
        scores: from `evaluate`, of at least one pair.
        peer: the row that the share of pairs won is counted against; a tie is half a win.
        seed: of the bootstrap.

    Example:
        >>> scores = {"identity": [{"palette": 4.0}] * 3, "mine": [{"palette": 2.0}] * 3}
        >>> summarize(scores)["mine"]["palette"]
        {'value': 2.0, 'low': 2.0, 'high': 2.0, 'wins': 1.0}
    """
    pairs = len(scores[peer])
    draws = np.random.default_rng(seed).integers(0, pairs, (RESAMPLES, pairs))
    named = [name for name in COLUMNS if all(name in each for row in scores.values() for each in row)]
    return {
        row: {name: _cell(COLUMNS[name], _values(found, name), _values(scores[peer], name), draws) for name in named}
        for row, found in scores.items()
    }


def _values(scores: Sequence[Mapping[str, float]], name: str) -> Values:
    return np.array([score[name] for score in scores])


def _cell(column: _Column, values: Values, peer: Values, draws: Values) -> dict[str, float]:
    low, high = np.quantile(column.average(values[draws], axis=1), (0.025, 0.975))
    lead = column.badness(peer) - column.badness(values)
    wins = np.mean((lead > 0) + 0.5 * (lead == 0))
    return {"value": float(column.average(values)), "low": float(low), "high": float(high), "wins": float(wins)}


def table(summary: Summary, *, intervals: bool = True) -> str:
    """What `summarize` gave as a table in Markdown, with the bootstrap intervals in brackets."""
    names = list(next(iter(summary.values())))
    rows = [
        [row, *(_text(cells[name], COLUMNS[name].digits, intervals) for name in names)]
        for row, cells in summary.items()
    ]
    return markdown_table(["", *names], rows)


def _text(cell: Mapping[str, float], digits: int, interval: bool) -> str:
    value = f"{cell['value']:.{digits}f}"
    return f"{value} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]" if interval else value


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: int = 1) -> str:
    """A padded table in Markdown: the first `text` columns are aligned left, the others, numbers, right."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if i < text else '>'}{widths[i]}}" for i, cell in enumerate(row)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if i < text else ":") for i, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
