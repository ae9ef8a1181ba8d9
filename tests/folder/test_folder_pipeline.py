"""Three stages at once: what overlaps, what is bounded, and that nothing hangs, whoever fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnlib.folder import _pipeline
from agnlib.folder._pipeline import Dropped, Pipeline
from agnlib.painting._photo import Rows

WAIT = 20  # seconds, for what must happen


class Work:
    """Steps on numbers: number n is a picture of `heights[n]` rows, all n; what is written is kept."""

    def __init__(self, heights: list[int], fails: dict[str, set[int]] | None = None) -> None:
        self.heights, self.fails = heights, fails or {}
        self.written: dict[int, int] = {}
        self.stop = False

    def failing(self, step: str, number: int) -> None:
        if number in self.fails.get(step, ()):
            raise ValueError(f"{step} {number}")

    def pixels(self, number: int) -> int:
        self.failing("pixels", number)
        return self.heights[number]

    def open(self, number: int) -> Any:
        self.failing("open", number)
        return number

    def paint(self, photo: Any) -> Rows:
        self.failing("paint", photo)
        return Rows((self.heights[photo], 1, 1), np.dtype(np.int64), self.parts(photo))

    def parts(self, number: int) -> Iterator[np.ndarray]:
        for row in range(self.heights[number]):
            if row == self.heights[number] // 2:
                self.failing("part", number)
            yield np.full((1, 1, 1), number)

    def write(self, number: int, photo: Any, rows: Rows, parts: Iterable[np.ndarray]) -> None:
        assert photo == number
        self.failing("begin", number)
        count = 0
        for part in parts:
            assert (part == number).all()
            count += 1
            if count == 2:
                self.failing("write", number)
        self.written[number] = count

    def steps(self) -> Pipeline[int]:
        return Pipeline(self.pixels, self.open, self.paint, self.write, lambda: self.stop)

    def run(self) -> dict[int, str | None]:
        """What became of each."""
        outcomes = list(self.steps().run(range(len(self.heights))))
        assert len({number for number, _ in outcomes}) == len(outcomes)
        return {number: None if error is None else str(error) for number, error in outcomes}


STEPS = ("pixels", "open", "paint", "part", "begin", "write")


@given(
    st.lists(st.integers(2, 9), max_size=9),
    st.dictionaries(st.integers(0, 8), st.sampled_from(STEPS), max_size=5),
    st.integers(1, 3),
)
def test_everything_is_done_or_said(heights: list[int], failing: dict[int, str], threads: int) -> None:
    fails = {step: {number for number, each in failing.items() if each == step} for step in STEPS}
    work, before = Work(heights, fails), threading.active_count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pipeline, "_thread_count", lambda: threads)
        patch.setattr(_pipeline, "_PIXELS", 10)
        outcomes = work.run()
    expected = {number: f"{failing[number]} {number}" if number in failing else None for number in range(len(heights))}
    assert outcomes == expected
    assert work.written == {number: heights[number] for number, error in expected.items() if error is None}
    assert threading.active_count() == before


def test_the_next_is_opened_while_one_is_painted_and_the_last_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pipeline, "_thread_count", lambda: 1)
    work = Work([1, 1, 1])
    opened, painted = threading.Event(), threading.Event()

    def open_(number: int) -> Any:
        if number == 2:
            opened.set()
        return number

    def paint(number: int) -> Rows:
        if number == 1:
            assert opened.wait(WAIT), "the third is not opened while the second is painted"
            painted.set()
        return work.paint(number)

    def write(number: int, *rest: Any) -> None:
        if number == 0:
            assert painted.wait(WAIT), "the second is not painted while the first is written"
        work.write(number, *rest)

    steps = replace(work.steps(), open=open_, paint=paint, write=write)
    assert [error for _, error in steps.run(range(3))] == [None] * 3


def test_a_picture_is_written_while_it_is_painted() -> None:
    work, first = Work([5]), threading.Event()

    def parts() -> Iterator[np.ndarray]:
        yield np.zeros((1, 1, 1), np.int64)
        assert first.wait(WAIT), "the first part is not written before the second is painted"
        yield np.zeros((4, 1, 1), np.int64)

    def write(_: int, photo: Any, rows: Rows, given_: Iterable[np.ndarray]) -> None:
        for _ in given_:
            first.set()

    steps = replace(work.steps(), paint=lambda _: Rows((5, 1, 1), np.dtype(np.int64), parts()), write=write)
    assert [error for _, error in steps.run(range(1))] == [None]


def test_what_is_between_the_stages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pipeline, "_thread_count", lambda: 3)
    monkeypatch.setattr(_pipeline, "_PIXELS", 10)
    heights = [int(height) for height in np.random.default_rng(0).integers(1, 9, 40)] + [25, 3, 30]
    work, inside, most, lock = Work(heights), [0, 0], [0, 0], threading.Lock()

    def count(amount: int, pixels: int) -> None:
        with lock:
            inside[0] += amount
            inside[1] += pixels
            most[0] = max(most[0], inside[0])
            assert inside[1] <= 10 or inside[0] == 1, "a large picture goes alone"
            most[1] = max(most[1], inside[1])

    def open_(number: int) -> Any:
        count(1, heights[number])
        return number

    def write(number: int, *rest: Any) -> None:
        time.sleep(0.001)
        work.write(number, *rest)
        count(-1, -heights[number])

    assert all(error is None for _, error in replace(work.steps(), open=open_, write=write).run(range(len(heights))))
    assert most[1] == 30
    assert 2 <= most[0] <= 1 + 3 + 1 + 3  # being opened ahead, painted, written


def test_parts_wait_for_a_slow_writer() -> None:
    work, ahead, taken, painted = Work([40]), [0], [0], [0]

    def parts() -> Iterator[np.ndarray]:
        for _ in range(40):
            painted[0] += 1
            ahead[0] = max(ahead[0], painted[0] - taken[0])
            yield np.zeros((1, 1, 1), np.int64)

    def write(_: int, photo: Any, rows: Rows, given_: Iterable[np.ndarray]) -> None:
        for _ in given_:
            time.sleep(0.001)
            taken[0] += 1

    steps = replace(work.steps(), paint=lambda _: Rows((40, 1, 1), np.dtype(np.int64), parts()), write=write)
    assert [error for _, error in steps.run(range(1))] == [None]
    assert ahead[0] <= _pipeline._PARTS + 2  # one in each hand


@pytest.mark.parametrize("row", [0, 1, 3])
def test_a_stop_writes_what_is_painted_in_full_and_drops_the_rest(row: int) -> None:
    work = Work([3, 4, 5])

    def parts(number: int) -> Iterator[np.ndarray]:
        for index in range(work.heights[number]):
            work.stop = work.stop or (number == 1 and index == row)
            yield np.full((1, 1, 1), number)

    steps = replace(
        work.steps(), paint=lambda number: Rows((work.heights[number], 1, 1), np.dtype(np.int64), parts(number))
    )
    outcomes = dict(steps.run(range(3)))
    whole = {0: 3} | ({1: 4} if row == 3 else {})
    assert work.written == whole
    assert {number for number, error in outcomes.items() if error is None} == whole.keys()
    assert row == 3 or isinstance(outcomes[1], Dropped)
    assert 2 not in outcomes


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_no_thread_behind(error: type[BaseException]) -> None:
    work, before = Work([3, 3, 3]), threading.active_count()

    def parts() -> Iterator[np.ndarray]:
        yield np.zeros((1, 1, 1), np.int64)
        raise error

    steps = replace(work.steps(), paint=lambda _: Rows((3, 1, 1), np.dtype(np.int64), parts()))
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            list(steps.run(range(3)))
    else:
        assert [type(each) for _, each in steps.run(range(3))] == [MemoryError] * 3
    assert work.written == {}
    assert threading.active_count() == before
