"""Which photographs a folder holds and where their paintings go; nothing is opened, nothing is made."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agnlib._shared.folders import nearest
from agnlib._shared.list_files import is_junk
from agnlib._shared.paths import exists, is_closed, is_file, is_folder, is_same, is_there, may, real, text_of, why_not
from agnlib.errors import ImageError, InputError
from agnlib.image import SUFFIXES
from agnlib.image._suffixes import HEIF_SUFFIXES, READ_SUFFIXES, left_out, names_a_file
from agnlib.video import SUFFIXES as CLIP_SUFFIXES
from agnlib.video import is_clip
from agnlib.video._names import can_be_read, painted_name

__all__ = ["NOTES", "Job", "Plan", "Stamp", "folded", "inside", "is_slip", "make_plan", "output_name", "stamp_of"]

NOTES = ".agnlib"  # in an output folder: what was painted there; it also says that the folder is one
Stamp = tuple[int, int]

_OF_LIVE_PHOTOS = (".heic", ".heif", ".jpg", ".jpeg")  # beside a .mov of the same name


@dataclass(frozen=True)
class Job:
    """One photograph and its painting.

    Attributes:
        name: of the photograph, from its folder on, with "/".
        source: where it is.
        output: name of the painting, from its folder on, with "/".
        target: where that goes.
        stamp: bytes and time of change of the photograph, as `stamp_of` gives them.
        is_clip: whether it is no photograph but a clip.
    """

    name: str
    source: Path
    output: str
    target: Path
    stamp: Stamp
    is_clip: bool = False


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        source: the folder of photographs.
        target: the folder of paintings.
        shard: number and count, from (1, 1).
        jobs: of this shard, first the photographs and then the clips.
        found: photographs and clips in all shards.
        skipped: what was passed over, by name, and why.
        unreadable: what could not be listed or reached, by name, and why.
        clips: of what was skipped, the clips, by what there is to say of them.
        unread: of what was skipped, the pictures of formats that are not read.
        folders: of all paintings.
        without_clips: why they are left out, all of them; empty where they are not.
    """

    source: Path
    target: Path
    shard: tuple[int, int]
    jobs: list[Job] = field(default_factory=list)
    found: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    clips: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    without_clips: str = ""

    def clips_summary(self) -> list[str]:
        """How many clips are left out, and why.

        Example:
            >>> Plan(Path("photos"), Path("painted"), (1, 1), clips={"as asked": ["b.mp4", "a.mov"]}).clips_summary()
            ["2 clips, such as 'a.mov': as asked"]
        """
        return [
            f"{len(names):,} clip{'s' * (len(names) > 1)}, such as {min(names)!r}: {why}"
            for why, names in sorted(self.clips.items())
        ]

    def left_out_summary(self) -> list[str]:
        """What was left out that somebody might miss, counted by kind, and what to do about it."""
        return [*self.clips_summary(), *filter(None, [left_out(self.unread)])]


def make_plan(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    shard: tuple[int, int] = (1, 1),
    suffix: str | None = None,
    without_clips: str = "",
) -> Plan:
    """List the photographs and clips under `source`, in the order of their names, and where each painting goes.

    Args:
        source, target, shard, suffix: see `agnlib.folder.stylize_folder`.
        without_clips: why the clips are left out; empty where they are not.

    Raises:
        InputError: see `agnlib.folder.stylize_folder`.
    """
    _check_shard(shard)
    plan = Plan(_real_folder(source), _real_target(target, source), shard, without_clips=without_clips)
    _check_apart(plan)
    jobs = [_job(plan, *each, suffix) for each in sorted(_photos_and_clips(plan), key=lambda each: (each[2], each[0]))]
    if not jobs and not plan.unreadable:
        others = "".join(f"; it has {each}" for each in plan.left_out_summary())
        raise InputError(f"no photographs in {str(source)!r}; expected files that end in {', '.join(SUFFIXES)}{others}")
    _refuse_collisions(jobs)
    plan.folders = sorted({job.target.parent for job in jobs})
    for folder in plan.folders:
        _check_output_folder(plan.target, folder)
    plan.found = len(jobs)
    for clips in (False, True):  # each kind shared out by itself: a clip takes as long as many photographs
        plan.jobs += [job for job in jobs if job.is_clip is clips][shard[0] - 1 :: shard[1]]
    return plan


def output_name(name: str, suffix: str | None = None) -> str:
    """A painting's name: the photo's, with another suffix if one is asked for.

    What is not written becomes JPEG, if it is HEIC, else PNG.
    """
    path = PurePosixPath(name)
    if suffix is None:
        instead = ".jpg" if path.suffix.lower() in HEIF_SUFFIXES else ".png"
        suffix = path.suffix if path.suffix.lower() in SUFFIXES else instead
    return str(path.with_suffix(suffix))


def stamp_of(status: os.stat_result) -> Stamp:
    """Bytes and time of change."""
    return status.st_size, status.st_mtime_ns


def inside(folder: Path, path: Path) -> bool:
    """Whether a path, its links followed, is that folder or lies in it."""
    return real(path).is_relative_to(folder)


def _check_shard(shard: tuple[int, int]) -> None:
    number, count = shard
    if not 1 <= number <= count:
        raise InputError(f"shard: expected (i, n) with i from 1 to n, got {shard!r}")


def _real_folder(source: str | os.PathLike[str]) -> Path:
    if not text_of(source, "source"):
        raise InputError("the name of the folder of photographs is empty; give a folder")
    if not is_folder(source):
        raise ImageError(f"{os.fspath(source)!r} {why_not(source, 'a folder')}; give a folder of photographs")
    try:
        os.scandir(source).close()
    except OSError as error:
        raise ImageError(f"{os.fspath(source)!r} cannot be listed ({error.strerror}); check its permissions") from error
    return real(source)


def _real_target(target: str | os.PathLike[str], source: str | os.PathLike[str]) -> Path:
    """The output folder, which exists and may be written to, or can be made."""
    shown, folder = repr(text_of(target, "target")), real(target)
    if not os.fspath(target):
        raise InputError("the output folder's name is empty; give a folder")
    if not exists(folder) and is_slip(os.fspath(target)):
        raise InputError(
            f"{os.fspath(source)!r} is a folder, and the output {shown} has the name of a file; give another name,"
            f" or {os.fspath(target) + os.sep!r} for a folder of this one"
        )
    if exists(folder) and not is_folder(folder):
        raise ImageError(f"the output {shown} is a file, expected a folder; choose another name")
    place = nearest(folder)
    if not is_folder(place):
        raise ImageError(f"the output folder {shown} cannot be made, {str(place)!r} is not a folder; choose another")
    if not may(place, os.W_OK | os.X_OK):
        raise ImageError(f"the output folder {shown} cannot be written to: {str(place)!r} is read-only; choose another")
    return folder


def is_slip(output: str) -> bool:
    """Whether the name of a new output folder is one of a file; one that ends in a slash is meant."""
    meant = output.endswith(tuple(filter(None, (os.sep, os.altsep))))
    return not meant and (names_a_file(output) or is_clip(output))


def _check_apart(plan: Plan) -> None:
    """A folder of paintings may lie in that of the photographs, which then leaves it out, but not the reverse."""
    if inside(plan.target, plan.source) or is_same(plan.source, plan.target):
        raise InputError(
            f"the photographs in {str(plan.source)!r} lie in the output folder {str(plan.target)!r}; "
            "choose another output folder"
        )


def _photos_and_clips(plan: Plan) -> Iterator[tuple[str, Stamp, bool]]:
    """Names of the photographs under a folder, with their stamps, and of the clips, which are said to be that.

    What is hidden or left by systems is passed by.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(plan.source / folder) as found:
                entries = [entry for entry in found if not is_junk(entry.name)]
        except OSError as error:
            plan.unreadable[folder or "."] = f"the folder cannot be listed ({error.strerror})"
            continue
        beside = {entry.name.casefold() for entry in entries}
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if _is_output(plan, Path(entry.path)):
                    plan.skipped[name] = "paintings by agnlib"
                else:
                    waiting.append(name)
            elif reason := _passed_over(plan, entry):
                plan.skipped[name] = reason
            elif clip := is_clip(entry.path):
                if why := _why_no_clip(plan, entry, beside):
                    plan.skipped[name] = f"a clip: {why}"
                    plan.clips.setdefault(why, []).append(name)
                else:
                    yield from _with_stamp(plan, name, entry, clip)
            elif left_out([entry.name]):
                plan.skipped[name] = "a picture of a format that is not read"
                plan.unread.append(name)
            elif _is_photo(entry.name):
                yield from _with_stamp(plan, name, entry, clip)


def _with_stamp(plan: Plan, name: str, entry: os.DirEntry[str], clip: bool) -> Iterator[tuple[str, Stamp, bool]]:
    try:
        yield name, stamp_of(entry.stat()), clip
    except OSError as error:
        plan.unreadable[name] = f"the {'clip' if clip else 'photograph'} cannot be reached ({error.strerror})"


def _why_no_clip(plan: Plan, entry: os.DirEntry[str], beside: Collection[str]) -> str:
    """Why a clip is left out; empty where it is not."""
    if plan.without_clips:
        return plan.without_clips
    path = PurePosixPath(entry.name.casefold())
    if path.suffix == ".mov" and any(path.with_suffix(suffix).name in beside for suffix in _OF_LIVE_PHOTOS):
        return "of a live photo, whose picture lies beside it; name the clip to paint it"
    if not can_be_read(entry.path):
        return 'it needs PyAV; install it: pip install "agnlib[video]"'
    return ""


def _is_output(plan: Plan, folder: Path) -> bool:
    return is_folder(folder / NOTES) or folder == plan.target or is_same(folder, plan.target)


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in READ_SUFFIXES


def _is_content(name: str) -> bool:
    return _is_photo(name) or Path(name).suffix.lower() in CLIP_SUFFIXES


def _passed_over(plan: Plan, entry: os.DirEntry[str]) -> str | None:
    """Why what looks like a photograph is none, or a link is not followed."""
    if entry.is_symlink():
        if is_folder(entry.path):  # the entry's own is_dir() raises where links go round in circles
            return "a link to a folder"
        if _is_content(entry.name) and not inside(plan.source, Path(entry.path)):
            return "a link out of the folder"
        if _is_content(entry.name) and inside(plan.target, Path(entry.path)):
            return "a link to a painting"
    if _is_content(entry.name) and not is_file(entry.path) and not is_closed(entry.path):
        return "not a regular file"
    return None


def _job(plan: Plan, name: str, stamp: Stamp, clip: bool, suffix: str | None) -> Job:
    output = painted_name(name) if clip else output_name(name, suffix)
    return Job(name, plan.source / name, output, plan.target / output, stamp, clip)


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    """Two paintings for one file, also on a file system that does not tell cases or forms of accents apart."""
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(folded(job.output), job)
        if other is not job:
            raise InputError(
                f"{other.name!r} and {job.name!r} would both be written to {job.output!r} (upper and lower case are "
                "the same to many file systems, HEIC is written as JPEG, AVI as MP4); rename one, or move it elsewhere"
            )
    for job in jobs:
        for parent in PurePosixPath(job.output).parents:
            if (taken := first.get(folded(str(parent)))) is not None:
                raise InputError(
                    f"{taken.name!r} would be written to {taken.output!r}, which must be a folder for {job.name!r}; "
                    "rename one"
                )


def folded(name: str) -> str:
    """What names have in common that a file system may not tell apart, by case or forms of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_output_folder(target: Path, folder: Path) -> None:
    if not inside(target, folder):
        raise InputError(
            f"{str(folder)!r} leads out of the output folder, to {os.path.realpath(folder)!r}; "
            "remove the link or choose another output folder"
        )
    for parent in (folder, *folder.parents):
        if parent == target:
            return
        if is_there(parent) and not is_folder(parent):
            raise ImageError(f"{str(parent)!r} is a file, expected a folder; move it or choose another output folder")
