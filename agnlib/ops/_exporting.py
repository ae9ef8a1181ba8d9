"""Whether the running code is being exported, in every version of PyTorch that agnlib takes."""

from __future__ import annotations

import torch

__all__ = ["is_exporting"]

# There torch.compiler.is_exporting() is True in whatever torch.compile traces, too; the flag behind it is not.
_SAYS_SO_OF_COMPILING = torch.__version__ < "2.10"


def is_exporting() -> bool:
    """True inside `torch.export`, and in what is built on it, such as `torch.onnx.export`."""
    return torch.compiler._is_exporting_flag if _SAYS_SO_OF_COMPILING else torch.compiler.is_exporting()
