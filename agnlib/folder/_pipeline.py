"""Pictures through three stages at once: the next ones are opened while one is painted and the last ones are written.

Painting stays in the caller's thread; opening and writing have threads of their own. A picture is written while it is
still being painted, part by part.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Condition, Semaphore
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from agnlib.painting._photo import Photo, Rows

__all__ = ["Dropped", "Pipeline"]

Item = TypeVar("Item")
Part = npt.NDArray[np.generic]

_PIXELS = 64 * 2**20  # of all pictures between the stages together; a larger one goes alone
_PARTS = 2  # of a picture that are painted and wait to be written
_MOST_THREADS = 8


class Dropped(Exception):  # noqa: N818 - nothing went wrong
    """The picture was left off, since the work is to stop."""


@dataclass(frozen=True)
class Pipeline(Generic[Item]):
    """The steps of the work, and how to stop it.

    Args:
        pixels: of an item, without opening it.
        open: reads an item; in other threads.
        paint: what is to be written, painted as it is iterated over; in the caller's thread.
        write: writes an item from the parts that are handed over; in other threads.
        stopping: whether to begin nothing more. What is painted in full by then is written, the rest is dropped.
    """

    pixels: Callable[[Item], int]
    open: Callable[[Item], Photo]
    paint: Callable[[Photo], Rows]
    write: Callable[[Item, Photo, Rows, Iterable[Part]], None]
    stopping: Callable[[], bool]

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Exception | None]]:
        """Do it all; each item that was begun, with what went wrong, as soon as that is known."""
        with _Threads(self) as threads:
            for item, weight, opening in threads.opened(items):
                if self.stopping():
                    break
                threads.paint(item, weight, opening)
                yield from threads.outcomes()
            threads.finish()
            yield from threads.outcomes()


class _Threads(Generic[Item]):
    """The threads at work, and what is between them."""

    def __init__(self, steps: Pipeline[Item]) -> None:
        self._steps = steps
        count = _thread_count()
        self._readers, self._writers = ThreadPoolExecutor(count), ThreadPoolExecutor(count)
        self._ahead = count + 1
        self._free_writers = Semaphore(count)
        self._room = _Room(_PIXELS)
        self._handover: list[_Handover] = []
        self._outcomes: SimpleQueue[tuple[Item, Exception | None]] = SimpleQueue()

    def __enter__(self) -> _Threads[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._handover:
            each.end(Dropped())
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown()

    def opened(self, items: Iterable[Item]) -> Iterator[tuple[Item, int, Future[Photo]]]:
        """The items in order, with their pixels, a few of them being opened ahead."""
        waiting: deque[tuple[Item, int, Future[Photo]]] = deque()
        for item in items:
            try:
                weight = self._steps.pixels(item)
            except Exception as error:
                self._outcomes.put((item, error))
                continue
            while len(waiting) >= self._ahead or not self._room.take(weight, wait=not waiting):
                yield waiting.popleft()
            waiting.append((item, weight, self._readers.submit(self._steps.open, item)))
        yield from waiting

    def paint(self, item: Item, weight: int, opening: Future[Photo]) -> None:
        """Paint a picture for a writer to take."""
        try:
            photo = opening.result()
            rows = self._steps.paint(photo)
        except Exception as error:
            self._room.give(weight)
            self._outcomes.put((item, error))
            return
        self._free_writers.acquire()
        handover = _Handover()
        self._handover = [each for each in self._handover if not each.over] + [handover]
        self._writers.submit(self._write, item, weight, photo, rows, handover)
        handover.feed(rows, self._steps.stopping)

    def _write(self, item: Item, weight: int, photo: Photo, rows: Rows, handover: _Handover) -> None:
        outcome = None
        try:
            self._steps.write(item, photo, rows, handover.parts())
        except Exception as error:
            outcome = error
        finally:
            handover.refuse()
            self._room.give(weight)
            self._free_writers.release()
            self._outcomes.put((item, outcome))

    def outcomes(self) -> Iterator[tuple[Item, Exception | None]]:
        """What has become known since the last time."""
        while True:
            try:
                yield self._outcomes.get_nowait()
            except Empty:
                return

    def finish(self) -> None:
        """Wait for what is being written."""
        self._writers.shutdown()


class _Handover:
    """Parts of one picture on their way from the painter to the writer."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._parts: deque[Part] = deque()
        self._ended = self._refused = False
        self._error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Whether the writer is done with it."""
        return self._refused

    def feed(self, rows: Rows, stopping: Callable[[], bool]) -> None:
        """Paint until all is handed over, the writer gives up, or the work is to stop."""
        painted = 0
        try:
            for part in rows.parts:
                painted += len(part)
                if not self._put(part):
                    break
                if painted < rows.shape[0] and stopping():
                    raise Dropped
        except Exception as error:
            self.end(error)
        except BaseException:
            self.end(Dropped())
            raise
        else:
            self.end()

    def _put(self, part: Part) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._parts) < _PARTS or self._refused)
            if not self._refused:
                self._parts.append(part)
                self._changed.notify_all()
            return not self._refused

    def end(self, error: BaseException | None = None) -> None:
        """No more parts come; with an error, what has come is worth nothing. The first end counts."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify_all()

    def refuse(self) -> None:
        """The writer takes no more."""
        with self._changed:
            self._refused = True
            self._parts.clear()
            self._changed.notify_all()

    def parts(self) -> Iterator[Part]:
        """The parts as they come."""
        while (part := self._next()) is not None:
            yield part

    def _next(self) -> Part | None:
        with self._changed:
            self._changed.wait_for(lambda: self._parts or self._ended)
            if self._error is not None:
                raise self._error
            part = self._parts.popleft() if self._parts else None
            self._changed.notify_all()
            return part


class _Room:
    """So much in all; what is larger waits until it is alone."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0
        self._changed = Condition()

    def take(self, amount: int, *, wait: bool) -> bool:
        """Take a part of it, or say that there is none."""
        with self._changed:
            if not self._fits(amount) and not wait:
                return False
            self._changed.wait_for(lambda: self._fits(amount))
            self._taken += amount
            return True

    def give(self, amount: int) -> None:
        """Give it back."""
        with self._changed:
            self._taken -= amount
            self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        return self._taken == 0 or self._taken + amount <= self._limit


def _thread_count() -> int:
    """Threads that open and threads that write, each: enough for a GPU, few beside a painter that needs the CPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, cores // 2))
