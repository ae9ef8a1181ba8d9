"""What is in a style's file, given by its path, its bytes or a binary file object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from agnlib._shared.paths import is_file, text_of, utf8_name, why_not
from agnlib.errors import InputError
from agnlib.image import Limits, PictureFile
from agnlib.image._encoded import Encoded, held

__all__ = ["Stored", "format_in", "stored"]


class Stored(NamedTuple):
    """Tensors of a safetensors file, and its notes; `name` is what messages call it."""

    name: str
    tensors: Mapping[str, Tensor]
    notes: Mapping[str, str]


def stored(file: PictureFile, kind: str, wanted: str, remedy: str, limits: Limits) -> Stored:
    """The content of a style's file.

    Args:
        file: its path, its bytes or a binary file object.
        kind: of style, for messages.
        wanted: its format; of files of another one no tensor is read.
        remedy: what messages say to do.
        limits: of a file object no more than `limits.bytes` are read.

    Raises:
        InputError: it is missing, damaged, too large or of another format.
    """
    given = held(file, limits)
    name = given.name if isinstance(given, Encoded) else repr(text_of(given))
    if not isinstance(given, Encoded) and not is_file(given):
        raise InputError(f"{name} {why_not(given, 'a file')}; {remedy}")
    try:
        found = _of_bytes(given.data, wanted) if isinstance(given, Encoded) else _of_path(given, wanted)
    except Exception as error:  # SafetensorError derives from Exception alone
        raise InputError(f"{name} cannot be read as {kind} ({' '.join(str(error).split())}); {remedy}") from error
    if found is None:
        raise InputError(f"{name} holds no {kind} of format {wanted}; {remedy}")
    return Stored(name, *found)


def format_in(data: bytes) -> str:
    """What the bytes of a style's file say of themselves; nothing where they are none, such as those of a picture."""
    try:
        return str(_notes(data).get("format", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


def _notes(data: bytes) -> dict[str, str]:
    """The notes in the header of a safetensors file: its length in 8 bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or length > len(data) - 8:
        return {}
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def _of_bytes(data: bytes, wanted: str) -> tuple[Mapping[str, Tensor], Mapping[str, str]] | None:
    from safetensors.torch import load

    tensors = load(data)  # which checks the header, too
    notes = _notes(data)
    return (tensors, notes) if notes.get("format") == wanted else None


def _of_path(path: str, wanted: str) -> tuple[Mapping[str, Tensor], Mapping[str, str]] | None:
    from safetensors import safe_open

    with utf8_name(path) as name, safe_open(name, framework="pt") as file:
        notes = file.metadata() or {}
        if notes.get("format") != wanted:
            return None
        return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118 - it is no dict
