"""nn.Modules made of ops: the pieces that the networks are built from."""

from agnlib.layers.discriminate import PatchScale
from agnlib.layers.noise import CanvasNoise
from agnlib.layers.resample import SubPixelUpsample, Upsample
from agnlib.layers.styled import Modulation, StyledBottleneck, StyledConv

__all__ = ["CanvasNoise", "Modulation", "PatchScale", "StyledBottleneck", "StyledConv", "SubPixelUpsample", "Upsample"]
