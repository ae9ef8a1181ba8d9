"""Any clip, opened; and what can be known of it without painting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from agnlib.errors import VideoError
from agnlib.video._animated import opened_animation
from agnlib.video._frames import AnyClip
from agnlib.video._names import is_animation
from agnlib.video._reading import opened

__all__ = ["opened_clip", "size_if_whole", "size_of"]


@contextmanager
def opened_clip(path: str | os.PathLike[str]) -> Iterator[AnyClip]:
    """Open a clip of any kind for one reading.

    Raises:
        MissingDependencyError: it needs PyAV, which is not installed.
        VideoError: the file is missing, not the clip that its name says, has no frames, or too large ones.
    """
    if is_animation(path):
        with opened_animation(path) as animation:
            yield animation
    else:
        with opened(path) as clip:
            yield clip


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of a clip, from its beginning.

    Raises:
        VideoError: as `opened_clip`.
    """
    with opened_clip(path) as clip:
        return clip.size


def size_if_whole(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Height and width of a clip that can be decoded to its end."""
    try:
        with opened_clip(path) as clip:
            for _ in clip.chunks(1):
                pass
            return clip.size
    except VideoError:
        return None
