"""Styles by name at the end of a training: how long they may take, whether they are there, and fitting them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from agnlib.training.class_styles.fitting import fit_class_styles, paintings_for, statistics_of
from agnlib.training.class_styles.unfinished import Unfinished
from agnlib.training.data.pairs import PairData, PictureFolder
from agnlib.training.trainer import AdversarialTrainer

__all__ = ["are_named", "estimate_naming", "minutes_for_names", "minutes_for_training", "name_styles"]

_SHARE, _SHARE_WITHOUT_CLASSES, _MOST = 0.15, 0.05, 4.0  # of the minutes; and minutes at most
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"


def minutes_for_names(minutes: float, style: PictureFolder) -> float:
    """Of the minutes of a training, those that are kept for its styles by name.

    Example:
        >>> from types import SimpleNamespace
        >>> minutes_for_names(10, SimpleNamespace(class_names=("ink", "oil")))
        1.5
    """
    return min((_SHARE if style.class_names else _SHARE_WITHOUT_CLASSES) * minutes, _MOST)


def minutes_for_training(minutes: float | None, style: PictureFolder) -> float | None:
    """The rest of them."""
    return None if minutes is None else minutes - minutes_for_names(minutes, style)


def are_named(folder: Path, step: int) -> bool:
    """Whether a folder has weights of this step whose styles by name, or by chance alone, are fitted."""
    try:
        training = json.loads((folder / "config.json").read_text("utf-8"))["info"]["training"]
        return bool(training["named"]) and training["steps"] == step
    except (OSError, ValueError, LookupError, TypeError):
        return False


def name_styles(
    trainer: AdversarialTrainer,
    data: PairData,
    out: Path,
    *,
    minutes: float | None,
    write: Callable[[], None],
    stopping: Callable[[], bool],
    progress: bool,
) -> bool:
    """Fit styles by name to the averaged networks and write them; whether that is done, or was stopped.

    Args:
        trainer: at its end.
        data: of the run.
        out: its folder, where what is not finished is kept.
        minutes: for it, or None for all that it takes.
        write: writes the weights.
        stopping: whether it is to leave off.
        progress: show a bar.
    """
    extractor = trainer.averaged_extractor
    assert extractor is not None
    work = f"{trainer.step} {data.style.fingerprint} {data.content.fingerprint}"
    unfinished = Unfinished(out / "checkpoints" / "styles.safetensors", work)
    with tqdm(desc="styles by name", unit="%", total=100, disable=not progress, bar_format=_BAR) as bar:
        named = fit_class_styles(
            trainer.averaged_generator,
            extractor,
            data.content,
            data.style,
            seconds=math.inf if minutes is None else 60 * minutes,
            unfinished=unfinished,
            progress=lambda done, total: bar.update(100 * done / total - bar.n),
            stopping=stopping,
        )
    if named:
        write()
        unfinished.remove()
    return named


def estimate_naming(trainer: AdversarialTrainer, data: PairData, minutes: float | None) -> str:
    """A line about how long styles by name take, measured on one picture and one painting.

    Args:
        trainer: of the run.
        data: of the run.
        minutes: that are kept for it, or None where the run has so many steps.
    """
    if minutes is not None:
        return f"styles by name: {minutes:.2g} minutes of them"
    generator, extractor = trainer.generator, trainer.extractor
    assert extractor is not None
    batch = data[0].to(trainer.device)
    reading = _seconds(lambda: next(statistics_of(extractor, data.style, trainer.device)))
    with torch.no_grad():
        painting = _seconds(lambda: generator(None, extractor(batch.style[:1]), content=batch.photos[:1]))
    whole = len(data.style.paths) * reading + paintings_for(len(data.style.class_names)) * painting
    return f"styles by name: about {whole / 60:.0f} minutes after that"


def _seconds(run: Callable[[], object]) -> float:
    run()
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
