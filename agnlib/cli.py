"""The program `agnlib`: parses the command line and turns errors into one line and an exit code.

Exit codes: 0 done; 1 some of several files failed, or work that had begun broke off; 2 a mistake in what was asked for,
nothing was written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agnlib import __version__
from agnlib._cli_messages import say
from agnlib._perceptual import PERCEPTUAL, parse_perceptual
from agnlib.errors import AgnError, InputError, TrainingDivergedError

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
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.run(arguments))
    except AgnError as error:
        say(f"error: {error}")
        return 1 if isinstance(error, TrainingDivergedError) else 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as our errors: one line instead of a usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="agnlib", description="Repaint photographs in the style of a picture.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agnlib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_stylize(commands)
    _add_train(commands)
    doctor = commands.add_parser("doctor", help="show versions, device and weights, and what is wrong with them")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_stylize(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "stylize",
        help="repaint photographs in the style of a picture",
        allow_abbrev=False,
        epilog="Exit code: 0 done; 1 some of several photographs failed; 2 a mistake, nothing was written.",
    )
    command.add_argument("photos", nargs="+", metavar="PHOTO", help="JPEG, PNG, WebP, TIFF or BMP")
    command.add_argument(
        "--style",
        action="append",
        required=True,
        metavar="PICTURE[:WEIGHT]",
        help="a picture with the style; give several to mix them, with weights relative to their sum",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE|DIR",
        help="a file for one photograph, or a folder (made if need be), where each keeps its name",
    )
    command.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="from 0 (the photo) to 1 (default)"
    )
    command.add_argument("--size", type=_count, metavar="PX", help="reduce a longer side above it first")
    command.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help="draw a latent, which varies the painting a little; without it the result is fixed",
    )
    command.add_argument(
        "--weights",
        default="agn-small",
        metavar="NAME|FOLDER",
        help="shipped weights (default agn-small), or a folder from agnlib train",
    )
    _add_device(command)
    command.set_defaults(run=_stylize)


def _add_train(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "train", help="train weights on your own photographs and pictures", allow_abbrev=False
    )
    command.add_argument("--content", type=Path, required=True, metavar="DIR", help="a folder of photographs")
    command.add_argument("--style", type=Path, required=True, metavar="DIR", help="a folder of pictures with the style")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="weights, logs, samples, checkpoints")
    command.add_argument("--init", metavar="NAME|FOLDER", help="weights to start from; from nothing without it")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_count, metavar="TOTAL", help="train for so many steps (default 10,000)")
    length.add_argument("--minutes", type=_minutes, metavar="M", help="train for so long")
    command.add_argument("--size", type=_count, metavar="PX", help="side of the crops (default 192)")
    command.add_argument("--batch", type=_count, metavar="N", help="pairs in a step (default 4)")
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything random (default 0)")
    command.add_argument(
        "--perceptual",
        type=_perceptual,
        default="auto",
        metavar="NET[+NET]",
        help=f"what the losses look through: auto (default: what is installed), none, {', '.join(PERCEPTUAL)}, "
        "or several networks joined by +",
    )
    _add_device(command)
    command.add_argument("--workers", type=_workers, default=0, metavar="N", help="processes that read pictures")
    command.set_defaults(run=_train)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:N or mps")
    command.add_argument("--threads", type=_count, metavar="N", help="CPU threads")


# Commands: what they need is imported when they run, so that --help and mistakes are quick


def _stylize(arguments: argparse.Namespace) -> int:
    from agnlib import _cli_stylize

    return _cli_stylize.run(
        arguments.photos,
        arguments.style,
        arguments.output,
        weights=arguments.weights,
        device=arguments.device,
        threads=arguments.threads,
        options={"strength": arguments.strength, "size": arguments.size, "seed": arguments.seed},
    )


def _train(arguments: argparse.Namespace) -> int:
    for name, folder in (("--content", arguments.content), ("--style", arguments.style)):
        if not folder.is_dir():
            state = "is not a folder" if folder.exists() else "does not exist"
            raise InputError(f"argument {name}: {str(folder)!r} {state}; give a folder of pictures")
    from agnlib.training.run import TrainOptions, train

    values = {name: value for name, value in vars(arguments).items() if name != "run"}
    train(TrainOptions(**values))
    return 0


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


def _strength(text: str) -> float:
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


def _workers(text: str) -> int:
    if _whole(text) < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 0, got {text!r}")
    return _whole(text)


def _seed(text: str) -> int:
    if not 0 <= _whole(text) < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return _whole(text)


def _perceptual(text: str) -> str:
    try:
        parse_perceptual(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
