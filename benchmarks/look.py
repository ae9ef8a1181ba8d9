"""Pictures to be looked at: seams of a large photo, a mask with two styles, a strength ladder, a gradient of 16 bits.

    python benchmarks/look.py --photo LARGE.jpg --out look

Writes PNGs into the folder and prints what can be said in numbers. Look at the files at 100%: numbers miss what eyes
see at once. Clips have `benchmarks/video.py --sheet`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from _common import CHECKOUT, markdown_table
from PIL import Image, ImageOps

from agnlib import Stylizer, image

EXAMPLES = CHECKOUT / "examples" / "images"
LARGE = (6000, 4000)
_TILE, _OTHER_TILE = 1024, 1408
_LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_GAIN = 32  # of differences, to be seen


def seams(stylizer: Stylizer, photo: Path, out: Path) -> list[list[str]]:
    """24 megapixels painted in tiles of two sizes, whose seams lie elsewhere: what differs is due to the tiles."""
    with Image.open(photo) as opened:
        picture = np.asarray(ImageOps.fit(opened.convert("RGB"), LARGE, Image.Resampling.LANCZOS))
    style = stylizer.encode_style(EXAMPLES / "auvers.jpg")
    painted = stylizer(picture, style, tile=_TILE)
    difference = np.abs(painted.astype(np.int16) - stylizer(picture, style, tile=_OTHER_TILE)).max(-1)
    Image.fromarray(painted).save(out / "large.png")
    Image.fromarray((difference * _GAIN).clip(0, 255).astype(np.uint8)).save(out / "large-difference.png")
    row, column = (int(part) for part in np.unravel_index(difference.argmax(), difference.shape))
    top, left = max(0, row - 256), max(0, column - 256)
    Image.fromarray(painted[top : top + 512, left : left + 512]).save(out / "large-worst.png")
    steps = _step_at_seams(painted)
    return [
        ["tiles of two sizes, mean difference, of 255", f"{difference.mean():.4f}"],
        ["tiles of two sizes, largest difference, of 255", f"{difference.max()}"],
        ["steps across the tiles' edges, of those beside them", f"{steps:.3f}"],
    ]


def _step_at_seams(painted: np.ndarray) -> float:
    """Mean step between the columns and rows where tiles meet, over that between the eight on each side."""
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(painted.astype(np.int16), axis=axis)).mean((1 - axis, 2))
        at = np.arange(_TILE, painted.shape[axis], _TILE) - 1
        beside = np.concatenate([steps[at + offset] for offset in range(-8, 9) if offset])
        ratios.append(steps[at].mean() / beside.mean())
    return float(np.mean(ratios))


def regions(stylizer: Stylizer, out: Path) -> None:
    """One photo, two styles, with a soft border from left to right."""
    with Image.open(EXAMPLES / "castle.jpg") as photo:
        width, height = photo.size
        mask = np.tile(np.clip((np.arange(width) / width - 0.4) / 0.2, 0, 1), (height, 1))
        stylizer(photo, [EXAMPLES / "poppies.jpg", EXAMPLES / "mackerel.jpg"], mask=mask).save(out / "mask.png")


def ladder(stylizer: Stylizer, out: Path) -> None:
    """The same photo at rising strength."""
    style = stylizer.encode_style(EXAMPLES / "summertime.jpg")
    with Image.open(EXAMPLES / "chelsea.jpg") as photo:
        steps = [np.asarray(stylizer(photo, style, strength=strength)) for strength in _LADDER]
    rows = [np.concatenate(steps[start : start + 3], axis=1) for start in (0, 3)]
    Image.fromarray(np.concatenate(rows)).save(out / "ladder.png")


def gradient(stylizer: Stylizer, out: Path) -> list[list[str]]:
    """A sky of 16 bits: how many levels are left of a part of it, painted, beside the same with 8 bits."""
    rise = np.linspace(0.30, 0.42, 768)[:, None, None] * np.ones((1, 512, 3)) * (0.8, 0.9, 1.0)
    source, target = out / "gradient.png", out / "gradient-painted.png"
    image.save((rise * 65535).round().astype(np.uint16), source)
    stylizer.stylize_file(source, target, EXAMPLES / "coffee.jpg", overwrite=True, strength=0.2)
    painted = image.read(target)
    assert painted.dtype == np.uint16
    stretched = (painted - painted.min((0, 1)).astype(np.float64)) / np.ptp(painted, axis=(0, 1))
    Image.fromarray((stretched * 255).round().astype(np.uint8)).save(out / "gradient-stretched.png")
    levels = [len(np.unique(each)) for each in (painted[..., 1], (painted[..., 1] / 257).round())]
    return [["levels of a painted gradient, 16 bits (in 8 bits)", f"{levels[0]} ({levels[1]})"]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures to be looked at.")
    parser.add_argument("--photo", type=Path, required=True, metavar="FILE", help="brought to 24 megapixels")
    parser.add_argument("--weights", default="agn-small", metavar="NAME|FOLDER")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    stylizer = Stylizer.from_pretrained(options.weights, device="cpu")
    regions(stylizer, options.out)
    ladder(stylizer, options.out)
    rows = gradient(stylizer, options.out) + seams(stylizer, options.photo, options.out)
    print(markdown_table([f"{options.weights}, {LARGE[0]} x {LARGE[1]}", ""], rows))


if __name__ == "__main__":
    main()
