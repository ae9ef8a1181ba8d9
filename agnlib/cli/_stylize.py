"""`agnlib stylize`: everything that can be checked cheaply is checked before the first picture is painted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._shared.folders import made
from agnlib._shared.paths import is_file, refuse_taken
from agnlib.cli._messages import relay, say, shows_bar
from agnlib.cli._output_argument import Job, plan, refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import checked_regions, pictures_of, style_options
from agnlib.errors import AgnError, ImageError

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer


def run(request: Request) -> int:
    """Stylize the photos and return the exit code.

    Raises:
        AgnError: a mistake, found before anything was written.
    """
    failures = _unreadable(request.photos, replace(request.limits, reduced_to=request.options["size"]))
    regions = checked_regions(request)
    jobs = plan(request.photos, request.output, request.suffix)
    refuse_to_overwrite([job.target for job in jobs], [*request.photos, *pictures_of(regions)])
    refuse_taken([job.target for job in jobs], overwrite=request.overwrite)
    stylizer = make_stylizer(request)
    options = {**request.options, **style_options(stylizer, regions, request)}
    options |= {"limits": request.limits, "overwrite": request.overwrite}
    if len(jobs) == 1:
        started = time.perf_counter()
        shown = {"progress": shows_bar(quiet=request.quiet)}
        height, width = paint(stylizer, jobs[0], {**options, **shown})
        if not request.quiet:
            say(f"{jobs[0].target}: {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
        return 0
    return _paint_all(stylizer, jobs, options, failures, quiet=request.quiet)


def _unreadable(photos: Sequence[str], limits: image.Limits) -> dict[Path, AgnError]:
    """Photos that their headers show to be none; one that is missing, or the only one, is a mistake at once."""
    failures: dict[Path, AgnError] = {}
    for photo in photos:
        try:
            image.probe(photo, limits=limits)
        except ImageError as error:
            if len(photos) == 1 or not is_file(photo):
                raise
            failures[Path(photo)] = error
    return failures


def make_stylizer(request: Request) -> Stylizer:
    """The weights on the device; sets torch's number of threads."""
    import torch

    from agnlib.stylizer import Stylizer

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    if not request.quiet:
        relay("agnlib.engine")  # the first export takes seconds
    return Stylizer.from_pretrained(request.weights, device=request.device, engine=request.engine)


def paint(stylizer: Stylizer, job: Job, options: Mapping[str, Any]) -> tuple[int, int]:
    """Paint one photo and write it, whole or not at all; height and width of the painting."""
    with made_for(job.target):
        return stylizer.stylize_file(job.photo, job.target, **options)


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


def _paint_all(
    stylizer: Stylizer,
    jobs: Sequence[Job],
    options: Mapping[str, Any],
    failures: Mapping[Path, AgnError],
    *,
    quiet: bool,
) -> int:
    """Paint every photo; one that fails is named and does not stop the rest."""
    from tqdm import tqdm

    failed = []
    with tqdm(jobs, unit="photo", disable=quiet) as progress:
        for job in progress:
            try:
                if job.photo in failures:
                    raise failures[job.photo]
                paint(stylizer, job, options)
            except AgnError as error:
                failed.append(job)
                with tqdm.external_write_mode():
                    say(f"error: {error}")
    if failed:
        names = ", ".join(repr(str(job.photo)) for job in failed)
        say(f"error: {len(failed)} of {len(jobs)} photos failed: {names}")
    if len(failed) == len(jobs):
        return 2
    return 1 if failed else 0
