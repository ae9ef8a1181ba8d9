"""Devices by name, checked to be there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["fast_dtype", "placed", "resolve_device"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device that a name stands for, checked to be there.

    Args:
        device: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N", "mps" or a `torch.device`.

    Raises:
        InputError: an unknown name, or a device that this machine or this PyTorch does not have.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remedy = 'use "auto" or "cpu"'
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {str(device)!r}")
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (resolved.index or 0):
            raise InputError(f"device: {str(device)!r} is not there, PyTorch sees {count} CUDA devices; {remedy}")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device: 'mps' is not there, PyTorch cannot use it on this machine; {remedy}")
    return resolved


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32.

    It does on GPUs, and on CPUs with AVX512-BF16 or AMX, where VGG16 runs 2.6 times as fast.
    """
    if device.type == "cuda":
        return torch.bfloat16
    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    quick = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if quick else torch.float32


def placed(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels where the network is, in the order in which it likes them."""
    return pixels.to(device).contiguous(memory_format=torch.channels_last)
