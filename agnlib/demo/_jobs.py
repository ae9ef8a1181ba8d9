"""Work that takes a while: it tells how far it is, and can be stopped by whoever asked for it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

__all__ = ["StoppedError", "Work"]

_EVERY = 1.0  # seconds between two looks at it

_LAST_STEP = 10.0  # seconds that the end of the program waits for one

Now = TypeVar("Now")
_going: set[Work[Any]] = set()


class StoppedError(Exception):
    """Somebody stopped the work."""


class Work(Generic[Now]):
    """A function in a thread of its own, from `with` until it is done or the `with` is left.

    Args:
        does: is handed a function to tell by how far it is. It raises `StoppedError` once the work is stopped, so what
            does not tell often ends late.
    """

    def __init__(self, does: Callable[[Callable[[Now], None]], Any]) -> None:
        self._does = does
        self._now: Now | None = None
        self._result: Future[Any] = Future()
        self._stopped, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Work[Now]:
        _going.add(self)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Now | None]:
        """What was told last, again and again until the work is over; None before anything is told."""
        while not self._over.wait(_EVERY):
            yield self._now

    def stop(self) -> None:
        """End it the next time that it tells something."""
        self._stopped.set()
        self._over.set()

    def result(self) -> Any:
        """What the function gave, or raised.

        Raises:
            StoppedError: it was stopped before.
        """
        if self._stopped.is_set():
            raise StoppedError
        return self._result.result()

    def _run(self) -> None:
        try:
            self._result.set_result(self._does(self._tell))
        except BaseException as error:
            self._result.set_exception(error)
        _going.discard(self)
        self._over.set()

    def _tell(self, now: Now) -> None:
        if self._stopped.is_set():
            raise StoppedError
        self._now = now


@atexit.register
def _end() -> None:
    """Before Python ends, which would cut a thread off in the middle of PyTorch."""
    for work in list(_going):
        work.stop()
    for work in list(_going):
        work._thread.join(_LAST_STEP)
