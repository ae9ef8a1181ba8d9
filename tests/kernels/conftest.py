"""Tests of the Triton kernels: on a GPU for real, elsewhere through Triton's interpreter.

`TRITON_INTERPRET=1 pytest tests/kernels`; Triton reads the variable at its import, so ops/test_kernels_interpret.py
gives these tests a process of their own.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch

from agnlib.ops._dispatch import INTERPRETED


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the kernels run: the CUDA device, or the CPU under the interpreter."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs the package triton")
    if torch.cuda.is_available() and not INTERPRETED:
        return torch.device("cuda")
    if INTERPRETED:
        return torch.device("cpu")
    pytest.skip("needs a CUDA device or TRITON_INTERPRET=1 (tests/ops/test_kernels_interpret.py sets it)")


@pytest.fixture(scope="session")
def gpu(device: torch.device) -> torch.device:
    """A real GPU, for what no interpreter can show."""
    if device.type != "cuda":
        pytest.skip("needs a CUDA device")
    return device
