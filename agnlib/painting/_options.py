"""The options that all ways of painting share, and those that a clip refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from agnlib._shared.progress import Listener
from agnlib.errors import InputError
from agnlib.image import PictureLike
from agnlib.neighbors import Progress

__all__ = ["BY_NETWORK", "CallOptions", "PaintingOptions", "refuse_neighbors"]

BY_NETWORK = {"method": "network", "drawing": None, "on_step": None}  # the options of `method`, as they begin


class PaintingOptions(TypedDict, total=False):
    """See `agnlib.stylizer.Stylizer.__call__`."""

    method: Literal["network", "neighbors"]
    drawing: float | None
    on_step: Callable[[Progress], None] | None
    strength: float
    texture: float
    color: float
    preserve_color: bool
    color_only: bool
    scale: float | Literal["auto"]
    mask: PictureLike | Sequence[PictureLike] | None
    seed: int | None
    size: int | None
    tile: int | Literal["auto"] | None


class CallOptions(PaintingOptions, total=False):
    """All options of `Stylizer.__call__`."""

    progress: bool | Listener


def refuse_neighbors(options: Mapping[str, Any]) -> None:
    """For a clip.

    Raises:
        InputError: the options of `method` are not as they begin.
    """
    if options != BY_NETWORK:
        raise InputError(
            'method="neighbors" is for pictures: it takes half a minute for each, and frames would flicker;'
            " leave method, drawing and on_step out for a clip"
        )
