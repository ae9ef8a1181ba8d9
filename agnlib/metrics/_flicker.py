"""How much a clip changes where what it shows does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.metrics._checks import check_image
from agnlib.ops._precision import in_full_precision

_INSIDE = 1e-3  # of a pixel, for the rounding of places at the border


@in_full_precision
def flicker(frames: Tensor, flow: Tensor | None = None) -> Tensor:
    """Mean absolute difference of each frame from the one before, moved along to where its things are by then.

    Places that the frame before did not show are left out. Bilinear where the flow is no whole number of pixels, which
    blurs a little: compare clips by the same flow.
    Paper: the warping error of Lai et al., "Learning blind video temporal consistency", ECCV 2018.

    Args:
        frames: float `(T, 3, H, W)` in [-1, 1], of one scene, at least two.
        flow: `(T - 1, 2, H, W)` or `(T - 1, 2, 1, 1)`, in pixels to the right and downwards: from each place of frame
            t + 1 to the place of the same thing in frame t. None where nothing moves.

    Returns:
        `(T - 1,)`, in parts of the range from black to white: 0 is steady; 1/255 is one step of 8 bits. NaN where two
        frames show nothing in common.

    Raises:
        InputError: not float RGB in [-1, 1], a single frame, or a flow of another shape.

    Example:
        >>> import torch
        >>> still = torch.zeros(3, 3, 8, 8)
        >>> still[1] += 0.5
        >>> flicker(still)
        tensor([0.2500, 0.2500])
    """
    check_image("frames", frames)
    if len(frames) < 2:
        raise InputError("flicker: got a single frame, expected at least two.")
    before, after = frames[:-1], frames[1:]
    if flow is None:
        return (after - before).abs().mean((1, 2, 3)) / 2
    height, width = frames.shape[2:]
    if flow.ndim != 4 or flow.shape[:2] != (len(before), 2) or flow.shape[2:] not in ((height, width), (1, 1)):
        raise InputError(
            f"flicker: got a flow of shape {tuple(flow.shape)}, expected {(len(before), 2, height, width)}, or 1 x 1 "
            "for one that is the same everywhere."
        )
    columns = torch.arange(width, device=frames.device) + flow[:, 0]
    rows = torch.arange(height, device=frames.device)[:, None] + flow[:, 1]
    columns, rows = columns.expand(-1, height, width), rows.expand(-1, height, width)
    seen = (
        (columns >= -_INSIDE) & (columns <= width - 1 + _INSIDE) & (rows >= -_INSIDE) & (rows <= height - 1 + _INSIDE)
    )
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=3).to(frames.dtype)
    moved = F.grid_sample(before, grid, mode="bilinear", padding_mode="border", align_corners=False)
    difference = (after - moved).abs().mean(1) * seen
    return difference.sum((1, 2)) / seen.sum((1, 2)) / 2
