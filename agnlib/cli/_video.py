"""`agnlib stylize` for a clip."""

from __future__ import annotations

import time
from pathlib import Path

from agnlib import video
from agnlib._shared.folders import nearest
from agnlib._shared.paths import refuse_taken
from agnlib.cli._messages import say
from agnlib.cli._output_argument import names_folder, refuse_to_overwrite
from agnlib.cli._request import Request
from agnlib.cli._style_argument import checked_regions, pictures_of, style_options
from agnlib.cli._stylize import made_for, make_stylizer
from agnlib.errors import InputError

__all__ = ["run"]


def run(request: Request, *, smoothing: float) -> int:
    """Stylize a clip and return the exit code; see `Stylizer.stylize_video`.

    Raises:
        AgnError: a mistake, found before anything was written, or a clip that is damaged.
    """
    if len(request.photos) > 1:
        raise InputError(f"{len(request.photos)} files with a clip among them; give a clip alone, one at a time")
    if request.suffix is not None:
        raise InputError("argument --format: is for photographs; a clip's format is told by the name after -o")
    options = {name: value for name, value in request.options.items() if name != "recipe"}
    if options.pop("metadata") != "none":
        raise InputError("argument --metadata: is for photographs; of a clip no metadata is kept")
    clip = request.photos[0]
    target = _target(clip, request.output)
    video.check_source(clip)
    video.check_target(nearest(target.parent) / target.name)
    regions = checked_regions(request)
    refuse_to_overwrite([target], [clip, *pictures_of(regions)])
    refuse_taken([target], overwrite=request.overwrite)
    stylizer = make_stylizer(request)
    options |= style_options(stylizer, regions, request)
    started = time.perf_counter()
    with made_for(target):
        count, height, width = stylizer.stylize_video(
            clip, target, overwrite=request.overwrite, smoothing=smoothing, progress=not request.quiet, **options
        )
    if not request.quiet:
        say(f"{target}: {count} frames of {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
    return 0


def _target(clip: str, output: str) -> Path:
    """The file after -o, or one of the clip's name in that folder; what no clip can be written as becomes .mp4."""
    if not names_folder(output):
        return Path(output)
    name = Path(clip)
    return Path(output) / (name.name if name.suffix.lower() in video.TARGET_SUFFIXES else f"{name.stem}.mp4")
