"""Grids, drops, borders, one hue: what real art has of them, and what our weights paint.

    python benchmarks/quality/artefacts.py --weights agn-small agn-fast --out artefacts.json

The quantiles of real art are the thresholds of `tests/metrics/test_metrics_artefacts.py`. Works and photos are JPEGs;
they are reduced to 80% first, which takes JPEG's own grid of 8 px off the strides that are looked for.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from agnlib import Stylizer, evaluation, image, metrics
from agnlib.errors import AgnError
from benchmarks._common import SHARED, fail, header, markdown_table, write_json

SEED = 0
REDUCED = 0.8
QUANTILES = (0.5, 0.95, 0.99, 1.0)
METRICS: dict[str, Callable[[Tensor], Tensor]] = {
    "checkerboard": metrics.checkerboard,
    "droplets": metrics.droplets,
    "border_band": metrics.border_band,
    "hue_entropy": metrics.hue_entropy,
}
LOW_IS_BAD = ("hue_entropy",)
Values = dict[str, list[float]]
CAPTION = (
    "checkerboard, droplets, border_band in dB. hue_entropy from 0 (one hue) to 1: there, the quantiles count from the"
    " top, so that 99% is what 1% of the pictures are below. beyond: share of pictures past real art's 99%."
)


def works(data: Path, sample: int) -> list[Path]:
    """All of dev's works and the museum's, and a seeded sample of the other classes, which are of 224 px."""
    train = data / "train" / "style"
    others = [file for file in _pictures(train) if file.parent.name != "museum"]
    chosen = random.Random(SEED).sample(others, min(sample, len(others)))
    return _pictures(data / "dev" / "style") + _pictures(train / "museum") + sorted(chosen)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in image.SUFFIXES)
    return found or fail(f"no pictures in {folder.name}; expected ../shared/data, or --data")


def reduced(file: Path) -> Image.Image:
    """The picture at 80% of its size."""
    picture = image.load(file).convert("RGB")
    width, height = (round(REDUCED * length) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def painted(name: str, pairs: Sequence[evaluation.Pair], device: str) -> Iterator[Image.Image]:
    """What the weights make of each pair, at 384 px."""
    stylizer = Stylizer.from_pretrained(name, device=device)
    for pair in pairs:
        yield stylizer(*pair.open())


def measured(pictures: Iterator[Image.Image]) -> Values:
    """Every metric's values, in the order of the pictures."""
    tensors = [torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1 for picture in pictures]
    return {name: [float(metric(tensor)) for tensor in tensors] for name, metric in METRICS.items()}


def quantiles(name: str, values: Sequence[float]) -> list[float]:
    """From the usual to the worst."""
    levels = [1 - level for level in QUANTILES] if name in LOW_IS_BAD else list(QUANTILES)
    return [float(value) for value in np.quantile(values, levels)]


def beyond(name: str, values: Sequence[float], threshold: float) -> float:
    """Share of the values on the wrong side."""
    return float(np.mean([value < threshold if name in LOW_IS_BAD else value > threshold for value in values]))


def table(rows: dict[str, Values]) -> str:
    """A line for each metric and set of pictures; the first set is the yardstick."""
    art = next(iter(rows.values()))
    lines = []
    for name in METRICS:
        threshold = quantiles(name, art[name])[2]
        for row, values in rows.items():
            cells = [f"{value:.2f}" for value in quantiles(name, values[name])]
            lines.append([name, row, *cells, f"{100 * beyond(name, values[name], threshold):.1f}%"])
    return markdown_table(["", "pictures", *(f"{100 * level:.0f}%" for level in QUANTILES), "beyond"], lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Artifacts in real art, in photographs and in what weights paint.")
    add = parser.add_argument
    add("--weights", nargs="*", default=["agn-small", "agn-fast"], metavar="NAME|FOLDER", help="rows of ours")
    add("--pairs", type=int, default=100, help="how many pairs of photograph and reference (default 100)")
    add("--sample", type=int, default=400, help="works of the classes of 224 px (default 400)")
    add("--data", type=Path, default=SHARED / "data", help="a folder with dev/ and train/")
    add("--out", type=Path, metavar="FILE.json", help="all values and the quantiles")
    add("--threads", type=int, default=2, help="of torch (default 2)")
    add("--device", default="cpu", help="where our weights run (default cpu)")
    chosen = parser.parse_args()
    if chosen.pairs < 1 or chosen.sample < 0 or chosen.threads < 1:
        parser.error("expected --pairs and --threads of 1 or more, --sample of 0 or more")
    return chosen


def judged(options: argparse.Namespace) -> None:
    """Print the table and write what is asked for."""
    content = options.data / "dev" / "content"
    pairs = evaluation.choose_pairs(content, options.data / "dev" / "style", options.pairs, seed=SEED)
    art = works(options.data, options.sample)
    sets: dict[str, Iterator[Image.Image]] = {
        "real art": (reduced(file) for file in art),
        "photographs": (reduced(file) for file in _pictures(content)),
        **{Path(name).name: painted(name, pairs, options.device) for name in options.weights},
    }
    rows = {row: measured(pictures) for row, pictures in sets.items()}
    print(f"{len(art)} works, {len(_pictures(content))} photographs, {len(pairs)} pairs. {CAPTION}\n\n{table(rows)}")
    if options.out:
        settings = {"seed": SEED, "pairs": options.pairs, "sample": options.sample, "device": options.device}
        summary = {row: {name: quantiles(name, values[name]) for name in METRICS} for row, values in rows.items()}
        write_json(options.out, header(**settings) | {"quantiles": QUANTILES, "summary": summary})


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    try:
        with torch.no_grad():
            judged(options)
    except AgnError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
