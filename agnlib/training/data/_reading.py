"""Batches as they come from other processes, which may be ended while they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agnlib.errors import TrainingError
from agnlib.training.data._batch import Batch

__all__ = ["naming_ended_readers", "next_batch"]


def next_batch(coming: Iterator[Batch], stopping: Callable[[], bool]) -> Batch | None:
    """The next batch; None after the last, and where a signal has ended the reading processes and the training."""
    try:
        return next(coming, None)
    except RuntimeError:  # a DataLoader's, whose processes are gone
        if stopping():
            return None
        raise


@contextmanager
def naming_ended_readers() -> Iterator[None]:
    """Say what it means that a reading process is gone: the DataLoader notices by a signal, wherever we are.

    Raises:
        TrainingError: the system has ended a process that reads pictures.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise TrainingError(
            f"a process that reads pictures was ended by the system ({' '.join(str(error).split())}); mostly memory has"
            " run out, or shared memory (/dev/shm; Docker: --shm-size=2g): free some or read with fewer processes"
            " (--workers 0 for none), and go on from the last checkpoint (--resume auto)"
        ) from error
