"""`--style`, `--mask` and `--save-style` of `agnlib stylize`: from their texts to what a `Stylizer` takes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._exported._program import SUFFIX
from agnlib._shared.paths import is_file, is_folder, is_there, why_not
from agnlib.cli._messages import say, shows_bar
from agnlib.cli._output_argument import refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.errors import ImageError, InputError
from agnlib.styles import works
from agnlib.styles._names import (
    ANY,
    CODE_FORMAT,
    PICTURES_FORMAT,
    as_known,
    file_format,
    is_code,
    is_name,
    picture_by_name,
    refuse_code,
)
from agnlib.video import is_clip

if TYPE_CHECKING:
    from PIL import Image

    from agnlib.styles.code import StyleCode
    from agnlib.stylizer import Stylizer

__all__ = [
    "Region",
    "by_neighbors",
    "checked_regions",
    "is_program",
    "parse_regions",
    "parse_style",
    "pictures_of",
    "style_options",
]

_REFINED_FOR = 3  # photos, whose number is the time that it takes
_SEEDS = 10**6  # few enough digits to be typed in again


@dataclass(frozen=True)
class Region:
    """Pictures and weights of one style, and the mask that says where it goes."""

    styles: list[tuple[str, float]]
    mask: str | None = None


def checked_regions(request: Request) -> list[Region]:
    """The regions, as `parse_regions`, whose files have headers of pictures.

    Raises:
        AgnError: a mistake in them, or in where the style is to be saved.
    """
    regions = parse_regions(request.styles)
    if request.refine:
        _check_refine(request, regions)
    if by_neighbors(request):
        for region in regions:
            for style, _ in region.styles:
                refuse_code(style)
                if is_name(style):
                    picture_by_name(style)
    for path in pictures_of(regions):
        if not is_code(path):
            image.probe(path, limits=request.limits)
        elif not is_file(path):
            raise InputError(f"argument --style: {path!r} {why_not(path, 'a file')}; give one from --save-style")
    if request.save_style is not None:
        _check_save_style(request.save_style, regions)
    return regions


def _check_refine(request: Request, regions: Sequence[Region]) -> None:
    if by_neighbors(request):
        raise InputError("argument --refine: learns a code for the network, and --method neighbors uses none; give one")
    if all(is_clip(photo) for photo in request.photos):
        raise InputError(
            f"argument --refine: needs a photograph, and {request.photos[0]!r} is a clip; refine for a frame of it with"
            " --save-style, and give the style saved"
        )
    if is_folder(request.photos[0]):
        raise InputError(
            f"argument --refine: needs photographs, and {request.photos[0]!r} is a folder; refine for a few of them by"
            " --save-style, and give the style saved: so every run paints by the same"
        )
    for style, _ in (pair for region in regions for pair in region.styles):
        if is_code(style):
            raise InputError(f"argument --refine: {style!r} is a style that is saved; it needs the picture itself")
        if is_name(style) and as_known(style, works.available()) not in works.available():
            raise InputError(
                f"argument --refine: {style!r} is no picture; give a picture, or a work of `agnlib styles`"
            )


def by_neighbors(request: Request) -> bool:
    """Whether the pictures themselves are asked for, not their codes."""
    return bool(request.options["method"] == "neighbors")


def pictures_of(regions: Sequence[Region]) -> list[str]:
    """The files of styles and masks; a style by name has none, and a program of one style is no picture."""
    named = (picture for region in regions for picture, _ in region.styles if not is_name(picture))
    styles = [picture for picture in named if not is_program(picture)]
    return [*styles, *(region.mask for region in regions if region.mask is not None)]


def is_program(text: str) -> bool:
    """Whether it is the name of a program, of one style, that `agnlib export` wrote."""
    return Path(text).suffix.lower() == SUFFIX


def style_options(stylizer: Stylizer, regions: Sequence[Region], request: Request) -> dict[str, Any]:
    """The regions as the arguments "style", "mask" and "seed" of a `Stylizer`; the style is saved if asked for."""
    from agnlib.styles._reader import pictured
    from agnlib.styles.picture_style import PictureStyle

    masks, seed = [region.mask for region in regions if region.mask is not None], _settled_seed(regions, request)
    if by_neighbors(request):
        pictures = [region.styles for region in regions]
        if request.save_style is not None:
            kept = PictureStyle.of(pictured(pictures[0], seed), limits=request.limits)
            kept.save(request.save_style)
        return {"style": pictures if masks else pictures[0], "mask": masks or None, "seed": seed}
    if request.refine:
        codes = [_refined(stylizer, region.styles, request) for region in regions]
    else:
        codes = [stylizer.encode_style(region.styles, seed=seed, limits=request.limits) for region in regions]
    if request.save_style is not None:
        codes[0].save(request.save_style)
    return {"style": codes if masks else codes[0], "mask": masks or None, "seed": seed}


def _refined(stylizer: Stylizer, styles: Sequence[tuple[str, float]], request: Request) -> StyleCode:
    """The mean of codes that are learned for the first photos."""
    from agnlib.styles.code import StyleCode

    photos = list(islice(_readable(request), _REFINED_FOR))  # a code that suits them mostly suits the others
    given: dict[str, Any] = {"limits": request.limits, "progress": shows_bar(quiet=request.quiet)}
    return StyleCode.mix(
        [(stylizer.refine_style(picture, content=photos, **given), weight) for picture, weight in styles]
    )


def _readable(request: Request) -> Iterator[Image.Image]:
    """The photos that can be decoded.

    Raises:
        ImageError: not one of them can.
    """
    limits = replace(request.limits, reduced_to=request.options["size"])
    errors = []
    for photo in request.photos:
        try:
            yield image.load(photo, limits=limits)
        except ImageError as error:
            errors.append(error)
    if len(errors) == len(request.photos):
        raise errors[0]


def _settled_seed(regions: Sequence[Region], request: Request) -> int | None:
    """The seed given; for a random style without one, a seed that is drawn and said, so that it can be had again."""
    given: int | None = request.options["seed"]
    names = [name.lower() for region in regions for name, _ in region.styles if is_name(name)]
    if given is not None or ANY not in names:
        return given
    seed = random.SystemRandom().randrange(_SEEDS)
    if not request.quiet:
        say(f"a random style: --seed {seed} gives it again")
    return seed


def parse_regions(given: Sequence[tuple[str, str]]) -> list[Region]:
    """Styles and masks in the order given, as regions: a mask is for the styles between it and the mask before.

    Raises:
        InputError: a mask without a style, or a weight that is not above 0.
    """
    regions: list[Region] = []
    for option, text in given:
        if option == "--style":
            style = parse_style(text)
            if not regions or regions[-1].mask is not None:
                regions.append(Region([]))
            regions[-1].styles.append(style)
        elif not regions or regions[-1].mask is not None:
            raise InputError(
                f"argument --mask: {text!r} follows no --style; give a mask after the style that it is for"
            )
        else:
            regions[-1] = Region(regions[-1].styles, text)
    return regions


def _check_save_style(path: str, regions: Sequence[Region]) -> None:
    if len(regions) > 1:
        raise InputError("argument --save-style: there are several styles, one for each region; save them one by one")
    if not is_code(path):
        raise InputError(f"argument --save-style: expected a name that ends in .safetensors, got {path!r}")
    image.check_place(path)
    if is_there(path) and not _is_ours(path):
        raise InputError(
            f"argument --save-style: {path!r} is there already and no style's file, the only kind of file that is"
            " replaced there; choose another name"
        )
    refuse_to_overwrite([Path(path)], pictures_of(regions), "--save-style")


def _is_ours(path: str) -> bool:
    """Whether a style's file lies there, not a link to one."""
    return not Path(path).is_symlink() and file_format(path) in (CODE_FORMAT, PICTURES_FORMAT)


def parse_style(text: str) -> tuple[str, float]:
    """Split "PICTURE" or "PICTURE:WEIGHT"; a text that names a file is that file, whatever colons it has.

    Raises:
        InputError: the weight is not above 0.
    """
    picture, colon, tail = text.rpartition(":")
    if not colon or not picture or is_file(text):
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"argument --style: the weight of {picture!r} must be a number above 0, got {tail!r}")
    return picture, weight
