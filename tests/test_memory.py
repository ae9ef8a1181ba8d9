"""Where large tensors get their memory from; each in a process of its own, for a setting holds for all of it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import agnlib.memory
from agnlib import Generator, StyleExtractor, Stylizer
from agnlib.engines import register
from agnlib.errors import InputError
from agnlib.memory import freed_memory_kept, keep_freed_memory

needs_glibc = pytest.mark.skipif(
    not agnlib.memory._is_glibc(), reason="there is nothing to set without the GNU C library"
)

_COMMON = """
import os, resource, threading, time
from agnlib.memory import freed_memory_kept, keep_freed_memory

def resident():  # MiB
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

def faults():  # pages that the system gave
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use(megabytes, count=1):  # at once, and freed
    del [b"1" * (megabytes * 2**20) for _ in range(count)][:]

def falls_below(limit, seconds=60):
    end = time.monotonic() + seconds
    while resident() > limit and time.monotonic() < end:
        time.sleep(0.05)
    return resident() <= limit
"""


def run(program: str, **environment: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    given = {**own, "AGNLIB_KEEP_MEMORY": "", **environment}
    done = subprocess.run(
        [sys.executable, "-c", _COMMON + program], capture_output=True, text=True, env=given, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_COUNT = """
def count():
    for _ in range(16):  # until the heap has room for it
        use(32)
    before = faults()
    for _ in range(8):
        use(32)  # 8,192 pages of 4 KiB
    print(faults() - before)
"""
_PAGES = 8 * 2**25 // (os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096)


@needs_glibc
@pytest.mark.parametrize("how", ["keep_freed_memory()\ncount()", "with freed_memory_kept():\n    count()"])
def test_memory_that_was_freed_is_used_again_without_asking_the_system(how: str) -> None:
    assert int(run(_COUNT + how)) < _PAGES // 20


@needs_glibc
@pytest.mark.parametrize(
    "environment", [{"AGNLIB_KEEP_MEMORY": "0"}, {"MALLOC_MMAP_THRESHOLD_": "1000000"}, {"MALLOC_TOP_PAD_": "4096"}]
)
def test_it_can_be_turned_off_and_leaves_what_others_have_set(environment: dict[str, str]) -> None:
    program = _COUNT + "with freed_memory_kept():\n    count()\nassert threading.active_count() == 1"
    assert int(run(program, **environment)) > _PAGES // 2


@needs_glibc
def test_memory_is_given_back_when_nobody_was_inside_for_a_while() -> None:
    run(
        """
use(1)
before = resident()
with freed_memory_kept():
    use(16, count=20)
assert resident() > before + 300, (resident(), before)  # kept
assert falls_below(before + 50), (resident(), before)
use(48)
assert falls_below(before + 50, 0), (resident(), before)  # more than the allocator keeps by itself
with freed_memory_kept():  # and once more
    use(16, count=20)
assert resident() > before + 300
assert falls_below(before + 50)
""",
        AGNLIB_KEEP_MEMORY="1",
    )


@needs_glibc
def test_memory_is_kept_while_anybody_is_inside() -> None:
    run(
        """
use(1)
before, entered, leave = resident(), threading.Event(), threading.Event()

def other():
    with freed_memory_kept(), freed_memory_kept():
        entered.set()
        leave.wait()

thread = threading.Thread(target=other)
thread.start()
entered.wait()
with freed_memory_kept():
    use(16, count=20)
    with freed_memory_kept():
        pass
time.sleep(0.5)  # five times as long as memory is kept
assert resident() > before + 300, (resident(), before)
leave.set()
thread.join()
assert falls_below(before + 50), (resident(), before)
""",
        AGNLIB_KEEP_MEMORY="0.1",
    )


@needs_glibc
def test_memory_of_threads_is_kept_and_given_back() -> None:
    run(
        """
def paint():
    with freed_memory_kept():
        for _ in range(4):
            use(8, count=4)
        before = faults()
        use(8, count=4)
        found.append(faults() - before)

found, before = [], resident()
thread = threading.Thread(target=paint)
thread.start()
thread.join()
assert max(found) < 2048 // 4, found  # of 8,192 pages
assert falls_below(before + 50), (resident(), before)
""",
        AGNLIB_KEEP_MEMORY="1",
    )


@needs_glibc
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_begins_anew() -> None:
    run(
        """
def child():
    use(1)
    before = resident()
    use(48)  # more than the allocator keeps by itself
    assert resident() < before + 10, (resident(), before)
    with freed_memory_kept():
        use(16, count=20)
    assert resident() > before + 300, (resident(), before)
    assert falls_below(before + 50), (resident(), before)

with freed_memory_kept():
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    before = resident()
    use(48)
    assert resident() > before + 40  # here it is as it was
""",
        AGNLIB_KEEP_MEMORY="1",
    )


@needs_glibc
def test_kept_for_good_is_not_given_back() -> None:
    run(
        """
use(1)
before = resident()
with freed_memory_kept():
    keep_freed_memory()
    use(16, count=20)
with freed_memory_kept():
    pass
time.sleep(1)
assert resident() > before + 300, (resident(), before)
""",
        AGNLIB_KEEP_MEMORY="0.1",
    )


@needs_glibc
def test_a_stylizer_paints_with_freed_memory_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Painted:
        """Says who is inside."""

        def __init__(self, generator: Generator, precision: str) -> None:
            del generator, precision

        def takes(self, photo: object, latent: object) -> bool:
            return True

        def __call__(self, photo: object, style: object, latent: object = None) -> object:
            inside.append(agnlib.memory._pool._inside)
            return photo

    inside: list[int] = []
    monkeypatch.setenv("AGNLIB_KEEP_MEMORY", "")
    monkeypatch.setattr(agnlib.memory, "_pool", agnlib.memory._Pool())  # a command line may have asked for it for good
    monkeypatch.setattr(agnlib.memory, "_may_be_set", lambda: True)
    monkeypatch.setattr(agnlib.memory, "_set", lambda thresholds: None)
    register("asked", Painted)
    stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu", engine="asked")
    stylizer(np.zeros((30, 40, 3)), np.ones((20, 20, 3)), tile=16)
    assert inside
    assert set(inside) == {1}
    assert agnlib.memory._pool._inside == 0


@pytest.mark.parametrize("seconds", ["often", "-1", "inf", "nan"])
def test_a_wrong_number_of_seconds_is_named(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("AGNLIB_KEEP_MEMORY", seconds)
    with pytest.raises(InputError, match="expected how many seconds"), freed_memory_kept():
        pass


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agnlib.memory, "_is_glibc", lambda: False)
    monkeypatch.setattr(agnlib.memory.ctypes, "CDLL", None)
    agnlib.memory._may_be_set.cache_clear()
    assert keep_freed_memory() is False
    with freed_memory_kept():
        assert agnlib.memory._pool._inside == 0
    agnlib.memory._may_be_set.cache_clear()
