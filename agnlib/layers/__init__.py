"""nn.Modules made of ops: the pieces that the networks are built from."""

from agnlib.layers.adapter import ContentAdapter
from agnlib.layers.conv import Conv2d, EqualizedConv2d, EqualizedLinear
from agnlib.layers.discriminator_scale import PatchScale
from agnlib.layers.minibatch_stddev import MinibatchStdDev
from agnlib.layers.modulated import ModulatedConv2d, ToRGB
from agnlib.layers.noise import CanvasNoise
from agnlib.layers.resample import BlurDownsample, BlurUpsample, SubPixelUpsample, Upsample
from agnlib.layers.styled import Modulation, StyledBottleneck, StyledConv
from agnlib.layers.window import Regions, Window, current_window

__all__ = [
    "BlurDownsample",
    "BlurUpsample",
    "CanvasNoise",
    "ContentAdapter",
    "Conv2d",
    "EqualizedConv2d",
    "EqualizedLinear",
    "MinibatchStdDev",
    "ModulatedConv2d",
    "Modulation",
    "PatchScale",
    "Regions",
    "StyledBottleneck",
    "StyledConv",
    "SubPixelUpsample",
    "ToRGB",
    "Upsample",
    "Window",
    "current_window",
]
