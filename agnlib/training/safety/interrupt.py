"""Signals that ask a training to stop: the step is finished and everything saved, so that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["leave_signals_to_parent", "stopping_on_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
_CHILDREN = (signal.SIGCHLD,) if hasattr(signal, "SIGCHLD") else ()


@contextmanager
def stopping_on_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """While inside, the first SIGTERM, SIGINT or SIGHUP calls `stop` with its name; a second ends the process at once.

    The process then exits with 128 + the signal's number, as shells report it. SIGHUP is what a closed terminal sends.
    What was ignored stays ignored (SIGINT under `nohup ... &`), and the handlers are put back at the end. Outside the
    main thread nothing is done: Python lets only that one handle signals.

    Example:
        >>> reasons = []
        >>> with stopping_on_signals(reasons.append):
        ...     signal.raise_signal(signal.SIGTERM)
        >>> reasons
        ['SIGTERM']
    """
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        for child in _CHILDREN:  # a DataLoader's handler would raise, wherever we are, when its processes are ended too
            before.setdefault(child, signal.signal(child, signal.SIG_DFL))
        stop(signal.Signals(number).name)

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _SIGNALS} if here else {}
    # None is a handler that was not installed from Python, and could not be put back
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in list(before.items()):
            if handler is not None:
                signal.signal(number, handler)


def leave_signals_to_parent() -> None:
    """In a process that reads pictures: what is sent to the whole group (Ctrl-C) must not end it before its parent.

    SIGTERM alone ends it, as ever: so a parent that breaks off gets rid of it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "setsid"):
        with suppress(OSError):  # it leads a group of its own already
            os.setsid()
