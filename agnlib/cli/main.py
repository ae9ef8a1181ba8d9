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
from typing import NoReturn

from agnlib import __version__
from agnlib._shared.paths import is_folder, is_there
from agnlib.cli import _export, _stylize_options, _training, _types
from agnlib.cli._messages import end_relay, say
from agnlib.cli._signals import Ended, ended_by_signals
from agnlib.errors import AgnError, InputError, TrainingError
from agnlib.memory import keep_freed_memory

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
        if text.startswith("-") and text != "-" and text not in known and is_there(text):
            raise InputError(f"{text!r} begins with a dash, as options do; give {f'.{os.sep}{text}'!r}")


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands."""
    parser = _Parser(prog="agnlib", description="Repaint photographs in the style of a picture.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agnlib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _stylize_options.add_stylize(commands, run=_stylize)
    _training.add_train(commands)
    _training.add_finetune(commands)
    _add_evaluate(commands)
    _add_styles(commands)
    _export.add_export(commands)
    _add_demo(commands)
    says = "show versions, device and weights, and what is wrong with them"
    doctor = _types.add_command(commands, "doctor", says, example="")
    doctor.set_defaults(run=_doctor)
    return parser, commands.choices


def _add_evaluate(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = _types.add_command(
        commands,
        "evaluate",
        "judge weights by numbers, beside the photograph and the reference themselves",
        needs="--content DIR --style DIR",
        example="--content holidays --style paintings --grid pairs.jpg",
    )
    for name, former, says in (("content", "photos", "photographs"), ("style", "styles", "references")):
        option = command.add_argument(
            f"--{name}", type=Path, required=True, metavar="DIR", help=f"{says} never trained on"
        )
        command._option_string_actions[f"--{former}"] = option  # what it was called before, not in --help
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
    command = _types.add_command(
        commands, "styles", "list the styles that are known by name", example="--sheet styles.jpg --photo photo.jpg"
    )
    command.add_argument("--weights", default="agn-small", metavar="NAME|DIR", help="whose classes (default agn-small)")
    command.add_argument("--sheet", metavar="FILE", help="write a picture of all of them")
    command.add_argument("--photo", metavar="PHOTO", help="of --sheet: show this photo in each of the styles")
    _types.add_overwrite(command)
    command.set_defaults(run=_styles)


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = _types.add_command(commands, "demo", "a page in the browser to play with", example="--port 8000")
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
    from agnlib.cli import _exported, _folder, _pipe, _stylize, _video
    from agnlib.cli._output_argument import is_for_clip
    from agnlib.cli._request import Request, expanded
    from agnlib.image import DEFAULT_LIMITS

    effect = ("method", "drawing", "strength", "texture", "color", "preserve_color", "color_only", "scale", "seed")
    same = (
        "photos",
        "styles",
        "output",
        "save_style",
        "quiet",
        "weights",
        "device",
        "engine",
        "precision",
        "threads",
        "overwrite",
        "refine",
    )
    arguments.photos = expanded(arguments.photos)
    with _saying_warnings():
        request = Request(
            **{name: getattr(arguments, name) for name in same},
            limits=arguments.limits or DEFAULT_LIMITS,
            suffix=arguments.format and f".{arguments.format}",
            options={name: getattr(arguments, name) for name in (*effect, "size", "metadata", "recipe", "tile")},
        )
        for_folders = {name: getattr(arguments, name) for name in ("shard", "report")}
        if _exported.is_asked_for(request):
            _exported.check(request)
        if _pipe.is_piped(request):
            given = {**for_folders, "no-clips": arguments.no_clips, "smoothing": arguments.smoothing is not None}
            for name in (name for name, value in given.items() if value):
                raise InputError(f"argument --{name}: is for folders and clips, and '-' is one picture; leave it out")
            return _pipe.run(request)
        smoothing = 0.5 if arguments.smoothing is None else arguments.smoothing
        if any(is_folder(photo) for photo in arguments.photos):
            return _folder.run(request, clips=not arguments.no_clips, smoothing=smoothing, **for_folders)
        for name, value in {**for_folders, "no-clips": arguments.no_clips}.items():
            if value:
                raise InputError(
                    f"argument --{name}: is for a folder of photographs, and {arguments.photos[0]!r} is none"
                )
        clips = [is_for_clip(photo, arguments.output) for photo in arguments.photos]
        if clips == [True]:
            return _video.run(request, smoothing=smoothing)
        if arguments.smoothing is not None and not any(clips):
            raise InputError(f"argument --smoothing: is for a clip, and {arguments.photos[0]!r} is none")
        return _stylize.run(request, smoothing=smoothing)


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
    from agnlib.cli import _list_styles

    return _list_styles.run(arguments)


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
