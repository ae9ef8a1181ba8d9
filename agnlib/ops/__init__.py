"""Pure functions on tensors, no weights; each one's plain PyTorch form is its specification."""

from agnlib.ops._adain import adain
from agnlib.ops._upfirdn2d import fir_filter, upfirdn2d

__all__ = ["adain", "fir_filter", "upfirdn2d"]
