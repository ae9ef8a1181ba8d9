"""`agnlib train` and `agnlib finetune`: their options, and what runs them."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agnlib._shared.paths import is_folder, why_not
from agnlib._train_options import TrainOptions
from agnlib.cli import _types
from agnlib.cli._messages import line
from agnlib.errors import InputError

__all__ = ["add_finetune", "add_train"]

_OF_FINETUNE = (
    *("content", "out", "init", "minutes", "resume", "size", "batch", "style_weight", "seed", "perceptual"),
    *("device", "threads"),
)


def add_train(commands: argparse._SubParsersAction[Any]) -> None:
    """`agnlib train`: an option for each field of `TrainOptions`."""
    command = _types.add_command(
        commands,
        "train",
        "train weights on your own photographs and pictures",
        needs="--content DIR --style DIR --out DIR",
        example="--content photos --style paintings --out trained --init agn-small --minutes 60",
        epilog="Ctrl-C or SIGTERM ends it after the step with a checkpoint, to go on later; a second one at once.\n"
        "Exit code: 0 done or stopped so; 1 what had begun broke off; 2 a mistake, nothing was written.",
    )
    length = command.add_mutually_exclusive_group()
    for option in fields(TrainOptions):
        _add(length if option.name in ("steps", "minutes") else command, option)
    command.set_defaults(run=_train)


def add_finetune(commands: argparse._SubParsersAction[Any]) -> None:
    """`agnlib finetune`: some of the same options, a few of them with other defaults."""
    command = _types.add_command(
        commands,
        "finetune",
        "specialize weights to one artist, or to one picture, in minutes",
        needs="--style PICTURE|DIR ... --content DIR --out DIR",
        example="--style painting.jpg --content photos --out specialized",
        epilog="Ctrl-C ends it after the step, to go on later; agnlib train --init NAME has all options. Exit code as\n"
        "that of agnlib train.",
    )
    command.add_argument(
        "--style", type=Path, nargs="+", required=True, metavar="PICTURE|DIR", help="the pictures, or one folder"
    )
    others = {"init": "agn-small", "minutes": None, "size": argparse.SUPPRESS, "batch": argparse.SUPPRESS}
    for option in fields(TrainOptions):
        if option.name in _OF_FINETUNE:
            _add(command, option, default=others.get(option.name), usual={"minutes": "5", "size": "208", "batch": "2"})
    command.set_defaults(run=_finetune)


def _add(
    command: argparse._ActionsContainer,
    option: Field[Any],
    default: Any = None,
    usual: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """An option by its field; `default` and `usual`, by name, where a command has others."""
    name, about = f"--{option.name.replace('_', '-')}", option.metadata
    if option.default is False:
        command.add_argument(name, action="store_true", help=about["says"])
        return
    if option.default is MISSING:
        command.add_argument(name, type=Path, required=True, metavar=about["metavar"], help=about["says"])
        return
    default = option.default if default is None else default
    known = default not in (None, argparse.SUPPRESS)
    said = (
        (f"{default:g}" if isinstance(default, float) else default)
        if known
        else usual.get(option.name, about.get("usual"))
    )
    command.add_argument(
        name,
        type=getattr(_types, about["check"]) if about["check"] else str,
        default=default,
        nargs=about.get("nargs"),
        metavar=about["metavar"],
        help=about["says"] + ("" if said is None else f" (default {said})"),
    )


def _train(arguments: argparse.Namespace) -> int:
    for name, folder in (("--content", arguments.content), ("--style", arguments.style)):
        if not is_folder(folder):
            raise InputError(
                f"argument {name}: {str(folder)!r} {why_not(folder, 'a folder')}; give a folder of pictures"
            )
    from tqdm import tqdm

    from agnlib.training.run.train import run_training

    values = {name: value for name, value in vars(arguments).items() if name != "run"}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        # above the progress bar
        warnings.showwarning = lambda message, *_: tqdm.write(line(f"warning: {message}"), file=sys.stderr)
        run_training(TrainOptions(**values))
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    if not is_folder(arguments.content):
        is_not = why_not(arguments.content, "a folder")
        raise InputError(f"argument --content: {str(arguments.content)!r} {is_not}; give one of photographs")
    from agnlib.training.run.finetune import finetune_options
    from agnlib.training.run.train import run_training

    values = {name: value for name, value in vars(arguments).items() if name not in ("run", "style")}
    run_training(finetune_options(values.pop("content"), arguments.style, values.pop("out"), **values))
    return 0
