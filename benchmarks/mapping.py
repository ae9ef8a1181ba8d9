"""Which map from z and a class to a style code? The affine fit with its options, and a mapping network.

    python benchmarks/mapping.py --weights agn-fast --out mapping.json

Fitted to the codes of three quarters of each class, judged on the others: by energy distance, by whether codes only
repeat those fitted to (distance to the nearest of them, over that of real ones), by whether a classifier knows the
class, of the code and of photographs painted in it ("read again": by our own extractor), and by how much the paintings
of a class differ, beside real ones.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from _art import CACHE, Collection, Reader, held_out, pictures, pixels, square, statistics
from _common import SHARED, fail, header, markdown_table, write_json
from _mapping_network import Map, energy_distance, trained
from _recognition import Classifier, by_class
from random_styles import MAIN, NO_STYLE, Art, learned, painted, to_steer_by
from torch import Tensor
from tqdm import tqdm

from agnlib import Stylizer, metrics
from agnlib.errors import AgnError
from agnlib.styles.code import StyleCode
from agnlib.training.names.mapping import fit_mapping
from agnlib.training.names.sharpening import ClassJudge, sharpen_classes
from agnlib.training.names.steering import steer_classes

SEED = 0
DRAWN = 400  # codes of a class, for what is said of codes
VARIED = 8  # paintings of one photograph in a class
COLUMNS = (
    "energy distance",
    "nearest, of real",
    "code recognised",
    "painting read again",
    "painting recognised",
    "centred",
    "variety, of real",
)
Rows: TypeAlias = dict[str, dict[str, float]]
FITS: Mapping[str, Mapping[str, float]] = {
    "affine fit": {"spread": 1.0, "shrinkage": 0.0},
    "shrunk": {"spread": 1.0},
    "spread 0.75": {},
    "spread 0.5": {"spread": 0.5},
}
STEERED: Mapping[str, Mapping[str, float]] = {"steered": {}, "steered at will": {"reach": math.inf}}
SHARPENED: Mapping[str, Mapping[str, float]] = {
    "steered, sharpened within codes' reach": {"reach": 1.0},
    "steered, sharpened": {},
    "steered, sharpened at will": {"reach": math.inf},
}


class Codes:
    """Codes of real art, those to fit and those to judge by."""

    def __init__(self, stylizer: Stylizer, folder: Path, reader: Reader) -> None:
        art = Collection.of(folder)
        self.names, unseen = art.names, held_out(art.labels, seed=SEED)
        statistics = reader.trunk_statistics(art.files, stylizer.extractor)
        codes = stylizer.extractor.encode(statistics).detach()
        self.fitted, self.fitted_labels = codes[~unseen], art.labels[~unseen]
        self.sharpener = ClassJudge.fitted(statistics[~unseen], self.fitted_labels, len(art.names))
        self.judged, self.judged_labels = codes[unseen], art.labels[unseen]
        self.classifier = Classifier.trained(self.fitted, self.fitted_labels, len(art.names))
        self.styles = [label for label, name in enumerate(art.names) if name != NO_STYLE]

    def of(self, label: int) -> Tensor:
        return self.judged[self.judged_labels == label]

    def energy(self, codes: Tensor, label: int) -> float:
        """From the real codes of a class; theirs is that between two halves."""
        real = self.of(label)
        if torch.equal(codes, real):
            return float(energy_distance(real[::2], real[1::2]))
        return float(energy_distance(codes, real))

    def nearest(self, codes: Tensor) -> float:
        return float(torch.cdist(codes, self.fitted).min(1).values.mean())


def maps(stylizer: Stylizer, codes: Codes, photos: Tensor, steps: int) -> dict[str, Map]:
    """The rows: (z, label) -> code; `photos` are those to steer by."""
    rows: dict[str, Map] = {"as in the weights": stylizer.generator.sample_style}
    for name, options in FITS.items():
        generator = copy.deepcopy(stylizer.generator)
        fit_mapping(generator, codes.fitted, codes.fitted_labels, **options)
        rows[name] = generator.sample_style
    for name, options in (STEERED | SHARPENED).items():
        generator = copy.deepcopy(stylizer.generator)
        fit_mapping(generator, codes.fitted, codes.fitted_labels)
        steer_classes(generator, stylizer.extractor, photos, **(options if name in STEERED else {}))
        if name in SHARPENED:
            sharpen_classes(generator, stylizer.extractor, photos, codes.sharpener, **options)
        rows[name] = generator.sample_style
    latent_dim = stylizer.generator.config.latent_dim
    if steps:
        rows["network"] = trained(rows["shrunk"], codes.fitted, codes.fitted_labels, latent_dim, steps=steps)
    return rows


def of_codes(codes: Codes, made: Mapping[int, Tensor]) -> dict[str, float]:
    """What is said of codes by class, the mean over classes."""
    known = [float((codes.classifier(each) == label).float().mean()) for label, each in made.items()]
    nearest = [codes.nearest(each) / codes.nearest(codes.of(label)) for label, each in made.items()]
    energy = [codes.energy(each, label) for label, each in made.items()]
    columns = {"energy distance": energy, "nearest, of real": nearest, "code recognised": known}
    return {name: sum(values) / len(values) for name, values in columns.items()}


def of_paintings(
    stylizer: Stylizer, codes: Codes, art: Art, photos: Sequence[Path], made: Mapping[int, Tensor]
) -> dict[str, float]:
    """How often photographs painted in codes of a class are recognised: by our own extractor, and by the judge."""
    judge, width = art.judges[MAIN]
    seen, again, labels = [], [], []
    for place, (label, few) in enumerate(made.items()):
        shuffled = random.Random(f"{SEED}/{place}").sample(photos, len(photos))
        for index, code in enumerate(few):
            picture = painted(stylizer, square(shuffled[index % len(photos)]), StyleCode(code, "mapped"))
            seen.append(statistics(art.reader.judge, picture)[:width])
            again.append(codes.classifier(stylizer.encode_style(picture).vector[None])[0] == label)
            labels.append(place)
    rows, wanted = torch.stack(seen), torch.tensor(labels)
    known = {"painting recognised": judge(rows), "centred": judge(rows - rows.mean(0) + judge.mean)}
    rates = {name: float(by_class(found, wanted, len(made)).mean()) for name, found in known.items()}
    return rates | {"painting read again": float(torch.stack(again).float().mean())}


@torch.inference_mode()
def variety(stylizer: Stylizer, art: Art, photo: Path, made: Sequence[Tensor]) -> float:
    """How far apart the paintings of one photograph in codes of one class are, the mean over classes."""
    network = art.reader.judge
    heads = {tap: torch.ones(1, channels, 1, 1) for tap, channels in network.channels.items()}
    sets = [[painted(stylizer, square(photo), StyleCode(code, "mapped")) for code in codes] for codes in made]
    each = [metrics.diversity(torch.cat([pixels(picture) for picture in of]), network, heads) for of in sets]
    return float(torch.stack(each).mean())


def measured(
    stylizer: Stylizer, codes: Codes, art: Art, photos: Sequence[Path], *, steer_by: Tensor, count: int, steps: int
) -> Rows:
    """Row -> column -> number; the first row is the codes of real art that nothing was fitted to."""
    dice = torch.Generator().manual_seed(SEED)
    z = torch.randn(DRAWN, stylizer.generator.config.latent_dim, generator=dice)
    sets = {"real codes": {label: codes.of(label) for label in codes.styles}}
    for name, way in maps(stylizer, codes, steer_by, steps).items():
        with torch.inference_mode():
            sets[name] = {label: way(z, torch.full((DRAWN,), label)) for label in codes.styles}
    rows: Rows = {}
    for name, made in tqdm(sets.items(), "maps", disable=None):
        few = {label: each[:count] for label, each in made.items()}
        rows[name] = of_codes(codes, made) | of_paintings(stylizer, codes, art, photos, few)
        rows[name]["variety, of real"] = variety(stylizer, art, photos[0], [each[:VARIED] for each in few.values()])
    real = rows["real codes"]["variety, of real"]
    return {name: cells | {"variety, of real": cells["variety, of real"] / real} for name, cells in rows.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Maps from z and a class to a style code.")
    add = parser.add_argument
    add("--weights", nargs="+", default=["agn-fast"], metavar="NAME|FOLDER")
    add("--art", type=Path, default=SHARED / "data" / "train" / "style", help="a folder with a folder for each class")
    add("--photos", type=Path, default=SHARED / "data" / "dev" / "content", help="a folder of photographs")
    add("--steer", type=Path, default=SHARED / "data" / "train" / "content", help="photographs to steer by")
    add("--count", type=int, default=30, help="paintings of a class and map (default 30)")
    add("--steps", type=int, default=1500, help="of the network's training (default 1500); 0: no network")
    add("--cache", type=Path, default=CACHE, help="where what was read of real art is kept")
    add("--out", type=Path, metavar="FILE.json")
    add("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.count < VARIED or chosen.steps < 0 or chosen.threads < 1:
        parser.error(f"expected --count of {VARIED} or more, --steps of 0 or more and --threads of 1 or more")
    return chosen


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    found: dict[str, Rows] = {}
    try:
        art, photos = learned(options.art, options.cache), pictures(options.photos)
        steer_by = to_steer_by(options.steer)
        for name in options.weights:
            stylizer = Stylizer.from_pretrained(name, device="cpu")
            codes = Codes(stylizer, options.art, art.reader)
            rows = found[Path(name).name] = measured(
                stylizer, codes, art, photos, steer_by=steer_by, count=options.count, steps=options.steps
            )
            print_table(Path(name).name, rows)
    except AgnError as error:
        fail(str(error))
    if options.out:
        write_json(options.out, header(seed=SEED, count=options.count, steps=options.steps) | {"maps": found})


def print_table(name: str, rows: Rows) -> None:
    """Markdown."""
    cells = [[row, *(f"{cells[column]:.2f}" for column in COLUMNS)] for row, cells in rows.items()]
    print(f"\n{name}\n\n{markdown_table(['', *COLUMNS], cells)}")


if __name__ == "__main__":
    main()
