"""VGG16's convolutions as a stack of feature maps to look at.

Paper: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError, WeightsError

__all__ = ["VGG16Trunk"]

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _layers() -> dict[str, tuple[int, int, int]]:
    """Tap name -> (index among torchvision's `features`, channels in, channels out)."""
    layers, index, previous = {}, 0, 3
    for stage, widths in enumerate(_CHANNELS, start=1):
        for number, width in enumerate(widths, start=1):
            layers[f"relu{stage}_{number}"] = (index, previous, width)
            index, previous = index + 2, width
        index += 1
    return layers


class VGG16Trunk(nn.Module):
    """The first convolutions of VGG16, giving the rectified maps asked for.

    Args:
        taps: names such as "relu3_1"; convolutions after the last of them are not built.

    Shapes:
        `(B, 3, H, W)` in [-1, 1] -> `{tap: (B, channels[tap], H // s, W // s)}`, s = 1, 2, 4, 8, 16 by stage.

    Raises:
        InputError: an unknown tap.

    Example:
        >>> {name: tuple(f.shape) for name, f in VGG16Trunk(("relu2_1",))(torch.zeros(1, 3, 32, 32)).items()}
        {'relu2_1': (1, 128, 16, 16)}
    """

    mean: Tensor
    std: Tensor

    def __init__(self, taps: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")) -> None:
        super().__init__()
        layers = _layers()
        if not taps or any(tap not in layers for tap in taps):
            raise InputError(f"VGG16 has the taps {', '.join(layers)}; got {list(taps)}")
        self.taps = tuple(taps)
        self.channels = {tap: layers[tap][2] for tap in taps}
        self.min_size = 2 ** (int(max(taps)[4]) - 1)
        deepest = max(layers[tap][0] for tap in taps)
        self.features = nn.ModuleDict(
            {
                str(i): nn.Conv2d(c_in, c_out, 3, padding=1, dtype=torch.float32)
                for i, c_in, c_out in layers.values()
                if i <= deepest
            }
        )
        self.register_buffer(
            "mean", torch.tensor([0.485, 0.456, 0.406], dtype=torch.float32)[:, None, None], persistent=False
        )
        self.register_buffer(
            "std", torch.tensor([0.229, 0.224, 0.225], dtype=torch.float32)[:, None, None], persistent=False
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        dtype = next(self.features.parameters()).dtype
        x = (((image + 1) / 2 - self.mean) / self.std).to(dtype)
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        found = {}
        for tap, (index, _, _) in _layers().items():
            if str(index) not in self.features:
                break
            if tap[-1] == "1" and index:
                x = F.max_pool2d(x, 2)
            x = F.relu(self.features[str(index)](x))
            if tap in self.channels:
                found[tap] = x
        return found

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Fill the trunk from torchvision's key names; entries of later layers are ignored.

        Raises:
            WeightsError: an entry is missing or has another shape.
        """
        try:
            self.load_state_dict({key: state[key].float() for key in self.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise WeightsError(f"these are not VGG16 weights with torchvision's key names: {error}") from error
