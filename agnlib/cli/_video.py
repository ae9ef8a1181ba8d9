"""`agnlib stylize` for clips: one by itself, or among other files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agnlib import video
from agnlib._shared.optional import require
from agnlib._shared.paths import refuse_taken
from agnlib.cli._machine import make_stylizer
from agnlib.cli._messages import say
from agnlib.cli._output_argument import Job, made_for, plan, refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import by_neighbors, checked_regions, pictures_of, style_options
from agnlib.errors import InputError
from agnlib.video._names import is_animation

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["check_clips", "paint_clip", "run"]

_OF_PHOTOGRAPHS = ("metadata", "recipe", "limits")  # options that clips do not have


def run(request: Request, *, smoothing: float) -> int:
    """Stylize a clip and return the exit code; see `Stylizer.stylize_video`.

    Raises:
        AgnError: a mistake, found before anything was written, or a clip that is damaged.
    """
    _check_options(request)
    (job,) = plan(request.photos, request.output)
    video.check_source(job.photo)
    check_clips([job], request)
    regions = checked_regions(request)
    refuse_to_overwrite([job.target], [job.photo, *pictures_of(regions)])
    refuse_taken([job.target], overwrite=request.overwrite)
    stylizer = make_stylizer(request, takes_long=True)
    options = {**request.options, **style_options(stylizer, regions, request), "smoothing": smoothing}
    started = time.perf_counter()
    given = {**options, "overwrite": request.overwrite, "progress": not request.quiet}
    count, height, width = paint_clip(stylizer, job, given)
    if not request.quiet:
        say(f"{job.target}: {count} frames of {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
    return 0


def check_clips(jobs: Sequence[Job], request: Request) -> None:
    """Say beforehand what would keep clips from being painted, or what does nothing where there are no photographs.

    Raises:
        InputError: an option that clips do not have.
        MissingDependencyError: PyAV is not installed.
    """
    if by_neighbors(request):
        clip = next(job.photo for job in jobs if job.is_clip)
        raise InputError(f"argument --method: neighbors is for photographs, and {str(clip)!r} is a clip; leave it out")
    if all(job.is_clip for job in jobs):
        _check_options(request)
    for job in jobs:
        if job.is_clip and not (is_animation(job.photo) and is_animation(job.target)):
            require("av", extra="video", purpose="video")


def _check_options(request: Request) -> None:
    if request.suffix is not None:
        raise InputError("argument --format: is for photographs; a clip's format is told by the name after -o")
    if request.options["metadata"] != "none":
        raise InputError("argument --metadata: is for photographs; of a clip no metadata is kept")


def paint_clip(stylizer: Stylizer, job: Job, options: Mapping[str, Any]) -> tuple[int, int, int]:
    """Paint one clip and write it, whole or not at all; frames, height and width of the painting."""
    given = {name: value for name, value in options.items() if name not in _OF_PHOTOGRAPHS}
    with made_for(job.target):
        return stylizer.stylize_video(job.photo, job.target, **given)
