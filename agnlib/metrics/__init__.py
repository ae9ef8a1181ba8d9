"""How good is a stylized picture? Each question has a function of its own, none is multiplied into one score.

Every function takes float RGB `(B, 3, H, W)` in [-1, 1], gives one number per picture, `(B,)`, and is to be read beside
two baselines: the photograph itself (which keeps all content) and the reference itself (which has all style). Pictures
may be of any floating-point dtype, and `torch.autocast` may be on: everything is computed, and given, in float32, or
float64 where a picture is in it. An encoder computes in the dtype of its own weights.

- `style_distance`: does it have the reference's features? Best is 0.
- `content_distance`: is it still the photograph, to the eye? Best is 0, but a painting is not a photograph.
- `palette_distance`: does it have the reference's colors, in the same amounts? Best is 0.
- `color_ratio`: is it as colorful as the reference? Best is 1.
- `detail_ratio`: has it as much fine texture as the reference? Best is 1.
- `structure`: are the photograph's edges where they were? Best is 1.
- `diversity`: of a set, one number: how far apart are its pictures? Best is what real ones have.
- `checkerboard`, `droplets`, `border_band`: has it a grid, a lone round spot, a band along its border? Best is what
  real art has, which `benchmarks/quality/artefacts.py` measures.
- `shared_texture`: of two paintings of one photo in two styles: is the texture of flat parts the same? Best is 0.
- `color_drift`, `edge_shift`, `repetition`: do colors follow the photo, or are there patches of the network's own, a
  band along the border, patches that come again? Best is at most 1, what is inside the picture, and 0.
- `halo`: is there another color around what stands before a sky? Best is 0.
- `flat_texture_ratio`: are flat parts as rough as the reference's? Best is 1.
- `hue_entropy`: has it many hues? 0 is one, 1 is all alike; best is the reference's.
- `flicker`: of a clip, does it change where nothing does? Best is 0, or the source's.
"""

from __future__ import annotations

from agnlib.metrics._border import border_band
from agnlib.metrics._checkerboard import checkerboard
from agnlib.metrics._color import color_ratio, colorfulness, palette_distance, rgb_to_lab
from agnlib.metrics._content import content_distance, even_heads, lpips_heads
from agnlib.metrics._detail import detail_ratio, fine_detail, luminance, structure
from agnlib.metrics._diversity import diversity
from agnlib.metrics._drift import color_drift, edge_shift, repetition
from agnlib.metrics._droplets import droplets
from agnlib.metrics._flicker import flicker
from agnlib.metrics._halo import halo
from agnlib.metrics._hues import hue_entropy
from agnlib.metrics._style import style_distance
from agnlib.metrics._texture import flat_texture_ratio, shared_texture

__all__ = [
    "border_band",
    "checkerboard",
    "color_drift",
    "color_ratio",
    "colorfulness",
    "content_distance",
    "detail_ratio",
    "diversity",
    "droplets",
    "edge_shift",
    "even_heads",
    "fine_detail",
    "flat_texture_ratio",
    "flicker",
    "halo",
    "hue_entropy",
    "lpips_heads",
    "luminance",
    "palette_distance",
    "repetition",
    "rgb_to_lab",
    "shared_texture",
    "structure",
    "style_distance",
]
