"""The runs of `article.py` as tables; a run that is missing leaves its row out, one that failed stays.

Repainting (point 2) has a table of its own: `article_repaint.py`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import fail, markdown_table

LEAST_CONFIDENCE, LEAST_SHARE, LEAST_ASKED = 0.9, 0.04, 0.95
COLLAPSED_SHARE = 0.01
MEASURES = ("confidence", "least_share", "asked", "frechet", "detail")
_NAMES = {
    "samples": "article",
    "samples-relativistic": "article, relativistic loss",
    "samples-conv": "article, relativistic loss, convolutions in D",
    "samples-class": "article, K + 1 classes",
    "modern": "modern default",
    "asked": "article, K + 1 classes, labels asked for",
    "modern-asked": "modern default, labels asked for",
}
_COLORS = {"color": "article", "modern-color": "modern default"}

Result = dict[str, Any]


def table(folder: Path, runs: Mapping[str, Any]) -> str:
    """All tables as markdown."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    if "real-0" not in found:
        fail(f"{folder} has no real-0.json: the row that all others are read beside; run --only real first")
    losses = {
        name: [found[f"{name}-{s}"] for s in range(run.seeds) if f"{name}-{s}" in found] for name, run in runs.items()
    }
    parts = [
        _caption(found["real-0"]),
        _samples(found),
        "The losses on the same budget, unconditional; medians over the seeds, in brackets the worst seed.",
        _losses(
            {name.removeprefix("loss-"): each for name, each in losses.items() if name.startswith("loss-") and each}
        ),
        "Colors over 2,000 samples, trained on digits with ink and paper of random colors.",
        _colors(found),
    ]
    return "\n\n".join(part for part in parts if part)


def _caption(real: Result) -> str:
    return (
        f"2,000 samples of 28 px, judged by a classifier with {real['accuracy']:.2%} of MNIST's test set right. Minutes"
        " are CPU minutes of training on one thread. K + 1 classes: the discriminator learns the classes too."
        " confidence: mean of the highest probability; least digit: share of the rarest digit; as asked: classified"
        " as the label asked for; Fréchet: distance to the test set on the classifier's features; detail: energy above"
        " half the highest frequency, over the test set's. Point 1 is reached with confidence >="
        f" {LEAST_CONFIDENCE} and every digit >= {LEAST_SHARE:.0%}, or with >= {LEAST_ASKED:.0%} as asked. The averaged"
        " weights are the ones to use; the last step's are beside them."
    )


def reached(run: Result, kind: str = "average") -> float | None:
    """The first minute at which point 1 holds, or None."""
    for row in run["curve"]:
        if row["steps"] and good(row[kind]):
            return float(row["minutes"])
    return None


def good(measures: Mapping[str, Any]) -> bool:
    """Whether point 1 holds."""
    if "asked" in measures:
        return bool(measures["asked"] >= LEAST_ASKED)
    return bool(measures["confidence"] >= LEAST_CONFIDENCE and measures["least_share"] >= LEAST_SHARE)


def failed(run: Result) -> str | None:
    """Why a run counts as failed, or None."""
    if run["failure"]:
        return "stopped"
    return "collapsed" if run["curve"][-1]["average"]["least_share"] < COLLAPSED_SHARE else None


def _samples(found: Mapping[str, Result]) -> str:
    rows = [["real digits", "", "", "", *_cells(found["real-0"]["real"]), ""]]
    for name, title in _NAMES.items():
        run = found.get(f"{name}-0")
        if run is None:
            continue
        first, last = run["curve"][0], run["curve"][-1]
        rows.append(
            [title, "untrained", "0", "0", *_cells(first["average"]), "no" if not good(first["average"]) else "YES"]
        )
        for kind in ("average", "last"):
            minute = reached(run, kind)
            told = "not reached" if minute is None else f"{minute:.0f}"
            rows.append([title, kind, f"{last['minutes']:.0f}", f"{last['steps']:,}", *_cells(last[kind]), told])
    columns = [
        "",
        "weights",
        "minutes",
        "steps",
        "confidence",
        "least digit",
        "as asked",
        "Fréchet",
        "detail",
        "point 1 after, min",
    ]
    return markdown_table(columns, rows, text=2)


def _cells(measures: Mapping[str, Any]) -> list[str]:
    formats = {
        "confidence": "{:.3f}",
        "least_share": "{:.1%}",
        "asked": "{:.1%}",
        "frechet": "{:.0f}",
        "detail": "{:.2f}",
    }
    return [formats[name].format(measures[name]) if name in measures else "" for name in MEASURES]


def _losses(losses: Mapping[str, Sequence[Result]]) -> str:
    rows = []
    for name, runs in losses.items():
        ends = [run["curve"][-1]["average"] for run in runs]
        bad = [f"{run['settings']['seed']} ({failed(run)})" for run in runs if failed(run)]
        cells = [_median(ends, measure, worst, text) for measure, worst, text in _LOSS_COLUMNS]
        seconds = statistics.median(run["seconds_per_step"] for run in runs)
        title = f"{name} (K + 1)" if name == "class" else name.replace("_", " ")
        rows.append([title, str(len(runs)), f"{seconds:.3f}", *cells, ", ".join(bad) or "none"])
    if not rows:
        return ""
    columns = ["loss", "seeds", "s/step", "confidence", "least digit", "Fréchet", "detail", "seeds that failed"]
    return markdown_table(columns, rows)


_LOSS_COLUMNS = (
    ("confidence", min, "{:.3f}"),
    ("least_share", min, "{:.1%}"),
    ("frechet", max, "{:.0f}"),
    ("detail", lambda values: max(values, key=lambda value: abs(value - 1)), "{:.2f}"),
)


def _median(ends: Sequence[Mapping[str, float]], measure: str, worst: Any, text: str) -> str:
    values = [end[measure] for end in ends]
    return f"{text.format(statistics.median(values))} ({text.format(worst(values))})"


def _colors(found: Mapping[str, Result]) -> str:
    rows = [["real digits", "", *_color_cells(found["real-0"]["colors"])]]
    for name, title in _COLORS.items():
        run = found.get(f"{name}-0")
        if run is not None:
            rows.append([f"{title}, untrained", "0", *_color_cells(run["curve"][0]["average"])])
            last = run["curve"][-1]
            rows.append([title, f"{last['minutes']:.0f}", *_color_cells(last["average"])])
    return markdown_table(["", "minutes", "hue entropy (1: all hues alike)", "distance in Lab"], rows)


def _color_cells(measures: Mapping[str, float]) -> list[str]:
    return [f"{measures['hue_entropy']:.3f}", f"{measures['distance']:.1f}"]
