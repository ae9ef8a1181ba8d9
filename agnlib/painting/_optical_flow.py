"""How what a clip shows moves from frame to frame: dense optical flow, found by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from agnlib._shared.optional import require

__all__ = ["Floats", "Motion", "OpticalFlow", "camera", "moved", "opencv", "places"]

Floats: TypeAlias = NDArray[np.float32]
Pixels = TypeVar("Pixels", NDArray[np.float32], NDArray[np.uint8])

_SHORTER, _LONGER = 360, 1280  # pixels of the sides, at most, at which motion is looked for
_LEAST = 16  # pixels of a side, below which nothing is looked for
_SAMPLED = 8  # pixels between the places that say how the camera moves
_WHOLE, _NEAR = 0.08, 1e-3  # pixels beside a whole number at which the camera, and a place with it, moves by that
_SPREAD = 0.2  # pixels that half of all places may be beside that; more, and the camera zooms
_AS_WELL, _AROUND = 1, 9  # levels of 255, and pixels


@dataclass(frozen=True)
class Motion:
    """From a frame to the one before.

    Attributes:
        flow: `(H, W, 2)`: from each place to that of the same thing in the frame before, in pixels to the right and
            downwards.
        new: `(H, W)` in [0, 1]: 1 where the frame before did not show the same thing.
    """

    flow: Floats
    new: Floats

    def at(self, size: tuple[int, int]) -> Motion:
        """The same for frames of another size."""
        height, width = self.new.shape
        if size == (height, width):
            return self
        cv2, (rows, columns) = opencv(), size
        flow = cv2.resize(self.flow, (columns, rows), interpolation=cv2.INTER_LINEAR)
        flow *= np.array([columns / width, rows / height], dtype=np.float32)
        return Motion(flow, cv2.resize(self.new, (columns, rows), interpolation=cv2.INTER_LINEAR))

    def moved(self, before: Floats) -> Floats:
        """The frame before `(H, W, C)`, its things where they are by now; bicubic."""
        return moved(before, self.flow)


def moved(before: Pixels, flow: Floats) -> Pixels:
    """See `Motion.moved`."""
    if not flow.any():
        return before
    cv2 = opencv()
    columns, rows = places(flow)
    found: Pixels = cv2.remap(before, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return found


def places(flow: Floats) -> tuple[Floats, Floats]:
    """Columns and rows, `(H, W)` each, that a flow leads to."""
    height, width = flow.shape[:2]
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    return np.add(flow[..., 0], columns, dtype=np.float32), np.add(flow[..., 1], rows, dtype=np.float32)


class OpticalFlow:
    """The flow between frames, `(H, W, 2)` as of `Motion`.

    Where the camera moves by whole pixels, so do all places that move with it: they need not be interpolated.
    Paper: Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        cv2 = opencv()
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, before: NDArray[np.uint8], frame: NDArray[np.uint8]) -> Floats:
        """From each place of `frame` to that of the same thing in the frame before; both `(H, W, 3)`."""
        height, width = frame.shape[:2]
        if min(height, width) < _LEAST:
            return np.zeros((height, width, 2), dtype=np.float32)
        shrink = min(1.0, _SHORTER / min(height, width), _LONGER / max(height, width))
        size = max(_LEAST, round(width * shrink)), max(_LEAST, round(height * shrink))
        grown = np.array([width / size[0], height / size[1]], dtype=np.float32)
        now, then = self._gray(frame, size), self._gray(before, size)
        flow = self._sought(now, then)
        whole = np.rint(middle := camera(flow) * grown).astype(np.float32)
        is_whole = bool(np.abs(middle - whole).max() < _WHOLE and _spread(_sampled(flow) * grown - whole) < _SPREAD)
        if is_whole:
            flow = _rather(whole / grown, flow, now, then)
        if shrink < 1:
            flow = opencv().resize(flow, (width, height)) * grown
        if is_whole:
            low, high = ((*(whole + by).tolist(), 0, 0) for by in (-_NEAR, _NEAR))
            near = opencv().inRange(flow, low, high)
            np.copyto(flow, whole, where=near.astype(bool)[..., None])
        return flow

    def _sought(self, now: NDArray[np.uint8], then: NDArray[np.uint8]) -> Floats:
        """OpenCV reduces frames by their width, until a wide one has no rows left, and then reads beyond it."""
        cv2, (height, width) = opencv(), now.shape
        below = max(0, width // 2 - height)
        framed = (cv2.copyMakeBorder(each, 0, below, 0, 0, cv2.BORDER_REPLICATE) for each in (now, then))
        flow: Floats = self._search.calc(*framed, None)
        return flow[:height]

    @staticmethod
    def _gray(frame: NDArray[np.uint8], size: tuple[int, int]) -> Any:
        cv2 = opencv()
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        return (
            gray if (frame.shape[1], frame.shape[0]) == size else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        )


def camera(flow: Floats) -> NDArray[np.float64]:
    """How the camera has moved along: the median of a flow, to the right and downwards."""
    return np.median(_sampled(flow).reshape(-1, 2), axis=0).astype(np.float64)


def _sampled(flow: Floats) -> Floats:
    return flow[::_SAMPLED, ::_SAMPLED]


def _spread(flow: Floats) -> float:
    """The median of how far a flow leads."""
    return float(np.median(np.abs(flow).max(axis=2)))


def _rather(move: Floats, flow: Floats, now: NDArray[np.uint8], then: NDArray[np.uint8]) -> Floats:
    """The flow, and one move where that explains the frame as well."""
    straight = np.broadcast_to(move, flow.shape).astype(np.float32)
    same = _apart(straight, now, then) <= _apart(flow, now, then) + _AS_WELL
    return np.where(same[..., None], straight, flow)


def _apart(flow: Floats, now: NDArray[np.uint8], then: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How far a frame `(H, W)` is from the one before along a flow, in levels, around each place."""
    cv2 = opencv()
    found: NDArray[np.uint8] = cv2.blur(cv2.absdiff(now, moved(then, flow)), (_AROUND, _AROUND))
    return found


def opencv() -> Any:
    """The package `cv2`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return require("cv2", extra="video", purpose="smoothing of clips")
