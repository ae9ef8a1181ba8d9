"""EfficientNet-Lite's convolutional trunk, batch norm folded in, as a stack of feature maps to look at.

Paper: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite
variants have ReLU6, no squeeze-and-excitation, and an unscaled first and last stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError, WeightsError

__all__ = ["EfficientNetLiteTrunk", "block_shapes"]

# kernel, stride, expansion, channels, blocks: the seven stages of EfficientNet-B0
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
_STEM_CHANNELS = 32
_BATCH_NORM_EPS = 1e-3


def block_shapes(variant: int) -> list[tuple[int, int, int, int, int]]:
    """`(kernel, stride, expansion, channels in, channels out)` of every block of EfficientNet-Lite`variant`.

    Raises:
        InputError: there is no such variant.
    """
    if variant not in _SCALES:
        raise InputError(f"EfficientNet-Lite has the variants {sorted(_SCALES)}; got {variant!r}")
    width, depth = _SCALES[variant]
    shapes, previous = [], _STEM_CHANNELS
    for index, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES):
        outer = index in (0, len(_STAGES) - 1)
        scaled = _round_channels(channels * width)
        for block in range(repeats if outer else math.ceil(repeats * depth)):
            shapes.append((kernel, stride if block == 0 else 1, expansion, previous, scaled))
            previous = scaled
    return shapes


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: `ceil(size / stride)` samples out, the odd one at the end."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        high, wide = ((-size % stride or stride) for size in x.shape[2:])
        vertical, horizontal = max(kernel - high, 0), max(kernel - wide, 0)
        pad = (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2)
        return F.conv2d(F.pad(x, pad), self.weight, self.bias, self.stride, 0, 1, self.groups)


class _Block(nn.Module):
    """Expand, filter each channel by itself, project; added to the input where the shapes agree."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = _SameConv(channels_in, wide, 1) if expansion > 1 else None
        self.depthwise = _SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = _SameConv(wide, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = F.relu6(self.depthwise(y))
        projected: Tensor = self.project(y)
        return x + projected if self.residual else projected


class EfficientNetLiteTrunk(nn.Module):
    """The stem and the first blocks of an EfficientNet-Lite, giving the outputs of the blocks asked for.

    Args:
        variant: 0 to 4.
        taps: names of the blocks to give out, "block0" and up; blocks after the last of them are not built.

    Shapes:
        `(B, 3, H, W)` in [-1, 1] -> `{tap: (B, channels[tap], ceil(H / s), ceil(W / s))}`.

    Raises:
        InputError: an unknown variant or tap.

    Example:
        >>> trunk = EfficientNetLiteTrunk(0, ("block0", "block2"))
        >>> {name: tuple(f.shape) for name, f in trunk(torch.zeros(1, 3, 32, 32)).items()}
        {'block0': (1, 16, 16, 16), 'block2': (1, 24, 8, 8)}
    """

    min_size = 16

    def __init__(self, variant: int = 0, taps: Sequence[str] = ("block0", "block2", "block4", "block10")) -> None:
        super().__init__()
        shapes = block_shapes(variant)
        names = {f"block{i}": shape[4] for i, shape in enumerate(shapes)}
        unknown = [tap for tap in taps if tap not in names]
        if unknown or not taps:
            raise InputError(
                f"EfficientNet-Lite{variant} has the taps block0 to block{len(shapes) - 1}; got {list(taps)}"
            )
        self.taps = tuple(taps)
        self.channels = {tap: names[tap] for tap in taps}
        self.stem = _SameConv(3, _STEM_CHANNELS, 3, 2)
        last = max(int(tap.removeprefix("block")) for tap in taps)
        self.blocks = nn.ModuleList(_Block(*shape) for shape in shapes[: last + 1])

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = (image * 127.5 + 0.5) / 128  # the published weights expect (255 x - 127) / 128 for x in [0, 1]
        x = F.relu6(self.stem(x))
        features = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if f"block{index}" in self.channels:
                features[f"block{index}"] = x
        return features

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Fill the trunk from the published state dict, folding each batch norm into its convolution.

        Raises:
            WeightsError: an entry is missing or has another shape.
        """
        folds = {"stem": ("_conv_stem", "_bn0")}
        for index, block in enumerate(self.blocks):
            old = f"_blocks.{index}."
            if isinstance(block, _Block) and block.expand is not None:
                folds[f"blocks.{index}.expand"] = (f"{old}_expand_conv", f"{old}_bn0")
            folds[f"blocks.{index}.depthwise"] = (f"{old}_depthwise_conv", f"{old}_bn1")
            folds[f"blocks.{index}.project"] = (f"{old}_project_conv", f"{old}_bn2")
        try:
            folded = {}
            for new, (conv, norm) in folds.items():
                folded[f"{new}.weight"], folded[f"{new}.bias"] = _fold(state, conv, norm)
            self.load_state_dict(folded)
        except (KeyError, RuntimeError) as error:
            raise WeightsError(f"these are not EfficientNet-Lite weights of the expected variant: {error}") from error


def _fold(state: Mapping[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + _BATCH_NORM_EPS)
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return state[f"{conv}.weight"] * scale[:, None, None, None], bias
