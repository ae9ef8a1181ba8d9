"""Weights of a training that is under way: the averaged networks in a checkpoint, with the options of their run.

A checkpoint has tensors and no options of networks. Those stand in the run's folder: in `config.json` as soon as
weights were written there, else they follow from `run.json`, which says what the run was begun with.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from agnlib._shared.paths import is_file, is_folder, real, text_of, utf8_name
from agnlib.errors import WeightsError
from agnlib.models import _weights_folder

__all__ = ["find", "read"]

_CONFIG, _RECORD = "config.json", "run.json"
_FORMAT_VERSION = 3  # of checkpoints
_AVERAGE = "average.weights."
_NEW_GENERATOR = {"margin": 16, "canvas_slope": 1.3}  # of a training without --init
Averaged: TypeAlias = tuple[dict[str, Tensor], int, str]  # tensors, step, and their hash

_OTHERS = (SafetensorError, OSError, ValueError, LookupError, TypeError, RecursionError)


def find(name_or_place: str | os.PathLike[str]) -> Path:
    """The folder of weights or the place of a training: a run's folder, the one of its checkpoints, or a checkpoint.

    Raises:
        WeightsError: it is none of these, or a run that has no checkpoint yet.
    """
    text = text_of(name_or_place, "weights")
    if text in _weights_folder.available():
        return _weights_folder.find(text)
    place = Path(text)
    if is_file(place):
        return place
    if is_folder(place) and not is_file(place / _CONFIG):
        if _checkpoints(place):
            return place
        if is_file(place / _RECORD):
            raise WeightsError(
                f"{place} is a run of agnlib train without weights yet; wait for its first checkpoint"
                " (--checkpoint-every), or stop it with Ctrl-C, which leaves weights that paint"
            )
    return _weights_folder.find(name_or_place)


def read(place: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors; of a run without weights those of its newest whole checkpoint.

    Raises:
        WeightsError: a file is missing, corrupt, or of another version; or a run's options are not known.
    """
    if is_file(place):
        _refuse_part_of_weights(place)
        return _described(place, _averaged(place))
    found = [] if is_file(place / _CONFIG) else _checkpoints(place)
    if not found:
        return _weights_folder.read(place)
    path, averaged = _newest_whole(found)
    return _described(path, averaged)


def _newest_whole(found: Sequence[Path]) -> tuple[Path, Averaged]:
    for path in reversed(found[1:]):
        try:
            return path, _averaged(path)
        except WeightsError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
    return found[0], _averaged(found[0])


def _refuse_part_of_weights(path: Path) -> None:
    if is_file(path.parent / _CONFIG) and path.name in (_CONFIG, "model.safetensors"):
        raise WeightsError(f"{path} is one of the files of weights; give their folder, {path.parent}")


def _checkpoints(place: Path) -> list[Path]:
    """Those of a run's folder, or in the folder of its checkpoints, oldest first."""
    folder = place / "checkpoints" if is_folder(place / "checkpoints") else place
    return sorted(folder.glob("step-*.safetensors"))


def _described(path: Path, averaged: Averaged) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint as a folder of weights would say it."""
    tensors, step, digest = averaged
    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    roles = {key.partition(".")[0] for key in tensors}  # the discriminator has no average
    models = {role: each for role, each in _models(run, path, tensors).items() if role in roles}
    info = {"license": "yours", "version": f"step {step}", "class_names": []}
    return {"name": real(run).name, "models": models, "info": info, "sha256": digest}, tensors


def _averaged(path: Path) -> Averaged:
    """The averaged weights, whole as the file's hashes say; its step, and the hash."""
    tensors: dict[str, Tensor] = {}
    try:
        with utf8_name(path) as name, safe_open(name, "pt") as file:
            header = file.metadata() or {}
            digest = hashlib.sha256()
            for key in sorted(file.keys()):
                value = file.get_tensor(key)
                digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
                digest.update(value.reshape(-1).view(torch.uint8).numpy())
                if key.startswith(_AVERAGE):
                    tensors[key.removeprefix(_AVERAGE)] = value
        text, manifest = header["state"], json.loads(header["manifest"])
        version, hashes, step = manifest["format_version"], manifest["sha256"], int(json.loads(text)["step"])
    except _OTHERS as error:
        raise WeightsError(
            f"{path} is not a whole checkpoint of agnlib train ({_weights_folder.short(error)}); give a checkpoint, a"
            f" run's folder, or a folder with {_CONFIG}"
        ) from error
    if version != _FORMAT_VERSION:
        raise WeightsError(f"{path} has format version {version!r}, this agnlib reads {_FORMAT_VERSION}")
    if hashes != {"state": hashlib.sha256(text.encode()).hexdigest(), "tensors": digest.hexdigest()}:
        raise WeightsError(f"{path} is not a whole checkpoint (SHA-256 differs); give another one")
    return tensors, step, str(hashes["tensors"])


def _models(run: Path, path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The classes and options of the networks."""
    if is_file(run / _CONFIG):
        return dict(_weights_folder.configuration(run)["models"])
    if not is_file(run / _RECORD):
        raise WeightsError(
            f"{path}: the options of its networks are not known without the {_RECORD} or {_CONFIG} of its run; leave it"
            " where agnlib train wrote it, or load it by AdversarialTrainer.load_checkpoint and save_pretrained there"
        )
    return _begun_with(run, tensors)


def _begun_with(run: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a run's record says that its networks are."""
    try:
        record = json.loads((run / _RECORD).read_text("utf-8"))
        own, init = dict(record.get("parts") or {}).get("generator"), record.get("init")
        classes = len(tensors["generator.mapping.weight"]) - 1
        wanted = {name: record[name] for name in ("blocks", "channels") if record.get(name) is not None}
    except _OTHERS as error:
        raise WeightsError(f"{run / _RECORD} cannot be read ({_weights_folder.short(error)}); restore it") from error
    if own is not None:
        raise WeightsError(
            f"{run} is a run with a generator of its own, {own}, whose options are known when it ends; stop it with"
            " Ctrl-C, which leaves weights that paint"
        )
    if init is None:
        generator = {**_NEW_GENERATOR, **wanted, "num_classes": classes}
        return {
            "generator": {"class": "Generator", "config": generator},
            "extractor": {"class": "StyleExtractor", "config": {}},
        }
    try:
        models = dict(read(find(init))[0]["models"])
    except (WeightsError, RecursionError) as error:  # the latter of a run that was begun from itself
        raise WeightsError(f"{run} was begun from {init!r}, which is not there now: {error}") from error
    generator = {**models["generator"]["config"], **wanted, "num_classes": classes}
    return {**models, "generator": {**models["generator"], "config": generator}}
