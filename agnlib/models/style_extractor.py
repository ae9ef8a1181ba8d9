"""The style extractor: from a picture to the code of its style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from agnlib._shared.numbers import Ranges, is_count, settle
from agnlib.errors import InputError
from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk
from agnlib.models.pretrained import PretrainedModel

__all__ = ["StyleExtractor", "StyleExtractorConfig"]

_QUANTILES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9, 0.98)
_MAX_PIXELS = 65_536  # color statistics of larger pictures are taken from a regular sample of this many pixels
_MAX_DEVIATIONS = 5.0  # a picture unlike all that were trained on is taken as the most extreme of those
# luminance and two opponent axes, which spread the colors of pictures better than red, green and blue
_AXES = ((0.333, 0.333, 0.333), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
_COLOR_STATISTICS = 3 + 6 + len(_AXES) * len(_QUANTILES)


@dataclass(frozen=True)
class StyleExtractorConfig:
    """Every option of `StyleExtractor`.

    Args:
        style_dim: width of the style code; a whole number, at least 1.
        variational: give a Gaussian of codes; True or False.
        hidden: width of the small network's two hidden layers; a whole number, at least 1.
        variant: of the EfficientNet-Lite that the trunk is the beginning of, 0 to 4; a whole number from 0.
        taps: names of the trunk's feature maps that statistics are taken of, such as "block2"; see
            `agnlib.models.EfficientNetLiteFeatures`.
        frozen_trunk: whether the trunk stays as it is in training; True or False.

    Raises:
        InputError: an option outside its range.
    """

    style_dim: int = 128
    variational: bool = False
    hidden: int = 256
    variant: int = 0
    taps: tuple[str, ...] = ("block0", "block2", "block4", "block10")
    frozen_trunk: bool = True

    def __post_init__(self) -> None:
        settle(self, _RANGES, tuples=("taps",))


_RANGES: Ranges = (
    (("style_dim", "hidden"), "a whole number, at least 1", lambda v: is_count(v, 1)),
    (("variant",), "a whole number from 0", is_count),
    (("variational", "frozen_trunk"), "True or False", lambda v: isinstance(v, bool)),
)


class StyleExtractor(PretrainedModel):
    """Reads the style off a picture: statistics of features and of colors, brought to a code by a small network.

    Mean and deviation of feature maps describe texture (Gatys et al., CVPR 2016; Huang and Belongie, ICCV 2017), the
    colors' mean, covariance and quantiles the palette. The trunk is the beginning of an EfficientNet-Lite.
    With `variational=True` the code is a Gaussian (Larsen et al., "VAE-GAN", ICML 2016): see `distribution`.

    Args:
        style_dim, variational, hidden, variant, taps, frozen_trunk: see `StyleExtractorConfig`.

    Shapes:
        `(B, 3, H, W)` in [-1, 1] -> `(B, style_dim)`. Any H and W.

    Raises:
        InputError: not a batch of RGB pictures.

    Example:
        >>> StyleExtractor()(torch.zeros(2, 3, 40, 30)).shape
        torch.Size([2, 128])
    """

    config: StyleExtractorConfig
    config_class = StyleExtractorConfig
    axes: Tensor
    shift: Tensor
    scale: Tensor
    quantiles: Tensor

    def __init__(
        self,
        style_dim: int = 128,
        variational: bool = False,
        *,
        hidden: int = 256,
        variant: int = 0,
        taps: Sequence[str] = ("block0", "block2", "block4", "block10"),
        frozen_trunk: bool = True,
    ) -> None:
        super().__init__()
        options = (style_dim, variational, hidden, variant, cast("Any", taps), frozen_trunk)
        self.config = config = StyleExtractorConfig(*options)
        self.trunk = EfficientNetLiteTrunk(config.variant, config.taps)
        self.trunk.requires_grad_(not config.frozen_trunk)
        texture = 2 * sum(self.trunk.channels.values())
        self.register_buffer("shift", torch.zeros(texture + _COLOR_STATISTICS, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(texture + _COLOR_STATISTICS, dtype=torch.float32))
        self.head = nn.Sequential(
            nn.Linear(texture + _COLOR_STATISTICS, config.hidden, dtype=torch.float32),
            nn.LeakyReLU(0.2),
            nn.Linear(config.hidden, config.hidden, dtype=torch.float32),
            nn.LeakyReLU(0.2),
            nn.Linear(config.hidden, style_dim * (2 if variational else 1), dtype=torch.float32),
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):  # so that codes start with a deviation near 1, as latents have
                nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
        self.register_buffer("axes", torch.tensor(_AXES, dtype=torch.float32), persistent=False)
        self.register_buffer("quantiles", torch.tensor(_QUANTILES, dtype=torch.float32), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.encode(self.statistics(image))

    def features(self, image: Tensor) -> dict[str, Tensor]:
        """The trunk's feature maps by tap, which `statistics` are taken from; a tiny picture is continued first.

        Raises:
            InputError: not a batch of RGB pictures.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise InputError(f"StyleExtractor: the image has shape {tuple(image.shape)}; expected (B, 3, H, W)")
        with torch.set_grad_enabled(torch.is_grad_enabled() and (not self.config.frozen_trunk or image.requires_grad)):
            found: dict[str, Tensor] = self.trunk(_at_least(image, self.trunk.min_size))
        return found

    def statistics(self, image: Tensor, features: Mapping[str, Tensor] | None = None) -> Tensor:
        """What the code is made from, `(B, n)`: the part that does not change while the trunk is frozen.

        Args:
            image: the pictures.
            features: of them, where they are known already.

        Raises:
            InputError: not a batch of RGB pictures.
        """
        maps = (self.features(image) if features is None else features).values()
        texture = [torch.cat([f.mean((2, 3)), f.std((2, 3), correction=0)], dim=1) for f in maps]
        return torch.cat([*texture, self._color_statistics(image)], dim=1)

    def encode(self, statistics: Tensor) -> Tensor:
        """Codes `(B, style_dim)` from `statistics`; in the variational case the means."""
        return self._head(statistics)[:, : self.config.style_dim]

    def distribution(self, image: Tensor) -> Normal:
        """The Gaussian of codes of a picture, `(B, style_dim)`; `rsample()` of it is differentiable.

        Raises:
            InputError: the extractor was not made with `variational=True`.
        """
        if not self.config.variational:
            raise InputError(
                "StyleExtractor.distribution: this extractor has no variance; make it with variational=True"
            )
        mean, log_variance = self._head(self.statistics(image)).chunk(2, dim=1)
        return Normal(mean, torch.exp(log_variance.clamp(-20, 10) / 2))

    @torch.no_grad()
    def calibrate(self, statistics: Tensor) -> None:
        """Measure each statistic in deviations from its mean over these `(N, n)`, so that none drowns the others.

        Raises:
            InputError: fewer than two rows, which have no deviation.
        """
        if len(statistics) < 2:
            raise InputError(f"StyleExtractor.calibrate: got statistics of {len(statistics)} pictures; give at least 2")
        self.shift.copy_(statistics.mean(0))
        self.scale.copy_(statistics.std(0).clamp_min(1e-3))

    def _head(self, statistics: Tensor) -> Tensor:
        standard = ((statistics - self.shift) / self.scale).clamp(-_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        codes: Tensor = self.head(standard)
        return codes

    def _color_statistics(self, image: Tensor) -> Tensor:
        pixels = (image.float() if image.dtype in (torch.float16, torch.bfloat16) else image).flatten(2)
        pixels = pixels[:, :, :: -(-pixels.shape[2] // _MAX_PIXELS)]
        mean = pixels.mean(2)
        centered = pixels - mean[:, :, None]
        covariance = centered @ centered.mT / pixels.shape[2]
        upper = torch.triu_indices(3, 3, device=image.device)
        spread = torch.sign(covariance) * covariance.abs().clamp_min(1e-8).sqrt()  # in the units of the pixels
        quantiles = torch.quantile(self.axes.to(pixels) @ centered, self.quantiles.to(pixels), dim=2)
        found = torch.cat([mean, spread[:, upper[0], upper[1]], quantiles.permute(1, 2, 0).flatten(1)], dim=1)
        return found.to(image.dtype)


def _at_least(image: Tensor, size: int) -> Tensor:
    high, wide = max(0, size - image.shape[2]), max(0, size - image.shape[3])
    return F.pad(image, (0, wide, 0, high), mode="replicate") if high or wide else image
