"""How many threads paint on a processor that others use, too; speed is measured elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agnlib.cli import _machine
from agnlib.cli import main as cli
from agnlib.cli._machine import Moment, threads_beside

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what all processes took")


@given(usual=st.integers(1, 128), more=st.integers(0, 128), others=st.floats(0, 300), further=st.floats(0, 10))
def test_never_none_never_more_and_fewer_the_busier(usual: int, more: int, others: float, further: float) -> None:
    cores = usual + more
    chosen = threads_beside(usual, others, cores)
    assert 1 <= threads_beside(usual, others + further, cores) <= chosen <= usual
    assert threads_beside(usual, 0.0, cores) == usual
    assert threads_beside(usual, cores, cores) == 1


@linux
def test_what_others_take_is_what_they_take() -> None:
    """Beside a process that does nothing else than count, nearly a core is taken, and our own work is not among it."""
    before, idle = Moment.now(), subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            sum(range(1000))
        now = Moment.now()
        assert before is not None
        assert now is not None
        spent = sum(os.times()[:2]) - before.own
        assert now.own - before.own == pytest.approx(spent, abs=0.2)
        cores = os.cpu_count() or 1
        assert 0.25 <= now.others_since(before) <= cores
        assert before.others_since(before) == 0
    finally:
        idle.kill()
        idle.wait()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a photo, on a machine of four cores of which others take three; the threads are put back."""
    usual = torch.get_num_threads()
    moments = iter([Moment(0.0, 0.0, 0.0), Moment(1.0, 4.0, 1.0)] * 9)
    monkeypatch.setattr(Moment, "now", lambda: next(moments))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (20, 16), "navy").save(tmp_path / "a.png")
    Image.new("RGB", (20, 16), "gold").save(tmp_path / "b.png")
    torch.set_num_threads(4)
    yield tmp_path
    torch.set_num_threads(usual)


def stylize(weights: Path, *more: str) -> int:
    arguments = ["stylize", "a.png", "b.png", "--style", "a.png", "-o", "out", "--overwrite", "--device", "cpu"]
    return cli.main([*arguments, "--weights", str(weights), *more])


@pytest.mark.parametrize("terminal", [False, True])
def test_fewer_threads_on_a_busy_machine_and_a_line_on_a_terminal(
    weights: Path, machine: Path, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert stylize(weights) == 0
    assert torch.get_num_threads() == 1
    said = "agnlib: the processor is busy: 1 of 4 threads paint, which is quicker; --threads sets them"
    assert (said in capsys.readouterr().err) == terminal
    assert stylize(weights, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_what_is_asked_for_counts(weights: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stylize(weights, "--threads", "3") == 0
    assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert stylize(weights) == 0
    assert torch.get_num_threads() == 3


def test_where_the_system_does_not_say_all_are_used(
    weights: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_machine.Moment, "now", lambda: None)
    assert stylize(weights) == 0
    assert torch.get_num_threads() == 4
