"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agnlib._shared.paths import is_file

__all__ = ["remove_leftovers", "replacing", "write_bytes"]


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file through a sibling temporary, so that a crash leaves the old one or the new one, never a torn one."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write and seek in, which becomes `path` when the block ends well, and is gone when it does not.

    It has the permissions of the file that it replaces. A link is replaced, what it leads to stays as it is.
    What cannot be written is an `OSError`, be it for its name.
    """
    if not path.name or "\0" in str(path):
        raise OSError(errno.EINVAL, "the name is empty or has a NUL")
    # a name of its own length: the target's may be as long as the file system allows
    temporary = path.with_name(f".agnlib-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            if is_file(path) and not path.is_symlink():
                temporary.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)  # before there is anything to read
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporaries in a folder that processes left which were killed while they wrote."""
    for temporary in folder.glob(".agnlib-*.tmp"):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut; a folder on Windows cannot be opened for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
