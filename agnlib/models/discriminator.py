"""The discriminator: judges overlapping patches at two scales, given a label and a style code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib._shared.numbers import Ranges, are_counts, is_count, settle
from agnlib.errors import InputError
from agnlib.layers import PatchScale
from agnlib.models.class_labels import check_label
from agnlib.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from agnlib.models.article import ArticleDiscriminator

__all__ = ["Discriminator", "DiscriminatorConfig"]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Every option of `Discriminator`.

    Args:
        num_classes: of the labels; None for a discriminator that takes none. At least 1, or None.
        style_dim: width of the style code; a whole number, at least 1.
        channels: the widths after each convolution of stride 2; at least one width, all positive.
        scales: how many sizes of the picture are judged, each half the one before; a whole number, at least 1.

    Raises:
        InputError: an option outside its range.
    """

    num_classes: int | None = None
    style_dim: int = 128
    channels: tuple[int, ...] = (32, 64, 96)
    scales: int = 2

    def __post_init__(self) -> None:
        settle(self, _RANGES, tuples=("channels",))


_RANGES: Ranges = (
    (("channels",), "at least one width, all positive", lambda v: are_counts(v, 1)),
    (("scales", "style_dim"), "a whole number, at least 1", lambda v: is_count(v, 1)),
    (("num_classes",), "at least 1, or None", lambda v: v is None or is_count(v, 1)),
)


class Discriminator(PretrainedModel):
    """Tells real art of a style from generated pictures, patch by patch, at two scales.

    Papers: Isola et al., CVPR 2017 (patches); Wang et al., "pix2pixHD", CVPR 2018 (scales); Miyato and Koyama,
    ICLR 2018 (projection on label and style code).

    Args:
        num_classes, style_dim, channels, scales: see `DiscriminatorConfig`.

    Shapes:
        image `(B, 3, H, W)` in [-1, 1], label int64 `(B,)` or None, style `(B, style_dim)` or None -> logits `(B,)`,
        the mean over patches and scales. Any H and W.

    Raises:
        InputError: shapes that do not fit, or a label outside 0..num_classes - 1.

    Example:
        >>> discriminator = Discriminator(num_classes=3)
        >>> discriminator(torch.zeros(2, 3, 64, 64), torch.tensor([0, 2])).shape
        torch.Size([2])
    """

    config: DiscriminatorConfig
    config_class = DiscriminatorConfig

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        style_dim: int = 128,
        channels: Sequence[int] = (32, 64, 96),
        scales: int = 2,
    ) -> None:
        super().__init__()
        self.config = config = DiscriminatorConfig(num_classes, style_dim, cast("Any", channels), scales)
        width = config.channels[-1]
        self.scales = nn.ModuleList(PatchScale(3, config.channels) for _ in range(config.scales))
        self.style_projection = nn.ModuleList(
            nn.Linear(config.style_dim, width, dtype=torch.float32) for _ in range(config.scales)
        )
        self.label_projection = nn.ModuleList(
            nn.Embedding(num_classes or 1, width, dtype=torch.float32) for _ in range(config.scales)
        )

    @classmethod
    def article(
        cls,
        image_size: int = 64,
        channels: int = 3,
        num_classes: int | None = None,
        features: str = "flat",
        **options: Any,
    ) -> ArticleDiscriminator:
        """The founding article's discriminator: fully connected layers, or a small CNN with two of them behind it.

        Args:
            image_size, channels: of the pictures, which are square.
            num_classes: K for the K + 1 form, whose `probability` is `(B, K + 1)`.
            features: "flat" (three fully connected layers) or "conv".
            options: see `ArticleDiscriminatorConfig`.

        Raises:
            InputError: options that do not fit each other.

        Example:
            >>> Discriminator.article(image_size=28, channels=1)(torch.zeros(2, 1, 28, 28)).shape
            torch.Size([2])
        """
        from agnlib.models.article import ArticleDiscriminator

        chosen: dict[str, Any] = {
            "image_size": image_size,
            "channels": channels,
            "num_classes": num_classes,
            "features": features,
        }
        return ArticleDiscriminator(**chosen, **options)

    def forward(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        maps = self.patch_logits(image, label, style)
        return torch.stack([logits.mean((1, 2)) for logits in maps]).mean(0)

    def patch_logits(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> list[Tensor]:
        """Logits `(B, h, w)` of the patches at each scale, the finest first."""
        self._check(image, label, style)
        maps = []
        for index, (scale, picture) in enumerate(zip(self.scales, self._pyramid(image), strict=True)):
            conditions = []
            if label is not None:
                conditions.append(self.label_projection[index](label))
            if style is not None:
                conditions.append(self.style_projection[index](style))
            maps.append(scale(picture, sum(conditions) if conditions else None))
        return maps

    def features(self, image: Tensor) -> list[Tensor]:
        """Rectified features after every convolution of every scale, for feature matching."""
        self._check(image, None, None)
        scales = cast("list[PatchScale]", list(self.scales))
        return [f for scale, picture in zip(scales, self._pyramid(image), strict=True) for f in scale.features(picture)]

    def probability(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> Tensor:
        """p(x | y) `(B,)`: that the picture is real art of that label and style."""
        return torch.sigmoid(self(image, label, style))

    def _pyramid(self, image: Tensor) -> list[Tensor]:
        least = 2 ** (len(self.config.channels) + self.config.scales - 1)
        high, wide = max(0, least - image.shape[2]), max(0, least - image.shape[3])
        pictures = [F.pad(image, (0, wide, 0, high), mode="replicate") if high or wide else image]
        for _ in range(self.config.scales - 1):
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        return pictures

    def _check(self, image: Tensor, label: Tensor | None, style: Tensor | None) -> None:
        if image.ndim != 4 or image.shape[1] != 3:
            raise InputError(f"Discriminator: image has shape {tuple(image.shape)}; expected (B, 3, H, W)")
        if style is not None and style.shape != (image.shape[0], self.config.style_dim):
            expected = (image.shape[0], self.config.style_dim)
            raise InputError(f"Discriminator: style has shape {tuple(style.shape)}; expected {expected}")
        if label is not None:
            check_label("Discriminator", label, image.shape[0], self.config.num_classes)
