"""Signals that ask a training to stop: the step is finished and everything saved, so that nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from agnlib._shared.signals import handled

__all__ = ["leave_signals_to_parent", "stopping_on_signals"]


@contextmanager
def stopping_on_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """While inside, the first SIGTERM, SIGINT or SIGHUP calls `stop` with its name; a second ends the process at once.

    SIGHUP is what a closed terminal sends. See `agnlib._shared.signals.handled`.

    Example:
        >>> reasons = []
        >>> with stopping_on_signals(reasons.append):
        ...     signal.raise_signal(signal.SIGTERM)
        >>> reasons
        ['SIGTERM']
    """
    children: list[Any] = []

    def first(number: int) -> None:
        if hasattr(signal, "SIGCHLD"):
            # a DataLoader's handler would raise, wherever we are, when its processes are ended too
            children.append(signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        stop(signal.Signals(number).name)

    try:
        with handled(("SIGTERM", "SIGINT", "SIGHUP"), first):
            yield
    finally:
        if children and children[0] is not None:
            signal.signal(signal.SIGCHLD, children[0])


def leave_signals_to_parent() -> None:
    """In a process that reads pictures: what is sent to the whole group (Ctrl-C) must not end it before its parent.

    SIGTERM alone ends it, as ever: so a parent that breaks off gets rid of it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setsid"):
        with suppress(OSError):  # it leads a group of its own already
            os.setsid()
