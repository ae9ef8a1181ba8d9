"""`-o` of `agnlib stylize`: where each painting goes, with nothing made yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agnlib import image
from agnlib._shared.folders import nearest
from agnlib._shared.paths import exists, is_folder, may
from agnlib.errors import ImageError, InputError
from agnlib.folder._tree import folded, is_slip, output_name

__all__ = ["Job", "names_folder", "plan", "refuse_to_overwrite"]


@dataclass(frozen=True)
class Job:
    """One photograph and where its painting goes."""

    photo: Path
    target: Path


def plan(photos: Sequence[str], output: str, suffix: str | None = None) -> list[Job]:
    """Where each painting goes, with nothing made yet.

    Raises:
        InputError: several photos for one file, two of one name, or a place that cannot be written to.
    """
    if not _is_folder(output, len(photos)):
        if suffix is not None:
            raise InputError(f"argument --format: {output!r} is a file, whose name says its format; leave --format out")
        if not Path(output).suffix:
            raise InputError(
                f"argument -o: {output!r} has no suffix; give a file such as {output + '.jpg'!r}, or"
                f" {output + os.sep!r} for a folder of this name"
            )
        target = Path(output)
        _check_new(target)
        return [Job(Path(photos[0]), target)]
    folder = Path(output)
    _check_folder(folder)
    jobs = [Job(Path(photo), folder / output_name(Path(photo).name, suffix)) for photo in photos]
    _refuse_collisions(jobs)
    if is_folder(folder):
        for job in jobs:
            image.check_output(job.target)
    return jobs


def names_folder(output: str) -> bool:
    """Whether it is a folder, or will be: a name that ends in a slash."""
    return is_folder(output) or output.endswith(tuple(filter(None, (os.sep, os.altsep))))


def _is_folder(output: str, photos: int) -> bool:
    if names_folder(output):
        return True
    if photos == 1:
        return False
    if is_slip(output):
        raise InputError(
            f"argument -o: {photos} photos need a folder, got the file name {output!r}; give another, or"
            f" {output + os.sep!r} for a folder of this name"
        )
    return True


def _check_folder(folder: Path) -> None:
    """An existing folder, or one that can be made."""
    if exists(folder) and not is_folder(folder):
        raise ImageError(f"argument -o: {str(folder)!r} is a file, expected a folder; choose another name")
    above = nearest(folder)
    if not is_folder(above):
        raise ImageError(
            f"argument -o: the folder {str(folder)!r} cannot be made, {str(above)!r} is not a folder; choose another"
        )
    if not may(above, os.W_OK | os.X_OK):
        raise ImageError(
            f"argument -o: the folder {str(folder)!r} cannot be made, {str(above)!r} is read-only; choose another"
        )


def _check_new(target: Path) -> None:
    """As `image.check_output`, for a file whose folders need not be there yet.

    Raises:
        ImageError: it cannot be written there.
    """
    if exists(target.parent):
        image.check_output(target)
    else:
        image.holds_16_bits(target)  # an error where the suffix is none that can be written
        _check_folder(target.parent)


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(folded(str(job.target)), job)
        if other is not job:
            raise InputError(
                f"{str(other.photo)!r} and {str(job.photo)!r} would both be written to {str(job.target)!r}; "
                "rename one or stylize them into separate folders"
            )


def refuse_to_overwrite(targets: Iterable[Path], inputs: Iterable[str | Path], option: str = "-o") -> None:
    """Raise `InputError` where what is written would replace what it is made from."""
    taken = {_identity(path): path for path in inputs}
    for target in targets:
        if exists(target) and _identity(target) in taken:
            raise InputError(
                f"argument {option}: {str(target)!r} is the input {str(taken[_identity(target)])!r} itself; "
                "choose another name or folder"
            )


def _identity(path: str | Path) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino
