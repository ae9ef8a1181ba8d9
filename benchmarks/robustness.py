"""Does RandomStyle help a small classifier on a domain it never saw? Learn on photographs, test on paintings.

    python benchmarks/robustness.py --weights agn-small --out benchmarks/results/robustness.json

A residual network of 0.3 million parameters learns the seven classes of PACS from photographs, from scratch, and is
tested on the photographs held out (every fifth of a class) and on all of `art_painting`. The rows differ in
augmentation alone: with one seed they share first weights, order of pictures, crops, flips, epochs and optimiser.

Painting anew in every epoch would take most of the time. So each photograph is repainted `--copies` times beforehand,
by `RandomStyleBatch(p=1)`, each copy in a style and strength of its own; where a training draws that a sample is
repainted (with the row's p), it takes one of the copies, and then crops. Each seed has its own copies. They are kept in
the system's temporary folder, under a digest of weights and photographs, and used again.

Epochs and learning rate were chosen by the held-out photographs alone, without augmentation, with a seed that no row
uses: the best of 0.02, 0.05 and 0.1, and of 20, 40 and 60 epochs the fewest that were as good as any. Accuracies are
the last epoch's. Styles and strengths are RandomStyle's defaults; p and size of the rows that name them were chosen on
`art_painting` itself, with two seeds that no row uses: those rows flatter a little.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import SHARED, fail, header, markdown_table, write_json
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

import agnlib
from agnlib.errors import AgnError
from agnlib.models import pretrained
from agnlib.transforms import RandomStyleBatch

SIDE, HELD_OUT, PAINTED_AT_ONCE = 64, 5, 16
JITTER = (0.4, 0.4, 0.4, 0.1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Policy:
    """A row: what its samples go through besides crop and flip."""

    styles: str | None = None  # "random", or "paintings" for the pictures of --paintings
    jitter: bool = False
    p: float = 0.5
    size: int | None = None  # at which a photograph is painted, or its own


POLICIES = {
    "crop and flip alone": Policy(),
    "ColorJitter": Policy(jitter=True),
    "RandomStyle()": Policy("random"),
    "RandomStyle(p=0.75, size=256)": Policy("random", p=0.75, size=256),
    "the same, then ColorJitter": Policy("random", jitter=True, p=0.75, size=256),
    "RandomStyle(paintings)": Policy("paintings"),
}
CHOSEN_WITH = (3, 4)  # seeds that p and size were chosen with: no row uses them
RIVALS = tuple(POLICIES)[:2]  # what the other rows are compared with
CAPTION = (
    "Per cent classified rightly, mean over seeds; on paintings each seed's too. Beyond: on paintings, seed by seed, by"
    " how much more than the row of that name, ± the standard deviation, and in how many seeds."
)


@dataclass(frozen=True)
class Plan:
    """All that a training depends on besides policy and seed."""

    data: Path
    weights: str
    paintings: Path
    cache: Path
    epochs: int
    copies: int
    batch: int
    rate: float = 0.05
    decay: float = 5e-4
    momentum: float = 0.9


@dataclass(frozen=True)
class Examples:
    """Pictures `(N, 3, H, W)` as uint8, and their classes `(N,)`."""

    images: Tensor
    labels: Tensor

    def take(self, chosen: Tensor) -> Examples:
        return Examples(self.images[chosen], self.labels[chosen])


def read(folder: Path) -> Examples:
    """A folder of one folder per class, whose pictures all have one size."""
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    files = [(file, label) for label, each in enumerate(classes) for file in sorted(each.iterdir())]
    return Examples(torch.stack([_pixels(file) for file, _ in files]), torch.tensor([label for _, label in files]))


def _pixels(file: Path) -> Tensor:
    with Image.open(file) as opened:
        pixels: Tensor = v2.functional.pil_to_tensor(opened.convert("RGB"))
    return pixels


def split(photos: Examples) -> tuple[Examples, Examples]:
    """Photographs to learn from, and every fifth of a class, held out."""
    place = torch.cat([torch.arange(count) for count in photos.labels.bincount().tolist()])
    held_out = place % HELD_OUT == HELD_OUT - 1
    return photos.take(~held_out), photos.take(held_out)


# The painted copies


def painted(plan: Plan, styles: str, size: int | None, seed: int) -> np.ndarray[Any, Any]:
    """`(copies, N, 3, H, W)` of the photographs to learn from; made once, then mapped from the cache."""
    file = plan.cache / f"{_origin(plan, styles)}-{size}-{seed}.npy"
    if not file.is_file():
        photos, _ = split(read(plan.data / "photo"))
        plan.cache.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.stem}.{os.getpid()}.npy")
        np.save(draft, torch.stack(_copies(plan, photos.images, styles, size, seed)).numpy())
        draft.replace(file)
    copies: np.ndarray[Any, Any] = np.load(file, mmap_mode="c")
    return copies


def _copies(plan: Plan, photos: Tensor, styles: str, size: int | None, seed: int) -> list[Tensor]:
    pictures = None if styles == "random" else plan.paintings
    paint = RandomStyleBatch(pictures, p=1, weights=plan.weights, size=size)
    torch.manual_seed(seed)
    return [torch.cat([paint(some) for some in photos.split(PAINTED_AT_ONCE)]) for _ in range(plan.copies)]


def _origin(plan: Plan, styles: str) -> str:
    """Changes with anything that the copies depend on but the seed."""
    sources = [
        *sorted(pretrained.find(plan.weights).glob("*.safetensors")),
        *sorted((plan.data / "photo").rglob("*.*")),
    ]
    sources += sorted(plan.paintings.rglob("*.*")) if styles == "paintings" else []
    digest = hashlib.sha256(f"{agnlib.__version__} {styles} {plan.copies}".encode())
    for file in sources:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


# The network and its training


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(channels, wider, 3, stride), nn.ReLU(inplace=True), *_conv(wider, wider, 3, stride=1)
        )
        same = channels == wider and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(channels, wider, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def network(classes: int, width: int = 32) -> nn.Sequential:
    """A residual network for 64 pixels: three blocks at 16, 8 and 4 pixels."""
    stem = [*_conv(3, width, 5, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    blocks = [Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes)]
    return nn.Sequential(*stem, *blocks, *head).to(memory_format=torch.channels_last)


def _conv(channels: int, wider: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, wider, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(wider)]


class Samples:
    """Batches of a policy. What all policies share has its own dice, so that it is the same in every row."""

    def __init__(self, photos: Examples, copies: np.ndarray[Any, Any] | None, policy: Policy, seed: int) -> None:
        self.photos, self.copies, self.p = photos, copies, policy.p
        self.jitter = v2.ColorJitter(*JITTER) if policy.jitter else v2.Identity()
        self.crop = v2.Compose([v2.RandomResizedCrop(SIDE, scale=(0.4, 1.0)), v2.RandomHorizontalFlip()])
        self.shared, self.own = (torch.Generator().manual_seed(2 * seed + odd) for odd in (0, 1))

    def epoch(self, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
        """All pictures once, in random order; the last ones that fill no batch are left out."""
        order = torch.randperm(len(self.photos.labels), generator=self.shared)
        for chosen in order[: len(order) // batch * batch].split(batch):
            cropped = self._thrown(self.shared, self.crop, [self._picture(index) for index in chosen.tolist()])
            pictures = self._thrown(self.own, self.jitter, cropped)
            yield normalised(torch.stack(pictures)), self.photos.labels[chosen]

    def _picture(self, index: int) -> Tensor:
        if self.copies is None or torch.rand((), generator=self.own) >= self.p:
            return self.photos.images[index]
        copy = int(torch.randint(len(self.copies), (), generator=self.own))
        return torch.from_numpy(self.copies[copy, index])

    def _thrown(self, dice: torch.Generator, transform: Callable[[Any], Any], pictures: list[Tensor]) -> list[Tensor]:
        """torchvision knows the global dice alone: set them for a while."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=dice)))
            return [transform(picture) for picture in pictures]


def normalised(images: Tensor) -> Tensor:
    """uint8 pictures as the network takes them."""
    floats: Tensor = v2.functional.normalize(images.float() / 255, list(MEAN), list(STD))
    return floats.contiguous(memory_format=torch.channels_last)


def fit(samples: Samples, classes: int, plan: Plan, seed: int) -> nn.Sequential:
    """Train from scratch: SGD with Nesterov's momentum, the rate falling as a cosine after a tenth of warm-up."""
    torch.manual_seed(seed)
    net, steps = network(classes).train(), plan.epochs * (len(samples.photos.labels) // plan.batch)
    optimiser = torch.optim.SGD(net.parameters(), plan.rate, plan.momentum, weight_decay=plan.decay, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, steps, pct_start=0.1, cycle_momentum=False)
    for _ in range(plan.epochs):
        for images, labels in samples.epoch(plan.batch):
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(images)
            F.cross_entropy(logits.float(), labels).backward()
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, examples: Examples) -> float:
    """The share that is classified rightly, whole pictures reduced to the network's size."""
    parts = [normalised(v2.functional.resize(some, [SIDE, SIDE])) for some in examples.images.split(256)]
    found = torch.cat([net(part).argmax(1) for part in parts])
    return float((found == examples.labels).float().mean())


def run(plan: Plan, policy: Policy, seed: int) -> dict[str, float]:
    """One training and its two accuracies."""
    torch.set_num_threads(1)
    photos, held_out = split(read(plan.data / "photo"))
    copies = None if policy.styles is None else painted(plan, policy.styles, policy.size, seed)
    begin, classes = time.perf_counter(), int(photos.labels.max()) + 1
    net = fit(Samples(photos, copies, policy, seed), classes, plan, seed)
    seconds = time.perf_counter() - begin
    scores = {"photo": accuracy(net, held_out), "art": accuracy(net, read(plan.data / "art_painting"))}
    print(policy, f"seed {seed}:", scores, f"{seconds:.0f} s", file=sys.stderr, flush=True)
    return {**scores, "seconds": round(seconds, 1)}


# The table


def fresh_seeds(count: int) -> list[int]:
    """The first seeds that nothing was chosen with."""
    return list(itertools.islice((seed for seed in itertools.count() if seed not in CHOSEN_WITH), count))


def measure(
    plan: Plan, seeds: Sequence[int], workers: int, rows: Sequence[str] = tuple(POLICIES)
) -> dict[str, list[dict[str, float]]]:
    """Every row's accuracies, by seed: first the copies, then the trainings, each in a process of one thread."""
    chosen = [POLICIES[name] for name in rows]
    kinds = dict.fromkeys((policy.styles, policy.size) for policy in chosen if policy.styles is not None)
    jobs = [(name, seed) for seed in seeds for name in rows]
    if workers == 1:
        return _by_row(jobs, [run(plan, POLICIES[name], seed) for name, seed in jobs])
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for copies in [pool.submit(_paint, plan, *kind, seed) for seed in seeds for kind in kinds]:
            copies.result()  # before the trainings, so that no two of them paint the same
        trainings = [pool.submit(run, plan, POLICIES[name], seed) for name, seed in jobs]
        return _by_row(jobs, [training.result() for training in trainings])


def _paint(plan: Plan, styles: str, size: int | None, seed: int) -> None:
    painted(plan, styles, size, seed)


def _by_row(jobs: Sequence[tuple[str, int]], found: Sequence[dict[str, float]]) -> dict[str, list[dict[str, float]]]:
    rows = dict.fromkeys(name for name, _ in jobs)
    return {row: [each for (name, _), each in zip(jobs, found, strict=True) if name == row] for row in rows}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Mean accuracies, each seed's on paintings, and the differences to the rows without style."""
    rows, rivals = [], [name for name in RIVALS if name in found]
    for name, runs in found.items():
        photo, art = ([100 * each[domain] for each in runs] for domain in ("photo", "art"))
        cells = [f"{statistics.mean(photo):.1f}", f"{statistics.mean(art):.1f}", ", ".join(f"{x:.1f}" for x in art)]
        rows.append([name, *cells, *("" if rival == name else _beyond(runs, found[rival]) for rival in rivals)])
    heads = ["augmentation", "photo", "art_painting", "by seed", *(f"beyond {rival}" for rival in rivals)]
    return markdown_table(heads, rows)


def _beyond(runs: Sequence[Mapping[str, float]], rival: Sequence[Mapping[str, float]]) -> str:
    gains = [100 * (each["art"] - other["art"]) for each, other in zip(runs, rival, strict=True)]
    spread = f" ± {statistics.stdev(gains):.1f}" if len(gains) > 1 else ""
    return f"{statistics.mean(gains):+.1f}{spread}, in {sum(gain > 0 for gain in gains)} of {len(gains)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER", help="what paints (agn-small)")
    add("--data", type=Path, default=SHARED / "data" / "pacs", help="a folder with photo/ and art_painting/")
    add("--paintings", type=Path, default=SHARED / "data" / "dev" / "style", help="the pictures of the last row")
    add("--epochs", type=int, default=40, help="of every training (40)")
    add("--batch", type=int, default=32, help="pictures of a step (32)")
    add("--copies", type=int, default=4, help="how often each photograph is repainted (4)")
    add("--seeds", type=int, default=3, help="trainings of a row (3)")
    add("--rows", type=int, default=len(POLICIES), help="how many of the rows, the first ones (all)")
    add("--workers", type=int, default=2, help="processes of one thread each (2)")
    cache = Path(tempfile.gettempdir()) / "agnlib-robustness"
    add("--cache", type=Path, default=cache, help="where repainted photographs are kept")
    add("--out", type=Path, metavar="FILE.json", help="write every number there")
    chosen = parser.parse_args()
    if min(chosen.epochs, chosen.batch, chosen.copies, chosen.seeds, chosen.workers) < 1:
        fail("--epochs, --batch, --copies, --seeds and --workers have to be at least 1")
    if not (chosen.data / "photo").is_dir() or not (chosen.data / "art_painting").is_dir():
        fail(f"no photo/ and art_painting/ in {chosen.data}; see --data")
    return chosen


def main() -> None:
    """Measure, print, and write the JSON where one is asked for."""
    chosen = arguments()
    options = vars(chosen)
    plan = Plan(**{each.name: options[each.name] for each in fields(Plan) if each.name in options})
    try:
        found = measure(plan, fresh_seeds(chosen.seeds), chosen.workers, list(POLICIES)[: chosen.rows])
    except AgnError as error:
        fail(str(error))
    weights = Path(chosen.weights).name
    print(CAPTION, f"Painter: {weights}.\n\n{table(found)}")
    if chosen.out is not None:
        numbers = {name: value for name, value in asdict(plan).items() if isinstance(value, (int, float))}
        write_json(chosen.out, {**header(weights=weights, seeds=chosen.seeds, **numbers), "rows": found})


if __name__ == "__main__":
    main()
