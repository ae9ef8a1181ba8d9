"""A training run's whole state in one safetensors file: tensors by name, the rest as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from agnlib._atomic import write_bytes
from agnlib.errors import WeightsError

__all__ = ["flatten_optimizer", "load_state", "restore_optimizer", "save_state"]

_FORMAT_VERSION = 1


def save_state(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint; an interrupted write leaves the old file as it was.

    Raises:
        WeightsError: the file cannot be written.
    """
    path = Path(path)
    header = {"agnlib": json.dumps({"format_version": _FORMAT_VERSION, **meta})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, header))
    except OSError as error:
        raise WeightsError(
            f"cannot write the checkpoint {path}: {error.strerror or error}; make room there or choose another place"
        ) from error


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the rest of a checkpoint.

    Raises:
        WeightsError: the file is missing, corrupt, or of another format version.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {}).get("agnlib", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole agnlib checkpoint ({error}); take another one") from error
    if not isinstance(meta, dict) or meta.get("format_version") != _FORMAT_VERSION:
        raise WeightsError(f"{path} is no agnlib checkpoint of format version {_FORMAT_VERSION}; take another one")
    return tensors, meta


def flatten_optimizer(name: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors as `{"<name>.<parameter>.<key>": tensor}`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}.{index}.{key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
    }


def restore_optimizer(name: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `flatten_optimizer` gave; the groups' options stay those of `optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for full, value in tensors.items():
        if full.startswith(f"{name}."):
            index, key = full.removeprefix(f"{name}.").split(".", 1)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
