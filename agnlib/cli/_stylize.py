"""`agnlib stylize`: everything that can be checked cheaply is checked before the first picture is painted."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._shared.paths import exists, is_file, is_folder, is_there, refuse_taken, why_not
from agnlib.cli._messages import relay, say
from agnlib.cli._request import Request
from agnlib.errors import AgnError, ImageError, InputError
from agnlib.folder._tree import folded, is_slip, output_name
from agnlib.styles._names import (
    ANY,
    CODE_FORMAT,
    PICTURES_FORMAT,
    file_format,
    is_code,
    is_name,
    picture_by_name,
    refuse_code,
)

if TYPE_CHECKING:
    from agnlib.neighbors import Progress
    from agnlib.painting._neighbor_painter import OnStep
    from agnlib.stylizer import Stylizer

_SEEDS = 10**6  # few enough digits to be typed in again


@dataclass(frozen=True)
class Job:
    """One photograph and where its painting goes."""

    photo: Path
    target: Path


@dataclass(frozen=True)
class Region:
    """Pictures and weights of one style, and the mask that says where it goes."""

    styles: list[tuple[str, float]]
    mask: str | None = None


def run(request: Request) -> int:
    """Stylise the photos and return the exit code.

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
        with _bar(by_neighbors(request) and not request.quiet) as on_step:
            height, width = paint(stylizer, jobs[0], {**options, "on_step": on_step})
        if not request.quiet:
            say(f"{jobs[0].target}: {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
        return 0
    return _paint_all(stylizer, jobs, options, failures, quiet=request.quiet)


def checked_regions(request: Request) -> list[Region]:
    """The regions, as `parse_regions`, whose files have headers of pictures.

    Raises:
        AgnError: a mistake in them, or in where the style is to be saved.
    """
    regions = parse_regions(request.styles)
    if by_neighbors(request):
        for region in regions:
            for style, _ in region.styles:
                refuse_code(style)
                if is_name(style):
                    picture_by_name(style)
    for path in pictures_of(regions):
        if not is_code(path):
            image.probe(path, limits=request.limits)
        elif not is_file(path):
            raise InputError(f"argument --style: {path!r} {why_not(path, 'a file')}; give one from --save-style")
    if request.save_style is not None:
        _check_save_style(request.save_style, regions)
    return regions


def by_neighbors(request: Request) -> bool:
    """Whether the pictures themselves are asked for, not their codes."""
    return bool(request.options["method"] == "neighbors")


@contextmanager
def _bar(shown: bool) -> Iterator[OnStep | None]:
    """What shows the steps of one painting, with the time left; None where nothing is to be shown."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining}", leave=False) as progress:

        def on_step(now: Progress) -> None:
            progress.update(100 * now.done / now.total - progress.n)

        yield on_step


def pictures_of(regions: Sequence[Region]) -> list[str]:
    """The files of styles and masks; a style by name has none."""
    styles = [picture for region in regions for picture, _ in region.styles if not is_name(picture)]
    return [*styles, *(region.mask for region in regions if region.mask is not None)]


def style_options(stylizer: Stylizer, regions: Sequence[Region], request: Request) -> dict[str, Any]:
    """The regions as the arguments "style", "mask" and "seed" of a `Stylizer`; the style is saved if asked for."""
    from agnlib.styles._reader import pictured
    from agnlib.styles.picture_style import PictureStyle

    masks, seed = [region.mask for region in regions if region.mask is not None], _settled_seed(regions, request)
    if by_neighbors(request):
        pictures = [region.styles for region in regions]
        if request.save_style is not None:
            kept = PictureStyle.of(pictured(pictures[0], seed), limits=request.limits)
            kept.save(request.save_style)
        return {"style": pictures if masks else pictures[0], "mask": masks or None, "seed": seed}
    codes = [stylizer.encode_style(region.styles, seed=seed, limits=request.limits) for region in regions]
    if request.save_style is not None:
        codes[0].save(request.save_style)
    return {"style": codes if masks else codes[0], "mask": masks or None, "seed": seed}


def _settled_seed(regions: Sequence[Region], request: Request) -> int | None:
    """The seed given; for a random style without one, a seed that is drawn and said, so that it can be had again."""
    given: int | None = request.options["seed"]
    if given is not None or not any(name == ANY and is_name(name) for region in regions for name, _ in region.styles):
        return given
    seed = random.SystemRandom().randrange(_SEEDS)
    if not request.quiet:
        say(f"a random style: --seed {seed} gives it again")
    return seed


def parse_regions(given: Sequence[tuple[str, str]]) -> list[Region]:
    """Styles and masks in the order given, as regions: a mask is for the styles between it and the mask before.

    Raises:
        InputError: a mask without a style, or a weight that is not above 0.
    """
    regions: list[Region] = []
    for option, text in given:
        if option == "--style":
            style = parse_style(text)
            if not regions or regions[-1].mask is not None:
                regions.append(Region([]))
            regions[-1].styles.append(style)
        elif not regions or regions[-1].mask is not None:
            raise InputError(
                f"argument --mask: {text!r} follows no --style; give a mask after the style that it is for"
            )
        else:
            regions[-1] = Region(regions[-1].styles, text)
    return regions


def _check_save_style(path: str, regions: Sequence[Region]) -> None:
    if len(regions) > 1:
        raise InputError("argument --save-style: there are several styles, one for each region; save them one by one")
    if not is_code(path):
        raise InputError(f"argument --save-style: expected a name that ends in .safetensors, got {path!r}")
    image.check_place(path)
    if is_there(path) and not _is_ours(path):
        raise InputError(
            f"argument --save-style: {path!r} is there already and no style's file, the only kind of file that is"
            " replaced there; choose another name"
        )
    refuse_to_overwrite([Path(path)], pictures_of(regions), "--save-style")


def _is_ours(path: str) -> bool:
    """Whether a style's file lies there, not a link to one."""
    return not Path(path).is_symlink() and file_format(path) in (CODE_FORMAT, PICTURES_FORMAT)


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


def parse_style(text: str) -> tuple[str, float]:
    """Split "PICTURE" or "PICTURE:WEIGHT"; a text that names a file is that file, whatever colons it has.

    Raises:
        InputError: the weight is not above 0.
    """
    picture, colon, tail = text.rpartition(":")
    if not colon or not picture or is_file(text):
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"argument --style: the weight of {picture!r} must be a number above 0, got {tail!r}")
    return picture, weight


def plan(photos: Sequence[str], output: str, suffix: str | None = None) -> list[Job]:
    """Where each painting goes, with nothing made yet.

    Raises:
        InputError: several photos for one file, two of one name, or a place that cannot be written to.
    """
    if not _is_folder(output, len(photos)):
        if suffix is not None:
            raise InputError(f"argument --format: {output!r} is a file, whose name says its format; leave --format out")
        if not Path(output).suffix:
            raise InputError(
                f"argument -o: {output!r} has no suffix; give a file such as {output + '.jpg'!r}, or"
                f" {output + os.sep!r} for a folder of this name"
            )
        image.check_output(output)
        return [Job(Path(photos[0]), Path(output))]
    folder = Path(output)
    _check_folder(folder)
    jobs = [Job(Path(photo), folder / output_name(Path(photo).name, suffix)) for photo in photos]
    _refuse_collisions(jobs)
    if is_folder(folder):
        for job in jobs:
            image.check_output(job.target)
    return jobs


def _is_folder(output: str, photos: int) -> bool:
    if is_folder(output) or output.endswith(tuple(filter(None, (os.sep, os.altsep)))):
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
    if not exists(folder) and not is_folder(folder.parent):
        raise ImageError(
            f"argument -o: the folder {str(folder)!r} cannot be made, "
            f"{str(folder.parent)!r} is not an existing folder; make that first"
        )


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(folded(str(job.target)), job)
        if other is not job:
            raise InputError(
                f"{str(other.photo)!r} and {str(job.photo)!r} would both be written to {str(job.target)!r}; "
                "rename one or stylise them into separate folders"
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
    folder = job.target.parent
    made = not exists(folder)
    if made:
        _make(folder)
    try:
        return stylizer.stylize_file(job.photo, job.target, **options)
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ImageError(f"argument -o: {str(folder)!r} cannot be made ({error.strerror}); choose another") from error


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
