"""Works of art in the public domain that come with agnlib, by name: `--style wave` needs no file.

Where each comes from is in `agnlib/styles/pictures/works.json`; `examples/fetch_images.py` makes them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

__all__ = ["Work", "available"]

_FOLDER = Path(__file__).resolve().parent / "pictures"


@dataclass(frozen=True)
class Work:
    """A work of art.

    Attributes:
        name: to ask for it by.
        title, artist, year: of the work.
        style_class: that class of the shipped weights which it belongs to, None for none.
        license: of the picture.
        source: the package that the picture was taken from.
        path: its JPEG file.
    """

    name: str
    title: str
    artist: str
    year: str
    style_class: str | None
    license: str
    source: str
    path: Path


@lru_cache(maxsize=1)
def available() -> Mapping[str, Work]:
    """The works by name, in alphabetical order.

    Example:
        >>> available()["wave"].artist
        'Katsushika Hokusai (1760-1849)'
    """
    stored = json.loads((_FOLDER / "works.json").read_text(encoding="utf-8"))
    works = {name: Work(name=name, path=_FOLDER / f"{name}.jpg", **about) for name, about in sorted(stored.items())}
    return MappingProxyType(works)
