"""`agnlib stylize` for a clip."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agnlib import video
from agnlib._cli_messages import say
from agnlib._cli_stylize import (
    checked_regions,
    make_stylizer,
    pictures_of,
    refuse_to_overwrite,
    style_options,
)
from agnlib.errors import InputError

__all__ = ["run"]


def run(
    photos: Sequence[str],
    styles: Sequence[tuple[str, str]],
    output: str,
    *,
    weights: str,
    device: str,
    engine: str,
    threads: int | None,
    save_style: str | None,
    suffix: str | None,
    smoothing: float,
    quiet: bool,
    options: Mapping[str, Any],
) -> int:
    """Stylise a clip and return the exit code; `options` are those of `Stylizer.stylize_video`, and "metadata".

    Raises:
        AgnError: a mistake, found before anything was written, or a clip that is damaged.
    """
    if len(photos) > 1:
        raise InputError(f"{len(photos)} files with a clip among them; give a clip alone, one at a time")
    if suffix is not None:
        raise InputError("argument --format: is for photographs; a clip's format is told by the name after -o")
    given = dict(options)
    if given.pop("metadata") != "none":
        raise InputError("argument --metadata: is for photographs; of a clip no metadata is kept")
    clip, target = photos[0], _target(photos[0], output)
    video.check_source(clip)
    video.check_target(target)
    regions = checked_regions(styles, save_style)
    refuse_to_overwrite([target], [clip, *pictures_of(regions)])
    stylizer = make_stylizer(weights, device, engine, threads)
    style = style_options(stylizer, regions, save_style)
    started = time.perf_counter()
    count, height, width = stylizer.stylize_video(
        clip, target, **style, smoothing=smoothing, progress=not quiet, **given
    )
    if not quiet:
        say(f"{target}: {count} frames of {width} x {height} pixels, {time.perf_counter() - started:.1f} s")
    return 0


def _target(clip: str, output: str) -> Path:
    """The file after -o, or one of the clip's name in that folder; what no clip can be written as becomes .mp4."""
    if not Path(output).is_dir():
        return Path(output)
    name = Path(clip)
    return Path(output) / (name.name if name.suffix.lower() in video.TARGET_SUFFIXES else f"{name.stem}.mp4")
