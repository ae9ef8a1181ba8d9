"""Weights as files: a folder with `config.json` and `model.safetensors`, and tensors that several of them share."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from agnlib._shared.atomic import write_bytes
from agnlib._shared.paths import exists, is_file, is_folder, text_of
from agnlib.errors import WeightsError
from agnlib.models import _hub

__all__ = ["FORMAT_VERSION", "available", "configuration", "find", "read", "share", "short", "write"]

FORMAT_VERSION = 1
_CONFIG, _TENSORS = "config.json", "model.safetensors"
_SHIPPED = Path(__file__).resolve().parent.parent / "weights"
_SHARED = _SHIPPED / "shared"  # what weights that come with agnlib have in common


def available() -> list[str]:
    """Names of the weights that come with agnlib."""
    return sorted(p.name for p in _SHIPPED.iterdir() if is_file(p / _CONFIG)) if is_folder(_SHIPPED) else []


def find(name_or_folder: str | os.PathLike[str]) -> Path:
    """The folder of a shipped name, of an address on the Hugging Face Hub, or the folder itself.

    Raises:
        WeightsError: it is none of these, or cannot be downloaded.
    """
    name = text_of(name_or_folder, "weights")
    if name in available():
        return _SHIPPED / name
    if name.startswith(_hub.PREFIX):
        return _hub.fetched(name, (_CONFIG, _TENSORS))
    folder = Path(name_or_folder)
    if is_file(folder / _CONFIG):
        return folder
    if is_folder(folder):
        raise WeightsError(f"{folder} has no {_CONFIG}; expected a folder written by save_pretrained or agnlib train")
    names = ", ".join(available()) or "none"
    raise WeightsError(
        f"unknown weights {name!r}; shipped: {names}; or give a folder with {_CONFIG}, or a run of agnlib train or a"
        " checkpoint of it"
    )


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write both files, the configuration with the hash of the tensors.

    Raises:
        WeightsError: the folder cannot be written.
    """
    blob = save_tensors(dict(tensors))
    config = {"format_version": FORMAT_VERSION, **config, "sha256": hashlib.sha256(blob).hexdigest()}
    text = json.dumps(config, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / _TENSORS, blob)
        write_bytes(folder / _CONFIG, text.encode())
    except OSError as error:
        raise WeightsError(f"cannot write weights into {folder}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL, which no name can have
        raise WeightsError(f"cannot write weights into {str(folder)!r}: {error}; give another name") from error


def share(folder: Path, *names: str) -> None:
    """Leave out of a folder's tensors what shared files of these names have; for weights that come with agnlib."""
    config, tensors = read(folder)
    common, hashes = dict[str, Tensor](), dict[str, str]()
    for name in names:
        hashes[name] = hashlib.sha256((_SHARED / name).read_bytes()).hexdigest()
        common |= _loaded(_SHARED / name)
    own = {key: each for key, each in tensors.items() if key not in common or not _same(each, common[key])}
    write(folder, config | {"shared": hashes}, own)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors, those that are shared among them.

    Raises:
        WeightsError: a file is missing, corrupt, or of another version.
    """
    config = configuration(folder)
    tensors = _loaded(folder / _TENSORS, config.get("sha256"))
    for name, digest in config.get("shared", {}).items():
        tensors = _loaded(_SHARED / name, digest) | tensors
    return config, tensors


def configuration(folder: Path) -> dict[str, Any]:
    """What `config.json` says.

    Raises:
        WeightsError: it is missing, corrupt, or of another version.
    """
    try:
        config = json.loads(_bytes(folder / _CONFIG))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{folder / _CONFIG} is not JSON ({short(error)}); get the weights again") from error
    if not _describes_models(config):
        raise WeightsError(f"{folder / _CONFIG} does not describe models; expected a file written by save_pretrained")
    if config.get("format_version") != FORMAT_VERSION:
        raise WeightsError(
            f"{folder / _CONFIG} has format version {config.get('format_version')!r}; this agnlib reads"
            f" {FORMAT_VERSION}: upgrade agnlib or convert the weights"
        )
    return dict(config)


def _loaded(path: Path, digest: object = None) -> dict[str, Tensor]:
    if exists(path) and not is_file(path):  # a pipe would be waited on for ever
        raise WeightsError(f"{path} is no file; expected {_CONFIG} and {_TENSORS}")
    blob = _bytes(path)
    if digest is not None and hashlib.sha256(blob).hexdigest() != digest:
        raise WeightsError(f"{path} does not match its {_CONFIG} (SHA-256 differs); get the weights again")
    try:
        return dict(load_tensors(blob))
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} is not a safetensors file ({error}); get the weights again") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"cannot read {error.filename}: {error.strerror}; expected {_CONFIG} and {_TENSORS}"
        ) from error


def _describes_models(config: object) -> bool:
    if not isinstance(config, dict) or not isinstance(config.get("models"), dict):
        return False
    shared = config.get("shared", {})
    named = isinstance(shared, dict) and all(Path(name).name == name for name in shared)
    return named and _knows(config.get("info", {}))


def _knows(info: object) -> bool:
    """Whether this is what `Bundle.info` may be."""
    names = info.get("class_names", []) if isinstance(info, dict) else None
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())


def short(error: BaseException) -> str:
    """The beginning of a message in one line; torch lists every tensor that does not fit."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
