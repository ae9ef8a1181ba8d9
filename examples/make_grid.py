"""Paint every photograph of examples/images in every reference's style and lay the results out.

    python examples/make_grid.py --weights agn-small --size 512 -o docs/images/grid.jpg
    python examples/make_grid.py --weights agn-small --before-after docs/images/before-after.jpg
    python examples/make_grid.py --weights agn-small --neighbors docs/images

The grid has the references along the top and the photographs on the left; the strip has photograph, reference and what
the network and neural neighbors made of them under each other, with the median of their seconds: the first photograph
with the first reference and so on. With `--neighbors` the grid is painted by neural neighbors, and two strips show how
such a painting comes about, and what `drawing` does. Nothing is chosen or drawn by chance: the same weights give the
same picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm import tqdm

from agnlib import Stylizer
from agnlib.errors import AgnError
from agnlib.neighbors import Progress

IMAGES = Path(__file__).resolve().parent / "images"
PHOTOS = ("astronaut", "castle", "mountain", "chelsea", "coffee", "city")
REFERENCES = ("poppies", "mackerel", "spring", "summertime", "auvers", "composition")
GAP = 8
STRIP_CELL, STRIP_SIDE, STRIP_BYTES = 240, 512, 600_000
NEIGHBORS_SIDE, NEIGHBORS_BYTES = 256, 900_000


def grid(stylizer: Stylizer, size: int, method: str = "network") -> Image.Image:
    """All photographs in all styles; the photographs' longer side is `size`."""
    photos = [_with_longer_side(_open(name), size) for name in PHOTOS]
    references = [ImageOps.contain(_open(name), (size, size * 3 // 4), Image.Resampling.LANCZOS) for name in REFERENCES]
    rows: list[list[Image.Image | None]] = [[None, *references]]
    for photo in tqdm(photos, desc="grid", unit="row"):
        rows.append([photo, *(stylizer(photo, _open(name), method=method) for name in REFERENCES)])
    return lay_out(rows)


def sizes(stylizer: Stylizer) -> Image.Image:
    """Photograph, reference, the network's painting, and what neural neighbors had at the end of each size."""
    photo, reference = _with_longer_side(_open("castle"), NEIGHBORS_SIDE), _open("auvers")
    reached: dict[int, Image.Image] = {}

    def keep(now: Progress) -> None:
        pixels = ((now.picture[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
        reached[now.picture.shape[3]] = Image.fromarray(pixels.cpu().numpy())

    painted = stylizer(photo, reference, method="neighbors", drawing=0.25, on_step=keep)
    coarse = [reached[width].resize(photo.size, Image.Resampling.NEAREST) for width in sorted(reached)[:-1]]
    return lay_out([[photo, _fitted(reference, photo), stylizer(photo, reference), *coarse, painted]])


def drawings(stylizer: Stylizer) -> Image.Image:
    """One photograph, and neural neighbors' painting of it from `drawing` 1 to 0, in quarters."""
    photo, reference = _with_longer_side(_open("astronaut"), NEIGHBORS_SIDE), _open("spring")
    painted = [stylizer(photo, reference, method="neighbors", drawing=each) for each in (1.0, 0.75, 0.5, 0.25, 0.0)]
    return lay_out([[photo, _fitted(reference, photo), *painted]])


def _fitted(reference: Image.Image, photo: Image.Image) -> Image.Image:
    return ImageOps.contain(reference, photo.size, Image.Resampling.LANCZOS)


def strip(stylizer: Stylizer) -> Image.Image:
    """Photographs, references and results by each method, cut to squares, one pair a column."""
    photos, references = ([_open(name) for name in names] for names in (PHOTOS, REFERENCES))
    photos = [_with_longer_side(photo, STRIP_SIDE) for photo in photos]
    cell = (STRIP_CELL, STRIP_CELL)
    rows = [[ImageOps.fit(image, cell) for image in row] for row in (photos, references)]
    stylizer(photos[0], references[0])  # the first call does not count
    for method, words in (("network", "network"), ("neighbors", "neighbors")):
        painted, seconds = _timed(stylizer, list(zip(photos, references, strict=True)), method)
        row = [ImageOps.fit(image, cell) for image in painted]
        took = statistics.median(seconds)
        _write(row[0], f"{words}, {took:.2g} s" if took < 10 else f"{words}, {took:.0f} s")
        rows.append(row)
    return lay_out(rows)


def _timed(
    stylizer: Stylizer, pairs: list[tuple[Image.Image, Image.Image]], method: str
) -> tuple[list[Image.Image], list[float]]:
    painted, seconds = [], []
    for photo, reference in tqdm(pairs, desc=method, unit="photo"):
        begun = time.perf_counter()
        painted.append(stylizer(photo, reference, method=method))
        seconds.append(time.perf_counter() - begun)
    return painted, seconds


def _write(image: Image.Image, text: str) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    box = draw.textbbox((8, image.height - 26), text, font=font)
    draw.rectangle((box[0] - 5, box[1] - 4, box[2] + 5, box[3] + 4), fill="white")
    draw.text((8, image.height - 26), text, fill="black", font=font)


def lay_out(rows: list[list[Image.Image | None]]) -> Image.Image:
    """Pictures centered in a table whose rows and columns are as large as their largest picture."""
    heights = [max(image.height for image in row if image) for row in rows]
    widths = [max(image.width for image in column if image) for column in zip(*rows, strict=True)]
    sheet = Image.new("RGB", (sum(widths) + GAP * (len(widths) - 1), sum(heights) + GAP * (len(heights) - 1)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            if image:
                left = sum(widths[:x]) + GAP * x + (widths[x] - image.width) // 2
                top = sum(heights[:y]) + GAP * y + (heights[y] - image.height) // 2
                sheet.paste(image, (left, top))
    return sheet


def save(image: Image.Image, file: Path, most_bytes: int | None = None) -> None:
    """Write as the name says; a JPEG at the best quality that stays within `most_bytes`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() not in {".jpg", ".jpeg"}:
        image.save(file, optimize=True)
        return
    for quality in (92, 88, 84, 80, 75):
        image.save(file, quality=quality, optimize=True)
        if most_bytes is None or file.stat().st_size <= most_bytes:
            return


def _open(name: str) -> Image.Image:
    return Image.open(IMAGES / f"{name}.jpg").convert("RGB")


def _with_longer_side(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description="6 photographs in 6 styles.")
    parser.add_argument("--weights", default="agn-small", metavar="NAME|FOLDER")
    parser.add_argument("--size", type=int, default=512, help="longer side of the photographs, px (default 512)")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="the grid; .jpg is a quarter of .png")
    parser.add_argument("--before-after", type=Path, metavar="FILE", help="the strip, at most 600 kB as .jpg")
    parser.add_argument("--neighbors", type=Path, metavar="DIR", help="the pictures of neural neighbors; takes minutes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.out is None and options.before_after is None and options.neighbors is None:
        parser.error("nothing to do: give -o FILE, --before-after FILE or --neighbors DIR")
    try:
        stylizer = Stylizer.from_pretrained(options.weights, device=options.device)
    except AgnError as error:
        parser.error(str(error))
    if options.out:
        save(grid(stylizer, options.size), options.out)
    if options.before_after:
        save(strip(stylizer), options.before_after, STRIP_BYTES)
    if options.neighbors:
        pictures = {"sizes": sizes, "drawing": drawings, "grid": lambda it: grid(it, NEIGHBORS_SIDE, "neighbors")}
        for name, picture in pictures.items():
            save(picture(stylizer), options.neighbors / f"neighbors-{name}.jpg", NEIGHBORS_BYTES)


if __name__ == "__main__":
    main()
