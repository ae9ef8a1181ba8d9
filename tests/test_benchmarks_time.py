"""The benchmark of minutes from nothing: each size of crops has its part of them."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import time_to_quality
finally:
    sys.path.remove(str(BENCHMARKS))


def test_each_size_has_an_equal_part_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_to_quality, "loader", itertools.repeat)
    seconds = itertools.count(15, 15)
    stages: Any = ["small", "large"]
    batches = time_to_quality.one_after_another(stages, 2, lambda: next(seconds))
    assert list(batches) == ["small"] * 4 + ["large"] * 4


def test_each_size_needs_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        time_to_quality.main(["--size", "144", "208"])
    assert "2 sizes and 1 batches" in capsys.readouterr().err
