"""How far a long call is: nothing, a bar, or a function of the caller's that may end the work by raising."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from agnlib.errors import InputError

__all__ = ["Listener", "Told", "check_progress", "telling", "watched"]

Listener: TypeAlias = Callable[[float, float], None]
Item = TypeVar("Item")

_OF_ONE = {"delay": 2.0, "leave": False, "bar_format": "{l_bar}{bar}| {elapsed}<{remaining}"}


class Told:
    """Hands on how far the work is: `done` never goes back, and reaches `total` once, by `end`.

    Example:
        >>> told = Told(lambda done, total: print(done, "of", total))
        >>> told(1, 3), told(3, 3), told(2, 3), told.end(3)
        1 of 3
        2 of 3
        3 of 3
        (None, None, None, None)
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener, self._done = listener, -math.inf

    def __call__(self, done: float, total: float) -> None:
        """So much is done; all of it is for `end` to say."""
        if self._listener is not None and self._done <= done < total:
            self._done = done
            self._listener(done, total)

    def end(self, total: float) -> None:
        """All is done, and nothing yet where it goes: what a listener raises keeps it from going there."""
        if self._listener is not None:
            self._listener(total, total)

    def until_end(self, items: Iterable[Item], total: float) -> Iterator[Item]:
        """The items, and then the end."""
        yield from items
        self.end(total)


def check_progress(progress: object) -> None:
    """Raise `InputError` unless this is True, False or a function."""
    if not (isinstance(progress, bool) or callable(progress)):
        raise InputError(f"progress must be True, False or a function that takes (done, total), got {progress!r}")


@contextmanager
def telling(
    progress: bool | Listener, total: float | None = 1.0, unit: str | None = None, **bar: Any
) -> Iterator[Told]:
    """What is to be told how far the work is.

    Args:
        progress: False for nobody, True for a bar, or a function.
        total: of the bar, as it begins.
        unit: what the bar counts; the bar of one thing appears after two seconds, and goes when that is done.
        bar: further options of `tqdm`.

    Raises:
        InputError: something else.
    """
    check_progress(progress)
    if not isinstance(progress, bool):
        yield Told(progress)
        return
    if not progress:
        yield Told(None)
        return
    from tqdm import tqdm

    options: dict[str, Any] = {"unit": unit, **bar} if unit else {**_OF_ONE, **bar}
    with tqdm(total=total, **options) as shown:

        def listener(done: float, total: float) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield Told(listener)


def watched(items: Sequence[Item], progress: bool | Listener, unit: str, **bar: Any) -> Iterator[Item]:
    """The items, each told of when the next is asked for."""
    with telling(progress, len(items), unit, **bar) as told:
        for done, item in enumerate(items):
            told(done, len(items))
            yield item
        told.end(max(1, len(items)))
