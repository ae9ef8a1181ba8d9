"""`agnlib stylize DIR -o DIR`: a folder of photographs and clips, with a progress bar and signals that stop it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from agnlib._shared.paths import real
from agnlib.cli._machine import make_stylizer
from agnlib.cli._messages import say, shows_bar
from agnlib.cli._output_argument import refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import checked_regions, pictures_of, style_options
from agnlib.errors import InputError
from agnlib.folder import FolderReport
from agnlib.folder._run import FolderRun, why_no_clips
from agnlib.folder._settings import Recipe
from agnlib.folder._tree import make_plan

_QUALITY = 95


def run(request: Request, *, shard: tuple[int, int] | None, report: str | None, clips: bool, smoothing: float) -> int:
    """Stylize the folder and return the exit code; see `agnlib.folder.stylize_folder`.

    Raises:
        AgnError: a mistake, found before anything was written.
    """
    if (count := len(request.photos)) != 1:
        raise InputError(f"argument PHOTO|DIR: expected one folder, or photographs without folders, got {count}")
    regions = checked_regions(request)
    left_out = why_no_clips(request.options["method"], wanted=clips)
    places = request.photos[0], request.output
    plan = make_plan(*places, shard=shard or (1, 1), suffix=request.suffix, without_clips=left_out)
    if report is not None and request.save_style is not None and real(report) == real(request.save_style):
        raise InputError(f"argument --report: {report!r} is the file of --save-style; give the two different names")
    written = [*(job.target for job in plan.jobs), *([] if report is None else [Path(report)])]
    refuse_to_overwrite(written, pictures_of(regions))
    stylizer = make_stylizer(request, takes_long=True)
    given = {**request.options, **style_options(stylizer, regions, request)}
    style, metadata, noted = (given.pop(name) for name in ("style", "metadata", "recipe"))
    files: dict[str, Any] = {"metadata": metadata, "recipe": noted, "quality": _QUALITY, "limits": request.limits}
    files["smoothing"] = smoothing if any(job.is_clip for job in plan.jobs) else None
    recipe = Recipe(stylizer, style, given, **files)
    work = FolderRun(plan, recipe, overwrite=request.overwrite, report=report)
    done = _work(work, quiet=request.quiet)
    painted = {job.name for job in plan.jobs}
    for name, error in done.failed.items():
        if name not in painted:  # those were said when it happened
            say(f"error: {name}: {error}")
    if not request.quiet:
        for words in [*plan.left_out_summary(), *recipe.partial_summary()]:
            say(f"left out: {words}")
    return _conclusion(done, quiet=request.quiet)


def _work(work: FolderRun, *, quiet: bool) -> FolderReport:
    from tqdm import tqdm

    from agnlib.training.safety.interrupt import stopping_on_signals

    def finished(name: str, error: str | None) -> None:
        if error is not None:
            with tqdm.external_write_mode():
                say(f"error: {name}: {error}")

    with stopping_on_signals(work.stop):
        return work.run(finished, shows_bar(quiet=quiet))


def _conclusion(report: FolderReport, *, quiet: bool) -> int:
    """Say how it ended; the exit code."""
    number = getattr(signal, report.stopped or "", None)
    if not quiet:
        say(f"{report.target}: {report.summary()}, {report.seconds:.1f} s")
    if report.stopped is not None:
        left = "photographs and clips" if "smoothing" in report.settings else "photographs"
        say(f"stopped ({report.stopped}) with {report.left:,} {left} left; the same command goes on")
    if number is not None:
        return 128 + int(number)
    return 1 if report.failed else 0
