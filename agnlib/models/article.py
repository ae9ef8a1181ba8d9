"""The founding article's networks: convolutions, deconvolutions, upsampling and fully connected layers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib._shared.numbers import Ranges, are_counts, is_count, is_number, settle
from agnlib.errors import InputError
from agnlib.losses import class_log_odds
from agnlib.models.class_labels import check_label
from agnlib.models.discriminator import Discriminator
from agnlib.models.generator import Generator
from agnlib.models.pretrained import PretrainedModel

__all__ = ["ArticleDiscriminator", "ArticleDiscriminatorConfig", "ArticleGenerator", "ArticleGeneratorConfig"]


_RANGES: Ranges = (
    (("image_size", "channels"), "a whole number, at least 1", lambda v: is_count(v, 1)),
    (("num_classes",), "at least 1, or None", lambda v: v is None or is_count(v, 1)),
    (("widths",), "at least one width, all positive", lambda v: are_counts(v, 1)),
)
_GENERATOR_RANGES: Ranges = (
    *_RANGES,
    (("latent_dim", "map_channels"), "a whole number, at least 1", lambda v: is_count(v, 1)),
    (("kernel",), "an odd kernel, in pixels", lambda v: is_count(v, 1) and v % 2 == 1),
    (("output_gain",), "more than 0", lambda v: is_number(v, math.nextafter(0, 1))),
)
_DISCRIMINATOR_RANGES: Ranges = (
    *_RANGES,
    (("features",), "'flat' or 'conv'", lambda v: v in ("flat", "conv")),
    (("hidden",), "two sizes, FC1 < FC2", lambda v: are_counts(v, 1, 2) and v[0] < v[1]),
    (("kernel",), "an even kernel, in pixels", lambda v: is_count(v, 2) and v % 2 == 0),
)


@dataclass(frozen=True)
class ArticleGeneratorConfig:
    """Every option of `ArticleGenerator`.

    Args:
        image_size: side of the pictures, in pixels; a whole number, at least 1, and a multiple of 2 for each width.
        channels: of the pictures; a whole number, at least 1.
        latent_dim: width of z, which is drawn from N(0, I); a whole number, at least 1.
        num_classes: of the labels; at least 1, or None for a generator that takes none.
        map_channels: of the map that z becomes; a whole number, at least 1.
        widths: the U-Net's channels at 1/2, 1/4, ... of the picture's size; at least one width, all positive.
        kernel: of the convolutions; an odd kernel, in pixels.
        output_gain: what the last layer's first weights are scaled by, more than 0. Against `features="conv"` 0.1 keeps
            tanh where it has a slope: that discriminator otherwise drives all pictures to black, from where no gradient
            leads back.

    Raises:
        InputError: an option outside its range, or options that do not fit each other.
    """

    image_size: int = 64
    channels: int = 3
    latent_dim: int = 100
    num_classes: int | None = None
    map_channels: int = 16
    widths: tuple[int, ...] = (16, 64)
    kernel: int = 3
    output_gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, _GENERATOR_RANGES, tuples=("widths",))
        if self.image_size % 2 ** len(self.widths):
            raise InputError(
                f"ArticleGeneratorConfig: image_size {self.image_size} with {len(self.widths)} widths;"
                f" expected a multiple of {2 ** len(self.widths)}, or fewer widths"
            )


class ArticleGenerator(Generator):
    """The article's generator: z becomes a map, and a U-Net of the map a picture.

    z (beside it the label, through a fully connected layer of its own) gives a map of half the picture's size. The
    first stage convolves it as it is; each later one downsamples by a convolution of stride 2, then convolves. On the
    way back deconvolutions of the same stride meet the stages' features by concatenation; the last upsampling is by
    repetition. No normalization, so weights start as He et al. (ICCV 2015) have it.
    It is a `Generator` for the trainer and for `from_pretrained`; it takes neither content nor style codes.
    Paper: Ronneberger et al., "U-Net", 2015.

    Args:
        image_size, channels, latent_dim, num_classes, map_channels, widths, kernel, output_gain: see
            `ArticleGeneratorConfig`.

    Shapes:
        z `(B, latent_dim)`, label int64 `(B,)` where there are classes -> `(B, channels, image_size, image_size)` in
        [-1, 1].

    Raises:
        InputError: a shape that does not fit, a label outside 0..num_classes - 1, or none where there are classes.

    Example:
        >>> generator = ArticleGenerator(image_size=28, channels=1, num_classes=10)
        >>> generator(torch.randn(2, 100), torch.tensor([3, 8])).shape
        torch.Size([2, 1, 28, 28])
    """

    config: ArticleGeneratorConfig  # type: ignore[assignment]
    config_class = ArticleGeneratorConfig  # type: ignore[assignment]

    def __init__(
        self,
        *,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 100,
        num_classes: int | None = None,
        map_channels: int = 16,
        widths: Sequence[int] = (16, 64),
        kernel: int = 3,
        output_gain: float = 1.0,
    ) -> None:
        PretrainedModel.__init__(self)  # a Generator by what it does, not by its layers
        sizes = (image_size, channels, latent_dim, num_classes, map_channels)
        self.config = config = ArticleGeneratorConfig(*sizes, cast("Any", widths), kernel, output_gain)
        pairs = list(zip(config.widths, config.widths[1:], strict=False))
        inputs = config.latent_dim * (2 if config.num_classes else 1)
        self.label_code = (
            nn.Linear(config.num_classes, config.latent_dim, dtype=torch.float32) if config.num_classes else None
        )
        self.map = nn.Linear(inputs, config.map_channels * (config.image_size // 2) ** 2, dtype=torch.float32)
        self.first = self._convolution(config.map_channels, config.widths[0])
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1, dtype=torch.float32) for a, b in pairs)
        self.convolve = nn.ModuleList(self._convolution(b, b) for _, b in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 4, stride=2, padding=1, dtype=torch.float32) for a, b in reversed(pairs)
        )
        self.merge = nn.ModuleList(self._convolution(2 * a, a) for a, _ in reversed(pairs))
        self.last = self._convolution(config.widths[0], config.widths[0])
        self.to_image = self._convolution(config.widths[0], config.channels)
        self._initialize()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:  # type: ignore[override]
        x = self._map(z, label)
        x = F.relu(self.first(x))
        skips = []
        for down, convolve in zip(self.down, self.convolve, strict=True):
            skips.append(x)
            x = F.relu(convolve(F.relu(down(x))))
        for up, merge in zip(self.up, self.merge, strict=True):
            x = F.relu(merge(torch.cat([F.relu(up(x)), skips.pop()], dim=1)))
        x = F.relu(self.last(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return torch.tanh(self.to_image(x))

    def sample_style(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Not for this network.

        Raises:
            InputError: always: the article's generator knows labels, but no style codes.
        """
        raise InputError("ArticleGenerator: it takes no style codes; give generator(z, label), or use Generator()")

    def content_features(self, image: Tensor) -> dict[str, Tensor]:
        """Not for this network.

        Raises:
            InputError: always: the article's generator takes no content.
        """
        raise InputError("ArticleGenerator: it paints from z alone, not from content; use Generator()")

    def _convolution(self, inputs: int, outputs: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, self.config.kernel, padding=self.config.kernel // 2, dtype=torch.float32)

    def _initialize(self) -> None:
        _initialize(self)
        with torch.no_grad():
            self.to_image.weight.mul_(self.config.output_gain)
        if self.label_code is not None:  # or the label would drown z: all pictures of a class alike
            nn.init.normal_(self.label_code.weight, std=0.3)

    def _map(self, z: Tensor, label: Tensor | None) -> Tensor:
        """The map that the U-Net works on, `(B, map_channels, image_size / 2, image_size / 2)`."""
        config = self.config
        if z.ndim != 2 or z.shape[1] != config.latent_dim:
            raise InputError(
                f"ArticleGenerator: z has shape {tuple(z.shape)}; expected (B, {config.latent_dim}),"
                " or another latent_dim"
            )
        if label is not None:
            check_label("ArticleGenerator", label, z.shape[0], config.num_classes)
        if self.label_code is not None:
            if label is None:
                raise InputError(
                    f"ArticleGenerator: got no label, but was made with num_classes={config.num_classes};"
                    " give label int64 (B,)"
                )
            assert config.num_classes is not None
            z = torch.cat([z, self.label_code(F.one_hot(label, config.num_classes).to(z))], dim=1)
        side = config.image_size // 2
        return F.relu(self.map(z)).view(-1, config.map_channels, side, side)


@dataclass(frozen=True)
class ArticleDiscriminatorConfig:
    """Every option of `ArticleDiscriminator`.

    Args:
        image_size: side of the pictures, in pixels; a whole number, at least 1, and with "conv" a multiple of 2 for
            each width.
        channels: of the pictures; a whole number, at least 1.
        num_classes: of the labels; at least 1, or None for a discriminator that takes none.
        features: what comes first: fully connected layers or convolutions; 'flat' or 'conv'.
        hidden: of the fully connected layers; two sizes, FC1 < FC2. With "conv" FC2 alone follows the convolutions.
        widths: channels of the convolutions; at least one width, all positive.
        kernel: of the convolutions, which have stride 2; an even kernel, in pixels.

    Raises:
        InputError: an option outside its range, or options that do not fit each other.
    """

    image_size: int = 64
    channels: int = 3
    num_classes: int | None = None
    features: str = "flat"
    hidden: tuple[int, int] = (256, 512)
    widths: tuple[int, ...] = (32, 64)
    kernel: int = 4

    def __post_init__(self) -> None:
        settle(self, _DISCRIMINATOR_RANGES, tuples=("hidden", "widths"))
        if self.image_size % 2 ** len(self.widths) and self.features == "conv":
            raise InputError(
                f"ArticleDiscriminatorConfig: image_size {self.image_size} with {len(self.widths)} widths;"
                f" expected a multiple of {2 ** len(self.widths)}, or fewer widths"
            )


class ArticleDiscriminator(Discriminator):
    """The article's discriminator: three fully connected layers, FC1 < FC2 < ..., or a small CNN and two of them.

    With `num_classes=K` it has K + 1 outputs, of which the last stands for generated pictures. Their softmax is
    `probability(image)`; item y of it is p(x | y), so the same outputs serve D(x) and D(x, y): the logit is the
    log-odds of any real class, or of class y, against all the rest.
    It is a `Discriminator` for the trainer and for `from_pretrained`; it takes no style codes.
    Papers: Goodfellow et al., 2014; Salimans et al., "Improved techniques for training GANs", 2016 (K + 1).

    Args:
        image_size, channels, num_classes, features, hidden, widths, kernel: see `ArticleDiscriminatorConfig`.

    Shapes:
        image `(B, channels, image_size, image_size)` in [-1, 1], label int64 `(B,)` or None -> logits `(B,)`.

    Raises:
        InputError: pictures of another size, a label outside 0..num_classes - 1, or a style code.

    Example:
        >>> discriminator = ArticleDiscriminator(image_size=28, channels=1, num_classes=10)
        >>> image = torch.zeros(2, 1, 28, 28)
        >>> discriminator(image, torch.tensor([3, 8])).shape, discriminator.probability(image).shape
        (torch.Size([2]), torch.Size([2, 11]))
    """

    config: ArticleDiscriminatorConfig  # type: ignore[assignment]
    config_class = ArticleDiscriminatorConfig  # type: ignore[assignment]

    def __init__(
        self,
        *,
        image_size: int = 64,
        channels: int = 3,
        num_classes: int | None = None,
        features: str = "flat",
        hidden: Sequence[int] = (256, 512),
        widths: Sequence[int] = (32, 64),
        kernel: int = 4,
    ) -> None:
        PretrainedModel.__init__(self)  # a Discriminator by what it does, not by its layers
        layers_of = (features, cast("Any", hidden), cast("Any", widths), kernel)
        self.config = config = ArticleDiscriminatorConfig(image_size, channels, num_classes, *layers_of)
        first, second = config.hidden
        outputs = config.num_classes + 1 if config.num_classes else 1
        layers: list[nn.Module]
        if config.features == "flat":
            layers = [
                nn.Linear(config.channels * config.image_size**2, first, dtype=torch.float32),
                nn.Linear(first, second, dtype=torch.float32),
            ]
        else:
            pairs = list(zip((config.channels, *config.widths), config.widths, strict=False))
            pad = config.kernel // 2 - 1
            layers = [nn.Conv2d(a, b, config.kernel, stride=2, padding=pad, dtype=torch.float32) for a, b in pairs]
            side = config.image_size // 2 ** len(config.widths)
            layers.append(nn.Linear(config.widths[-1] * side**2, second, dtype=torch.float32))
        self.layers = nn.ModuleList(layers)
        self.outputs = nn.Linear(second, outputs, dtype=torch.float32)
        _initialize(self)

    def forward(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        if style is not None:
            raise InputError("ArticleDiscriminator: it takes no style codes; give discriminator(image, label)")
        if label is not None:
            check_label("ArticleDiscriminator", label, image.shape[0], self.config.num_classes)
        logits = self._outputs(image)
        return logits[:, 0] if self.config.num_classes is None else class_log_odds(logits, label)

    def patch_logits(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> list[Tensor]:
        """The logits `(B,)` as a list of one: the whole picture is the only patch."""
        return [self(image, label, style)]

    def class_logits(self, image: Tensor) -> Tensor:
        """Logits `(B, K + 1)` of the K real classes and, last, of generated pictures.

        Raises:
            InputError: a discriminator without classes, or pictures of another size.
        """
        if self.config.num_classes is None:
            raise InputError("ArticleDiscriminator: class_logits without classes; make it with num_classes=K")
        return self._outputs(image)

    def probability(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        """p(x) or, with a label, p(x | y), `(B,)`; with classes and without a label those of all, `(B, K + 1)`."""
        if self.config.num_classes is None or label is not None:
            return torch.sigmoid(self(image, label, style))
        return self.class_logits(image).softmax(1)

    def features(self, image: Tensor) -> list[Tensor]:
        """Rectified features after every layer but the last, for feature matching."""
        self._check_image(image)
        x, found = image, []
        for layer in self.layers:
            x = F.relu(layer(x.flatten(1) if isinstance(layer, nn.Linear) else x))
            found.append(x)
        return found

    def _outputs(self, image: Tensor) -> Tensor:
        logits: Tensor = self.outputs(self.features(image)[-1])
        return logits

    def _check_image(self, image: Tensor) -> None:
        expected = (self.config.channels, self.config.image_size, self.config.image_size)
        if image.ndim != 4 or image.shape[1:] != expected:
            raise InputError(
                f"ArticleDiscriminator: image has shape {tuple(image.shape)}; expected"
                f" (B, {', '.join(map(str, expected))}); resize the pictures, or give other image_size and channels"
            )


def _initialize(module: nn.Module) -> None:
    """He et al.'s deviations, which keep the size of rectified features from layer to layer; no biases."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            weight = layer.weight
            fan_in = weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):  # stride^2 pixels share a kernel
                fan_in = weight.shape[0] * weight[0, 0].numel() // (layer.stride[0] * layer.stride[1])
            nn.init.normal_(weight, std=(2 / fan_in) ** 0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
