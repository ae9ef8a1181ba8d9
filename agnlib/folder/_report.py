"""What became of a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agnlib import __version__
from agnlib._shared.paths import is_file, is_folder, is_there, real, text_of, why_not
from agnlib.errors import ImageError, InputError
from agnlib.folder._tree import Plan, inside
from agnlib.image import write_file
from agnlib.image._suffixes import READ_SUFFIXES

__all__ = ["FolderReport", "report_path"]


@dataclass(frozen=True)
class FolderReport:
    """What became of a folder of photographs and clips, or of one shard of it.

    Attributes:
        source: the folder of photographs.
        target: the folder of paintings.
        shard: number and count of the shard, from (1, 1).
        found: photographs and clips in all shards.
        chosen: of these in this shard.
        painted: in this run.
        kept: painted by an earlier run, and whole.
        left: not begun, or dropped, since the run was stopped.
        failed: each file that could not be painted, listed or written, by its name, and why.
        skipped: what was passed over, such as links out of the folder, pictures of formats that are not read, and
            frames after the first, by its name, and why.
        seconds: that it took.
        stopped: why it ended before all was done; None where it did not.
        styles: what they are called, of each region.
        paintings: the files that were painted in this run, below `target`.
        settings: what decides how the paintings look, but for the style codes.

    Example:
        >>> FolderReport("photos", "painted", found=3, chosen=3, painted=2, failed={"a.jpg": "damaged"}).summary()
        '2 painted, 1 failed'
    """

    source: str
    target: str
    shard: tuple[int, int] = (1, 1)
    found: int = 0
    chosen: int = 0
    painted: int = 0
    kept: int = 0
    left: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str | None = None
    styles: tuple[str, ...] = ()
    paintings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> str:
        """The counts that are not 0, in words."""
        counts = {"painted": self.painted, "kept": self.kept, "failed": len(self.failed), "left": self.left}
        return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "nothing to do"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            ImageError: it cannot be written there.
        """
        write_file(path, json.dumps({"agnlib": __version__, **asdict(self)}, indent=2).encode() + b"\n")


def report_path(plan: Plan, given: str | os.PathLike[str] | None, *, overwrite: bool) -> Path:
    """Where the report goes: by default into the output folder, one for each shard.

    Raises:
        InputError: a folder, link or file is there that is no report, or it would be one of the photographs.
        ImageError: its folder does not exist.
    """
    number, count = plan.shard
    name = "agnlib-report.json" if count == 1 else f"agnlib-report-{number}-of-{count}.json"
    path = plan.target / name if given is None else Path(text_of(given, "report"))
    if given is not None and not is_folder(path.parent) and real(path.parent) != plan.target:  # which the run makes
        raise ImageError(f"the folder of the report {str(path)!r} {why_not(path.parent, 'a folder')}; create it first")
    if is_folder(path):
        raise InputError(f"{str(path)!r} is a folder; give a file name for the report")
    if path.suffix.lower() in READ_SUFFIXES and inside(plan.source, path):
        raise InputError(f"{str(path)!r} would be one of the photographs; give another name for the report")
    if is_there(path) and not (overwrite or _is_report(path)):
        raise InputError(
            f"{str(path)!r} is there already and no report by agnlib; choose another name, or give overwrite=True"
            " (--overwrite) to replace it"
        )
    return path


def _is_report(path: Path) -> bool:
    """Whether a report of ours lies there, not a link to one."""
    if path.is_symlink() or not is_file(path):
        return False
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"agnlib", "painted", "kept"} <= found.keys()
