"""`agnlib finetune`: the shipped weights, specialized to one artist's pictures in minutes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import Unpack

from agnlib import image
from agnlib._shared.paths import exists, is_folder, text_of, why_not
from agnlib._train_options import FinetuneSettings, TrainSettings
from agnlib.errors import InputError
from agnlib.training.run.parts import Parts
from agnlib.training.run.record import TrainOptions, read_record
from agnlib.training.run.train import options_of, path_or_paths, run_in_python

__all__ = ["finetune", "finetune_options"]

_USUAL: TrainSettings = {
    "size": 208,  # as large as references are read
    "batch": 2,
    "learning_rate": 6e-4,  # half of a training's own: more of what the weights know is kept
    # few pictures: what the discriminator sees is varied, as often as keeps it from knowing them by heart
    "augment": "translation+cutout+flip",
    "ada": 0.6,
}


_USUAL_MINUTES = 5.0


def finetune(
    content: str | os.PathLike[str],
    style: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    init: str = "agn-small",
    minutes: float | None = None,
    progress: bool = True,
    **options: Unpack[FinetuneSettings],
) -> Path:
    """Go on training weights that have seen all kinds of art on a few pictures alone; returns `out`.

    Paper: Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020, for the
    discriminator's augmentation.

    Args:
        content: a folder of photographs.
        style: pictures, or one folder of them.
        out: where weights, log and samples go; new.
        init: weights to start from.
        minutes: how long; None is 5, or what a run that is resumed was begun with.
        progress: show a bar, and say in a few lines what is done.
        options: others of `TrainOptions`; by default crops of 208 px, two pairs, half the usual learning rate, and a
            discriminator that sees its pictures varied.

    Raises:
        InputError: no pictures, or a mixture of folders and pictures; else as `train`.
        ImageError: a picture that is none.
        WeightsError, TrainingError: as `train`.

    Example:
        >>> finetune("photos", ["a.jpg", "folder"], "out")
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: style: 'a.jpg' does not exist; give pictures, or one folder
    """
    chosen = finetune_options(content, style, out, init=init, minutes=minutes, **options)
    return run_in_python(chosen, Parts(quiet=not progress))


def finetune_options(
    content: str | os.PathLike[str],
    style: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    init: str = "agn-small",
    minutes: float | None = None,
    **options: Unpack[FinetuneSettings],
) -> TrainOptions:
    """The options of a training that `finetune` asks for.

    Raises:
        InputError, ImageError: as `finetune`.
    """
    found = path_or_paths(style)
    pictures = found if isinstance(found, tuple) else (found,)
    for path in pictures:
        if not exists(path):
            raise InputError(f"style: {str(path)!r} {why_not(path, 'a picture')}; give pictures, or one folder")
    if minutes is None and options.get("steps") is None and not _goes_on(options.get("resume"), out):
        minutes = _USUAL_MINUTES
    given: TrainSettings = {"init": init, "minutes": minutes, **_USUAL, **options}
    if len(pictures) == 1 and is_folder(pictures[0]):
        return options_of(content, pictures[0], out, **given)
    for path in pictures:
        if is_folder(path):
            raise InputError(f"style: {str(path)!r} is a folder among others; give pictures, or one folder")
        image.probe(path)
    return options_of(content, pictures, out, **given)


def _goes_on(resume: str | None, out: str | os.PathLike[str]) -> bool:
    """Whether there is a run to go on with, which says how long it takes."""
    return resume is not None and (resume != "auto" or read_record(Path(text_of(out, "out"))) is not None)
