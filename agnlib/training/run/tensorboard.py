"""Scalars for TensorBoard, where it is installed."""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from agnlib._shared.optional import require

__all__ = ["EventFile", "is_installed"]


def is_installed() -> bool:
    """Whether the package tensorboard is there."""
    return importlib.util.find_spec("tensorboard") is not None


class EventFile:
    """Numbers by step, for `tensorboard --logdir` on the folder.

    Args:
        folder: where the file goes, made if need be.
        after: the last step that counts of earlier files; what they have of later ones is no longer shown.

    Raises:
        MissingDependencyError: tensorboard cannot be imported.
        OSError: the folder's name is no UTF-8, which tensorboard cannot write.
    """

    def __init__(self, folder: str | os.PathLike[str], *, after: int) -> None:
        module = require("torch.utils.tensorboard", extra="tensorboard", purpose="logging for TensorBoard")
        try:
            self._writer = module.SummaryWriter(str(Path(folder)), purge_step=after + 1)
        except UnicodeEncodeError as error:
            raise OSError(errno.EILSEQ, "TensorBoard needs a folder whose name is UTF-8", os.fspath(folder)) from error

    def write(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """Add numbers; those that are None are left out."""
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write all to the disk."""
        self._writer.close()
