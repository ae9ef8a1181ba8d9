"""Pictures per second through RandomStyle beside torchvision's AugMix and ColorJitter: alone, and in a DataLoader.

    python benchmarks/quality/augmentation.py [--pictures 64] [--rounds 5] [--out benchmarks/results/augmentation.json]

"alone" is the transform by itself on a PIL picture of 224 x 224, one thread. "loader" is what a training sees: two
workers of one thread each decode a photograph, crop it to 224, transform it and turn it into a tensor. Numbers are
medians over the rounds, with the interquartile range. "of plain" is the loader's rate against that of the loader which
only decodes and crops, measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from agnlib.transforms import RandomStyle, RandomStyleBatch
from benchmarks._common import CHECKOUT, header, markdown_table, median_iqr, write_json

SIDE, WORKERS, BATCH = 224, 2, 16
PLAIN = "decode and crop"
Transform = Callable[[Any], Any]


def transforms() -> dict[str, Transform]:
    """Every row's transform; jitter as strong as training recipes have it, AugMix as it comes."""
    return {
        PLAIN: v2.Identity(),
        "v2.ColorJitter(0.4, 0.4, 0.4, 0.1)": v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        "v2.AugMix()": v2.AugMix(),
        "RandomStyle(p=0.5)": RandomStyle(p=0.5),
        "RandomStyle(p=1)": RandomStyle(p=1),
        "RandomStyle(p=1, size=112)": RandomStyle(p=1, size=112),
    }


class Photos(Dataset[Tensor]):
    """The repository's photographs over and over, each decoded, cropped and transformed."""

    def __init__(self, transform: Transform, pictures: int) -> None:
        self.paths = sorted((CHECKOUT / "examples" / "images").glob("*.jpg"))
        self.pictures = pictures
        self.prepare = v2.Compose([v2.RandomResizedCrop(SIDE), transform, v2.PILToTensor()])

    def __len__(self) -> int:
        return self.pictures

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index % len(self.paths)]) as opened:
            picture: Tensor = self.prepare(opened.convert("RGB"))
        return picture


def alone(transform: Transform, picture: Any, count: int) -> float:
    """Pictures per second in this process."""
    transform(picture)
    begin = time.perf_counter()
    for _ in range(count):
        transform(picture)
    return count / (time.perf_counter() - begin)


class Loader:
    """A loader whose workers live on, so that starting them and loading weights is not measured."""

    def __init__(self, transform: Transform, pictures: int) -> None:
        options: dict[str, Any] = {"batch_size": BATCH, "num_workers": WORKERS, "persistent_workers": True}
        self.loader, self.pictures = DataLoader(Photos(transform, pictures), **options), pictures
        self.epoch()

    def epoch(self) -> float:
        """Pictures per second of one pass."""
        begin = time.perf_counter()
        for _ in self.loader:
            pass
        return self.pictures / (time.perf_counter() - begin)


def measure(pictures: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Every row's rates, by round."""
    rows = transforms()
    with Image.open(CHECKOUT / "examples" / "images" / "castle.jpg") as opened:
        picture = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    batch = v2.functional.pil_to_tensor(picture).expand(BATCH, -1, -1, -1)
    whole = RandomStyleBatch(p=1)
    rates: dict[str, dict[str, list[float]]] = {name: {"alone": [], "loader": []} for name in rows}
    batched = f"RandomStyleBatch(p=1), {BATCH} at once"
    rates[batched] = {"alone": [], "loader": []}
    for name, transform in rows.items():  # one loader at a time: idle workers keep memory, not time
        loader = Loader(transform, pictures)
        for _ in range(rounds):
            rates[name]["loader"].append(loader.epoch())
    for _ in range(rounds):
        for name, transform in rows.items():
            if name != PLAIN:
                rates[name]["alone"].append(alone(transform, picture, pictures))
        rates[batched]["alone"].append(BATCH * alone(whole, batch, max(1, pictures // BATCH)))
    return rates


def table(rates: dict[str, dict[str, list[float]]]) -> str:
    """Medians, spreads and the share of the plain loader's rate."""
    plain, _ = median_iqr(rates[PLAIN]["loader"])
    rows = []
    for name, measured in rates.items():
        cells = [_cell(measured["alone"]), _cell(measured["loader"])]
        share = f"{median_iqr(measured['loader'])[0] / plain:.2f}" if measured["loader"] else ""
        rows.append([f"`{name}`" if name != PLAIN else name, *cells, share])
    return markdown_table(["224 px, pictures/s", "alone", f"loader, {WORKERS} workers", "of plain"], rows)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    middle, spread = median_iqr(values)
    return f"{middle:,.0f} ± {spread:,.0f}"


def main() -> None:
    """Measure, print, and write the JSON where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64, help="a pass has so many (64)")
    parser.add_argument("--rounds", type=int, default=5, help="at least 2 (5)")
    parser.add_argument("--out", type=Path, help="write every number there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rates = measure(options.pictures, max(2, options.rounds))
    print(table(rates))
    if options.out is not None:
        settings = {"side": SIDE, "workers": WORKERS, "batch": BATCH, "pictures": options.pictures}
        write_json(options.out, {**header(**settings, rounds=options.rounds), "pictures_per_second": rates})


if __name__ == "__main__":
    main()
