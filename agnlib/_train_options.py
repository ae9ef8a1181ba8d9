"""What a training can be asked, each option once; needs no torch, so that a mistake is said at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict

from agnlib._shared.numbers import Ranges, are_counts, is_count, is_number, settle
from agnlib.errors import InputError

__all__ = ["PERCEPTUAL", "FinetuneSettings", "TrainOptions", "TrainSettings", "parse_perceptual"]

PERCEPTUAL = ("vgg16", "efficientnet-lite0")


def parse_perceptual(text: str) -> tuple[str, ...]:
    """The encoders named, each once; of "none" none.

    Raises:
        InputError: an unknown name.

    Example:
        >>> parse_perceptual("vgg16+efficientnet-lite0")
        ('vgg16', 'efficientnet-lite0')
        >>> parse_perceptual("none")
        ()
    """
    if text == "none":
        return ()
    names = tuple(dict.fromkeys(text.split("+")))
    unknown = [name for name in names if name not in PERCEPTUAL]
    if unknown:
        expected = ", ".join(("none", *PERCEPTUAL))
        raise InputError(f"unknown {unknown[0]!r} in {text!r}; expected {expected}, or several networks joined by +")
    return names


def _option(default: Any, says: str, metavar: Any = "N", check: str | None = None, **more: Any) -> Any:
    """An option of the command line: its help, and by which of `agnlib.cli._types` its argument is read.

    `usual` is what None stands for; without it the help says the default itself.
    """
    return field(default=default, metadata={"says": says, "metavar": metavar, "check": check, **more})


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_TINY, _HUGE = math.nextafter(0, 1), math.nextafter(math.inf, 0)
_RANGES: Ranges = (
    (("steps", "size", "batch", "threads"), "at least 1, or None", _or_none(lambda v: is_count(v, 1))),
    (("accumulate", "checkpoint_every", "keep", "sample_every"), "at least 1", lambda v: is_count(v, 1)),
    (("workers",), "a whole number from 0", is_count),
    (("seed",), "a whole number of 63 bits", lambda v: is_count(v, -(2**63), 2**63 - 2)),
    (
        ("minutes", "style_weight", "learning_rate"),
        "a number above 0, or None",
        _or_none(lambda v: is_number(v, _TINY, _HUGE)),
    ),
    (("adversarial",), "a weight of 0 or more, or None", _or_none(lambda v: is_number(v, 0, _HUGE))),
    (("stroke_scale",), "a scale from 1 to 8", lambda v: is_number(v, 1, 8)),
    (("ada",), "a mean sign between -1 and 1, or None", _or_none(lambda v: is_number(v, -1, 1))),
    (("blocks",), "three whole numbers from 0, or None", _or_none(lambda v: _are_counts(v, 0))),
    (("channels",), "three whole numbers from 1, or None", _or_none(lambda v: _are_counts(v, 1))),
    (("init", "resume", "augment", "keep_best"), "a name, or None", _or_none(lambda v: isinstance(v, str))),
    (("perceptual", "device"), "a name", lambda v: isinstance(v, str)),
    (("dry_run",), "True or False", lambda v: isinstance(v, bool)),
)


def _are_counts(values: Any, least: int) -> bool:
    return isinstance(values, (list, tuple)) and are_counts(values, least, 3)


class FinetuneSettings(TypedDict, total=False):
    """What `finetune` can be asked besides: options of `TrainOptions`, as keywords."""

    resume: str | None
    dry_run: bool
    steps: int | None
    size: int | None
    batch: int | None
    accumulate: int
    seed: int
    perceptual: str
    adversarial: float | None
    stroke_scale: float
    style_weight: float | None
    learning_rate: float | None
    blocks: Sequence[int] | None
    channels: Sequence[int] | None
    augment: str | None
    ada: float | None
    checkpoint_every: int
    keep: int
    keep_best: str | None
    sample_every: int
    device: str
    threads: int | None
    workers: int


class TrainSettings(FinetuneSettings, total=False):
    """The options of a training but for its folders, as keywords; see `TrainOptions`."""

    init: str | None
    minutes: float | None


@dataclass(frozen=True)
class TrainOptions:
    """What a training is asked for: the options of `agnlib train`, and the keywords of `agnlib.training.train`."""

    content: Path = field(metadata={"says": "a folder of photographs", "metavar": "DIR"})
    style: Path | tuple[Path, ...] = field(metadata={"says": "a folder of pictures with the style", "metavar": "DIR"})
    out: Path = field(metadata={"says": "weights, logs, samples, checkpoints", "metavar": "DIR"})
    init: str | None = _option(None, "weights to start from", "NAME|FOLDER", usual="none, from nothing")
    resume: str | None = _option(
        None,
        "go on with an interrupted run, by the same command: auto takes the newest whole checkpoint in --out (and"
        " begins where there is none yet), or name a checkpoint",
        "auto|PATH",
    )
    dry_run: bool = field(default=False, metadata={"says": "only say what it would take: time, memory, disk"})
    steps: int | None = _option(None, "train for so many steps in all", "TOTAL", "count", usual="10,000")
    minutes: float | None = _option(None, "train for so long in all", "M", "minutes")
    size: int | None = _option(
        None, "side of the crops", "PX", "count", usual="208, as large as references are read later"
    )
    batch: int | None = _option(None, "pairs worked on at a time", "N", "count", usual="4")
    accumulate: int = _option(1, "batches in a step: more pairs, no more memory", "N", "count")
    seed: int = _option(0, "of everything random", "N", "seed")
    perceptual: str = _option(
        "vgg16",
        "what the losses look through: vgg16, efficientnet-lite0 (needs the extra perceptual), none, or several"
        " networks joined by +",
        "NET[+NET]",
        "perceptual",
    )
    adversarial: float | None = _option(
        None,
        "weight of what the discriminator says; 0 trains the generator alone, by the other losses",
        "W",
        "number",
        usual="0.5, or as --init was trained",
    )
    stroke_scale: float = _option(
        1.75,
        "how much broader strokes are than in the pictures with the style, 1 to 8: photographs are cropped at X times"
        " --size, and paintings looked at from as far",
        "X",
        "stroke_scale",
    )
    style_weight: float | None = _option(
        None,
        "how much more than usual style counts beside content: more gives stronger strokes, and keeps less of the"
        " drawing",
        "X",
        "positive",
        usual="1, or as --init was trained",
    )
    learning_rate: float | None = _option(
        None,
        "of the generator at the start, the discriminator's is half of it: to go on from weights for a short while,"
        " half as much keeps more of what they know",
        "X",
        "positive",
        usual="0.0012",
    )
    blocks: Sequence[int] | None = _option(
        None,
        "of the generator at 1/2, 1/4 and 1/8 of the size",
        ("HALF", "QUARTER", "EIGHTH"),
        "from_zero",
        nargs=3,
        usual="1 3 6, or those of --init, to which blocks can be added",
    )
    channels: Sequence[int] | None = _option(
        None,
        "of the generator at 1/2, 1/4 and 1/8 of the size",
        ("HALF", "QUARTER", "EIGHTH"),
        "count",
        nargs=3,
        usual="24 64 128, or those of --init, to which channels can be added",
    )
    augment: str | None = _option(
        None,
        "for little data, what is done to the pictures before the discriminator judges them: translation+cutout+flip is"
        " usual, color leaks into the results",
        "OP[+OP]",
        usual="nothing",
    )
    ada: float | None = _option(
        None,
        "augment only as often as keeps the mean sign of what it says of real pictures at this, 0.6 is usual",
        "SIGN",
        "number",
    )
    checkpoint_every: int = _option(500, "steps between checkpoints", "N", "count")
    keep: int = _option(2, "checkpoints that are kept", "N", "count")
    keep_best: str | None = _option(
        None, "keep that with the least NAME, a number of log.jsonl, as best.safetensors too", "NAME"
    )
    sample_every: int = _option(500, "steps between sample pictures", "N", "count")
    device: str = _option("auto", "auto, cpu, cuda, cuda:N or mps", "D")
    threads: int | None = _option(None, "CPU threads", "N", "count")
    workers: int = _option(0, "processes that read pictures", "N", "from_zero")

    def __post_init__(self) -> None:
        settle(self, _RANGES)
        if self.steps is not None and self.minutes is not None:
            raise InputError(f"steps is {self.steps} and minutes {self.minutes}; expected one of the two")
        parse_perceptual(self.perceptual)
        for name in ("blocks", "channels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, list(getattr(self, name)))  # as it comes back from the record


def _documented(options: type[TrainOptions]) -> str:
    """A line for each option, of what the command line says of it."""
    lines = []
    for option in fields(options):
        usual = option.metadata.get("usual", None if option.default in (MISSING, None) else f"{option.default!r}")
        said = f"{option.metadata['says']}{'' if usual is None else f' (default: {usual})'}"
        lines.append(f"{option.name}: {said}.")
    return "\n        ".join(lines)


TrainOptions.__doc__ = f"""{TrainOptions.__doc__}

    Args:
        {_documented(TrainOptions)}

    Raises:
        InputError: a value outside its range, or both steps and minutes.
    """
