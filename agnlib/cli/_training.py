"""`agnlib train` and `agnlib finetune`: their options, and what runs them."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from agnlib._shared.paths import is_folder, why_not
from agnlib.cli._messages import line
from agnlib.cli._types import add_device, count, from_zero, minutes, number, perceptual, positive, seed, stroke_scale
from agnlib.errors import InputError

__all__ = ["add_finetune", "add_train"]


def add_train(commands: argparse._SubParsersAction[Any]) -> None:
    """`agnlib train`."""
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
    _add_resume(command)
    command.add_argument("--dry-run", action="store_true", help="only say what it would take: time, memory, disk")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--steps", type=count, metavar="TOTAL", help="train for so many steps in all (default 10,000)")
    length.add_argument("--minutes", type=minutes, metavar="M", help="train for so long in all")
    command.add_argument(
        "--size", type=count, metavar="PX", help="side of the crops (default 208, as references are read later)"
    )
    command.add_argument("--batch", type=count, metavar="N", help="pairs worked on at a time (default 4)")
    command.add_argument(
        "--accumulate",
        type=count,
        default=1,
        metavar="N",
        help="batches in a step (default 1): more pairs, no more memory",
    )
    command.add_argument("--seed", type=seed, default=0, metavar="N", help="of everything random (default 0)")
    command.add_argument(
        "--perceptual",
        type=perceptual,
        default="vgg16",
        metavar="NET[+NET]",
        help="what the losses look through: vgg16 (default), efficientnet-lite0 (needs the extra perceptual), none, or"
        " several networks joined by +",
    )
    command.add_argument(
        "--adversarial",
        type=number,
        metavar="W",
        help="weight of what the discriminator says (default 0.5, or as --init was trained); 0 trains the generator"
        " alone, by the other losses",
    )
    command.add_argument(
        "--stroke-scale",
        type=stroke_scale,
        default=1.75,
        metavar="X",
        help="how much broader strokes are than in the pictures with the style, 1 to 8 (default 1.75): photographs are"
        " cropped at X times --size, and paintings looked at from as far",
    )
    _add_style_weight(command)
    command.add_argument(
        "--learning-rate",
        type=positive,
        metavar="X",
        help="of the generator at the start, the discriminator's is half of it (default 0.0012): to go on from weights"
        " for a short while, half as much keeps more of what they know",
    )
    command.add_argument(
        "--blocks",
        type=from_zero,
        nargs=3,
        metavar=("HALF", "QUARTER", "EIGHTH"),
        help="of the generator at 1/2, 1/4 and 1/8 of the size (default 1 3 6, or those of --init, to which blocks can"
        " be added)",
    )
    command.add_argument(
        "--channels",
        type=count,
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
        type=number,
        metavar="SIGN",
        help="augment only as often as keeps the mean sign of what it says of real pictures at this, 0.6 is usual",
    )
    command.add_argument(
        "--checkpoint-every", type=count, default=500, metavar="N", help="steps between checkpoints (default 500)"
    )
    command.add_argument("--keep", type=count, default=2, metavar="N", help="checkpoints that are kept (default 2)")
    command.add_argument(
        "--keep-best",
        metavar="NAME",
        help="keep that with the least NAME, a number of log.jsonl, as best.safetensors too",
    )
    command.add_argument(
        "--sample-every", type=count, default=500, metavar="N", help="steps between sample pictures (default 500)"
    )
    add_device(command)
    command.add_argument("--workers", type=from_zero, default=0, metavar="N", help="processes that read pictures")
    command.set_defaults(run=_train)


def add_finetune(commands: argparse._SubParsersAction[Any]) -> None:
    """`agnlib finetune`."""
    command = commands.add_parser(
        "finetune",
        help="specialise weights to one artist, or to one picture, in minutes",
        allow_abbrev=False,
        epilog="Ctrl-C ends it after the step, to go on later; agnlib train --init NAME has all options. Exit code as "
        "that of agnlib train.",
    )
    command.add_argument(
        "--style", type=Path, nargs="+", required=True, metavar="PICTURE|DIR", help="the pictures, or one folder"
    )
    command.add_argument("--content", type=Path, required=True, metavar="DIR", help="a folder of photographs")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="weights, logs, samples")
    command.add_argument("--init", default="agn-small", metavar="NAME|FOLDER", help="to start from (default agn-small)")
    command.add_argument("--minutes", type=minutes, default=5.0, metavar="M", help="train for so long (default 5)")
    _add_resume(command)
    command.add_argument(
        "--size", type=count, default=argparse.SUPPRESS, metavar="PX", help="side of the crops (default 208)"
    )
    command.add_argument(
        "--batch", type=count, default=argparse.SUPPRESS, metavar="N", help="pairs worked on at a time (default 2)"
    )
    _add_style_weight(command)
    command.add_argument("--seed", type=seed, default=0, metavar="N", help="of everything random (default 0)")
    command.add_argument(
        "--perceptual", type=perceptual, default="vgg16", metavar="NET[+NET]", help="as of agnlib train (default vgg16)"
    )
    add_device(command)
    command.set_defaults(run=_finetune)


def _add_resume(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="go on with an interrupted run, by the same command: auto takes the newest whole checkpoint in --out "
        "(and begins where there is none yet), or name a checkpoint",
    )


def _add_style_weight(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--style-weight",
        type=positive,
        metavar="X",
        help="how much more than usual style counts beside content (default 1, or as --init was trained): more gives"
        " stronger strokes, and keeps less of the drawing",
    )


def _train(arguments: argparse.Namespace) -> int:
    for name, folder in (("--content", arguments.content), ("--style", arguments.style)):
        if not is_folder(folder):
            raise InputError(
                f"argument {name}: {str(folder)!r} {why_not(folder, 'a folder')}; give a folder of pictures"
            )
    from tqdm import tqdm

    from agnlib.training.run.run import TrainOptions, train

    values = {name: value for name, value in vars(arguments).items() if name != "run"}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        # above the progress bar
        warnings.showwarning = lambda message, *_: tqdm.write(line(f"warning: {message}"), file=sys.stderr)
        train(TrainOptions(**values))
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    if not is_folder(arguments.content):
        is_not = why_not(arguments.content, "a folder")
        raise InputError(f"argument --content: {str(arguments.content)!r} {is_not}; give one of photographs")
    from agnlib.training.run.finetune import finetune

    values = {name: value for name, value in vars(arguments).items() if name not in ("run", "style")}
    finetune(arguments.style, **values)
    return 0
