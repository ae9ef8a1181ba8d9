"""`agnlib finetune`: the shipped weights, specialised to one artist's pictures in minutes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agnlib import image
from agnlib._shared.paths import exists, is_folder, why_not
from agnlib.errors import InputError
from agnlib.image._suffixes import READ_SUFFIXES
from agnlib.training.run.record import TrainOptions
from agnlib.training.run.train import train

__all__ = ["finetune"]

_USUAL: dict[str, Any] = {
    "size": 208,  # as large as references are read
    "batch": 2,
    "learning_rate": 6e-4,  # half of a training's own: more of what the weights know is kept
    # few pictures: what the discriminator sees is varied, as often as keeps it from knowing them by heart
    "augment": "translation+cutout+flip",
    "ada": 0.6,
}


_USUAL_MINUTES = 5.0


def finetune(
    style: Sequence[Path],
    content: Path,
    out: Path,
    *,
    init: str = "agn-small",
    minutes: float | None = None,
    **options: Any,
) -> Path:
    """Go on training weights that have seen all kinds of art on a few pictures alone; returns `out`.

    Paper: Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020, for the
    discriminator's augmentation.

    Args:
        style: pictures, or one folder of them.
        content: a folder of photographs.
        out: where weights, log and samples go; new.
        init: weights to start from.
        minutes: how long; None is 5, or what a run that is resumed was begun with.
        options: others of `TrainOptions`; by default crops of 208 px, two pairs, half the usual learning rate, and a
            discriminator that sees its pictures varied.

    Raises:
        InputError: no pictures, or a mixture of folders and pictures; else as `train`.
        ImageError: a picture that is none.
        WeightsError, TrainingError: as `train`.

    Example:
        >>> finetune([Path("a.jpg"), Path("folder")], Path("photos"), Path("out"))
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: --style: 'a.jpg' does not exist; give pictures, or one folder
    """
    for path in style:
        if not exists(path):
            raise InputError(f"--style: {str(path)!r} {why_not(path, 'a picture')}; give pictures, or one folder")
    if minutes is None and options.get("resume") is None:
        minutes = _USUAL_MINUTES
    given = {"content": content, "out": out, "init": init, "minutes": minutes, **_USUAL, **options}
    if len(style) == 1 and is_folder(style[0]):
        return train(TrainOptions(style=style[0], **given))
    for path in style:
        if is_folder(path):
            raise InputError(f"--style: {str(path)!r} is a folder among others; give pictures, or one folder")
        image.probe(path)
    with tempfile.TemporaryDirectory(prefix="agnlib-") as folder:
        for number, path in enumerate(style):
            suffix = path.suffix.lower() if path.suffix.lower() in READ_SUFFIXES else ".png"  # read by content anyway
            shutil.copyfile(path, Path(folder) / f"{number:04d}{suffix}")
        return train(TrainOptions(style=Path(folder), **given))
