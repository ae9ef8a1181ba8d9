"""Styles by chance and by name: are they as varied as real ones, and is a class recognized?

    python benchmarks/quality/random_styles.py --weights agn-small agn-fast --out random_styles.json

Variety: a photograph in 10 random styles, beside the same photograph in 10 real references that were never trained on.
Recognition: a classifier of statistics of features, trained on real art, is asked for the class of real pictures that
it has not seen, and of what the weights make of the class, where they have a name for it. No network that judges took
part in training. "Centered": each row's mean is moved to that of real art first, so that what all paintings have in
common does not count.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from agnlib import Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.models.encoders import EfficientNetLiteFeatures
from agnlib.styles.code import StyleCode
from benchmarks._common import SHARED, fail, header, markdown_table, write_json
from benchmarks.quality._art import SIDE, TAPS, Collection, held_out, pictures, read, square, statistics
from benchmarks.quality._recognition import Classifier, by_class

SEED, RESAMPLES = 0, 2000
STYLES = 10
NO_STYLE = "museum"  # a collection of sources, known by how its pictures were reduced
NAMES = {"rococo": "old-masters"}  # what the weights call a class of the art, where that is not its folder's name
JUDGES: Mapping[str, int] = {"block 0": 1, "blocks 0, 3, 6": 3, "blocks 0, 3, 6, 10": 4}  # taps seen
MAIN = "blocks 0, 3, 6"


@dataclass(frozen=True)
class Art:
    """Real art that a classifier learns from, and the part that it does not see.

    Args:
        network: that looks.
        names: of the classes.
        files: of the part not seen, by class.
        statistics, labels: of the part not seen.
        judges: column -> classifier and how many of the statistics it sees.
    """

    network: EfficientNetLiteFeatures
    names: tuple[str, ...]
    files: Mapping[str, Sequence[Path]]
    statistics: Tensor
    labels: Tensor
    judges: Mapping[str, tuple[Classifier, int]]


def learned(folder: Path) -> Art:
    """The classifiers, trained on three quarters of each class."""
    found, network = Collection.of(folder).without(NO_STYLE), EfficientNetLiteFeatures.pretrained(2, TAPS)
    seen, unseen = read(network, found.files), held_out(found.labels, seed=SEED)
    ends, labels = np.cumsum([2 * network.channels[tap] for tap in TAPS]).tolist(), found.labels[~unseen]
    widths = {name: ends[taps - 1] for name, taps in JUDGES.items()}
    trained = {name: Classifier.trained(seen[~unseen, :n], labels, len(found.names)) for name, n in widths.items()}
    judges = {name: (trained[name], width) for name, width in widths.items()}
    files = {
        name: [found.files[i] for i in (unseen & (found.labels == label)).nonzero()[:, 0].tolist()]
        for label, name in enumerate(found.names)
    }
    return Art(network, found.names, files, seen[unseen], found.labels[unseen], judges)


Painted = Callable[[str, int], Image.Image]  # of a class, the n-th picture


def kinds(stylizer: Stylizer, art: Art, photos: Sequence[Path]) -> dict[str, Painted]:
    """What the weights make of a class, by kind of picture."""

    def photo(name: str, index: int) -> Image.Image:
        shuffled = random.Random(f"{SEED}/{name}").sample(photos, len(photos))
        return square(shuffled[index % len(photos)])

    def by_reference(name: str, index: int) -> Image.Image:
        files = art.files[name]
        return painted(stylizer, photo(name, index), stylizer.encode_style(files[index % len(files)]))

    def by_name(name: str, index: int) -> Image.Image:
        return painted(stylizer, photo(name, index), stylizer.random_style(index, NAMES.get(name, name)))

    def from_nothing(name: str, index: int) -> Image.Image:
        return imagined(stylizer, stylizer.random_style(index, NAMES.get(name, name)), index)

    return {
        "photographs as they are": photo,
        "photographs, by reference": by_reference,
        "photographs, by name": by_name,
        "from nothing, by name": from_nothing,
    }


def painted(stylizer: Stylizer, photo: Image.Image, style: StyleCode) -> Image.Image:
    """The photograph, repainted."""
    result: Image.Image = stylizer(photo, style)
    return result


@torch.inference_mode()
def imagined(stylizer: Stylizer, style: StyleCode, seed: int) -> Image.Image:
    """`generator(z, style)` at the side of the pictures that are judged."""
    generator, device = stylizer.generator, stylizer.device
    z = torch.randn(1, generator.config.latent_dim, generator=torch.Generator().manual_seed(seed)).to(device)
    painted = generator(z, style.vector[None].to(device), size=(SIDE, SIDE))[0].cpu()
    return Image.fromarray(((painted.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def recognized(art: Art, seen: Tensor, labels: Tensor) -> dict[str, dict[str, Any]]:
    """Column -> how often the class was found, the mean over classes, its interval, and each class."""
    cells, center = {}, art.statistics[torch.isin(art.labels, labels)].mean(0)
    for name, (judge, width) in art.judges.items():
        found, shifted = (judge(each[:, :width]) for each in (seen, seen - seen.mean(0) + center))
        cells[name] = _cell(found, labels, art.names)
        cells[f"{name}, centered"] = _cell(shifted, labels, art.names)
    return cells


def _cell(found: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, Any]:
    rates, asked = by_class(found, labels, len(names)), labels.unique().tolist()
    rng = np.random.default_rng(SEED)
    groups = [(found[labels == label] == label).numpy() for label in asked]
    draws = [rng.choice(group, (RESAMPLES, len(group))).mean(1) for group in groups]
    low, high = np.quantile(np.mean(draws, axis=0), (0.025, 0.975))
    by_name = {NAMES.get(names[label], names[label]): float(rates[label]) for label in asked}
    return {"value": float(rates[asked].mean()), "low": float(low), "high": float(high), "classes": by_name}


def recognition(stylizer: Stylizer, art: Art, photos: Sequence[Path], count: int) -> dict[str, dict[str, Any]]:
    """Kind of picture -> what `recognized` says of `count` of each class; the first is real art."""
    asked = torch.tensor([i for i, name in enumerate(art.names) if NAMES.get(name, name) in stylizer.class_names])
    real, labels = torch.isin(art.labels, asked), asked.repeat_interleave(count)
    rows = {"real art": recognized(art, art.statistics[real], art.labels[real])}
    for kind, paint in kinds(stylizer, art, photos).items():
        wanted = [(art.names[label], index) for label in asked.tolist() for index in range(count)]
        shown = [statistics(art.network, paint(*each)) for each in tqdm(wanted, kind, disable=None)]
        rows[kind] = recognized(art, torch.stack(shown), labels)
    return rows


def print_recognition(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Markdown: the columns by kind, then each class."""
    columns = list(rows["real art"])
    lines = [[row, *(_text(cells[name]) for name in columns)] for row, cells in rows.items()]
    print(markdown_table(["", *columns], lines))
    classes = list(rows["real art"][MAIN]["classes"])
    each = [[row, *(f"{cells[MAIN]['classes'][name]:.2f}" for name in classes)] for row, cells in rows.items()]
    print(f"\nEach class, {MAIN}.\n\n{markdown_table(['', *classes], each)}\n")


def _text(cell: Mapping[str, float]) -> str:
    return f"{cell['value']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Styles by chance and by name, beside real ones.")
    add = parser.add_argument
    add("--weights", nargs="+", default=["agn-small", "agn-fast"], metavar="NAME|FOLDER")
    add("--art", type=Path, default=SHARED / "data" / "train" / "style", help="a folder with a folder for each class")
    add("--dev", type=Path, default=SHARED / "data" / "dev", help="a folder with content/ and style/")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors", help="VGG16 for LPIPS")
    add("--photos", type=int, default=12, help="of the variety's table (default 12)")
    add("--count", type=int, default=40, help="pictures of a class and kind, to be recognized (default 40)")
    add("--out", type=Path, metavar="FILE.json")
    add("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if min(chosen.photos, chosen.count) < 2 or chosen.threads < 1:
        parser.error("expected --photos and --count of 2 or more and --threads of 1 or more")
    return chosen


def measured(options: argparse.Namespace) -> None:
    """Print the tables and write what is asked for."""
    stylizers = {Path(name).name: Stylizer.from_pretrained(name, device="cpu") for name in options.weights}
    judge, notes = evaluation.installed_judge(options.vgg)
    if notes:
        fail("; ".join(notes))
    photos, references = (_shuffled(pictures(options.dev / of)) for of in ("content", "style"))
    varied = evaluation.random_styles(
        stylizers, photos[: options.photos], references, judge, count=STYLES, seed=SEED, progress=True
    )
    summary = evaluation.variety(varied)
    print(f"{options.photos} photographs, each in {STYLES} random and {STYLES} real styles.\n")
    print(evaluation.variety_table(summary))
    found: dict[str, Any] = {"variety": {"summary": summary, "photographs": varied}, "recognition": {}}
    art = learned(options.art)
    for name, stylizer in stylizers.items():
        rows = found["recognition"][name] = recognition(stylizer, art, photos, options.count)
        print(f"\n{name}: the class is recognized; chance is {1 / len(art.names):.2f}.\n")
        print_recognition(rows)
    if options.out:
        settings = {"seed": SEED, "photos": options.photos, "count": options.count}
        write_json(options.out, header(**settings) | found)


def _shuffled(files: Sequence[Path]) -> list[Path]:
    return random.Random(SEED).sample(files, len(files))


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    try:
        measured(options)
    except AgnError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
