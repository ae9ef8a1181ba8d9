"""`agnlib stylize - -o -`: a picture from standard input, a painting to standard output, and nothing else there."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agnlib import image
from agnlib._shared.paths import is_folder, refuse_taken
from agnlib.cli._exported import made_ready
from agnlib.cli._messages import say
from agnlib.cli._output_argument import made_for, names_folder, plan, refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import checked_regions, pictures_of
from agnlib.errors import InputError
from agnlib.image._encoded import Encoded, held
from agnlib.image._header import header
from agnlib.image._suffixes import written_suffix
from agnlib.video import is_clip

__all__ = ["PIPE", "is_piped", "run"]

PIPE = "-"


def is_piped(request: Request) -> bool:
    """Whether the photo or the painting is no file."""
    return PIPE in (*request.photos, request.output)


def run(request: Request) -> int:
    """Paint one picture and return the exit code.

    Raises:
        AgnError: a mistake, found before anything was written.
        BrokenPipeError: who reads the painting has read enough.
    """
    _check(request)
    limits = replace(request.limits, reduced_to=request.options["size"])
    photo = _from_input(limits) if request.photos[0] == PIPE else request.photos[0]
    image.probe(photo, limits=limits)
    regions = checked_regions(request)
    target = None if request.output == PIPE else _file(request, [photo, *pictures_of(regions)])
    stylizer, options = made_ready(request, regions)
    options |= {"limits": request.limits}
    started = time.perf_counter()
    if target is None:
        suffix = request.suffix or written_suffix(header(photo, limits=limits).kind)
        painted = io.BytesIO()
        height, width = stylizer.stylize_file(photo, painted, format=suffix[1:], **options)
        sys.stdout.buffer.write(painted.getvalue())
        sys.stdout.buffer.flush()
    else:
        with made_for(target):
            height, width = stylizer.stylize_file(photo, target, overwrite=request.overwrite, **options)
    if not request.quiet:
        say(f"{target or 'standard output'}: {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
    return 0


def _file(request: Request, inputs: Sequence[Any]) -> Path:
    """Where the painting of standard input goes, which is free."""
    target = plan(["photo.jpg"], request.output, request.suffix)[0].target
    refuse_to_overwrite([target], [each for each in inputs if not isinstance(each, Encoded)])
    refuse_taken([target], overwrite=request.overwrite)
    return target


def _check(request: Request) -> None:
    photo = request.photos[0]
    if len(request.photos) > 1:
        raise InputError(f"argument PHOTO|DIR: '-' stands for one picture, and {len(request.photos)} were given")
    if is_folder(photo) or is_clip(photo):
        kind = "folder" if is_folder(photo) else "clip"
        raise InputError(
            f"argument -o: '-' is for a picture, and {photo!r} is a {kind}; give a file or folder after -o"
        )
    if request.output != PIPE and names_folder(request.output):
        raise InputError(
            f"argument -o: a picture from standard input has no name for the folder {request.output!r}; give a file"
        )
    if request.refine and photo == PIPE:
        raise InputError("argument --refine: needs a photograph in a file, and '-' is standard input; give the file")
    if photo == PIPE and sys.stdin.isatty():
        raise InputError("argument PHOTO|DIR: '-' is standard input, which is the terminal; add < photo.jpg")
    if request.output == PIPE and sys.stdout.isatty():
        raise InputError(
            "argument -o: '-' is standard output, which is the terminal; add > painted.png, or give a file"
        )


def _from_input(limits: image.Limits) -> Any:
    return replace(held(sys.stdin.buffer, limits), name="standard input")
