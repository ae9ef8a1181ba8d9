"""What `agnlib stylize` was asked for, whether of photographs, a folder or a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.image import Limits

__all__ = ["Request"]


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
        threads: of torch; None for its own choice.
        suffix: of all that goes to a folder; None keeps each photograph's.
        overwrite: whether files that are in the way may be replaced.
        quiet: say nothing but errors.
        limits: of all picture files.
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
    threads: int | None
    suffix: str | None
    overwrite: bool
    quiet: bool
    limits: Limits
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, share in (("preserve_color", "color"), ("color_only", "texture")):
            amount = self.options.get(share, 1)
            if self.options.get(name) and 0 < amount < 1:
                option = name.replace("_", "-")
                raise InputError(f"argument --{option}: is --{share} 0, and --{share} is {amount:g}; give one of them")
