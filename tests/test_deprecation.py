"""Deprecated names warn at the caller, go on working, and stay what they were."""

from __future__ import annotations

import pickle
import warnings

import pytest

from agnlib._shared.deprecation import deprecated


@deprecated(since="0.2", remove_in="0.4", use="add")
def plus(a: int, *, b: int = 1) -> int:
    """Add."""
    return a + b


@deprecated(since="0.2", remove_in="0.4", use="Pair")
class Couple:
    def __init__(self, first: int) -> None:
        self.first = first


def test_a_function_warns_and_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"plus is deprecated since agnlib 0\.2 .* in 0\.4; use add") as caught:
        assert plus(1, b=2) == 3
    assert caught[0].filename == __file__
    assert plus.__doc__ == "Add."


def test_a_class_stays_a_class() -> None:
    with pytest.warns(DeprecationWarning, match="Couple is deprecated"):
        couple = Couple(3)
    assert isinstance(couple, Couple)
    assert pickle.loads(pickle.dumps(couple)).first == 3


def test_nothing_warns_before_it_is_called() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deprecated(since="0.2", remove_in="0.4", use="x")(lambda: None)
