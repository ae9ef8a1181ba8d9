"""What `agnlib stylize` was asked for, whether of photographs, a folder or a clip."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agnlib._shared.paths import is_there
from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.image import Limits

__all__ = ["Request", "expanded", "refuse_address"]


def expanded(photos: Iterable[str]) -> list[str]:
    """What is there by such a name, else the files that match it as a pattern: shells do not expand quoted ones.

    Raises:
        InputError: a pattern that nothing matches, or an address.
    """
    found = list[str]()
    for photo in photos:
        refuse_address(photo, "PHOTO|DIR")
        known = is_there(photo) or not glob.has_magic(photo)
        matches = [photo] if known else sorted(glob.glob(photo, recursive=True))  # noqa: PTH207
        if not matches:
            raise InputError(f"argument PHOTO|DIR: no file matches {photo!r}; check the pattern and the folder")
        found += matches
    return found


def refuse_address(text: str, argument: str) -> None:
    """Raise `InputError` for the address of a page or a file, which is none on this machine."""
    scheme, colon, _ = text.partition("://")
    if colon and scheme.isalnum() and not is_there(text):
        way = "give its path" if scheme.lower() == "file" else "download it first, and give the file"
        raise InputError(f"argument {argument}: {text!r} is an address, and nothing is downloaded; {way}")


@dataclass(frozen=True)
class Request:
    """The command line, read but not checked against the files.

    Args:
        photos: what is to be painted.
        styles: what was given for "--style" and "--mask", in order.
        output: a file or a folder.
        save_style: where the style code goes, if anywhere.
        weights: a name or a folder.
        device: as of `Stylizer.from_pretrained`.
        engine: likewise.
        precision: likewise.
        threads: of torch; None for its own choice.
        suffix: of all that goes to a folder; None keeps each photograph's.
        overwrite: whether files that are in the way may be replaced.
        quiet: say nothing but errors.
        limits: of all picture files.
        refine: learn the styles' codes for the photos.
        options: those of `Stylizer.stylize_file`.

    Raises:
        InputError: options that contradict each other, said before a style is saved.
    """

    photos: Sequence[str]
    styles: Sequence[tuple[str, str]]
    output: str
    save_style: str | None
    weights: str
    device: str
    engine: str
    precision: str
    threads: int | None
    suffix: str | None
    overwrite: bool
    quiet: bool
    limits: Limits
    refine: bool
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        for option, text in (*self.styles, ("-o", self.output)):
            refuse_address(text, option)
            if option != "-o" and text == "-":
                raise InputError(f"argument {option}: '-' stands for the photo alone; give a file")
        for name, share in (("preserve_color", "color"), ("color_only", "texture")):
            amount = self.options.get(share, 1)
            if self.options.get(name) and 0 < amount < 1:
                option = name.replace("_", "-")
                raise InputError(f"argument --{option}: is --{share} 0, and --{share} is {amount:g}; give one of them")
