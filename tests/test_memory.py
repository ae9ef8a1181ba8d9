"""Where large tensors get their memory from; each in a process of its own, for the setting holds for all of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import agnlib.memory
from agnlib.memory import keep_freed_memory

_COUNT = """
import resource, sys, torch
from agnlib.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(16):  # until the heap has room for it
    torch.ones(2**23)
before = faults()
for _ in range(8):
    torch.ones(2**23)  # 32 MiB: 8,192 pages
print(faults() - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _COUNT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not agnlib.memory._is_glibc(), reason="there is nothing to set without the GNU C library")
def test_memory_that_was_freed_is_used_again_without_asking_the_system() -> None:
    pages = 8 * 2**25 // os.sysconf("SC_PAGESIZE")
    assert faults("keep") < pages // 20


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agnlib.memory, "_is_glibc", lambda: False)
    monkeypatch.setattr(agnlib.memory.ctypes, "CDLL", None)
    assert keep_freed_memory() is False
