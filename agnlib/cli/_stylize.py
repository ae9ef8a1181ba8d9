"""`agnlib stylize`: everything that can be checked cheaply is checked before the first picture is painted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agnlib import image
from agnlib._shared.paths import is_file, refuse_taken
from agnlib.cli._exported import FileStylizer, made_ready
from agnlib.cli._messages import say, shows_bar
from agnlib.cli._output_argument import Job, is_for_clip, made_for, plan, refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import checked_regions, pictures_of
from agnlib.cli._video import check_clips, paint_clip
from agnlib.errors import AgnError, ImageError, VideoError
from agnlib.video import check_source


def run(request: Request, *, smoothing: float) -> int:
    """Stylize the photos, and the clips among them, and return the exit code.

    Raises:
        AgnError: a mistake, found before anything was written.
    """
    failures = _unreadable(request)
    regions = checked_regions(request)
    jobs = plan(request.photos, request.output, request.suffix)
    if any(job.is_clip for job in jobs):
        check_clips(jobs, request)
    refuse_to_overwrite([job.target for job in jobs], [*request.photos, *pictures_of(regions)])
    refuse_taken([job.target for job in jobs], overwrite=request.overwrite)
    stylizer, options = made_ready(request, regions, takes_long=len(jobs) > 1)
    options |= {"limits": request.limits, "overwrite": request.overwrite}
    if len(jobs) == 1:
        started = time.perf_counter()
        height, width = paint(stylizer, jobs[0], {**options, "progress": shows_bar(quiet=request.quiet)})
        if not request.quiet:
            say(f"{jobs[0].target}: {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
        return 0
    return _paint_all(stylizer, jobs, {**options, "smoothing": smoothing}, failures, quiet=request.quiet)


def _unreadable(request: Request) -> dict[Path, AgnError]:
    """Photos that their headers show to be none; one that is missing, or the only one, is a mistake at once."""
    failures: dict[Path, AgnError] = {}
    limits = replace(request.limits, reduced_to=request.options["size"])
    for photo in request.photos:
        try:
            if is_for_clip(photo, request.output):
                check_source(photo)
            else:
                image.probe(photo, limits=limits)
        except (ImageError, VideoError) as error:
            if len(request.photos) == 1 or not is_file(photo):
                raise
            failures[Path(photo)] = error
    return failures


def paint(stylizer: FileStylizer, job: Job, options: Mapping[str, Any]) -> tuple[int, int]:
    """Paint one photo and write it, whole or not at all; height and width of the painting."""
    with made_for(job.target):
        return stylizer.stylize_file(job.photo, job.target, **options)


def _paint_all(
    stylizer: Any,
    jobs: Sequence[Job],
    options: Mapping[str, Any],
    failures: Mapping[Path, AgnError],
    *,
    quiet: bool,
) -> int:
    """Paint every file; one that fails is named and does not stop the rest."""
    from tqdm import tqdm

    failed = []
    unit = "file" if any(job.is_clip for job in jobs) else "photo"
    with tqdm(jobs, unit=unit, disable=quiet) as progress:
        for job in progress:
            try:
                if job.photo in failures:
                    raise failures[job.photo]
                if job.is_clip:
                    paint_clip(stylizer, job, options)
                else:
                    paint(stylizer, job, {name: value for name, value in options.items() if name != "smoothing"})
            except AgnError as error:
                failed.append(job)
                with tqdm.external_write_mode():
                    say(f"error: {error}")
    if failed:
        names = ", ".join(repr(str(job.photo)) for job in failed)
        say(f"error: {len(failed)} of {len(jobs)} {unit}s failed: {names}")
    if len(failed) == len(jobs):
        return 2
    return 1 if failed else 0
