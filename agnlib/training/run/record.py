"""The record of what `agnlib train` was asked for in the run's folder, and whether a resumed run is the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agnlib._shared.atomic import write_bytes
from agnlib._shared.paths import exists, is_file, is_folder, is_there, may, real
from agnlib._train_options import TrainOptions
from agnlib.errors import InputError

__all__ = ["TrainOptions", "check_place", "check_same_run", "make_folder", "read_record", "write_record"]

RECORD = "run.json"
_WRITTEN = ("README.md", "model.safetensors", "log.jsonl", "checkpoints", "samples", "tensorboard")  # beside the two
_OF_THE_MACHINE = ("out", "device", "threads", "workers", "agnlib")
_MAY_DIFFER = (*_OF_THE_MACHINE, "checkpoint_every", "sample_every", "keep", "keep_best", "steps", "minutes")


def check_place(options: TrainOptions) -> None:
    """Say beforehand what would keep a run from being written to its folder.

    Raises:
        InputError: the folder holds another run or files in the way of this one, cannot be made, or cannot be written.
    """
    folder = options.out
    for name in ("content", "style"):
        pictures = getattr(options, name)
        if isinstance(pictures, Path) and real(folder).is_relative_to(real(pictures)):
            raise InputError(
                f"--out {folder} lies in --{name} {pictures}, so the run's samples would be taken for"
                " pictures; give a folder outside of it"
            )
    if options.resume is None and (exists(folder / "config.json") or exists(folder / RECORD)):
        raise InputError(
            f"--out {folder} holds an earlier run; go on with it by --resume auto, or give a new folder,"
            " or remove it if it is not needed"
        )
    goes_on = options.resume is not None and (is_file(folder / RECORD) or is_folder(folder / "checkpoints"))
    taken = [] if goes_on else [name for name in _WRITTEN if is_there(folder / name)]
    if taken:
        raise InputError(
            f"--out {folder} has {' and '.join(taken)} already, which the run would write over; give a new folder, or"
            " move them away"
        )
    there = next(place for place in (folder, *folder.parents) if exists(place))
    if not is_folder(there):
        raise InputError(f"--out {folder} cannot be made, {there} is a file; give another folder")
    if not may(there, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder} cannot be written, {there} is read-only; give another folder")


def make_folder(folder: Path) -> None:
    """Make the run's folder, and try to write there.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"--out {folder} cannot be written ({error.strerror or error}); give another folder"
        ) from error


def write_record(options: TrainOptions, chosen: Mapping[str, Any]) -> None:
    """Write `run.json`: the options, and what was chosen for those that were left open."""
    values = {name: _as_json(value) for name, value in asdict(options).items()}
    for name in ("resume", "dry_run"):
        values.pop(name)
    write_bytes(options.out / RECORD, (json.dumps(values | dict(chosen), indent=2) + "\n").encode())


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(each) for each in value]
    return os.fspath(value) if isinstance(value, Path) else value


def read_record(folder: Path) -> dict[str, Any] | None:
    """What `write_record` wrote; None where there is none.

    Raises:
        InputError: it is not readable JSON.
    """
    path = folder / RECORD
    if not is_file(path):
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore it, or begin again in a new folder") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} does not hold a run's options; restore it, or begin again in a new folder")
    return record


def check_same_run(record: Mapping[str, Any], options: TrainOptions, chosen: Mapping[str, Any]) -> None:
    """Whether a resumed run has the options and the pictures that it was begun with.

    Raises:
        InputError: it has not; the message names each that differs.
    """
    now = {**asdict(options), **chosen}
    names = [name for name in now if name not in (*_MAY_DIFFER, "resume", "dry_run", "content", "style")]
    others = [_difference(name, record.get(name), now[name]) for name in names if record.get(name) != now[name]]
    if others:
        raise InputError(
            f"--resume: the run was begun with {'; '.join(others)}; give the options that it was begun with, or begin"
            " another one in a new --out"
        )


def _other_parts(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Terms, trainer and generator of one's own that differ, in words."""
    usual = {"trainer": "AdversarialTrainer", "generator": "of its own making", "terms": ["the recipe's"]}

    def said(record: Mapping[str, Any], name: str) -> str:
        value = record.get(name, usual[name])
        return f"{name} {', '.join(value) if isinstance(value, list) else value}"

    return "; ".join(
        f"{said(then, name)}, now it is {said(now, name)}" for name in usual if then.get(name) != now.get(name)
    )


def _difference(name: str, then: Any, now: Any) -> str:
    if name.endswith("_pictures"):
        return f"other pictures in --{name.removesuffix('_pictures')}"
    if name == "parts":
        return _other_parts(dict(then or {}), dict(now or {}))
    option = f"--{name.replace('_', '-')}"
    return f"{option} {then}, now it is {now}" if then is not None else f"no {option}, now it is {now}"
