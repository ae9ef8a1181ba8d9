"""A file that `agnlib export` wrote: what it says of itself, read without a package for ONNX."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agnlib._shared.paths import is_file, text_of, why_not
from agnlib.errors import InputError

__all__ = ["EXTRACTOR_FILE", "NETWORK_FILE", "SUFFIX", "Program", "has_programs", "read_program"]

SUFFIX = ".onnx"
NETWORK_FILE, EXTRACTOR_FILE = "network.onnx", "extractor.onnx"  # in a folder with programs for any style
_NOTES = 14  # ModelProto.metadata_props
_VARINT, _EIGHT_BYTES, _TEXT, _FOUR_BYTES = 0, 1, 2, 5  # protobuf's types of fields


@dataclass(frozen=True)
class Program:
    """A program and its notes.

    Attributes:
        name: of its file, in quotes, for messages.
        content: of the file.
        notes: see `agnlib.stylizer.Stylizer.export`.
    """

    name: str
    content: bytes
    notes: Mapping[str, str]

    @property
    def weights(self) -> str | None:
        """The name of the weights that it holds, if they have one."""
        name = self.notes["name"]
        return None if name == "agnlib" else name

    @property
    def takes_bytes(self) -> bool:
        """Whether its pictures are uint8 `(B, H, W, 3)`."""
        return self.notes["dtype"] == "uint8"

    @property
    def kind(self) -> str:
        """What it does: "extractor", "network", or "style" where the network's style is part of it."""
        if self.notes["part"] == "extractor":
            return "extractor"
        return "style" if "style" in self.notes else "network"


def has_programs(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has the network as a program, and no weights that torch would read."""
    place = Path(folder)
    return is_file(place / NETWORK_FILE) and not is_file(place / "config.json")


def read_program(path: str | os.PathLike[str], kind: str) -> Program:
    """The program in a file.

    Args:
        path: of the file.
        kind: which one is needed: see `Program`.

    Raises:
        InputError: it is missing, damaged, or another program.
    """
    name = repr(text_of(path))
    if not is_file(path):
        raise InputError(f"{name} {why_not(path, 'a file')}; give a file that agnlib export wrote")
    try:
        content = Path(path).read_bytes()
        program = Program(name, content, _notes(content))
        found = program.kind if "name" in program.notes and "dtype" in program.notes else ""
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); check its permissions") from error
    except (KeyError, ValueError, IndexError):
        found = ""
    if not found:
        raise InputError(f"{name} is damaged, or none that agnlib export wrote; export it again")
    if found != kind:
        raise InputError(f"{name} {_IS[found]}; {_REMEDIES[kind]}")
    return program


_IS = {
    "style": "paints in one style",
    "network": "paints in any style, which it takes as a code",
    "extractor": "reads styles, and paints nothing",
}
_REMEDIES = {
    "style": "give one that agnlib export wrote with --style, or by --weights a folder from agnlib export FOLDER/",
    "network": "write the folder again: agnlib export FOLDER/",
    "extractor": "write the folder again: agnlib export FOLDER/",
}


def _notes(content: bytes) -> dict[str, str]:
    """The metadata of an ONNX file.

    Raises:
        ValueError: the file is none, or cut off.
        IndexError: likewise.
    """
    pairs = [dict(_fields(value)) for number, value in _fields(memoryview(content)) if number == _NOTES]
    return {bytes(pair[1]).decode(): bytes(pair.get(2, b"")).decode() for pair in pairs}


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field of a message of protobuf that has a length; others are passed over."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
        elif kind == _TEXT:
            length, place = _varint(message, place)
            yield key >> 3, message[place : place + length]
            place += length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("no message of protobuf")
    if place > len(message):
        raise ValueError("cut off")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, the lowest first, and where it ends."""
    value, shift = message[place] & 127, 0
    while message[place] & 128:
        place, shift = place + 1, shift + 7
        value |= (message[place] & 127) << shift
    return value, place + 1
