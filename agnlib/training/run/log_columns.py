"""Which numbers the log of `agnlib train` has."""

from __future__ import annotations

import difflib

from agnlib.errors import InputError
from agnlib.training.trainer import AdversarialTrainer

__all__ = ["check_best", "logged_names"]

_JUDGED = ("real", "fake", "real_sign", "fake_sign")
_WATCHED = ("diversity", "real_diversity", "hue_entropy", "real_hue_entropy")


def logged_names(trainer: AdversarialTrainer) -> list[str]:
    """Names of the numbers that come in some step or other of this configuration, with `CollapseWatch` beside it."""
    config = trainer.config
    weights = {"adversarial": config.adversarial, "identity": config.identity}
    if config.adversarial > 0:
        weights |= {"feature_matching": config.feature_matching, "uniformity": config.uniformity}
    names = [f"generator/{name}" for name in ("gradient_norm", *trainer.terms)]
    names += [f"generator/{name}" for name, weight in weights.items() if weight > 0]
    names += [f"watch/{name}" for name in _WATCHED]
    if config.adversarial > 0:
        losses = ["adversarial", "gradient_norm", "r1", *(["wrong_code"] if config.wrong_code > 0 else []), *_JUDGED]
        names += [f"discriminator/{name}" for name in losses]
        names += [f"watch/{name}" for name in (*_JUDGED, "accuracy")]
    return sorted(names)


def check_best(name: str | None, trainer: AdversarialTrainer) -> None:
    """Whether a number of this name comes in a run's log.

    Raises:
        InputError: it does not; the message has those that do.
    """
    names = logged_names(trainer)
    if name is not None and name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--keep-best {name}: the log has no such number; {hint}expected one of {', '.join(names)}")
