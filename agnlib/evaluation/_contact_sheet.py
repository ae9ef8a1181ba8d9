"""Pictures to look at beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from agnlib.evaluation._pairs import PHOTO_SIDE, Pair
from agnlib.evaluation._rows import Painter

__all__ = ["contact_sheet"]

_GAP, _HEAD = 6, 24


def contact_sheet(pairs: Sequence[Pair], painters: Mapping[str, Painter]) -> Image.Image:
    """Photograph, reference and what each painter made of them, one pair a line.

    Args:
        pairs: the lines, of at least one; take the first ones, not chosen ones.
        painters: the columns, as of `evaluate`.

    Raises:
        ImageError: a file cannot be read.
    """
    titles = ["photograph", "reference", *painters]
    cell = PHOTO_SIDE + _GAP
    sheet = Image.new("RGB", (len(titles) * cell - _GAP, _HEAD + len(pairs) * cell - _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(titles):
        draw.text((column * cell + 4, 2), title, fill="black", font=font)
    for line, pair in enumerate(pairs):
        photo, reference = pair.open()
        pictures = [photo, reference, *(painter(photo, reference) for painter in painters.values())]
        for column, picture in enumerate(pictures):
            _paste_centered(sheet, picture, column * cell, _HEAD + line * cell)
    return sheet


def _paste_centered(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    if max(picture.size) != PHOTO_SIDE:
        scale = PHOTO_SIDE / max(picture.size)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    sheet.paste(picture, (left + (PHOTO_SIDE - picture.width) // 2, top + (PHOTO_SIDE - picture.height) // 2))
