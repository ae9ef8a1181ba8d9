"""Work before and after the painting, each in a thread of its own, in order, and only so much of it waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

__all__ = ["Behind", "ahead", "behind"]

Item = TypeVar("Item")
P = ParamSpec("P")
_END: Any = object()


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The items, made by a thread that is up to `count` of them ahead.

    Example:
        >>> list(ahead(range(3), 2))
        [0, 1, 2]
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, "agnlib-ahead")
    try:
        waiting = deque(pool.submit(next, source, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


class Behind:
    """Calls made by a thread in the order given; `call` waits while `count` of them have not been made.

    Example:
        >>> done = []
        >>> with behind(2) as later:
        ...     for number in range(3):
        ...         later.call(done.append, number)
        >>> done
        [0, 1, 2]
    """

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool, self._count = pool, count
        self._waiting: deque[Future[Any]] = deque()

    def call(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have it called; raises what a call before it raised."""
        self.wait(self._count - 1)
        self._waiting.append(self._pool.submit(function, *args, **kwargs))

    def wait(self, left: int = 0) -> None:
        """Wait until no more calls than that are left."""
        while len(self._waiting) > left:
            self._waiting.popleft().result()


@contextmanager
def behind(count: int) -> Iterator[Behind]:
    """Calls in a thread, all made when the block ends well, the waiting ones dropped when it does not."""
    pool = ThreadPoolExecutor(1, "agnlib-behind")
    try:
        calls = Behind(pool, count)
        yield calls
        calls.wait()
    finally:
        pool.shutdown(cancel_futures=True)
