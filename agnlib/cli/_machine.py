"""The weights on the machine that paints: device, engine and threads, for every kind of `agnlib stylize`."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agnlib.cli._messages import relay, say
from agnlib.cli._request import Request

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["Moment", "make_stylizer", "threads_beside"]

_LONG_ENOUGH = 0.3  # seconds between two looks, for the kernel counts in hundredths


def make_stylizer(request: Request, *, takes_long: bool = False) -> Stylizer:
    """The weights on the device; sets torch's number of threads.

    On a CPU that others use, too, there are fewer than usual: threads that wait for each other are several times slower
    than one. How busy it is is seen while torch is imported.

    Args:
        request: what was asked for; a number of threads, or `OMP_NUM_THREADS`, is taken as it is.
        takes_long: say on a terminal that there are fewer.
    """
    before = Moment.now()
    import torch

    from agnlib.stylizer import Stylizer, resolve_device

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    elif before is not None and resolve_device(request.device).type == "cpu":
        _leave_room(before, aloud=takes_long and not request.quiet and sys.stderr.isatty())
    if not request.quiet:
        relay("agnlib.engine")  # the first export takes seconds
    return Stylizer.from_pretrained(
        request.weights, device=request.device, engine=request.engine, precision=request.precision
    )


def _leave_room(before: Moment, *, aloud: bool) -> None:
    """Set fewer threads than usual where other processes take the cores."""
    import torch

    now, usual = Moment.now(), torch.get_num_threads()
    if now is None or "OMP_NUM_THREADS" in os.environ:
        return
    chosen = threads_beside(usual, now.others_since(before), len(os.sched_getaffinity(0)))
    if chosen < usual:
        torch.set_num_threads(chosen)
        if aloud:
            say(f"the processor is busy: {chosen} of {usual} threads paint, which is quicker; --threads sets them")


def threads_beside(usual: int, others: float, cores: int) -> int:
    """As many of the usual threads as there are cores for, beside other processes that take so many of them.

    Example:
        >>> [threads_beside(8, others, 8) for others in (0.0, 0.4, 3.0, 8.0)]
        [8, 8, 5, 1]
    """
    return max(1, min(usual, math.floor(usual * (1 - others / cores) + 0.5)))


@dataclass(frozen=True)
class Moment:
    """What the processors had done by then, in seconds: all processes but the polite ones (`nice`), and this one."""

    time: float
    all: float
    own: float

    @classmethod
    def now(cls) -> Moment | None:
        """None where the system does not say: elsewhere than on Linux."""
        try:
            mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
                rows = [fields[1:9] for fields in map(str.split, file) if fields and fields[0] in mine]
            ticks = [sum(map(int, column)) for column in zip(*rows, strict=True)]
            user, _, system, _, _, hard, soft, stolen = ticks
            spent = (user + system + hard + soft + stolen) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return None
        return cls(time.perf_counter(), spent, sum(os.times()[:2]))

    def others_since(self, before: Moment) -> float:
        """How many cores other processes took, on average; 0 where the time is too short to tell."""
        seconds = self.time - before.time
        return max(0.0, (self.all - before.all - (self.own - before.own)) / seconds) if seconds > _LONG_ENOUGH else 0.0
