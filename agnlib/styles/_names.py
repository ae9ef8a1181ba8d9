"""Styles by name: what tells a name from a file, and which picture a name stands for."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PureWindowsPath

from agnlib._shared.paths import exists, is_file, utf8_name, why_not
from agnlib.errors import InputError
from agnlib.image._encoded import is_encoded
from agnlib.styles import works

__all__ = [
    "ANY",
    "CODE_FORMAT",
    "CODE_SUFFIX",
    "PICTURES_FORMAT",
    "as_known",
    "file_format",
    "is_code",
    "is_name",
    "known_names",
    "named_source",
    "picture_by_name",
    "refuse_code",
    "without_folders",
]

CODE_SUFFIX = ".safetensors"  # a file of this name is taken for a style's file, not for a picture
CODE_FORMAT, PICTURES_FORMAT = "agnlib.style.1", "agnlib.pictures.1"
ANY = "random"  # the name of a style of no class

_BETWEEN = re.compile(r" \+ (?=[\d.e+-]+ )")  # the parts of a style that is a mean of several
_WEIGHT = re.compile(r"[\d.e+-]+ (?=.)")


def is_name(text: str) -> bool:
    """Whether a text can only be a style's name: it has no folder and no suffix, and there is no such file."""
    path = PurePath(text)
    return path.name == text and not path.suffix and not exists(text)


def as_known(name: str, known: Iterable[str]) -> str:
    """The name as it is spelled among those that are known; upper and lower case are one.

    Example:
        >>> as_known("Ukiyo-E", ["cubism", "ukiyo-e"]), as_known("other", ["cubism"])
        ('ukiyo-e', 'other')
    """
    names = list(known)
    return name if name in names else next((each for each in names if each.casefold() == name.casefold()), name)


def known_names(class_names: Sequence[str]) -> str:
    """What an error says of the names that there are."""
    classes = f"the weights' classes are {', '.join(class_names)}; " if class_names else ""
    return f"{classes}{ANY} is any style; pictures that come with agnlib are {', '.join(works.available())}"


def picture_by_name(name: str, seed: int | None = None) -> Path:
    """The file of a work that comes with agnlib: by its own name, or drawn from those of a class, or from all of them.

    Args:
        name: of a work, of a class, or `ANY`.
        seed: of the draw; without one a class gives its first, `ANY` another one each time.

    Raises:
        InputError: there is no work of that name.
    """
    known = works.available()
    name = as_known(name, [*known, *(work.style_class or ANY for work in known.values()), ANY])
    if name in known:
        return known[name].path
    of_class = [work.path for work in known.values() if name in (work.style_class, ANY)]
    if not of_class:
        raise InputError(
            f"style: {name!r} is no file, and no picture comes with agnlib by that name or of that class; "
            f"there are {', '.join(known)}"
        )
    if seed is None and name != ANY:
        return of_class[0]
    return random.Random(seed).choice(of_class)


def is_code(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the name of a style's file."""
    return PurePath(path).suffix.lower() == CODE_SUFFIX


def file_format(path: str | os.PathLike[str]) -> str:
    """What a style's file says of itself; nothing where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with utf8_name(path) as name, safe_open(name, framework="np") as file:
            return str((file.metadata() or {}).get("format", ""))
    except (OSError, SafetensorError):
        return ""


def refuse_code(style: str | os.PathLike[str]) -> None:
    """Raise `InputError` where a path is one of a style code, and the strokes of a picture are asked for."""
    found = file_format(style) if is_code(style) else PICTURES_FORMAT
    if found == PICTURES_FORMAT:
        return
    is_what, remedy = "is a style code's file", 'method="network"'
    if found != CODE_FORMAT:
        is_what = "is no style's file" if is_file(style) else why_not(style, "a file")
        remedy = "a file that PictureStyle.save wrote"
    raise InputError(
        f'style: {os.fspath(style)!r} {is_what}, and method="neighbors" paints with the strokes of a picture; give a'
        f" picture, or {remedy}"
    )


def named_source(picture: object) -> str:
    """What a code's `source` says of the picture that it was read from."""
    if is_encoded(picture):
        return "bytes"
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else type(picture).__name__


def without_folders(source: str) -> str:
    """What a style says of itself, each file by its name alone: where it lies is nobody's business.

    Example:
        >>> without_folders("2 art/a.jpg + 1 b.jpg"), without_folders("C:\\\\art\\\\a.jpg")
        ('2 a.jpg + 1 b.jpg', 'a.jpg')
    """
    parts = []
    for part in _BETWEEN.split(source):
        weight = found[0] if (found := _WEIGHT.match(part)) else ""
        parts.append(weight + PureWindowsPath(part.removeprefix(weight)).name)
    return " + ".join(parts)
