"""Whether the running code is being exported, in every version of PyTorch that agnlib takes."""

from __future__ import annotations

import torch

__all__ = ["is_exporting"]


def is_exporting() -> bool:
    """True inside `torch.export`, and in what is built on it, such as `torch.onnx.export`."""
    return torch.compiler.is_exporting()
