"""Where large tensors on the CPU get their memory from."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed_memory"]

# malloc.h of the GNU C library
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**30  # bytes of a block that is kept; older versions allow less
_LARGEST_OF_OLD = 2**25


def keep_freed_memory() -> bool:
    """Have this process keep the memory that tensors free, for the next ones, instead of giving it back at once.

    A feature map of a large picture is a block of its own that the GNU C library asks the system for and returns each
    time, and the system fills it with zeros, page by page: a third of the time that a picture of 1024 px takes. The
    command line calls this; a server or a program that paints a lot may call it once at its start. It holds for the
    whole process, which then keeps about as much memory as it once needed. CUDA is not concerned: PyTorch keeps its
    memory anyway.

    Returns:
        Whether it took effect: True with the GNU C library (Linux), False elsewhere, where nothing is changed.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not _is_glibc():
        return False
    libc = ctypes.CDLL(None)
    kept = any(libc.mallopt(_M_MMAP_THRESHOLD, size) == 1 for size in (_LARGEST, _LARGEST_OF_OLD))
    return bool(kept and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) == 1)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
