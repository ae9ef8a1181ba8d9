"""`ExportedStylizer`: what a `Stylizer` is for a picture file and one style, without torch."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from agnlib._exported._painting import painted_rows
from agnlib._exported._photo import Pixels
from agnlib._exported._planes import Planes
from agnlib._exported._program import EXTRACTOR_FILE, NETWORK_FILE, Program, read_program
from agnlib._exported._recipe import recipe_of
from agnlib._exported._runtimes import Machine, Run, last_line
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, PictureFile, kept_exif, read, reduced_size
from agnlib.image._encoded import held
from agnlib.image._header import first_of, header
from agnlib.image._messages import quoted
from agnlib.image._metadata import with_recipe
from agnlib.image._targets import DEEP, BinaryWriter, check_exif, free_target
from agnlib.image._writing import check_quality, writing_to

__all__ = ["ExportedStylizer", "Style"]


@dataclass(frozen=True)
class Style:
    """A style that was read.

    Attributes:
        source: what it is called.
        code: `(1, style_dim)`; None where it is part of the program.
    """

    source: str
    code: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ExportedStylizer:
    """Paints picture files by programs; `of_style` and `of_folder` make one.

    Attributes:
        network: the program that paints.
        extractor: the program that reads styles; None where the style is part of the network's.
        machine: runs them.
    """

    network: Program
    extractor: Program | None
    machine: Machine
    _runs: dict[str, Run]

    @classmethod
    def of_style(cls, path: str | os.PathLike[str], machine: Machine) -> ExportedStylizer:
        """A program of one style.

        Raises:
            InputError: see `read_program`.
        """
        return cls(read_program(path, "style"), None, machine, {})

    @classmethod
    def of_folder(cls, folder: str | os.PathLike[str], machine: Machine) -> ExportedStylizer:
        """The two programs of a folder that `agnlib export FOLDER/` wrote.

        Raises:
            InputError: see `read_program`; or the two are of different weights.
        """
        network = read_program(Path(folder, NETWORK_FILE), "network")
        extractor = read_program(Path(folder, EXTRACTOR_FILE), "extractor")
        if any(network.notes.get(key) != extractor.notes.get(key) for key in ("name", "style_dim")):
            raise InputError(
                f"{network.name} and {extractor.name} are of different weights; write the folder again:"
                " agnlib export FOLDER/"
            )
        return cls(network, extractor, machine, {})

    def own_style(self) -> Style:
        """The one that is part of the program."""
        return Style(self.network.notes["style"])

    def read_style(self, picture: PictureFile, source: str, limits: Limits = DEFAULT_LIMITS) -> Style:
        """The style of a picture, under a name.

        Raises:
            ImageError: the picture cannot be read.
        """
        assert self.extractor is not None
        pixels = Pixels.of(first_of(picture, "style", limits))
        side = self.extractor.notes.get("side")  # files of earlier versions do not say it, and reduce by themselves
        size = reduced_size(pixels.size, shorter=int(side)) if side else pixels.size
        code = self._run(self.extractor, _taken(self.extractor, pixels.at(size)), {})
        return Style(source, code)

    def stylize_file(
        self,
        content: PictureFile,
        target: str | os.PathLike[str] | BinaryWriter,
        style: Style,
        *,
        format: str | None = None,
        overwrite: bool = False,
        metadata: Literal["none", "no-gps", "all"] = "none",
        recipe: bool = True,
        quality: int = 95,
        limits: Limits = DEFAULT_LIMITS,
        size: int | None = None,
        progress: bool = False,
    ) -> tuple[int, int]:
        """As `agnlib.stylizer.Stylizer.stylize_file`, at full strength; no bar is shown.

        Raises:
            ImageError: the content cannot be read or the target not be written.
            InputError: something is in place of the target, or the program cannot paint a picture of this size.
        """
        place = free_target(target, format, overwrite=overwrite)
        check_quality(quality)
        limits = replace(limits, reduced_to=size)
        source = held(content, limits, "content")
        exif = kept_exif(source, metadata, limits=limits)
        check_exif(exif, place)
        photo = Pixels.of(read(source, deep=place.format in DEEP, limits=limits))
        if further := header(source, limits=limits).further:
            warnings.warn(f"{quoted(source)} has several {further}; only the first is painted", stacklevel=2)
        if recipe:
            exif = with_recipe(exif, recipe_of(self.network, style.source, size), place)
        photo = photo if size is None else photo.reduced(size)
        parts = painted_rows(photo, lambda pixels: self._painted(pixels, style))
        with writing_to(place, photo.shape, photo.kind, quality=quality, exif=exif) as write:
            for part in parts:
                write(part)
        return photo.size

    def started(self, program: Program) -> Run:
        """What runs one of the programs, started when it is first needed.

        Raises:
            InputError: it cannot be run.
            MissingDependencyError: the engine is not installed.
        """
        if program.name not in self._runs:
            self._runs[program.name] = self.machine.start(program)
        return self._runs[program.name]

    def _painted(self, pixels: Planes, style: Style) -> Planes:
        """Planes in [-1, 1], painted."""
        more = {} if style.code is None else {"style": style.code}
        painted = self._run(self.network, _taken(self.network, pixels), more)[0]
        if self.network.takes_bytes:
            painted = painted.transpose(2, 0, 1) / np.float32(255)
        planes: Planes = painted * np.float32(2) - 1
        return planes

    def _run(self, program: Program, image: npt.NDArray[Any], more: dict[str, Any]) -> npt.NDArray[Any]:
        run = self.started(program)
        try:
            return run({"image": image, **more})
        except Exception as error:  # the runtimes' own, of many kinds
            height, width = image.shape[1:3] if program.takes_bytes else image.shape[2:]
            raise InputError(
                f"{program.name} cannot take a picture of {width} x {height} pixels ({last_line(error)});"
                f" its least is in its notes: {program.notes.get('usage', '')}"
            ) from error


def _taken(program: Program, pixels: Planes) -> npt.NDArray[Any]:
    """Planes in [-1, 1] as a program takes them."""
    image = pixels * np.float32(0.5) + np.float32(0.5)
    if program.takes_bytes:
        levels = np.rint(image.clip(0, 1) * np.float32(255)).astype(np.uint8)
        pixels_of_bytes: npt.NDArray[Any] = levels.transpose(1, 2, 0)[None]
        return pixels_of_bytes
    return np.ascontiguousarray(image[None])
