"""examples/custom_kernel.py: its op against torch's softshrink, its derivatives, its kernel under the interpreter."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        return importlib.import_module("custom_kernel")


@pytest.mark.parametrize("level", [0.0, 0.3, 2.0])
def test_with_one_threshold_it_is_torchs_softshrink(example: ModuleType, level: float) -> None:
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(example.shrink(x, torch.full((2, 3), level)), F.softshrink(x, level))


def test_each_channel_has_its_own_threshold(example: ModuleType) -> None:
    x, thresholds = torch.randn(2, 3, 5, 4), torch.rand(2, 3)
    alone = [[F.softshrink(x[b, c], float(thresholds[b, c])) for c in range(3)] for b in range(2)]
    wanted = torch.stack([torch.stack(row) for row in alone])
    torch.testing.assert_close(example.shrink(x, thresholds), wanted)


def test_first_and_second_derivatives(example: ModuleType) -> None:
    # Away from the kinks, where finite differences mean nothing.
    x = (torch.randn(2, 3, 4, 4, dtype=torch.float64).sign() * (0.4 + torch.rand(2, 3, 4, 4))).requires_grad_()
    thresholds = torch.full((2, 3), 0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(example.shrink, (x, thresholds))
    assert torch.autograd.gradgradcheck(example.shrink, (x, thresholds))


def test_schema_fake_kernel_and_derivative_agree_with_the_op(example: ModuleType) -> None:
    for x, threshold in example.samples("cpu")[:5]:
        torch.library.opcheck(example.shrink, (x, threshold))


def test_the_kernel_under_the_interpreter() -> None:
    pytest.importorskip("triton", reason="needs the package triton")
    path = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "custom_kernel.py")],
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("painted (1, 3, 40, 56)")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_on_a_gpu(example: ModuleType) -> None:
    from agnlib.testing import check_kernel

    check_kernel(example.shrink, example.shrink_reference, example.samples("cuda"))
