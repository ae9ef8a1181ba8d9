"""The styles to choose on the page: names, codes, and small pictures of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from agnlib.errors import InputError
from agnlib.image import encode, load
from agnlib.styles import works
from agnlib.styles._names import as_known, is_code, is_name

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["Choice", "choices"]

_SIDE = 192  # of a small picture
_QUALITY = 82


@dataclass(frozen=True)
class Choice:
    """A style to choose.

    Attributes:
        name: as the page shows it.
        title: what it says of it.
        code: the numbers of its code.
        picture: a small JPEG; empty for a style without one.
    """

    name: str
    title: str
    code: tuple[float, ...]
    picture: bytes

    def about(self) -> dict[str, Any]:
        """For the page's list."""
        return {"name": self.name, "title": self.title, "picture": self.file, "code": self.code}

    @property
    def file(self) -> str:
        """Of the picture, in the page's folder."""
        return f"styles/{_file_name(self.name)}.jpg" if self.picture else ""


def _file_name(name: str) -> str:
    """Of letters that every server and browser takes alike; names that have others, told apart by their hash."""
    told = name.casefold()
    plain = re.sub(r"[^a-z0-9-]+", "-", told)
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
    return plain if plain == told else f"{plain}-{digest[:8]}"


def choices(stylizer: Stylizer, styles: Sequence[str | os.PathLike[str]] | None, seed: int | None) -> list[Choice]:
    """The styles as the page shows them.

    Args:
        stylizer: reads them.
        styles: paths of pictures or codes, and names; None for the works of art that come with agnlib.
        seed: of styles by name.

    Raises:
        ImageError: a picture cannot be read.
        InputError: none, an unknown name, or two of one name.
    """
    if isinstance(styles, (str, os.PathLike)):
        raise InputError(f"styles: expected a list of pictures and names, got {styles!r} alone; give [{styles!r}]")
    if styles is not None and not list(styles):
        raise InputError("styles: expected at least one picture or name, got none; None takes the works of agnlib")
    found = [_choice(stylizer, each, seed) for each in (works.available() if styles is None else styles)]
    files = [_file_name(choice.name) for choice in found]
    for choice, file in zip(found, files, strict=True):
        if files.count(file) > 1:
            raise InputError(f"styles: two are called {choice.name!r}, and could not be told apart; rename one")
    return found


def _choice(stylizer: Stylizer, style: str | os.PathLike[str], seed: int | None) -> Choice:
    code = tuple(round(number, 5) for number in stylizer.encode_style(style, seed=seed).vector.tolist())
    text = os.fspath(style)
    if isinstance(style, str) and is_name(style):
        work = works.available().get(as_known(style, works.available()))
        if work is None or style in stylizer.class_names:
            return Choice(
                style, f"a style of the class {style}" if style != "random" else "a style by chance", code, b""
            )
        return Choice(work.name, f"{work.artist}: {work.title}, {work.year}", code, _small(work.path))
    name = PurePath(text).stem
    return Choice(name, PurePath(text).name, code, b"" if is_code(text) else _small(text))


def _small(path: str | os.PathLike[str]) -> bytes:
    picture = ImageOps.fit(load(path).convert("RGB"), (_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return encode(picture, "jpg", quality=_QUALITY)
