"""A folder that is either whole or not there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agnlib._shared.folders import made
from agnlib._shared.paths import is_file, is_folder, is_there, real, text_of
from agnlib.errors import InputError

__all__ = ["new_folder"]

_OURS = ("index.html", "page.json", "network.onnx")  # by which a page is known
_WRITTEN = {*_OURS, "page.css", "page.js", "worker.js", "example.jpg", "extractor.onnx", "LICENSES.txt"}
_WRITTEN |= {"styles", "runtime"}


@contextmanager
def new_folder(folder: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Callable[[Mapping[str, bytes]], None]]:
    """A folder for a page: what is given takes files, by their paths in it, and puts them there at once.

    Args:
        folder: not there yet, empty, or a page that may be replaced; it goes when all of the new one is written.
        overwrite: whether it may.

    Raises:
        InputError: it is none of these, or cannot be written; nothing is left behind.
    """
    path = _checked(folder, overwrite=overwrite)
    try:
        with made(path):  # before the work, which takes half a minute
            yield partial(_put, path)
    except OSError as error:
        raise InputError(
            f"folder: {os.fspath(folder)!r} cannot be written ({error.strerror or error}); check space and permissions"
            " or choose another place"
        ) from error


def _checked(folder: str | os.PathLike[str], *, overwrite: bool) -> Path:
    path = Path(text_of(folder, "folder"))
    shown = repr(os.fspath(path))
    real(path)  # says it of a name that none can have
    if not is_there(path):
        return path.absolute()
    if not is_folder(path) or path.is_symlink():
        raise InputError(f"folder: {shown} is a file or a link, expected a new folder; choose another name")
    try:
        is_empty = not any(path.iterdir())
    except OSError as error:
        raise InputError(f"folder: {shown} cannot be read ({error.strerror}); choose another name") from error
    if not is_empty and not all(is_file(path / name) for name in _OURS):
        raise InputError(f"folder: {shown} has other files than a page; choose a new or an empty folder")
    if strangers := sorted({each.name for each in path.iterdir()} - _WRITTEN) if not is_empty else []:
        raise InputError(
            f"folder: {shown} has {strangers[0]!r} beside the page, which would be lost; move it, or choose another"
            " folder"
        )
    if not is_empty and not overwrite:
        raise InputError(
            f"folder: {shown} has a page already; choose another name, or give overwrite=True (--overwrite) to replace"
            " it"
        )
    return path.absolute()


def _put(folder: Path, contents: Mapping[str, bytes]) -> None:
    fresh, former = (folder.with_name(f".agnlib-{secrets.token_hex(8)}.tmp") for _ in range(2))
    try:
        for name, content in contents.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        folder.rename(former)
        fresh.rename(folder)
    except BaseException:
        if is_folder(former):
            former.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)
