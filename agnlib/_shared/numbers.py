"""Numbers that callers give, of Python's kinds or NumPy's: whether they fit, and as Python's own in options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from agnlib.errors import InputError

__all__ = ["Ranges", "are_counts", "checked_count", "is_count", "is_number", "own_number", "settle"]

Ranges: TypeAlias = "Sequence[tuple[Sequence[str], str, Callable[[Any], bool]]]"
"""Names of options, what is expected of them, and whether a value is that."""


def is_number(value: object, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether it is a number in the range, both ends included; NaN is in none, and no truth value is a number.

    Example:
        >>> is_number(np.float32(0.5), 0, 1), is_number(math.nan), is_number(True), is_number("1")
        (True, False, False, False)
    """
    number = own_number(value)
    return isinstance(number, (int, float)) and not isinstance(number, bool) and least <= number <= most


def is_count(value: object, least: float = 0, most: int | None = None) -> bool:
    """Whether it is a whole number in the range, both ends included.

    Example:
        >>> is_count(np.int64(3), 1), is_count(3.0), is_count(True)
        (True, False, False)
    """
    return isinstance(own_number(value), int) and is_number(value, least, math.inf if most is None else most)


def are_counts(values: Any, least: int, many: int | None = None) -> bool:
    """Whether these are so many whole numbers (None: one or more), each at least `least`."""
    return bool(values) and len(values) == (many or len(values)) and all(is_count(value, least) for value in values)


def own_number(value: Any) -> Any:
    """A NumPy number as Python's, also in tuples and lists, since JSON and comparisons know no others.

    Example:
        >>> own_number((np.int64(3), 0.5, "name"))
        (3, 0.5, 'name')
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(own_number(each) for each in value)
    return value


def checked_count(value: Any, name: str, least: int = 0) -> int:
    """The whole number, as Python's.

    Raises:
        InputError: it is none, or less than `least`.
    """
    if not is_count(value, least):
        raise InputError(f"{name} is {value!r}; expected a whole number, at least {least}")
    return int(value)


def settle(options: Any, ranges: Ranges = (), *, tuples: Sequence[str] = ()) -> None:
    """What the options of a dataclass have in common: numbers are Python's, lists become tuples, ranges are kept.

    Args:
        options: the dataclass, also a frozen one.
        ranges: what each option has to be.
        tuples: the options that are tuples.

    Raises:
        InputError: a value is not what is expected.
    """
    kind = type(options).__name__
    for field in dataclasses.fields(options):
        value = own_number(getattr(options, field.name))
        if field.name in tuples:
            if not isinstance(value, (tuple, list)):
                raise InputError(f"{kind}: {field.name} is {value!r}; expected several values in a tuple or list")
            value = tuple(value)
        object.__setattr__(options, field.name, value)
    for names, expected, fits in ranges:
        for name in names:
            if not fits(getattr(options, name)):
                raise InputError(f"{kind}: {name} is {getattr(options, name)!r}; expected {expected}")
