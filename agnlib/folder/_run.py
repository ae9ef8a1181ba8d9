"""A folder of photographs in, a folder of paintings out."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from agnlib._shared.progress import Listener, Told, check_progress, telling
from agnlib.errors import AgnError, ImageError, InputError
from agnlib.folder._manifest import Identity, Manifest, read_records
from agnlib.folder._pipeline import Dropped, Pipeline
from agnlib.folder._report import FolderReport, report_path
from agnlib.folder._settings import Recipe
from agnlib.folder._state import check_state, identity_of
from agnlib.folder._tree import Job, Plan, inside, make_plan
from agnlib.image import DEFAULT_LIMITS, SUFFIXES, Limits
from agnlib.painting._photo import Photo, Rows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from agnlib.painting._options import PaintingOptions
    from agnlib.stylizer import Style, Stylizer

__all__ = ["FolderRun", "stylize_folder", "why_no_clips"]

OnFile = Callable[[str, "str | None"], None]

_AT_ONCE = 256  # photographs that are noted as begun together
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def stylize_folder(
    stylizer: Stylizer,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    style: Style | Sequence[Style],
    *,
    shard: tuple[int, int] = (1, 1),
    suffix: str | None = None,
    overwrite: bool = False,
    report: str | os.PathLike[str] | None = None,
    on_file: OnFile | None = None,
    progress: bool | Listener = False,
    metadata: Literal["none", "no-gps", "all"] = "none",
    recipe: bool = True,
    quality: int = 95,
    limits: Limits = DEFAULT_LIMITS,
    clips: bool = True,
    smoothing: float = 0.5,
    **options: Unpack[PaintingOptions],
) -> FolderReport:
    """Repaint every photograph and clip under a folder into another folder, which gets the same tree.

    The next photographs are decoded while one is painted and the last ones are encoded; clips follow, one by one. What
    cannot be read is named in the report and does not stop the rest.

    It can be killed at any moment and goes on with the next call: a folder `.agnlib` in `target` notes what was painted
    from which photograph and how. A painting there is left as it is if it is whole, of the same photograph (by its size
    and time of change) and made with the same settings. A file that agnlib did not write, or that has changed since, a
    photograph that has changed, or other settings are an error before any work, unless `overwrite` is given.

    Photographs and clips are told by their suffix, but for animated WebP; what is hidden or left by systems (`@eaDir`,
    `lost+found` and the like) is passed by. Pictures of other formats (raw, ...) are left out, as are the clips of live
    photos (a .mov beside a picture of its name), with `method="neighbors"` and without PyAV all but GIF and WebP; of
    several pages the first is painted; the report names them. Links to folders and links out of `source` are not
    followed, and folders of paintings by agnlib within `source` are left out.

    Args:
        stylizer: paints.
        source: the folder of photographs.
        target: the folder of paintings; made if need be. It may lie in `source`, but not the reverse.
        style: see `Stylizer.__call__`, as `options`. Masks are resized to each photograph.
        shard: (i, n) paints the i-th of n parts, i from 1 to n: every n-th photograph in the order of their names.
            Several shards may be painted at once, by processes that share `target`.
        suffix: of all paintings of photographs, such as ".png". None keeps each one's own.
        overwrite: whether files that are in the way may be replaced. What is done as asked for is left all the same.
        report: where the report is written as JSON; by default `agnlib-report.json` in `target`, with the shard's
            number if there are several.
        on_file: called with the name of each photograph that is finished, and why it failed or None.
        progress: True shows a bar; a function is told `(done, total)` in files, in this thread: those that are painted
            already, and so on after each, with fractions within a clip. What it raises ends the work; paintings that
            are whole stay, and the next call goes on.
        metadata: of photographs, see `Stylizer.stylize_file`, as `recipe`, `quality` and `limits`.
        clips: whether they are painted.
        smoothing: of clips, see `Stylizer.stylize_video`.

    Returns:
        The counts, and why each file failed.

    Raises:
        InputError: nothing was begun: an argument outside its range, no photographs, two of one name, a file in the
            way, or another process at work on the same shard.
        ImageError: nothing was begun: a folder cannot be read or written to, or a style or mask cannot be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from agnlib.models import Generator, StyleExtractor
        >>> from agnlib.stylizer import Stylizer
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.makedirs(f"{folder}/photos/sea")
        ...     Image.new("RGB", (20, 15), "navy").save(f"{folder}/photos/sea/a.jpg")
        ...     style = stylizer.encode_style(Image.new("RGB", (16, 16), "gold"))
        ...     report = stylize_folder(stylizer, f"{folder}/photos", f"{folder}/painted", style, suffix=".png")
        ...     report.summary(), sorted(os.listdir(f"{folder}/painted")), os.listdir(f"{folder}/painted/sea")
        ('1 painted', ['.agnlib', 'agnlib-report.json', 'sea'], ['a.png'])
    """
    if suffix is not None and suffix.lower() not in SUFFIXES:
        raise InputError(f"suffix must be one of {', '.join(SUFFIXES)}, got {suffix!r}")
    if on_file is not None and not callable(on_file):
        raise InputError(f"on_file must be a function that takes a name and a reason or None, got {on_file!r}")
    check_progress(progress)
    left_out = why_no_clips(options.get("method"), wanted=clips)
    plan = make_plan(source, target, shard=shard, suffix=suffix, without_clips=left_out)
    files: dict[str, Any] = {"metadata": metadata, "recipe": recipe, "quality": quality, "limits": limits}
    files["smoothing"] = smoothing if any(job.is_clip for job in plan.jobs) else None
    steps = Recipe(stylizer, style, options, **files)
    return FolderRun(plan, steps, overwrite=overwrite, report=report).run(on_file, progress)


def why_no_clips(method: str | None, *, wanted: bool) -> str:
    """Why the clips of a folder are left out; empty where they are painted."""
    if method == "neighbors":
        return "the method neighbors is for photographs"
    return "" if wanted else "as it was asked for"


class FolderRun:
    """One run over a folder; made when it is clear that the work can begin, with nothing written yet.

    Raises:
        InputError: see `stylize_folder`.
    """

    def __init__(
        self, plan: Plan, recipe: Recipe, *, overwrite: bool = False, report: str | os.PathLike[str] | None = None
    ) -> None:
        self._plan, self._recipe = plan, recipe
        self._report_path = report_path(plan, report, overwrite=overwrite)
        self._state = check_state(plan.jobs, read_records(plan.target), recipe, overwrite=overwrite)
        self._replaced: Mapping[str, Identity | None] = {job.output: over for job, over in self._state.waiting}
        self._failed = dict(plan.unreadable)
        self._paintings: list[str] = []
        self._stopped: str | None = None

    @property
    def kept(self) -> int:
        """How many are painted already."""
        return len(self._state.kept)

    def stop(self, reason: str) -> None:
        """Begin nothing more; what is painted in full is written, the rest is dropped. For signals' handlers too."""
        self._stopped = self._stopped or reason

    def run(self, on_file: OnFile | None = None, progress: bool | Listener = False) -> FolderReport:
        """Do the work, and write the report, also when it is interrupted."""
        started, done, total = time.perf_counter(), self.kept, len(self._plan.jobs)
        kinds = "file" if any(job.is_clip for job in self._plan.jobs) else "photo"
        bar = telling(progress, total, kinds, initial=done)
        with bar as told, Manifest(self._plan, self._recipe.settings) as manifest:
            self._note_adopted(manifest)
            try:
                told(done, total)
                within = None if progress is True else lambda share: told(done + share, total)
                for job, error in chain(self._outcomes(manifest), self._of_clips(manifest, within)):
                    self._count(job, error, on_file)
                    done += not isinstance(error, Dropped)
                    told(done, total)
                if done == total:
                    told.end(max(1, total))
            except BaseException as error:
                self.stop(type(error).__name__)
                raise
            finally:
                report = self._save_report(time.perf_counter() - started)
        return report

    def _outcomes(self, manifest: Manifest) -> Iterator[tuple[Job, Exception | None]]:
        def write(job: Job, photo: Photo, rows: Rows, parts: Iterable[npt.NDArray[Any]]) -> None:
            self._prepare_place(job)
            try:
                self._recipe.write(job, photo, rows, parts)
                manifest.done(job, job.target.stat().st_size, rows.shape[:2])
            except BaseException:
                if identity_of(job.target) != self._replaced[job.output]:
                    manifest.leave_open()  # the painting came to be all the same
                raise

        recipe = self._recipe
        steps = Pipeline(recipe.pixels, recipe.open, recipe.paint, write, lambda: self._stopped is not None)
        return steps.run(self._begun(manifest))

    def _of_clips(
        self, manifest: Manifest, within: Callable[[float], object] | None
    ) -> Iterator[tuple[Job, Exception | None]]:
        """The clips, one by one; `within` is told the share of each that is done, and without it a bar shows it."""
        for job, over in self._state.waiting:
            if not job.is_clip or self._stopped is not None:
                continue
            manifest.begin([(job, over)])
            try:
                self._prepare_place(job)
                with telling(within is None, None, "frame", desc=job.name, leave=False) as bar:
                    size = self._recipe.paint_clip(job, self._listener(job, bar, within))
                manifest.done(job, job.target.stat().st_size, size)
            except BaseException as error:
                if identity_of(job.target) != self._replaced[job.output]:
                    manifest.leave_open()  # the painting came to be all the same
                if not isinstance(error, Exception):
                    raise
                yield job, error
            else:
                yield job, None

    def _listener(self, job: Job, bar: Told, within: Callable[[float], object] | None) -> Listener:
        def listener(done: float, total: float) -> None:
            if self._stopped is not None:
                raise Dropped
            if done >= total and identity_of(job.target) != self._replaced[job.output]:
                raise ImageError(f"{str(job.target)!r} was written by another program meanwhile; it is left as it is")
            bar(done, total)
            if within is not None:
                within(done / max(total, 1))

        return listener

    def _begun(self, manifest: Manifest) -> Iterator[Job]:
        """The photographs, noted as begun before they are."""
        waiting = [each for each in self._state.waiting if not each[0].is_clip]
        for first in range(0, len(waiting), _AT_ONCE):
            manifest.begin(waiting[first : first + _AT_ONCE])
            yield from (job for job, _ in waiting[first : first + _AT_ONCE])

    def _note_adopted(self, manifest: Manifest) -> None:
        if self._state.adopted:
            manifest.begin([])
        for job, done in self._state.adopted:
            manifest.done(job, done.bytes, done.size)

    def _prepare_place(self, job: Job) -> None:
        """The folder of a painting, and a last look whether something came in the way."""
        folder = job.target.parent
        if not inside(self._plan.target, folder):
            raise ImageError(f"{str(folder)!r} leads out of the output folder; nothing is written through links")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"the folder {str(folder)!r} cannot be made ({error.strerror})") from error
        if identity_of(job.target) != self._replaced[job.output]:
            raise ImageError(f"{str(job.target)!r} was written by somebody else meanwhile; it is left as it is")

    def _count(self, job: Job, error: Exception | None, on_file: OnFile | None) -> None:
        if isinstance(error, Dropped):
            return
        if error is None:
            self._paintings.append(job.output)
        else:
            self._failed[job.name] = _error_summary(error)
            if (code := _system_error(error)) in _NO_PLACE:
                self.stop(os.strerror(code or 0))
        if on_file is not None:
            on_file(job.name, self._failed.get(job.name))

    def _save_report(self, seconds: float) -> FolderReport:
        plan = self._plan
        in_part = {name: f"its {further} after the first" for name, further in self._recipe.in_part.items()}
        finished = len(self._paintings) + self.kept + sum(job.name in self._failed for job in plan.jobs)
        report = FolderReport(
            str(plan.source),
            str(plan.target),
            plan.shard,
            found=plan.found,
            chosen=len(plan.jobs),
            painted=len(self._paintings),
            kept=self.kept,
            left=len(plan.jobs) - finished,
            failed=dict(sorted(self._failed.items())),
            skipped=dict(sorted({**plan.skipped, **in_part}.items())),
            seconds=round(seconds, 3),
            stopped=self._stopped,
            styles=tuple(self._recipe.styles),
            paintings=tuple(self._paintings),
            settings={name: value for name, value in self._recipe.settings.items() if name != "style"},
        )
        try:
            report.save(self._report_path)
        except ImageError as error:
            return replace(report, failed={**report.failed, str(self._report_path): str(error)})
        return report


def _error_summary(error: Exception) -> str:
    return str(error) if isinstance(error, AgnError) else f"{type(error).__name__}: {error}"


def _system_error(error: BaseException | None) -> int | None:
    """The number of the system's error that is the cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__
    return None
