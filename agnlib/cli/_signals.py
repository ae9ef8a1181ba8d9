"""Signals that end the program: what was half-written is removed on the way out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from agnlib._shared.signals import handled

__all__ = ["Ended", "ended_by_signals"]


class Ended(BaseException):
    """A signal came.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While inside, the first SIGTERM or SIGHUP raises `Ended`, and a second ends the process: see `handled`."""

    def end(number: int) -> None:
        raise Ended(number)

    with handled(("SIGTERM", "SIGHUP"), end):
        yield
