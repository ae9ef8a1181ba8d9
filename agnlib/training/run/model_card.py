"""What is recorded about a run beside its weights: facts for programs, a model card for people."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from agnlib._shared.paths import real

if TYPE_CHECKING:
    from agnlib.training.data.pairs import PairData, PictureFolder
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["facts_of", "model_card"]

_FEW = 3  # names of pictures that are listed
_NOT_IN_THE_TABLE = ("before", "terms", "trainer")
_OF_THE_TRAINER = {
    "lr_generator": "learning rate",
    "stroke_scale": "stroke scale",
    "adversarial": "weight of the adversary",
    "augment": "augmentation",
    "ada_target": "ada",
}


def facts_of(
    trainer: AdversarialTrainer,
    data: PairData,
    *,
    init: str | None,
    before: Sequence[Mapping[str, Any]],
    encoders: Iterable[str],
    minutes: float,
) -> dict[str, Any]:
    """How weights came about, as JSON can hold it; of the folders only their names."""
    return {
        "content": _named(data.content),
        "style": _named(data.style),
        "init": init,
        "before": list(before),
        "steps": trainer.step,
        "minutes": round(minutes, 1),
        "crop": data.style.size,
        "batch": data.batch,
        "seed": data.seed,
        "perceptual": list(encoders),
        "terms": {name: term.weight for name, term in trainer.terms.items()},
        "trainer": asdict(trainer.config),
        "skipped_steps": trainer.skipped_steps,
        "machine": f"{trainer.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": str(torch.__version__),
    }


def model_card(name: str, facts: Mapping[str, Any]) -> str:
    """The facts as a page of Markdown.

    Example:
        >>> print(model_card("mine", {"steps": 3, "perceptual": [], "terms": {"palette": 1.0}}))
        # mine
        <BLANKLINE>
        Weights trained with agnlib.
        <BLANKLINE>
        | | |
        |---|---|
        | steps | 3 |
        | perceptual | none |
        | weight of palette | 1.0 |
        <BLANKLINE>
        Licenses of the pictures it was trained on: not recorded; add them here.
        <BLANKLINE>
    """
    lines = [f"# {name}", "", "Weights trained with agnlib.", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {_shown(value)} |" for key, value in facts.items() if key not in _NOT_IN_THE_TABLE]
    given = facts.get("trainer", {})
    lines += [f"| {name} | {_shown(given[key])} |" for key, name in _OF_THE_TRAINER.items() if key in given]
    lines += [f"| before | {_stage(stage)} |" for stage in facts.get("before", ())]
    lines += [f"| weight of {key} | {value} |" for key, value in facts["terms"].items()]
    return "\n".join([*lines, "", "Licenses of the pictures it was trained on: not recorded; add them here.", ""])


def _named(pictures: PictureFolder) -> str:
    """The name of a folder, or of the first few pictures."""
    if not pictures.listed:
        return real(pictures.folder).name
    names = [path.name for path in pictures.paths]
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _stage(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in facts.items())


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
