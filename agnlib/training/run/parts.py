"""What Python can give to a training beside its options: losses, a trainer, a generator, callbacks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any

from agnlib.errors import InputError
from agnlib.models import Generator
from agnlib.training.callbacks import check_hooks
from agnlib.training.objective.terms import Term, Weighted
from agnlib.training.trainer import AdversarialTrainer

__all__ = ["Parts", "by_keywords"]

_OURS = (AdversarialTrainer, Generator, None)


@dataclass(frozen=True)
class Parts:
    """What Python can give to a training beside its options; see `train`."""

    terms: Mapping[str, Weighted | Term | None] = field(default_factory=dict)
    trainer_class: type[AdversarialTrainer] = AdversarialTrainer
    generator: Generator | None = None
    callbacks: Sequence[object] = ()
    quiet: bool = False
    in_python: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.trainer_class, type) and issubclass(self.trainer_class, AdversarialTrainer)):
            raise InputError(f"trainer_class is {self.trainer_class!r}; expected a subclass of AdversarialTrainer")
        if not isinstance(self.terms, Mapping):
            raise InputError(f"terms are a {type(self.terms).__name__}; expected {{name: term}}")
        check_hooks(self.callbacks)
        if self.generator is not None and not isinstance(self.generator, Generator):
            raise InputError(f"generator is a {type(self.generator).__name__}; expected a Generator")

    def say(self, line: str) -> None:
        """A line on standard output."""
        if not self.quiet:
            print(by_keywords(line) if self.in_python else line)

    @property
    def generator_class(self) -> type[Generator] | None:
        """Of a generator of one's own; None for agnlib's."""
        kind = None if self.generator is None else type(self.generator)
        return None if kind in _OURS else kind

    def how_to_use(self, out: Path) -> str:
        """A line that paints with the weights."""
        kind = self.generator_class
        if kind is None:
            ours = f"Stylizer.from_pretrained({str(out)!r})"
            return ours if self.in_python else f"agnlib stylize PHOTO --style PICTURE --weights {out} -o out.png"
        return f"Stylizer.from_pretrained({str(out)!r}, generator_class={kind.__name__})"

    @property
    def record(self) -> dict[str, Any]:
        """What a resumed run has to have again, in words."""
        kinds = {"trainer": self.trainer_class, "generator": self.generator and type(self.generator)}
        others = {name: f"{k.__module__}.{k.__qualname__}" for name, k in kinds.items() if k not in _OURS}
        return others | ({"terms": sorted(starmap(_term_in_words, self.terms.items()))} if self.terms else {})


def _term_in_words(name: str, term: Weighted | Term | None) -> str:
    if term is None:
        return f"no {name}"
    given = term if isinstance(term, Weighted) else Weighted(term, 1.0)
    later = f" from step {given.start} over {given.ramp}" if given.start or given.ramp else ""
    return f"{name} x {given.weight:g}{later}"


def by_keywords(text: str) -> str:
    """A message with the options of the command line as Python has them.

    Example:
        >>> by_keywords("go on with --resume auto, or give another --checkpoint-every")
        'go on with resume="auto", or give another checkpoint_every'
    """
    words = text.replace("--resume auto", 'resume="auto"').replace("the same command with", "the same call with")
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: found[1].replace("-", "_"), words)
