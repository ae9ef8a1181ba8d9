"""Transforms for torchvision's v2 pipelines: PIL pictures, uint8 and float tensors, tv_tensors.

This is the only part of agnlib that imports torchvision at once; without it the import is one typed error.
"""

from agnlib._shared.optional import require

require("torchvision.transforms.v2", extra="", purpose="agnlib.transforms")

from agnlib.transforms._random_style import RandomStyle, RandomStyleBatch  # noqa: E402 (after the check)
from agnlib.transforms._recolor import Recolor  # noqa: E402
from agnlib.transforms._rotate_to_cover import RotateToCover  # noqa: E402
from agnlib.transforms._styles import StyleLike  # noqa: E402

__all__ = ["RandomStyle", "RandomStyleBatch", "Recolor", "RotateToCover", "StyleLike"]
