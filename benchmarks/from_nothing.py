"""Pictures from a latent and a style alone, `generator(z, style)`: have they the reference's style?

    python benchmarks/from_nothing.py --weights agn-small

The style distance is quality.py's. Beside it stand other references, since two paintings by different hands are about
as far apart as a picture can be that ignores the style asked for, and the plain mean colour of the reference. What such
pictures look like is in the gallery.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from _common import SHARED, fail, header, write_json
from PIL import Image

from agnlib import Stylizer, evaluation, image
from agnlib.errors import AgnError

SIDE = 384  # painted as large as quality.py's photographs
COLUMNS = ("style", "deep style", "palette", "colour ratio", "detail ratio")
Maker = Callable[[int], Image.Image]


@torch.inference_mode()
def paint(stylizer: Stylizer, code: torch.Tensor, seed: int, side: int) -> Image.Image:
    """`generator(z, style)` as a picture; the seed draws z."""
    generator = stylizer.generator
    z = torch.randn(1, generator.config.latent_dim, generator=torch.Generator().manual_seed(seed))
    pixels = generator(z, code[None], size=(side, side))[0]
    return Image.fromarray(((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def makers(stylizers: Mapping[str, Stylizer], references: Sequence[Image.Image]) -> dict[str, Maker]:
    """Row -> what makes the picture that is compared with the reference of an index."""

    def other(index: int) -> Image.Image:
        return references[(index + 1) % len(references)]

    def mean_colour(index: int) -> Image.Image:
        colour = np.asarray(references[index]).reshape(-1, 3).mean(0).round().astype(int)
        return Image.new("RGB", (SIDE, SIDE), tuple(int(value) for value in colour))

    rows: dict[str, Maker] = {"the reference's mean colour": mean_colour, "another reference": other}
    for name, stylizer in stylizers.items():

        def from_nothing(index: int, stylizer: Stylizer = stylizer) -> Image.Image:
            return paint(stylizer, stylizer.encode_style(references[index]).vector, index, SIDE)

        rows[name] = from_nothing
    return rows


def measure(
    rows: Mapping[str, Maker], references: Sequence[Image.Image], vgg: Path
) -> dict[str, list[dict[str, float]]]:
    """Row -> the scores of each reference."""
    judge, _ = evaluation.installed_judge(vgg)
    found: dict[str, list[dict[str, float]]] = {}
    for row, make in rows.items():
        found[row] = []
        for index, reference in enumerate(references):
            picture = make(index)
            scores = judge(picture, picture, reference)
            found[row].append({name: scores[name] for name in COLUMNS})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--weights", nargs="+", default=["agn-small"], metavar="NAME|FOLDER")
    add("--references", type=Path, default=SHARED / "data" / "dev" / "style", help="a folder of pictures")
    add("--count", type=int, default=54, help="how many references (default 54)")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors")
    add("--threads", type=int, default=2)
    add("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("AGNLIB_VGG16", str(options.vgg))
    try:
        stylizers = {Path(name).name: Stylizer.from_pretrained(name, device="cpu") for name in options.weights}
        files = sorted(file for file in options.references.rglob("*") if file.suffix.lower() in image.SUFFIXES)
        references = [image.load(file).convert("RGB") for file in files[: options.count]]
        found = measure(makers(stylizers, references), references, options.vgg)
    except AgnError as error:
        fail(str(error))
    summary = evaluation.summarise(found, peer="another reference")
    print(f"{len(references)} references, each with a latent of its own.\n\n{evaluation.table(summary)}")
    if options.out:
        write_json(options.out, header(references=len(references), side=SIDE) | {"summary": summary, "scores": found})


if __name__ == "__main__":
    main()
