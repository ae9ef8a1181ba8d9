"""Where a scene ends and another begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["THUMBNAIL_SIDE", "is_cut"]

THUMBNAIL_SIDE = 16
# Mean difference of two frames, reduced to 16 x 16 colors, out of 255. Chosen on the pictures in examples/images:
# any two differ by 41 or more; frames of a pan by a twentieth of the frame's width, by up to 27. So a fast pan over
# strong contrasts, or a flash, may be taken for a cut; a fade, or a cut to a scene of like colors, is missed.
_THRESHOLD = 25.0


def is_cut(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> bool:
    """Whether two frames that follow each other, reduced to thumbnails of one shape, show different scenes.

    Example:
        >>> dark, bright = np.full((16, 16, 3), 20, np.uint8), np.full((16, 16, 3), 200, np.uint8)
        >>> is_cut(dark, bright), is_cut(dark, dark + 5)
        (True, False)
    """
    return bool(np.abs(before.astype(np.int16) - after).mean() > _THRESHOLD)
