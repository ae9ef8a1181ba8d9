"""What the command line's arguments may be: each says what was got and what was expected."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any, Literal

from agnlib._train_options import parse_perceptual
from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.image import Limits

__all__ = [
    "add_command",
    "add_device",
    "add_overwrite",
    "count",
    "from_zero",
    "limits",
    "minutes",
    "number",
    "perceptual",
    "positive",
    "scale",
    "seed",
    "shard",
    "share",
    "smoothing",
    "stroke_scale",
    "tile",
    "whole",
]

_BYTES_A_PIXEL = 8  # RGBA of 16 bits, uncompressed


def number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return found


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def scale(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not 0.1 <= number(text) <= 10:
        raise argparse.ArgumentTypeError(
            f"expected auto, or a number from 0.1 (fine strokes) to 10 (broad ones), got {text!r}"
        )
    return number(text)


def positive(text: str) -> float:
    if number(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number(text)


def stroke_scale(text: str) -> float:
    if not 1 <= number(text) <= 8:
        raise argparse.ArgumentTypeError(f"expected a number from 1 (as they are) to 8, got {text!r}")
    return number(text)


def smoothing(text: str) -> float:
    if not 0 <= number(text) <= 60:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 (each frame by itself) to 60, got {text!r}")
    return number(text)


def tile(text: str) -> int | str | None:
    if text in ("auto", "whole"):
        return "auto" if text == "auto" else None
    try:
        return count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected auto, whole or a number of pixels, got {text!r}") from None


def share(text: str) -> float:
    if not 0 <= number(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number(text)


def minutes(text: str) -> float:
    if number(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number of minutes above 0, got {text!r}")
    return number(text)


def count(text: str) -> int:
    if whole(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return whole(text)


def from_zero(text: str) -> int:
    if whole(text) < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 0, got {text!r}")
    return whole(text)


def seed(text: str) -> int:
    if not 0 <= whole(text) < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**63 - 1, got {text!r}")
    return whole(text)


def shard(text: str) -> tuple[int, int]:
    first, slash, last = text.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise argparse.ArgumentTypeError(f"expected I/N, such as 2/4, with I from 1 to N, got {text!r}")
    return int(first), int(last)


def limits(text: str) -> Limits:
    """Of so many pixels: in any shape, and of as many bytes as a file of them may have at most."""
    from agnlib.image import Limits

    digits, letter = (text[:-1], text[-1:].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    try:
        pixels = int(number(digits) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[letter])
    except argparse.ArgumentTypeError:
        pixels = 0
    if pixels < 1:
        raise argparse.ArgumentTypeError(f"expected a number of pixels, such as 200M or 200000000, got {text!r}")
    return Limits(pixels, max(Limits.side, pixels), max(Limits.bytes, _BYTES_A_PIXEL * pixels))


def perceptual(text: str) -> str:
    try:
        parse_perceptual(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_command(
    commands: Any, name: str, says: str, *, needs: str = "", example: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A command of the program, whose help begins with an example.

    Args:
        commands: what `add_subparsers` gave.
        name: of the command.
        says: what it does, for the list of commands and its own help.
        needs: what it cannot do without, for the line of usage.
        example: the arguments of a call that works.
        epilog: what comes after the options, as it is.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=says,
        usage=" ".join(filter(None, (f"agnlib {name}", needs, "[options]"))),
        description=f"example: {' '.join(filter(None, ('agnlib', name, example)))}\n\n{says[0].upper()}{says[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def add_device(command: argparse._ActionsContainer) -> None:
    """The options of every command that computes."""
    command.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:N or mps")
    command.add_argument("--threads", type=count, metavar="N", help="CPU threads")


def add_overwrite(command: argparse._ActionsContainer) -> None:
    """The option of every command that writes files of given names."""
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files and links that are in the way; without it they are a mistake, said before the work",
    )
