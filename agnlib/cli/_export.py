"""`agnlib export`: its options, and what runs it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib._exported._program import EXTRACTOR_FILE, NETWORK_FILE
from agnlib._shared.folders import made
from agnlib._shared.paths import refuse_taken
from agnlib.cli import _types
from agnlib.cli._messages import say
from agnlib.errors import ImageError, InputError

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["add_export"]

_NOTES = """\
examples:
  agnlib export starry.onnx --style starry.jpg       photograph in, painting in this one style out
  agnlib export mixed.onnx --style wave:2 --style auvers
  agnlib export network.onnx                         photograph and style code in, painting out
  agnlib export extractor.onnx --part extractor      picture in, style code out
  agnlib export programs/                            these two in a folder, for agnlib stylize --weights programs
  agnlib export --web site --style wave --style a.jpg    a page that paints in the browser, with these styles

the page:
  --web takes onnxruntime-web from npm, of the one version that the page is tested with; without npm, get that package
  on another machine and name it by --runtime. Serve the folder: python -m http.server --directory site
"""
_OF_A_FILE: dict[str, Any] = {"part": "network", "dtype": "float32"}  # and of no folder
_FOR_A_FILE = {**_OF_A_FILE, "half": False}


def add_export(commands: argparse._SubParsersAction[Any]) -> None:
    """Into the commands of the program."""
    command = _types.add_command(
        commands,
        "export",
        "write a style, or the networks, to a file for other programs; or a page that needs no server",
        needs="FILE | DIR/ | --web DIR",
        example="starry.onnx --style starry.jpg",
        epilog=_NOTES,
    )
    command.add_argument(
        "file",
        nargs="?",
        metavar="FILE|DIR",
        help=".onnx (extra onnx), or .pt2, which torch.export.load reads; or a folder (made if need be), which gets"
        " both networks",
    )
    command.add_argument(
        "--style",
        dest="styles",
        action="append",
        metavar="PICTURE[:WEIGHT]",
        help="the file's one style: a picture, a file from --save-style, or a style by name (`agnlib styles` lists"
        " them); several are mixed. Without it the style is an input. With --web each is one to choose (default: the"
        " works of art that come with agnlib)",
    )
    command.add_argument(
        "--part", choices=("network", "extractor"), help="what to write: what paints (default), or what reads styles"
    )
    command.add_argument(
        "--dtype",
        choices=("float32", "uint8"),
        help="of pictures in the file: float32 (default), planes in [0, 1]; or uint8, pixels from 0 to 255",
    )
    command.add_argument(
        "--half",
        action="store_true",
        help="store weights in 16 bits: half the file; of shipped weights nothing is lost",
    )
    command.add_argument("--seed", type=_types.seed, metavar="N", help="of a style by name: a class, or random")
    command.add_argument("--web", metavar="DIR", help="write a page that paints in the browser to this new folder")
    command.add_argument(
        "--runtime",
        metavar="PATH",
        help="of --web: the npm package onnxruntime-web, its .tgz or unpacked (default: npm)",
    )
    command.add_argument("--weights", default="agn-small", metavar="NAME|DIR", help="(default agn-small)")
    _types.add_overwrite(command)
    command.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.web is None):
        got = "neither" if arguments.file is None else "both"
        raise InputError(f"expected FILE or --web DIR, got {got}; see agnlib export --help")
    if arguments.file is None:
        return _to_page(arguments)
    from agnlib.cli._output_argument import names_folder

    return (_to_folder if names_folder(arguments.file) else _to_file)(arguments)


def _to_folder(arguments: argparse.Namespace) -> int:
    """Both networks, as `agnlib stylize --weights DIR` takes them."""
    for name, default in {**_OF_A_FILE, "styles": None, "seed": None, "runtime": None}.items():
        if (getattr(arguments, name) or default) != default:
            option = "style" if name == "styles" else name
            raise InputError(f"argument --{option}: is for FILE, and {arguments.file!r} is a folder; leave it out")
    folder = Path(arguments.file)
    parts = {
        "extractor": folder / EXTRACTOR_FILE,
        "network": folder / NETWORK_FILE,
    }  # without which it is no folder of ours
    refuse_taken(parts.values(), overwrite=arguments.overwrite)
    stylizer = _stylizer(arguments)
    try:
        with made(folder):
            for part, path in parts.items():
                stylizer.export(path, part=part, half=arguments.half)  # type: ignore[arg-type] # one of its words
    except OSError as error:
        raise ImageError(f"{arguments.file!r} cannot be made ({error.strerror}); choose another folder") from error
    size = sum(path.stat().st_size for path in parts.values())
    say(f"{arguments.file}: {size / 1e6:.1f} MB; to paint by it: agnlib stylize --weights {arguments.file}")
    return 0


def _to_file(arguments: argparse.Namespace) -> int:
    if arguments.runtime is not None:
        raise InputError("argument --runtime: is for --web; leave it out")
    from agnlib.cli._style_argument import parse_style
    from agnlib.engines._export import Order

    given: dict[str, Any] = {name: getattr(arguments, name) or default for name, default in _FOR_A_FILE.items()}
    Order(**given, one_style=bool(arguments.styles)).checked(arguments.file)
    refuse_taken([arguments.file], overwrite=arguments.overwrite)
    style = [parse_style(text) for text in arguments.styles or ()] or None
    _stylizer(arguments).export(arguments.file, style=style, seed=arguments.seed, **given)
    say(f"{arguments.file}: {Path(arguments.file).stat().st_size / 1e6:.1f} MB, {_says(arguments)}")
    return 0


def _says(arguments: argparse.Namespace) -> str:
    if arguments.part == "extractor":
        return "from a picture to the code of its style"
    return (
        "from a photograph and a style code to the painting"
        if not arguments.styles
        else "from a photograph to the painting"
    )


def _to_page(arguments: argparse.Namespace) -> int:
    for name, default in _FOR_A_FILE.items():
        if (getattr(arguments, name) or default) != default:
            raise InputError(f"argument --{name}: is for FILE; a page has what it needs, leave it out")
    from agnlib.web import write_page

    styles = arguments.styles or None
    chosen: dict[str, Any] = {"runtime": arguments.runtime, "overwrite": arguments.overwrite, "seed": arguments.seed}
    size = write_page(_stylizer(arguments), arguments.web, styles, **chosen)
    say(f"{arguments.web}: {size / 1e6:.0f} MB; to see it: python -m http.server --directory {arguments.web}")
    return 0


def _stylizer(arguments: argparse.Namespace) -> Stylizer:
    from agnlib.stylizer import Stylizer

    return Stylizer.from_pretrained(arguments.weights, device="cpu")
