"""What was painted into a folder: JSON, line by line, whole or worth nothing, whenever the process is killed.

Each shard writes a file of its own. A line `begun` is on the disk before the painting it speaks of can be there, and a
line `done` follows; so a painting that a kill has left without its `done` is known as ours, and a file that no line
speaks of as somebody else's. `ended` says that nothing was under way any more.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agnlib._shared.atomic import remove_leftovers
from agnlib._shared.lock import lock
from agnlib.errors import ImageError, InputError
from agnlib.folder._tree import NOTES, Job, Plan, Stamp

__all__ = ["Done", "Manifest", "Records", "read_records"]

Settings = Mapping[str, Any]
Identity = tuple[int, int, int]


@dataclass(frozen=True)
class Begun:
    """A painting was to be made, in place of a file with this identity if there was one.

    Attributes:
        name: of the photograph.
        stamp: of the photograph.
        settings: what decides how the painting looks.
        over: bytes, time of change and number of the file that was there.
        at: seconds since 1970.
    """

    name: str
    stamp: Stamp
    settings: Settings
    over: Identity | None
    at: float


@dataclass(frozen=True)
class Done:
    """A painting was made: as `Begun`, with its bytes, height and width."""

    name: str
    stamp: Stamp
    settings: Settings
    bytes: int
    size: tuple[int, int]
    at: float


@dataclass
class Records:
    """The newest of each kind for each painting, by its name, and what settings were used."""

    begun: dict[str, Begun] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)


def read_records(target: Path) -> Records:
    """What the shards have noted in an output folder. Torn and unknown lines do not count."""
    records = Records()
    for path in sorted((target / NOTES).glob("manifest-*.jsonl")):
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise ImageError(
                f"{str(path)!r}, which says what was painted, cannot be read ({error.strerror}); check its permissions"
            ) from error
        _take(records, lines)
    return records


def _take(records: Records, lines: Iterable[bytes]) -> None:
    settings: dict[str, Settings] = {}
    begun: dict[str, Begun] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = json.loads(line)
            kind = entry["line"]
            if kind == "settings":
                settings[entry["id"]] = dict(entry["settings"])
            elif kind == "ended":
                begun.clear()
            elif kind == "begun":
                begun[entry["painting"]] = _begun(entry, settings)
            elif kind == "done":
                done = _done(entry, settings)
                begun.pop(entry["painting"], None)
                _keep_newer(records.done, entry["painting"], done)
    for output, each in begun.items():
        _keep_newer(records.begun, output, each)


def _begun(entry: dict[str, Any], settings: Mapping[str, Settings]) -> Begun:
    size, changed = map(int, entry["stamp"])
    over = entry["over"] and tuple(map(int, entry["over"]))
    return Begun(str(entry["photo"]), (size, changed), settings[entry["settings"]], over, float(entry["at"]))


def _done(entry: dict[str, Any], settings: Mapping[str, Settings]) -> Done:
    (size, changed), (height, width) = map(int, entry["stamp"]), map(int, entry["size"])
    chosen = settings[entry["settings"]]
    return Done(str(entry["photo"]), (size, changed), chosen, int(entry["bytes"]), (height, width), float(entry["at"]))


def _keep_newer(found: dict[str, Any], output: str, entry: Begun | Done) -> None:
    if output not in found or entry.at >= found[output].at:
        found[output] = entry


class Manifest:
    """A shard's own file, open to be added to; no other process works on the same shard meanwhile.

    Raises:
        InputError: another process does.
        ImageError: the output folder cannot be written to.
    """

    def __init__(self, plan: Plan, settings: Settings) -> None:
        folder = plan.target / NOTES
        number, count = plan.shard
        self._path = folder / f"manifest-{number}-of-{count}.jsonl"
        self._id = f"{time.time_ns():x}"
        self._left_open = False
        self._unsaid = [{"line": "settings", "id": self._id, "settings": settings}]
        try:
            plan.target.mkdir(parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            if folder.is_symlink():
                raise InputError(f"{str(folder)!r} is a link; remove it or choose another output folder")
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666)
            self._alive = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise self._explained(error) from error
        if not lock(self._file, wait=False):
            self._close()
            raise InputError(
                f"another agnlib is at work on shard {number}/{count} of {str(plan.target)!r}; "
                "wait for it or stop it first"
            )
        self._remove_leftovers(plan.folders)
        self._torn, self._one_at_a_time = _ends_torn(self._path), threading.Lock()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._left_open:
            with suppress(OSError):  # a full disk: it only means that the next run looks at more files
                self._append([{"line": "ended"}])
        self._close()

    def leave_open(self) -> None:
        """Something that was begun may be there without being noted as done: the next run shall look."""
        self._left_open = True

    def begin(self, jobs: Iterable[tuple[Job, Identity | None]]) -> None:
        """Note, lastingly, what is going to be painted and what will be replaced by it.

        Raises:
            ImageError: it cannot be written.
        """
        now = time.time()
        entries = ({**self._entry("begun", job, now), "over": over} for job, over in jobs)
        try:
            self._append([*self._unsaid, *entries])
            self._unsaid.clear()
            os.fsync(self._file)
        except OSError as error:
            raise self._explained(error) from error

    def done(self, job: Job, written: int, size: tuple[int, int]) -> None:
        """Note that a painting is there.

        Raises:
            ImageError: it cannot be written.
        """
        try:
            self._append([{**self._entry("done", job, time.time()), "bytes": written, "size": size}])
        except OSError as error:
            raise self._explained(error) from error

    def _entry(self, kind: str, job: Job, now: float) -> dict[str, Any]:
        about = {"painting": job.output, "photo": job.name, "stamp": job.stamp}
        return {"line": kind, **about, "settings": self._id, "at": now}

    def _append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        data = b"".join(json.dumps(entry, allow_nan=False).encode() + b"\n" for entry in entries)
        with self._one_at_a_time:
            data = b"\n" * self._torn + data
            self._torn = True
            while data:
                data = data[os.write(self._file, data) :]
            self._torn = False

    def _remove_leftovers(self, folders: Iterable[Path]) -> None:
        """What killed processes left half-written, if no other shard is at work, whose files they might be."""
        if lock(self._alive, wait=False):
            for folder in folders:
                remove_leftovers(folder)
        lock(self._alive, wait=True, shared=True)

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._alive)

    def _explained(self, error: OSError) -> ImageError:
        said = error.strerror or str(error)
        return ImageError(f"{str(self._path)!r} cannot be written ({said}); check space and permissions")


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
