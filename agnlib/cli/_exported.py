"""`agnlib stylize` by programs that `agnlib export` wrote, without torch: what can be asked of it, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from agnlib._exported._program import has_programs
from agnlib._shared.paths import is_folder
from agnlib.cli._machine import make_stylizer
from agnlib.cli._output_argument import is_for_clip
from agnlib.cli._request import Request
from agnlib.cli._style_argument import Region, is_program, parse_style, style_options
from agnlib.errors import InputError
from agnlib.styles import works
from agnlib.styles._names import as_known, is_code, is_name

if TYPE_CHECKING:
    from agnlib._exported._stylizer import ExportedStylizer, Style
    from agnlib.stylizer import Stylizer

__all__ = ["FileStylizer", "check", "is_asked_for", "made_ready"]

FileStylizer: TypeAlias = "Stylizer | ExportedStylizer"

_WEIGHTS = "agn-small"  # where none are named
_INSTEAD = "name weights and a picture in its place: --weights agn-small --style PICTURE"
_USUAL = {
    "method": "network",
    "drawing": None,
    "strength": 1,
    "texture": 1,
    "color": 1,
    "preserve_color": False,
    "color_only": False,
    "scale": "auto",
    "seed": None,
    "tile": "auto",
}
_SERVED = ("size", "metadata", "recipe")


def is_asked_for(request: Request) -> bool:
    """Whether the style, or the weights, are programs."""
    return has_programs(request.weights) or any(_program_in(*given) for given in request.styles)


def _program_in(option: str, text: str) -> bool:
    return option == "--style" and is_program(parse_style(text)[0])


def check(request: Request) -> None:
    """Say what a program cannot do.

    Raises:
        InputError: it was asked for that.
    """
    shown = _shown(request)
    if request.engine == "torch":
        raise InputError(
            f"argument --engine: torch does not run {shown}, which agnlib export wrote; give --engine openvino, onnx or"
            " auto"
        )
    for argument, why in _reasons(request):
        raise InputError(f"argument {argument}: {shown}, which agnlib export wrote, {why}")


def _shown(request: Request) -> str:
    programs = [parse_style(text)[0] for option, text in request.styles if _program_in(option, text)]
    return repr(programs[0] if programs else request.weights)


def _reasons(request: Request) -> Iterator[tuple[str, str]]:
    """Arguments that do not go with a program, and why."""
    for photo in request.photos:
        if is_folder(photo):
            yield "PHOTO|DIR", f"paints no folder such as {photo!r}; name its photographs, or {_INSTEAD}"
        elif is_for_clip(photo, request.output):
            yield "PHOTO|DIR", f"paints no clip such as {photo!r}; {_INSTEAD}"
    options = [option for option, _ in request.styles]
    if "--mask" in options:
        yield "--mask", f"paints whole pictures; {_INSTEAD}"
    if len(options) > 1:
        yield "--style", f"paints in one style, and several are given; have agnlib export mix them, or {_INSTEAD}"
    for name, usual in _USUAL.items():
        if request.options[name] != usual:
            yield f"--{name.replace('_', '-')}", f"paints in one way, in full; leave it out, or {_INSTEAD}"
    for name in ("save_style", "refine"):
        if getattr(request, name):
            yield f"--{name.replace('_', '-')}", f"needs no code of a style; leave it out, or {_INSTEAD}"
    if request.device not in ("auto", "cpu"):
        yield "--device", f"runs on the CPU, got {request.device!r}; leave it out, or {_INSTEAD}"
    yield from _reasons_of_style(request)


def _reasons_of_style(request: Request) -> Iterator[tuple[str, str]]:
    style, _ = parse_style(request.styles[0][1])
    if is_program(style):
        if request.weights != _WEIGHTS:
            yield "--weights", "holds weights and a style; leave --weights out"
    elif is_code(style) or (is_name(style) and _work(style) is None):
        names = ", ".join(works.available())
        yield "--style", f"reads pictures, and {style!r} is none; give a picture or one of {names}, or {_INSTEAD}"


def _work(name: str) -> works.Work | None:
    return works.available().get(as_known(name, works.available()))


def made_ready(
    request: Request, regions: Sequence[Region], *, takes_long: bool = False
) -> tuple[FileStylizer, dict[str, Any]]:
    """What paints picture files, and the options for its `stylize_file`."""
    if not is_asked_for(request):
        stylizer = make_stylizer(request, takes_long=takes_long)
        return stylizer, {**request.options, **style_options(stylizer, regions, request)}
    from agnlib._exported._runtimes import Machine
    from agnlib._exported._stylizer import ExportedStylizer

    machine, given = Machine(request.engine, request.precision, request.threads), regions[0].styles[0][0]
    of_style = is_program(given)
    by = ExportedStylizer.of_style(given, machine) if of_style else ExportedStylizer.of_folder(request.weights, machine)
    style = by.own_style() if of_style else _read(by, given, request)
    return by, {"style": style, **{name: request.options[name] for name in _SERVED}}


def _read(stylizer: ExportedStylizer, style: str, request: Request) -> Style:
    """The style of a picture, or of a work that comes with agnlib."""
    work = _work(style) if is_name(style) else None
    picture, name = (Path(style), style) if work is None else (work.path, work.name)
    return stylizer.read_style(picture, name, request.limits)
