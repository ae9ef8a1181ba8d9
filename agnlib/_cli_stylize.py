"""`agnlib stylize`: everything that can be checked cheaply is checked before the first picture is painted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._cli_messages import say
from agnlib.errors import AgnError, ImageError, InputError

if TYPE_CHECKING:
    from agnlib.style import StyleCode
    from agnlib.stylizer import Stylizer


@dataclass(frozen=True)
class Job:
    """One photograph and where its painting goes."""

    photo: Path
    target: Path


def run(
    photos: Sequence[str],
    styles: Sequence[str],
    output: str,
    *,
    weights: str,
    device: str,
    threads: int | None,
    options: Mapping[str, Any],
) -> int:
    """Stylise the photos and return the exit code; `options` are those of `Stylizer.__call__`.

    Raises:
        AgnError: a mistake, found before anything was written.
    """
    weighted = [parse_style(text) for text in styles]
    for path in (*photos, *(picture for picture, _ in weighted)):
        image.probe(path)
    jobs = plan(photos, output)
    _refuse_to_overwrite_inputs(jobs, [*photos, *(picture for picture, _ in weighted)])
    stylizer = _stylizer(weights, device, threads)
    code = stylizer.encode_style(weighted)
    if len(jobs) == 1:
        paint(stylizer, jobs[0], code, options)
        return 0
    return _paint_all(stylizer, jobs, code, options)


def parse_style(text: str) -> tuple[str, float]:
    """Split "PICTURE" or "PICTURE:WEIGHT"; a text that names a file is that file, whatever colons it has.

    Raises:
        InputError: the weight is not above 0.
    """
    picture, colon, tail = text.rpartition(":")
    if not colon or not picture or Path(text).is_file():
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"argument --style: the weight of {picture!r} must be a number above 0, got {tail!r}")
    return picture, weight


def plan(photos: Sequence[str], output: str) -> list[Job]:
    """Where each painting goes, with nothing made yet.

    Raises:
        InputError: several photos for one file, two of one name, or a place that cannot be written to.
    """
    if not _is_folder(output, len(photos)):
        image.check_output(output)
        return [Job(Path(photos[0]), Path(output))]
    folder = Path(output)
    _check_folder(folder)
    jobs = [Job(Path(photo), folder / _output_name(Path(photo))) for photo in photos]
    _refuse_collisions(jobs)
    if folder.is_dir():
        for job in jobs:
            image.check_output(job.target)
    return jobs


def _is_folder(output: str, photos: int) -> bool:
    if not output:
        raise InputError("argument -o: expected a file or a folder, got an empty text")
    if Path(output).is_dir() or output.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        return True
    if photos == 1:
        return False
    if Path(output).suffix.lower() in image.SUFFIXES:
        raise InputError(f"argument -o: {photos} photos need a folder, got the file name {output!r}")
    return True


def _check_folder(folder: Path) -> None:
    """An existing folder, or one that can be made."""
    if folder.exists() and not folder.is_dir():
        raise ImageError(f"argument -o: {str(folder)!r} is a file, expected a folder; choose another name")
    if not folder.exists() and not folder.parent.is_dir():
        raise ImageError(
            f"argument -o: the folder {str(folder)!r} cannot be made, "
            f"{str(folder.parent)!r} is not an existing folder; make that first"
        )


def _output_name(photo: Path) -> str:
    """The photo's own name; one that cannot be written, such as `a.jfif`, becomes PNG."""
    return photo.name if photo.suffix.lower() in image.SUFFIXES else f"{photo.stem}.png"


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(os.path.normcase(job.target), job)
        if other is not job:
            raise InputError(
                f"{str(other.photo)!r} and {str(job.photo)!r} would both be written to {str(job.target)!r}; "
                "rename one or stylise them into separate folders"
            )


def _refuse_to_overwrite_inputs(jobs: Iterable[Job], inputs: Iterable[str]) -> None:
    taken = {_identity(path): path for path in inputs}
    for job in jobs:
        if job.target.exists() and _identity(job.target) in taken:
            raise InputError(
                f"argument -o: {str(job.target)!r} is the input {taken[_identity(job.target)]!r} itself; "
                "choose another name or folder"
            )


def _identity(path: str | Path) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _stylizer(weights: str, device: str, threads: int | None) -> Stylizer:
    import torch

    from agnlib.stylizer import Stylizer

    if threads is not None:
        torch.set_num_threads(threads)
    return Stylizer.from_pretrained(weights, device=device)


def paint(stylizer: Stylizer, job: Job, code: StyleCode, options: Mapping[str, Any]) -> None:
    """Paint one photo and write it, whole or not at all."""
    painted = stylizer(job.photo, code, **options)
    if not job.target.parent.exists():
        _make(job.target.parent)
    image.save(painted, job.target)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ImageError(f"argument -o: {str(folder)!r} cannot be made ({error.strerror}); choose another") from error


def _paint_all(stylizer: Stylizer, jobs: Sequence[Job], code: StyleCode, options: Mapping[str, Any]) -> int:
    """Paint every photo; one that fails is named and does not stop the rest."""
    from tqdm import tqdm

    failed = []
    with tqdm(jobs, unit="photo") as progress:
        for job in progress:
            try:
                paint(stylizer, job, code, options)
            except AgnError as error:
                failed.append(job)
                with tqdm.external_write_mode():
                    say(f"error: {error}")
    if failed:
        names = ", ".join(repr(str(job.photo)) for job in failed)
        say(f"error: {len(failed)} of {len(jobs)} photos failed: {names}")
    return 1 if failed else 0
