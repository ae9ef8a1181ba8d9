"""Clips: read, repainted frame by frame and written, with their sound; knows no model. Needs PyAV, the extra `video`.

Here is what can be told from names, without torch or PyAV; `agnlib.video.repainting` has the rest.
"""

from agnlib.video._names import SUFFIXES, TARGET_SUFFIXES, check_source, check_target, is_clip

__all__ = ["SUFFIXES", "TARGET_SUFFIXES", "check_source", "check_target", "is_clip"]
