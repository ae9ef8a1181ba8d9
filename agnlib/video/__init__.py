"""Clips: read, repainted frame by frame and written, with their sound; knows no model. Needs PyAV, the extra `video`.

A painter is anything that repaints frames `(B, 3, H, W)`, uint8, told the seconds from the frame before to each:
infinity where a new scene begins. All frames of a painter come back in one size.
"""

from agnlib.video._names import SUFFIXES, TARGET_SUFFIXES, check_target, is_clip
from agnlib.video._repainting import Painter, repaint

__all__ = ["SUFFIXES", "TARGET_SUFFIXES", "Painter", "check_target", "is_clip", "repaint"]
