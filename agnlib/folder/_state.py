"""What of a folder is already painted, what is to be painted, and what is in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agnlib._shared.paths import is_folder
from agnlib.errors import ImageError, InputError, VideoError
from agnlib.folder._manifest import Begun, Done, Identity, Records
from agnlib.folder._settings import Recipe, differences
from agnlib.folder._tree import Job, stamp_of
from agnlib.image import Limits, probe, read

__all__ = ["State", "check_state", "identity_of"]

_OURS = Limits(pixels=2**40, side=2**31, bytes=2**50)  # what was written needs no limits
_NAMED = 3  # of the files that are in the way


@dataclass
class State:
    """The jobs of a shard, sorted.

    Attributes:
        kept: painted and whole.
        adopted: likewise, but not noted as done, since the process was killed: what to note.
        waiting: to be painted, with what they replace.
    """

    kept: list[Job] = field(default_factory=list)
    adopted: list[tuple[Job, Done]] = field(default_factory=list)
    waiting: list[tuple[Job, Identity | None]] = field(default_factory=list)


def check_state(jobs: Sequence[Job], records: Records, recipe: Recipe, *, overwrite: bool) -> State:
    """Look at what is there.

    A painting counts as done if it has the bytes that were noted, its header has the size that was noted, and it was
    made from this photograph as it is now, with these settings.

    Raises:
        InputError: a file is in the way that must not be replaced.
    """
    state = State()
    in_the_way: list[tuple[Job, str]] = []
    for job in jobs:
        there = identity_of(job.target)
        if there is None:
            state.waiting.append((job, None))
            continue
        if is_folder(job.target):
            raise InputError(f"{str(job.target)!r} is a folder, but {job.name!r} would be painted to it; move it")
        done, adopted = _record(job, there, records, recipe)
        reason = "agnlib did not write it" if done is None else _objection(job, there, done, recipe)
        if reason is None and done is not None:
            state.kept.append(job)
            if adopted:
                state.adopted.append((job, done))
            continue
        if reason:
            in_the_way.append((job, reason))
        state.waiting.append((job, there))
    if in_the_way and not overwrite:
        raise InputError(_message(in_the_way))
    return state


def identity_of(path: Path) -> Identity | None:
    """Bytes, time of change and number of what is there, links not followed; None where nothing is."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be reached ({error.strerror}); check the permissions") from error
    return (*stamp_of(status), status.st_ino)


def _record(job: Job, there: Identity, records: Records, recipe: Recipe) -> tuple[Done | None, bool]:
    """What is known of the file that is there, and whether that was not noted but found out."""
    done, begun = records.done.get(job.output), records.begun.get(job.output)
    if begun is not None and begun.over != there and (done is None or begun.at > done.at):
        found = _finished(job, there, begun, recipe)
        if found is not None:
            return found, True
    return done, False


def _finished(job: Job, there: Identity, begun: Begun, recipe: Recipe) -> Done | None:
    """A painting that was begun and is whole, though no line says so."""
    size = _decoded(job)
    if size is None or not recipe.may_be(size, job):
        return None
    return Done(begun.name, begun.stamp, begun.settings, there[0], size, begun.at)


def _objection(job: Job, there: Identity, done: Done, recipe: Recipe) -> str | None:
    """Why a painting by us is not what is asked for: in words, empty where it is damaged and may be replaced."""
    if there[0] != done.bytes or job.target.is_symlink():
        return "" if not job.target.is_symlink() and _decoded(job) is None else "it was changed since"
    if not _opens(job, done.size):
        return ""
    if changed := differences(done.settings, recipe.settings, of_clips=job.is_clip):
        return f"it was painted with other settings: {changed}"
    if (done.name, done.stamp) != (job.name, job.stamp):
        return "its photograph has changed since"
    return None


def _opens(job: Job, size: tuple[int, int]) -> bool:
    try:
        if job.is_clip:
            from agnlib.video._opening import size_of

            return size_of(job.target) == size
        width, height = probe(job.target, limits=_OURS)
    except (ImageError, VideoError):
        return False
    return (height, width) == size


def _decoded(job: Job) -> tuple[int, int] | None:
    """Height and width of a picture or clip that can be decoded to its end."""
    try:
        if not stat.S_ISREG(job.target.lstat().st_mode):
            return None
        if job.is_clip:
            from agnlib.video._opening import size_if_whole

            return size_if_whole(job.target)
        height, width = read(job.target, limits=_OURS).shape[:2]
    except (ImageError, OSError):
        return None
    return height, width


def _message(in_the_way: Sequence[tuple[Job, str]]) -> str:
    named = "; ".join(f"{os.fspath(job.target)!r}: {reason}" for job, reason in in_the_way[:_NAMED])
    more = f"; and {len(in_the_way) - _NAMED:,} more" if len(in_the_way) > _NAMED else ""
    files = "1 file is" if len(in_the_way) == 1 else f"{len(in_the_way):,} files are"
    remedy = "Choose another output folder, or give overwrite (--overwrite) to replace them"
    return f"{files} in the way: {named}{more}. {remedy}"
