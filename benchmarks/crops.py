"""One photo beside what several weights make of it, with a part of each at four times the size.

    python benchmarks/crops.py --weights agn-fast without-adversary --out docs/images/adversary.jpg

Photo, references and the part are fixed below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _common import CHECKOUT
from PIL import Image, ImageDraw, ImageFont

from agnlib import Stylizer, image

IMAGES = CHECKOUT / "examples" / "images"
PHOTO = "castle"
REFERENCES = ("poppies", "spring", "auvers")
SIDE, PART, GAP, HEAD = 384, 96, 6, 24


def sheet(weights: list[str]) -> Image.Image:
    """A line for each reference; the photo, then each weights' picture with its enlarged part below."""
    painters = {Path(name).name: Stylizer.from_pretrained(name, device="cpu") for name in weights}
    with Image.open(IMAGES / f"{PHOTO}.jpg") as opened:
        photo = opened.convert("RGB")
        photo.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    lines = []
    for reference in REFERENCES:
        style = IMAGES / f"{reference}.jpg"
        lines.append([photo, *(painter(photo, style) for painter in painters.values())])
    cell_height = photo.height + GAP + SIDE // 2
    page = Image.new(
        "RGB", ((SIDE + GAP) * len(lines[0]) - GAP, HEAD + (cell_height + GAP) * len(lines) - GAP), "white"
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for column, title in enumerate(["photo", *painters]):
        draw.text((column * (SIDE + GAP) + 4, 2), title, fill="black", font=font)
    for row, pictures in enumerate(lines):
        for column, picture in enumerate(pictures):
            left, top = column * (SIDE + GAP), HEAD + row * (cell_height + GAP)
            page.paste(picture, (left, top))
            page.paste(enlarged(picture), (left, top + picture.height + GAP))
    return page


def enlarged(picture: Image.Image) -> Image.Image:
    """The top of the picture, where the sky is: each pixel becomes 4 x 4."""
    part = picture.crop((PART // 2, 0, PART // 2 + PART, PART // 2))
    return part.resize((SIDE, SIDE // 2), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description="Crops of what several weights paint.")
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME|FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jpg")
    options = parser.parse_args()
    image.save(sheet(options.weights), options.out, quality=90)


if __name__ == "__main__":
    main()
