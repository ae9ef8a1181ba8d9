"""Pure functions on tensors, no weights; each one's plain PyTorch form is its specification."""

from agnlib.ops._adain import adain, moments
from agnlib.ops._bias_act import bias_act
from agnlib.ops._conv2d import conv2d
from agnlib.ops._conv2d_resample import conv2d_resample
from agnlib.ops._conv_transpose2d import conv_transpose2d
from agnlib.ops._dispatch import backend, backend_report
from agnlib.ops._modulated_conv2d import modulated_conv2d
from agnlib.ops._upfirdn2d import fir_filter, upfirdn2d

__all__ = [
    "adain",
    "backend",
    "backend_report",
    "bias_act",
    "conv2d",
    "conv2d_resample",
    "conv_transpose2d",
    "fir_filter",
    "modulated_conv2d",
    "moments",
    "upfirdn2d",
]
