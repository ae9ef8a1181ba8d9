"""The Triton kernels without a GPU: tests/kernels in a process of their own, where Triton interprets them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agnlib

HERE = Path(__file__).resolve().parents[1]
FILES = sorted((HERE / "kernels").glob("test_*.py"))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kernels_under_the_interpreter(file: Path) -> None:
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([str(Path(agnlib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    environment.pop("AGNLIB_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        env=environment,
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
