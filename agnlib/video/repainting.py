"""From clip to clip: decoding, painting and encoding beside each other.

A painter is anything that repaints frames `(B, 3, H, W)`, uint8, told the seconds from the frame before to each:
infinity where a new scene begins. All that a painter gives back have one size. One that has a method `look_ahead` is
shown the same before, in order, by the thread that reads the clip: what needs no painting is done beside the painting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from torch import Tensor

from agnlib._shared.paths import is_same, refuse_taken
from agnlib._shared.progress import Listener, check_progress, telling
from agnlib.errors import VideoError
from agnlib.video._animated import writing_animation
from agnlib.video._frames import Chunk
from agnlib.video._names import check_source, check_target, is_animation
from agnlib.video._opening import opened_clip
from agnlib.video._threads import ahead, behind
from agnlib.video._writing import writing

__all__ = ["Painter", "repaint"]

Painter: TypeAlias = Callable[[Tensor, Sequence[float]], Tensor]

_AHEAD, _BEHIND = 3, 3  # chunks that wait for the painter, and that wait for the encoder


def repaint(
    content: str | os.PathLike[str],
    target: str | os.PathLike[str],
    painter: Callable[[tuple[int, int]], Painter],
    *,
    batch: int = 1,
    overwrite: bool = False,
    progress: bool | Listener = False,
) -> tuple[int, int, int]:
    """Repaint a clip into another, written whole or not at all.

    Args:
        content: an .mp4, .m4v, .mov, .mkv, .webm or .avi file, or a .gif or .webp, which need no PyAV.
        target: an .mp4, .m4v, .mov or .mkv file (H.264), .webm (VP9), .gif or .webp.
        painter: called with the height and width of the frames, gives the painter of this clip.
        batch: frames painted at once.
        overwrite: whether a file or link in place of the target may be replaced.
        progress: True shows a bar; a function is told `(done, total)` in frames, after each batch. What it raises ends
            the work, and nothing is written. `total` is what the clip says of itself, until the end.

    Returns:
        The number of frames written, their height and their width.

    Raises:
        MissingDependencyError: PyAV is not installed.
        VideoError: the clip cannot be read, or the painted one not be written; nothing was written.
        InputError: something is in place of the target.

    Example:
        >>> repaint("no.mp4", "painted.mp4", lambda size: lambda frames, elapsed: frames)
        Traceback (most recent call last):
        ...
        agnlib.errors.VideoError: 'no.mp4' does not exist; give a clip
    """
    check_progress(progress)
    check_source(content)
    check_target(target)
    _check_different(content, target)
    refuse_taken([target], overwrite=overwrite)
    with opened_clip(content) as clip:
        paint, done, claimed = painter(clip.size), 0, clip.count or 0
        bar = telling(progress, clip.count, "frame")
        place = writing_animation(target, clip) if is_animation(target) else writing(target, clip)
        with bar as told, place as writer, behind(_BEHIND) as later:
            told(0, max(claimed, 1))
            for chunk, frames, elapsed in ahead(_seen_by(paint, clip.chunks(batch)), _AHEAD):
                painted = None if frames is None else paint(frames, elapsed)
                later.call(writer.write, painted, chunk)
                done += len(chunk.frames)
                told(done, claimed if done <= claimed else done + 1)
            later.wait()
            told.end(done)
    return writer.count, *writer.size


def _seen_by(paint: Painter, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Tensor | None, list[float]]]:
    """Chunks and what the painter is given of each, if anything; it has looked at that, if it does."""
    look_ahead = getattr(paint, "look_ahead", None)
    for chunk in chunks:
        frames, elapsed = chunk.pixels() if chunk.frames else None, [frame.elapsed for frame in chunk.frames]
        if look_ahead is not None and frames is not None:
            look_ahead(frames, elapsed)
        yield chunk, frames, elapsed


def _check_different(content: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    if is_same(target, content):
        raise VideoError(f"{os.fspath(target)!r} is the clip itself; choose another name")
