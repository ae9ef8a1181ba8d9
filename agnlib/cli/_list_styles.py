"""`agnlib styles`: the styles that are known by name, and a picture of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from agnlib import image
from agnlib._shared.paths import refuse_taken
from agnlib.cli._output_argument import refuse_to_overwrite
from agnlib.errors import InputError
from agnlib.styles._names import ANY
from agnlib.styles.works import available

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["contact_sheet", "run"]

_CELL, _GAP, _CAPTION, _COLUMNS = 240, 8, 22, 4


def run(arguments: argparse.Namespace) -> int:
    """Print the names; draw the sheet if it is asked for.

    Raises:
        AgnError: unknown weights, a photo that cannot be read, or a place that cannot be written to.
    """
    if arguments.photo and not arguments.sheet:
        raise InputError("argument --photo: goes with --sheet FILE, which shows it in each style")
    if arguments.sheet:
        image.check_output(arguments.sheet)
        refuse_taken([arguments.sheet], overwrite=arguments.overwrite)
    if arguments.photo:
        image.probe(arguments.photo)
        refuse_to_overwrite([Path(arguments.sheet)], [arguments.photo], "--sheet")
    from agnlib.stylizer import Stylizer

    stylizer = Stylizer.from_pretrained(arguments.weights, device="cpu")
    works = available()
    width = max(len(name) for name in (*works, *stylizer.class_names))
    print("works of art that come with agnlib, for either --method:")
    for work in works.values():
        print(f"  {work.name:<{width}}  {work.artist}: {work.title}, {work.year}")
    print(f"classes of {stylizer.name}, which --seed varies; by --method neighbors, one of their works:")
    for name in stylizer.class_names:
        members = [work.name for work in works.values() if work.style_class == name]
        print(f"  {name:<{width}}  {', '.join(members) or '(no work of it)'}")
    print(f"  {ANY:<{width}}  any style")
    if arguments.sheet:
        image.save(contact_sheet(stylizer, arguments.photo), arguments.sheet)
    return 0


def contact_sheet(stylizer: Stylizer, photo: str | None) -> Image.Image:
    """The works; or a photo painted in the style of each of them, and in each class."""
    if photo is None:
        cells: dict[str, Image.Image] = {work.name: Image.open(work.path) for work in available().values()}
    else:
        names = (*available(), *stylizer.class_names)
        cells = {name: stylizer(photo, name, size=2 * _CELL) for name in names}
    lines = -(-len(cells) // _COLUMNS)
    step = _CELL + _GAP, _CELL + _CAPTION + _GAP
    sheet = Image.new("RGB", (_COLUMNS * step[0] + _GAP, lines * step[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for index, (name, picture) in enumerate(cells.items()):
        left, top = _GAP + index % _COLUMNS * step[0], _GAP + index // _COLUMNS * step[1]
        sheet.paste(ImageOps.fit(picture.convert("RGB"), (_CELL, _CELL), Image.Resampling.LANCZOS), (left, top))
        draw.text((left, top + _CELL + 2), name, fill="black", font=font)
    return sheet
