"""A regular grid over the picture, as transposed convolutions and pixel shuffles leave it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.metrics._checks import check_image
from agnlib.metrics._detail import luminance
from agnlib.ops._precision import in_full_precision

_NEAR, _FAR = 3, 6  # spectral bins; a Hann window spreads a wave over fewer than three
_FLOOR = (0.05 / 255) ** 2  # of a wave far below a step of 8 bits; keeps flat pictures finite


@in_full_precision
def checkerboard(image: Tensor, strides: Sequence[int] = (2, 4, 8)) -> Tensor:
    """How far the spectrum stands out at the frequencies of a grid, in decibels above the loudest bin around.

    Odena et al., "Deconvolution and Checkerboard Artifacts" (Distill, 2016): a layer of stride s repeats its faults
    every s pixels. So the luminance, under a Hann window against the border's leakage, is looked at where one or both
    frequencies are multiples of 1/s, beside the bins from 3 to 6 away. As natural spectra fall with the square of the
    frequency, all are weighed by it. The whole picture counts at once, so that a grid far below what an eye sees is
    found, except where the picture's own texture is louder; a grid that is somewhere only is found less well. JPEG
    leaves a grid of 8 px: measure pictures before they are saved.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides at least 8 times the largest stride; what does not fill a
            whole stride at the bottom and to the right is left out.
        strides: periods in pixels, each at least 2.

    Returns:
        `(B,)` in dB, of the frequency that stands out most: about 0 for natural pictures, 10 and more for a grid.

    Raises:
        InputError: not float RGB in [-1, 1], or too small for the strides; no stride, or one below 2.

    Example:
        >>> import torch
        >>> noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
        >>> grid = torch.tensor([0.1, -0.1]).repeat(32)
        >>> checkerboard(noise).item() < 5, checkerboard(noise + grid).item() > 10
        (True, True)
    """
    if not strides or min(strides) < 2:
        raise InputError(f"strides: got {tuple(strides)}, expected at least one, each of 2 px or more.")
    check_image("image", image, min_size=8 * max(strides))
    plane = luminance(image)[:, 0]
    return torch.cat([_levels(plane, stride) for stride in strides]).amax(dim=0)


def _levels(plane: Tensor, stride: int) -> Tensor:
    """Decibels above the surroundings of each frequency of the grid, `(frequencies, B)`."""
    height, width = (length // stride * stride for length in plane.shape[1:])
    power = _weighed_power(plane[:, :height, :width])
    offsets = torch.arange(-_FAR, _FAR + 1, device=plane.device)
    around = torch.maximum(offsets.abs()[:, None], offsets.abs()) >= _NEAR
    levels = []
    for down, across in _frequencies(stride):
        row, column = down * height // stride, across * width // stride
        rows, columns = (row + offsets) % height, (column + offsets) % width
        loudest = power[:, rows[:, None], columns][:, around].amax(dim=1)
        levels.append(10 * torch.log10(power[:, row, column] / loudest))
    return torch.stack(levels)


def _frequencies(stride: int) -> Iterator[tuple[int, int]]:
    """All multiples of 1 / stride down and across but (0, 0); of those that mirror each other, one."""
    for down in range(stride // 2 + 1):
        for across in range(stride):
            mirrored = down in (0, stride - down) and across > stride - across
            if (down or across) and not mirrored:
                yield down, across


def _weighed_power(plane: Tensor) -> Tensor:
    """Squared amplitudes of the waves under a Hann window, times the square of their frequency."""
    height, width = plane.shape[1:]
    hann = [torch.hann_window(length, dtype=plane.dtype, device=plane.device) for length in (height, width)]
    window = torch.outer(hann[0] / hann[0].sum(), hann[1] / hann[1].sum())
    centered = plane - (plane * window).sum(dim=(1, 2), keepdim=True)
    power = torch.fft.fft2(centered * window).abs().square() + _FLOOR
    down, across = (torch.fft.fftfreq(length, dtype=plane.dtype, device=plane.device) for length in (height, width))
    weighed: Tensor = power * (down.square()[:, None] + across.square())
    return weighed
