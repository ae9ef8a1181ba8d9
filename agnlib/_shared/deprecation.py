"""How a public name goes away: it keeps working for two minor versions and warns."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["deprecated"]

P = ParamSpec("P")
T = TypeVar("T")


def deprecated(*, since: str, remove_in: str, use: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function or a class; calling it warns with `DeprecationWarning` at the caller's line.

    A class stays a class (`isinstance` and subclassing go on working): its `__init__` is what warns.

    Args:
        since: the version that deprecates it.
        remove_in: the version that will no longer have it.
        use: what to call instead.

    Example:
        >>> @deprecated(since="0.2", remove_in="0.4", use="new_name")
        ... def old_name():
        ...     return 1
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     _ = old_name()
        >>> print(caught[0].message)
        old_name is deprecated since agnlib 0.2 and will be gone in 0.4; use new_name
    """

    def mark(target: Callable[P, T]) -> Callable[P, T]:
        message = f"{target.__name__} is deprecated since agnlib {since} and will be gone in {remove_in}; use {use}"
        if isinstance(target, type):
            marked: Any = target
            marked.__init__ = _warning(marked.__init__, message)
            return cast("Callable[P, T]", marked)
        return _warning(target, message)

    return mark


def _warning(function: Callable[P, T], message: str) -> Callable[P, T]:
    @functools.wraps(function)
    def warned(*args: P.args, **kwargs: P.kwargs) -> T:
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return function(*args, **kwargs)

    return warned
