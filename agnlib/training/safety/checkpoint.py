"""A checkpoint is one file: tensors as safetensors, in its header the rest as JSON and a manifest with hashes."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from agnlib._shared.atomic import write_bytes
from agnlib._shared.paths import is_file, is_folder, text_of, utf8_name, why_not
from agnlib.errors import InputError, WeightsError

__all__ = ["checkpoints_in", "copy_state", "load_state", "newest_complete", "pack", "save_state", "unpack"]

FORMAT_VERSION = 3
_TENSOR, _PAIRS = "$tensor", "$pairs"  # how tensors and dicts with keys that are no strings look in JSON


def save_state(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint; an interrupted write leaves the old file as it was.

    Raises:
        WeightsError: the file cannot be written.
    """
    path = Path(text_of(path, "checkpoint"))
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    state = json.dumps(meta)
    manifest = {"format_version": FORMAT_VERSION, "sha256": {"state": _hash(state), "tensors": _hash_tensors(stored)}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, save_tensors(stored, {"manifest": json.dumps(manifest), "state": state}))
    except (OSError, ValueError) as error:  # ValueError: a NUL, which no name can have
        why = getattr(error, "strerror", None) or error
        raise WeightsError(
            f"cannot write the checkpoint {path}: {why}; make room there or choose another place"
        ) from error


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the rest of a checkpoint.

    Raises:
        WeightsError: the file is missing, corrupt, or of another format version.
    """
    path = Path(text_of(path, "checkpoint"))
    if not is_file(path):
        raise WeightsError(f"the checkpoint {path} {why_not(path, 'a file')}; take another one")
    try:
        with utf8_name(path) as name, safe_open(name, "pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        state, manifest = header["state"], json.loads(header["manifest"])
        version, hashes = manifest["format_version"], manifest["sha256"]
        whole = hashes == {"state": _hash(state), "tensors": _hash_tensors(tensors)}
        meta = json.loads(state)
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a whole agnlib checkpoint ({error}); take another one") from error
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version!r}, this agnlib reads {FORMAT_VERSION}; take another checkpoint, or"
            " the agnlib that wrote it"
        )
    if not whole or not isinstance(meta, dict):
        raise WeightsError(f"{path} is not a whole agnlib checkpoint (SHA-256 differs); take another one")
    return tensors, meta


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors")) if is_folder(folder) else []


def newest_complete(folder: Path) -> Path | None:
    """The newest checkpoint that can be loaded; None where there is none at all.

    Those that are passed over are named in a warning.

    Raises:
        WeightsError: there are checkpoints, and not one of them is whole.
    """
    found = checkpoints_in(folder)
    for path in reversed(found):
        try:
            load_state(path)
        except WeightsError as error:
            warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=2)
        else:
            return path
    if found:
        raise WeightsError(f"not one of the {len(found)} checkpoints in {folder} is whole; remove them to start over")
    return None


def pack(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """A nested state as JSON can hold it, copies of its tensors put into `tensors` under names that begin with `name`.

    Args:
        name: where the state belongs.
        value: tensors, numbers, strings, None, and dicts, lists and tuples (which become lists) of them.
        tensors: is added to.

    Raises:
        InputError: a value of another type.

    Example:
        >>> tensors = {}
        >>> pack("sgd", {0: {"momentum": torch.zeros(2)}, "lr": 0.1}, tensors)
        {'$pairs': [[0, {'momentum': {'$tensor': 'sgd.0.momentum'}}], ['lr', 0.1]]}
        >>> tensors
        {'sgd.0.momentum': tensor([0., 0.])}
    """
    if isinstance(value, Tensor):
        tensors[name] = value.detach().clone()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        items = [[key, pack(f"{name}.{key}", each, tensors)] for key, each in value.items()]
        return dict(items) if all(isinstance(key, str) for key in value) else {_PAIRS: items}
    if isinstance(value, list | tuple):
        return [pack(f"{name}.{index}", each, tensors) for index, each in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"the state {name} is a {type(value).__name__}; expected tensors, numbers, strings, and dicts and lists of them"
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `pack` was given."""
    if isinstance(value, list):
        return [unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]].clone()
    if _PAIRS in value:
        return {key: unpack(each, tensors) for key, each in value[_PAIRS]}
    return {key: unpack(each, tensors) for key, each in value.items()}


def copy_state(value: Any) -> Any:
    """The same with copies of the tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copy_state(each) for key, each in value.items()}
    return [copy_state(each) for each in value] if isinstance(value, list | tuple) else value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return digest.hexdigest()
