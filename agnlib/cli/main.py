"""The program `agnlib`: parses the command line and turns errors into one line and an exit code.

Exit codes: 0 done; 1 some of several files failed, or work that had begun broke off; 2 a mistake in what was asked for
or in the only file, nothing was written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from agnlib import __version__
from agnlib._paths import is_folder
from agnlib.cli import _training, _types
from agnlib.cli._ending import Ended, ended_by_signals
from agnlib.cli._messages import end_relay, say
from agnlib.engines.memory import keep_freed_memory
from agnlib.errors import AgnError, InputError, TrainingError

__all__ = ["main"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        argv: the arguments after the program's name; None takes them from `sys.argv`.

    Example:
        >>> main(["stylize", "missing.jpg", "--style", "also-missing.jpg", "-o", "out.png"])
        2
    """
    warnings.filterwarnings("ignore", module="PIL")  # what Pillow grumbles about is either an error of ours or harmless
    keep_freed_memory()
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        parser, commands = _parser()
        _refuse_empty(given)
        _refuse_unknown_options(given, commands)
        arguments = parser.parse_args(given or ["--help"])
        if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may have what it cannot encode
            sys.stdout.reconfigure(errors="backslashreplace")
        with ended_by_signals():
            code = int(arguments.run(arguments))
        print(end="", flush=True)
        return code
    except BrokenPipeError:  # who read what is printed has read enough, such as `head`
        _print_no_more()
        return 128 + 13  # as ended by SIGPIPE
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        _print_no_more()
        say(f"error: what is printed cannot be written: {error.strerror}")
        return 1
    except AgnError as error:
        say(f"error: {error}")
        return 1 if isinstance(error, TrainingError) else 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except Ended as ended:
        say(f"ended by {ended}")
        return 128 + ended.number
    finally:
        end_relay("agnlib.engine")


def _print_no_more() -> None:
    """Python flushes once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as our errors: one line instead of a usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


class _InOrder(argparse.Action):
    """Notes options of several names in one list, since it matters which follows which."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), (self.option_strings[0], values)])


def _refuse_empty(given: Sequence[str]) -> None:
    """An empty text, mostly an unset variable, would be taken for the current folder."""
    for before, text in zip(["PHOTO|DIR", *given], given, strict=False):
        option, equals, value = text.partition("=")
        if text == "" or (option.startswith("-") and equals and not value):
            name = option or (before if before.startswith("-") and before != "--" else "PHOTO|DIR")
            raise InputError(f"argument {name}: expected a name or a number, got an empty text; is a variable unset?")


def _refuse_unknown_options(given: Sequence[str], commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Say it before argparse does, which would speak of what else is missing, or of the program's help."""
    command = next((text for text in given if not text.startswith("-")), "")
    if command not in commands:
        return
    known = commands[command]._option_string_actions
    for text in given[given.index(command) :]:
        option = text.split("=")[0]
        if text == "--":
            return
        if option.startswith("--") and option not in known:
            near = difflib.get_close_matches(option, known, n=1, cutoff=0.7)
            hint = f"; did you mean {near[0]}?" if near else ";"
            raise InputError(f"unknown option {option!r}{hint} see agnlib {command} --help")


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands."""
    parser = _Parser(prog="agnlib", description="Repaint photographs in the style of a picture.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agnlib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_stylize(commands)
    _training.add_train(commands)
    _training.add_finetune(commands)
    _add_evaluate(commands)
    _add_styles(commands)
    _add_demo(commands)
    doctor = commands.add_parser("doctor", help="show versions, device and weights, and what is wrong with them")
    doctor.set_defaults(run=_doctor)
    return parser, commands.choices


def _add_stylize(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "stylize",
        help="repaint photographs in the style of a picture",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_STYLIZE_NOTES,
    )
    command.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO|DIR",
        help="JPEG, PNG, WebP, TIFF or BMP; one folder of them; or one clip; see below",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE|DIR",
        help="a file for one photograph, or a folder (made if need be), where each keeps its name",
    )
    style = command.add_argument_group("styles")
    style.add_argument(
        "--style",
        dest="styles",
        action=_InOrder,
        required=True,
        metavar="PICTURE[:WEIGHT]",
        help="a picture with the style, a file from --save-style, or a style by name: a work of art that"
        " comes with agnlib, a class, or random (`agnlib styles` lists them; --seed varies the last two); give"
        " several to mix them, with weights relative to their sum",
    )
    style.add_argument(
        "--mask",
        dest="styles",
        action=_InOrder,
        metavar="PICTURE",
        help="where the styles before it go: white there, black elsewhere, grey between; see below",
    )
    style.add_argument(
        "--save-style",
        metavar="FILE.safetensors",
        help="write the style, for --style later: a code, or with --method neighbors the pictures",
    )
    effect = command.add_argument_group("effect")
    effect.add_argument(
        "--method",
        choices=("network", "neighbors"),
        default="network",
        help="network: in one pass (default); neighbors: with the reference's own forms and strokes, which takes half a"
        " minute and more",
    )
    effect.add_argument(
        "--drawing",
        type=_types.share,
        metavar="S",
        help="of --method neighbors, how much of the photo's drawing stays: 0 to 1 (default 0.5)",
    )
    effect.add_argument(
        "--strength", type=_types.share, default=1.0, metavar="S", help="from 0 (the photo) to 1 (default)"
    )
    effect.add_argument(
        "--texture",
        type=_types.share,
        default=1.0,
        metavar="S",
        help="of lightness, where brushwork is: 0 to 1 (default)",
    )
    effect.add_argument("--color", type=_types.share, default=1.0, metavar="S", help="of the colours: 0 to 1 (default)")
    only = effect.add_mutually_exclusive_group()
    only.add_argument("--preserve-color", action="store_true", help="keep the photo's colours, as --color 0")
    only.add_argument("--color-only", action="store_true", help="keep the photo's lightness, as --texture 0")
    effect.add_argument(
        "--scale",
        type=_types.scale,
        default=1.0,
        metavar="X",
        help="how broad the strokes are, 0.1 to 10 (default 1)",
    )
    effect.add_argument(
        "--seed",
        type=_types.seed,
        metavar="N",
        help="draw a latent, which varies styles by name, and the painting a little; without it the result is fixed,"
        " but for the style random",
    )
    effect.add_argument(
        "--smoothing",
        type=_types.smoothing,
        metavar="SECONDS",
        help="of a clip: over how long it is steadied against flicker, 0 to 60 (default 0.5)",
    )
    files = command.add_argument_group("files and machine")
    files.add_argument("--size", type=_types.count, metavar="PX", help="reduce a longer side above it first")
    files.add_argument(
        "--max-pixels",
        dest="limits",
        type=_types.limits,
        metavar="N",
        help="refuse larger picture files, such as 200M for 200 million pixels (default 67M, and 16,384 a side); raise"
        " it only for files that you trust",
    )
    files.add_argument(
        "--metadata",
        choices=("none", "no-gps", "all"),
        default="none",
        help="of the photo's EXIF, what is written along (default none)",
    )
    files.add_argument(
        "--tile",
        type=_types.tile,
        default="auto",
        metavar="auto|whole|PX",
        help="side of the tiles in which large pictures are painted (default auto); the result is the same",
    )
    files.add_argument(
        "--weights",
        default="agn-small",
        metavar="NAME|FOLDER",
        help="shipped weights (default agn-small), or a folder from agnlib train",
    )
    _types.add_device(files)
    files.add_argument(
        "--engine",
        choices=("torch", "onnx"),
        default="torch",
        help="what paints: torch (default), or onnx: onnxruntime, on the CPU, photographs of up to a megapixel",
    )
    _types.add_overwrite(files)
    files.add_argument("--quiet", action="store_true", help="say nothing but errors")
    files.add_argument(
        "--format",
        choices=("jpg", "png", "webp", "tiff", "bmp"),
        help="of all that goes to a folder (default: each photograph's own)",
    )
    folder = command.add_argument_group("a folder of photographs")
    folder.add_argument(
        "--shard", type=_types.shard, metavar="I/N", help="paint the I-th of N parts of it (default 1/1)"
    )
    folder.add_argument("--report", metavar="FILE", help="where the JSON report goes (default: into the output folder)")
    command.set_defaults(run=_stylize)


_STYLIZE_NOTES = """\
styles by name (`agnlib styles` lists them):
  --style wave                                    a work of art that comes with agnlib, for either method
  --style random --seed 3                         a style of no picture, another with every seed
  --style ukiyo-e --seed 3                        one of a class: cubism, fauvism, impressionism, museum, naive,
                                                  pointillism, rococo or ukiyo-e

regions:
  --style A --mask m.png                          A where m is white, the photo elsewhere
  --style A --mask m.png --style B                A where m is white, B elsewhere
  --style A --mask m.png --style B --mask n.png   each where its mask is white
  --style A --style B --mask m.png                A and B mixed, where m is white

folders:
  agnlib stylize DIR --style A -o OUT             every photograph under DIR, to the same tree under OUT
  The same command goes on where a run was stopped or killed. What it painted already is kept; all else that is in the
  way stops it before it begins, unless --overwrite is given.

clips (extra video):
  clip.mp4 -o painted.mp4                         MP4, MOV, MKV, WebM or AVI; the sound is copied

exit status:
  0    done
  1    some of several photographs could not be painted; the others were
  2    a mistake in what was asked for, or of the photographs named none could be painted: nothing was written
  130  interrupted; 143 ended by SIGTERM, 129 by SIGHUP
"""


def _add_evaluate(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "evaluate",
        help="judge weights by numbers, beside the photograph and the reference themselves",
        allow_abbrev=False,
    )
    command.add_argument("--photos", type=Path, required=True, metavar="DIR", help="photographs never trained on")
    command.add_argument("--styles", type=Path, required=True, metavar="DIR", help="references never trained on")
    command.add_argument(
        "--weights", nargs="+", default=["agn-small"], metavar="NAME|DIR", help="a row each (default agn-small)"
    )
    command.add_argument(
        "--pairs", type=_types.count, default=50, metavar="N", help="photograph and reference (default 50)"
    )
    command.add_argument(
        "--random-styles",
        type=_types.from_zero,
        default=3,
        metavar="N",
        help="photographs that are also painted in 10 random styles, beside 10 real ones (default 3; 0 for none)",
    )
    command.add_argument("--out", type=Path, metavar="FILE.json", help="all scores")
    command.add_argument("--grid", type=Path, metavar="PICTURE", help="a contact sheet of the first eight pairs")
    _types.add_overwrite(command)
    command.add_argument("--seed", type=_types.seed, default=0, metavar="N", help="of the pairs (default 0)")
    _types.add_device(command)
    command.set_defaults(run=_evaluate)


def _add_styles(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("styles", help="list the styles that are known by name", allow_abbrev=False)
    command.add_argument("--weights", default="agn-small", metavar="NAME|DIR", help="whose classes (default agn-small)")
    command.add_argument("--sheet", metavar="FILE", help="write a picture of all of them")
    command.add_argument("--photo", metavar="PHOTO", help="of --sheet: show this photo in each of the styles")
    _types.add_overwrite(command)
    command.set_defaults(run=_styles)


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("demo", help="a page in the browser to play with", allow_abbrev=False)
    command.add_argument("--weights", default="agn-small", metavar="NAME|DIR", help="(default agn-small)")
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen (default 127.0.0.1: only this machine; there is no password)",
    )
    command.add_argument("--port", type=int, default=7860, metavar="N", help="(default 7860; 0 takes a free one)")
    command.add_argument("--no-browser", action="store_true", help="do not open the page")
    _types.add_device(command)
    command.set_defaults(run=_demo)


# Commands: what they need is imported when they run, so that --help and mistakes are quick


def _stylize(arguments: argparse.Namespace) -> int:
    from agnlib import video
    from agnlib.cli import _folder, _stylize, _video
    from agnlib.cli._request import Request
    from agnlib.image import DEFAULT_LIMITS

    effect = ("method", "drawing", "strength", "texture", "color", "preserve_color", "color_only", "scale", "seed")
    same = ("photos", "styles", "output", "save_style", "quiet", "weights", "device", "engine", "threads", "overwrite")
    with _saying_warnings():
        request = Request(
            **{name: getattr(arguments, name) for name in same},
            limits=arguments.limits or DEFAULT_LIMITS,
            suffix=arguments.format and f".{arguments.format}",
            options={name: getattr(arguments, name) for name in (*effect, "size", "metadata", "tile")},
        )
        for_folders = {name: getattr(arguments, name) for name in ("shard", "report")}
        if any(is_folder(photo) for photo in arguments.photos):
            return _folder.run(request, **for_folders)
        for name, value in for_folders.items():
            if value:
                raise InputError(
                    f"argument --{name}: is for a folder of photographs, and {arguments.photos[0]!r} is none"
                )
        if any(video.is_clip(photo) for photo in arguments.photos):
            return _video.run(request, smoothing=0.5 if arguments.smoothing is None else arguments.smoothing)
        if arguments.smoothing is not None:
            raise InputError(f"argument --smoothing: is for a clip, and {arguments.photos[0]!r} is none")
        return _stylize.run(request)


@contextmanager
def _saying_warnings() -> Iterator[None]:
    """Each as a line of ours, once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("once", module="agnlib")
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        yield


def _evaluate(arguments: argparse.Namespace) -> int:
    from agnlib.cli import _evaluate

    with _saying_warnings():
        return _evaluate.run(arguments)


def _styles(arguments: argparse.Namespace) -> int:
    from agnlib.cli import _styles

    return _styles.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from agnlib.cli import _demo

    return _demo.run(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from agnlib.cli import doctor

    findings = doctor.examine()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.subject:<{width}}  {finding.state}")
    return 1 if any(finding.broken for finding in findings) else 0
