"""The program `agnlib`: parses the command line and turns errors into one line and an exit code.

Exit codes: 0 done; 1 some of several files failed, or work that had begun broke off; 2 a mistake in what was asked for
or in the only file, nothing was written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from agnlib import __version__
from agnlib._cli_messages import end_relay, line, say
from agnlib._perceptual import PERCEPTUAL, parse_perceptual
from agnlib.errors import AgnError, InputError, TrainingError
from agnlib.memory import keep_freed_memory

__all__ = ["main"]


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
        _refuse_unknown_options(given, commands)
        arguments = parser.parse_args(given or ["--help"])
        return int(arguments.run(arguments))
    except AgnError as error:
        say(f"error: {error}")
        return 1 if isinstance(error, TrainingError) else 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        end_relay("agnlib.engine")


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
    _add_train(commands)
    _add_finetune(commands)
    _add_evaluate(commands)
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
        help="a picture with the style, a file from --save-style, or a style by name, which --seed varies (random, or"
        " one of the weights' classes; agn-small's are below); give several to mix them, with weights relative to their"
        " sum",
    )
    style.add_argument(
        "--mask",
        dest="styles",
        action=_InOrder,
        metavar="PICTURE",
        help="where the styles before it go: white there, black elsewhere, grey between; see below",
    )
    style.add_argument("--save-style", metavar="FILE.safetensors", help="write the style code, for --style later")
    effect = command.add_argument_group("effect")
    effect.add_argument("--strength", type=_share, default=1.0, metavar="S", help="from 0 (the photo) to 1 (default)")
    effect.add_argument(
        "--texture", type=_share, default=1.0, metavar="S", help="of lightness, where brushwork is: 0 to 1 (default)"
    )
    effect.add_argument("--color", type=_share, default=1.0, metavar="S", help="of the colours: 0 to 1 (default)")
    only = effect.add_mutually_exclusive_group()
    only.add_argument("--preserve-color", action="store_true", help="keep the photo's colours, as --color 0")
    only.add_argument("--color-only", action="store_true", help="keep the photo's lightness, as --texture 0")
    effect.add_argument(
        "--scale", type=_scale, default=1.0, metavar="X", help="how broad the strokes are, 0.1 to 10 (default 1)"
    )
    effect.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help="draw a latent, which varies styles by name, and the painting a little; without it the result is fixed,"
        " but for the style random",
    )
    effect.add_argument(
        "--smoothing",
        type=_smoothing,
        metavar="SECONDS",
        help="of a clip: over how long it is steadied against flicker, 0 to 60 (default 0.5)",
    )
    files = command.add_argument_group("files and machine")
    files.add_argument("--size", type=_count, metavar="PX", help="reduce a longer side above it first")
    files.add_argument(
        "--metadata",
        choices=("none", "no-gps", "all"),
        default="none",
        help="of the photo's EXIF, what is written along (default none)",
    )
    files.add_argument(
        "--tile",
        type=_tile,
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
    _add_device(files)
    files.add_argument(
        "--engine",
        choices=("torch", "onnx"),
        default="torch",
        help="what paints: torch (default), or onnx: onnxruntime, on the CPU, photographs of up to a megapixel",
    )
    files.add_argument("--quiet", action="store_true", help="say nothing but errors")
    files.add_argument(
        "--format",
        choices=("jpg", "png", "webp", "tiff", "bmp"),
        help="of all that goes to a folder (default: each photograph's own)",
    )
    folder = command.add_argument_group("a folder of photographs")
    folder.add_argument("--shard", type=_shard, metavar="I/N", help="paint the I-th of N parts of it (default 1/1)")
    folder.add_argument("--overwrite", action="store_true", help="replace files that are in the way")
    folder.add_argument("--report", metavar="FILE", help="where the JSON report goes (default: into the output folder)")
    command.set_defaults(run=_stylize)


_STYLIZE_NOTES = """\
styles by name:
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
  The same command goes on where a run was stopped or killed. What agnlib did not write, or wrote with other settings,
  stops it before it begins, unless --overwrite is given.

clips (extra video):
  clip.mp4 -o painted.mp4                         MP4, MOV, MKV, WebM or AVI; the sound is copied

exit status:
  0    done
  1    some of several photographs could not be painted; the others were
  2    a mistake in what was asked for, or of the photographs named none could be painted: nothing was written
  130  interrupted; 143 ended by SIGTERM
"""


def _add_train(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "train",
        help="train weights on your own photographs and pictures",
        allow_abbrev=False,
        epilog="Ctrl-C or SIGTERM ends it after the step with a checkpoint, to go on later; a second one at once. "
        "Exit code: 0 done or stopped so; 1 what had begun broke off; 2 a mistake, nothing was written.",
    )
    command.add_argument("--content", type=Path, required=True, metavar="DIR", help="a folder of photographs")
    command.add_argument("--style", type=Path, required=True, metavar="DIR", help="a folder of pictures with the style")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="weights, logs, samples, checkpoints")
    command.add_argument("--init", metavar="NAME|FOLDER", help="weights to start from; from nothing without it")
    command.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="go on with an interrupted run, by the same command: auto takes the newest whole checkpoint in --out "
        "(and begins where there is none yet), or name a checkpoint",
    )
    command.add_argument("--dry-run", action="store_true", help="only say what it would take: time, memory, disk")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_count, metavar="TOTAL", help="train for so many steps in all (default 10,000)")
    length.add_argument("--minutes", type=_minutes, metavar="M", help="train for so long in all")
    command.add_argument("--size", type=_count, metavar="PX", help="side of the crops (default 192)")
    command.add_argument("--batch", type=_count, metavar="N", help="pairs worked on at a time (default 4)")
    command.add_argument(
        "--accumulate",
        type=_count,
        default=1,
        metavar="N",
        help="batches in a step (default 1): more pairs, no more memory",
    )
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything random (default 0)")
    command.add_argument(
        "--perceptual",
        type=_perceptual,
        default="auto",
        metavar="NET[+NET]",
        help=f"what the losses look through: auto (default: what is installed), none, {', '.join(PERCEPTUAL)}, "
        "or several networks joined by +",
    )
    command.add_argument(
        "--adversarial",
        type=_number,
        metavar="W",
        help="weight of what the discriminator says (default 0.5, or as --init was trained); 0 trains the generator"
        " alone, by the other losses",
    )
    command.add_argument(
        "--stroke-scale",
        type=_stroke_scale,
        default=1.5,
        metavar="X",
        help="how much broader strokes are than in the pictures with the style, 1 to 8 (default 1.5): photographs are"
        " cropped at X times --size, and paintings looked at from as far",
    )
    command.add_argument(
        "--style-weight",
        type=_positive,
        metavar="X",
        help="how much more than usual style counts beside content (default 1, or as --init was trained): more gives"
        " stronger strokes, and keeps less of the drawing",
    )
    command.add_argument(
        "--blocks",
        type=_from_zero,
        nargs=3,
        metavar=("HALF", "QUARTER", "EIGHTH"),
        help="of the generator at 1/2, 1/4 and 1/8 of the size (default 1 3 6, or those of --init, to which blocks can"
        " be added)",
    )
    command.add_argument(
        "--channels",
        type=_count,
        nargs=3,
        metavar=("HALF", "QUARTER", "EIGHTH"),
        help="of the generator at 1/2, 1/4 and 1/8 of the size (default 24 64 128, or those of --init, to which"
        " channels can be added)",
    )
    command.add_argument(
        "--augment",
        metavar="OP[+OP]",
        help="for little data, what is done to the pictures before the discriminator judges them: "
        "translation+cutout+flip is usual, color leaks into the results (default nothing)",
    )
    command.add_argument(
        "--ada",
        type=_number,
        metavar="SIGN",
        help="augment only as often as keeps the mean sign of what it says of real pictures at this, 0.6 is usual",
    )
    command.add_argument(
        "--checkpoint-every", type=_count, default=500, metavar="N", help="steps between checkpoints (default 500)"
    )
    command.add_argument("--keep", type=_count, default=2, metavar="N", help="checkpoints that are kept (default 2)")
    command.add_argument(
        "--keep-best",
        metavar="NAME",
        help="keep that with the least NAME, a number of log.jsonl, as best.safetensors too",
    )
    command.add_argument(
        "--sample-every", type=_count, default=500, metavar="N", help="steps between sample pictures (default 500)"
    )
    _add_device(command)
    command.add_argument("--workers", type=_from_zero, default=0, metavar="N", help="processes that read pictures")
    command.set_defaults(run=_train)


def _add_finetune(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "finetune",
        help="specialise weights to one artist, or to one picture, in minutes",
        allow_abbrev=False,
        epilog="Ctrl-C ends it after the step; agnlib train --init NAME has all options, and can resume. Exit code as "
        "that of agnlib train.",
    )
    command.add_argument(
        "--style", type=Path, nargs="+", required=True, metavar="PICTURE|DIR", help="the pictures, or one folder"
    )
    command.add_argument("--content", type=Path, required=True, metavar="DIR", help="a folder of photographs")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="weights, logs, samples")
    command.add_argument("--init", default="agn-small", metavar="NAME|FOLDER", help="to start from (default agn-small)")
    command.add_argument("--minutes", type=_minutes, default=5.0, metavar="M", help="train for so long (default 5)")
    command.add_argument("--size", type=_count, default=160, metavar="PX", help="side of the crops (default 160)")
    command.add_argument("--batch", type=_count, metavar="N", help="pairs worked on at a time (default 4)")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything random (default 0)")
    command.add_argument(
        "--perceptual", type=_perceptual, default="auto", metavar="NET[+NET]", help="as of agnlib train (default auto)"
    )
    _add_device(command)
    command.set_defaults(run=_finetune)


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
    command.add_argument("--pairs", type=_count, default=50, metavar="N", help="photograph and reference (default 50)")
    command.add_argument(
        "--random-styles",
        type=_from_zero,
        default=3,
        metavar="N",
        help="photographs that are also painted in 10 random styles, beside 10 real ones (default 3; 0 for none)",
    )
    command.add_argument("--out", type=Path, metavar="FILE.json", help="all scores")
    command.add_argument("--grid", type=Path, metavar="PICTURE", help="a contact sheet of the first eight pairs")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the pairs (default 0)")
    _add_device(command)
    command.set_defaults(run=_evaluate)


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
    _add_device(command)
    command.set_defaults(run=_demo)


def _add_device(command: argparse._ActionsContainer) -> None:
    command.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:N or mps")
    command.add_argument("--threads", type=_count, metavar="N", help="CPU threads")


# Commands: what they need is imported when they run, so that --help and mistakes are quick


def _stylize(arguments: argparse.Namespace) -> int:
    from agnlib import _cli_folder, _cli_stylize, _cli_video, video
    from agnlib._cli_request import Request

    effect = ("strength", "texture", "color", "preserve_color", "color_only", "scale", "seed")
    same = ("photos", "styles", "output", "save_style", "quiet", "weights", "device", "engine", "threads")
    with warnings.catch_warnings():
        warnings.filterwarnings("once", module="agnlib")
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        request = Request(
            **{name: getattr(arguments, name) for name in same},
            suffix=arguments.format and f".{arguments.format}",
            options={name: getattr(arguments, name) for name in (*effect, "size", "metadata", "tile")},
        )
        for_folders = {name: getattr(arguments, name) for name in ("shard", "overwrite", "report")}
        if any(Path(photo).is_dir() for photo in arguments.photos):
            return _cli_folder.run(request, **for_folders)
        for name, value in for_folders.items():
            if value:
                raise InputError(
                    f"argument --{name}: is for a folder of photographs, and {arguments.photos[0]!r} is none"
                )
        if any(video.is_clip(photo) for photo in arguments.photos):
            return _cli_video.run(request, smoothing=0.5 if arguments.smoothing is None else arguments.smoothing)
        if arguments.smoothing is not None:
            raise InputError(f"argument --smoothing: is for a clip, and {arguments.photos[0]!r} is none")
        return _cli_stylize.run(request)


def _train(arguments: argparse.Namespace) -> int:
    for name, folder in (("--content", arguments.content), ("--style", arguments.style)):
        if not folder.is_dir():
            state = "is not a folder" if folder.exists() else "does not exist"
            raise InputError(f"argument {name}: {str(folder)!r} {state}; give a folder of pictures")
    from tqdm import tqdm

    from agnlib.training.run import TrainOptions, train

    values = {name: value for name, value in vars(arguments).items() if name != "run"}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        # above the progress bar
        warnings.showwarning = lambda message, *_: tqdm.write(line(f"warning: {message}"), file=sys.stderr)
        train(TrainOptions(**values))
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    if not arguments.content.is_dir():
        raise InputError(f"argument --content: {str(arguments.content)!r} is not a folder; give one of photographs")
    from agnlib.training.finetune import finetune

    values = {name: value for name, value in vars(arguments).items() if name not in ("run", "style")}
    finetune(arguments.style, **values)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from agnlib import _cli_evaluate

    return _cli_evaluate.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from agnlib import _cli_demo

    return _cli_demo.run(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from agnlib import doctor

    findings = doctor.examine()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.subject:<{width}}  {finding.state}")
    return 1 if any(finding.broken for finding in findings) else 0


# Argument types


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _scale(text: str) -> float:
    if not 0.1 <= _number(text) <= 10:
        raise argparse.ArgumentTypeError(f"expected a number from 0.1 (fine strokes) to 10 (broad ones), got {text!r}")
    return _number(text)


def _positive(text: str) -> float:
    if _number(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return _number(text)


def _stroke_scale(text: str) -> float:
    if not 1 <= _number(text) <= 8:
        raise argparse.ArgumentTypeError(f"expected a number from 1 (as they are) to 8, got {text!r}")
    return _number(text)


def _smoothing(text: str) -> float:
    if not 0 <= _number(text) <= 60:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 (each frame by itself) to 60, got {text!r}")
    return _number(text)


def _tile(text: str) -> int | str | None:
    if text in ("auto", "whole"):
        return "auto" if text == "auto" else None
    try:
        return _count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected auto, whole or a number of pixels, got {text!r}") from None


def _share(text: str) -> float:
    if not 0 <= _number(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return _number(text)


def _minutes(text: str) -> float:
    if _number(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number of minutes above 0, got {text!r}")
    return _number(text)


def _count(text: str) -> int:
    if _whole(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return _whole(text)


def _from_zero(text: str) -> int:
    if _whole(text) < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 0, got {text!r}")
    return _whole(text)


def _seed(text: str) -> int:
    if not 0 <= _whole(text) < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return _whole(text)


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N, such as 2/4, with I from 1 to N, got {text!r}")
    return int(number), int(count)


def _perceptual(text: str) -> str:
    try:
        parse_perceptual(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
