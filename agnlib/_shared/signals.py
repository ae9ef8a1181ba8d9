"""Handlers of signals that are there for a while."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["handled"]


@contextmanager
def handled(names: Iterable[str], first: Callable[[int], None]) -> Iterator[None]:
    """While inside, the first of these signals calls `first` with its number; a second ends the process at once.

    The process then exits with 128 + the signal's number, as shells report it. What was ignored stays ignored (SIGINT
    under `nohup ... &`), and the handlers are put back at the end. Names that the system does not know are passed by.
    Outside the main thread nothing is done: Python lets only that one handle signals.
    """
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        first(number)

    here = threading.current_thread() is threading.main_thread()
    numbers = [int(getattr(signal, name)) for name in names if hasattr(signal, name)] if here else []
    # None is a handler that was not installed from Python, and could not be put back
    before = {number: old for number in numbers if (old := signal.getsignal(number)) not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
