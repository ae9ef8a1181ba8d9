"""`-o` of `agnlib stylize`: where each painting goes, with nothing made yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agnlib import image
from agnlib._shared.folders import made, nearest
from agnlib._shared.paths import exists, is_folder, may
from agnlib.errors import ImageError, InputError
from agnlib.folder._tree import folded, is_slip, output_name
from agnlib.video import check_target, is_clip
from agnlib.video._names import painted_name, target_format

__all__ = ["Job", "is_for_clip", "made_for", "names_folder", "plan", "refuse_to_overwrite"]


@dataclass(frozen=True)
class Job:
    """One photograph or clip and where its painting goes."""

    photo: Path
    target: Path
    is_clip: bool = False


def plan(photos: Sequence[str], output: str, suffix: str | None = None) -> list[Job]:
    """Where each painting goes, with nothing made yet.

    Raises:
        InputError: several photos for one file, two of one name, or a place that cannot be written to.
    """
    if not _is_folder(output, len(photos)):
        if suffix is not None:
            raise InputError(f"argument --format: {output!r} is a file, whose name says its format; leave --format out")
        job = Job(Path(photos[0]), Path(output), is_for_clip(photos[0], output))
        _refuse_without_suffix(output, ".mp4" if job.is_clip else ".jpg")
        _check_new(job)
        return [job]
    folder = Path(output)
    _check_folder(folder)
    jobs = [_in_folder(folder, Path(photo), suffix) for photo in photos]
    _refuse_collisions(jobs)
    for job in jobs:
        _check_new(job)
    return jobs


def is_for_clip(photo: str, output: str) -> bool:
    """Whether it is a clip; of an animated WebP that goes to a file for pictures the first frame is painted."""
    still = photo.lower().endswith(".webp") and Path(output).suffix.lower() in set(image.SUFFIXES) - {".webp"}
    return is_clip(photo) and not still


def _refuse_without_suffix(output: str, example: str) -> None:
    """Raise `InputError` where a name could be that of a file or of a folder."""
    if not Path(output).suffix:
        raise InputError(
            f"argument -o: {output!r} has no suffix; give a file such as {output + example!r}, or"
            f" {output + os.sep!r} for a folder of this name"
        )


def _in_folder(folder: Path, photo: Path, suffix: str | None) -> Job:
    clip = is_clip(photo)
    name = painted_name(photo.name) if clip else output_name(photo.name, suffix)
    return Job(photo, folder / name, clip)


def names_folder(output: str) -> bool:
    """Whether it is a folder, or will be: a name that ends in a slash."""
    return is_folder(output) or output.endswith(tuple(filter(None, (os.sep, os.altsep))))


@contextmanager
def made_for(target: Path) -> Iterator[None]:
    """The folders of what is written in the block; see `made`.

    Raises:
        ImageError: they cannot be made.
    """
    folder = target.parent
    with ExitStack() as stack:
        try:
            stack.enter_context(made(folder))
        except OSError as error:
            raise ImageError(
                f"argument -o: {str(folder)!r} cannot be made ({error.strerror}); choose another"
            ) from error
        yield


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


def _check_new(job: Job) -> None:
    """As `image.check_output` or `video.check_target`, for a file whose folders need not be there yet.

    Raises:
        ImageError: it cannot be written there.
        VideoError: likewise.
    """
    target = job.target
    if exists(target.parent):
        (check_target if job.is_clip else image.check_output)(target)
        return
    if job.is_clip:
        target_format(target)
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
