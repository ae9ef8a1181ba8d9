"""What a label must look like, said once for all networks that take one."""

from __future__ import annotations

import torch
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["check_label"]


def check_label(owner: str, label: Tensor, batch: int, classes: int | None) -> None:
    """Raise `InputError` unless `label` is int64 `(batch,)` in 0..classes - 1, for the network called `owner`."""
    if not classes:
        raise InputError(f"{owner}: got a label, but was made without num_classes; give num_classes=K")
    if label.dtype != torch.int64:
        raise InputError(f"{owner}: label has dtype {label.dtype}; expected torch.int64, one class a picture")
    if label.shape != (batch,):
        raise InputError(f"{owner}: label has shape {tuple(label.shape)}; expected ({batch},)")
    if label.numel() and not 0 <= int(label.min()) <= int(label.max()) < classes:
        raise InputError(f"{owner}: label has values outside 0..{classes - 1}: {label.tolist()}")
