"""The generator: a U-Net that repaints a photo, or paints from a latent, in the style that a code asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib._shared.numbers import Ranges, are_counts, is_count, is_number, settle
from agnlib.errors import InputError
from agnlib.layers import (
    CanvasNoise,
    ContentAdapter,
    Conv2d,
    Modulation,
    StyledBottleneck,
    StyledConv,
    SubPixelUpsample,
    Upsample,
    current_window,
)
from agnlib.layers._border import cut, extend, renew_border
from agnlib.layers._unshuffled import UnshuffledConv2d
from agnlib.models.class_labels import check_label
from agnlib.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from agnlib.models.article import ArticleGenerator

__all__ = ["Generator", "GeneratorConfig"]

_SEED_CHANNELS = 32  # of the map that a latent becomes
_STRIDE = 8  # the deepest features are at 1/8 of the picture's size


@dataclass(frozen=True)
class GeneratorConfig:
    """Every option of `Generator`.

    Args:
        latent_dim: width of z, which is drawn from N(0, I); a whole number, at least 1.
        style_dim: width of the style code; a whole number, at least 1.
        num_classes: of styles by name, 0 for none; a whole number from 0.
        image_size: side in pixels of pictures from nothing, where no size is given; a whole number, at least 1.
        channels: of the features; three widths, at least 1, for 1/2, 1/4 and 1/8 of the size.
        blocks: how many follow each other; three numbers from 0, for 1/2, 1/4 and 1/8 of the size.
        kernel: of the deepest blocks; an odd kernel, in pixels of 1/8 of the size.
        expansion: how many times as wide the deepest blocks are inside; a whole number, at least 1.
        margin: pixels by which the picture is continued at its borders while it is painted; a whole number from 0.
        canvas_slope: of the spectrum of the noise which becomes strokes where a photo is flat (see
            `agnlib.layers.CanvasNoise`): 0 (white noise) to 4. With 0 they are everywhere; with more there are places
            of rest.

    Raises:
        InputError: an option outside its range.
    """

    latent_dim: int = 100
    style_dim: int = 128
    num_classes: int = 0
    image_size: int = 64
    channels: tuple[int, int, int] = (24, 64, 128)
    blocks: tuple[int, int, int] = (1, 3, 6)
    kernel: int = 5
    expansion: int = 2
    margin: int = 8
    canvas_slope: float = 0.0

    def __post_init__(self) -> None:
        settle(self, _RANGES, tuples=("channels", "blocks"))


_RANGES: Ranges = (
    (("latent_dim", "style_dim", "expansion", "image_size"), "a whole number, at least 1", lambda v: is_count(v, 1)),
    (("num_classes", "margin"), "a whole number from 0", is_count),
    (("channels",), "three widths, at least 1, for 1/2, 1/4 and 1/8 of the size", lambda v: are_counts(v, 1, 3)),
    (("blocks",), "three numbers from 0, for 1/2, 1/4 and 1/8 of the size", lambda v: are_counts(v, 0, 3)),
    (("kernel",), "an odd kernel, in pixels", lambda v: is_count(v, 1) and v % 2 == 1),
    (("canvas_slope",), "0 (white noise) to 4", lambda v: is_number(v, 0, 4)),
)


class Generator(PretrainedModel):
    """A U-Net that paints: a photo in a style, a picture from nothing in a style, or a picture from nothing.

    The content's features are normalized on every way into the decoder, so its own colors do not leak through; mean
    and deviation of every layer come from the style code. Sizes: 1/2, 1/4, 1/8 of the picture and back by
    interpolation and one smoothed sub-pixel step, which leaves no checkerboard.
    Papers: Ronneberger et al., "U-Net", 2015; Huang and Belongie, "AdaIN", ICCV 2017; Ghiasi et al., "Exploring the
    structure of a real-time, arbitrary neural artistic stylization network", BMVC 2017.

    Args:
        latent_dim, style_dim, num_classes, image_size, channels, blocks, kernel, expansion, margin, canvas_slope: see
            `GeneratorConfig`.

    Shapes:
        z `(B, latent_dim)` or None, style `(B, style_dim)` or None, content `(B, 3, H, W)` in [-1, 1] or None
        -> `(B, 3, H, W)` in [-1, 1]. Any H and W.

    Raises:
        InputError: a shape that does not fit, or neither z nor content given.

    Example:
        >>> generator = Generator(latent_dim=100)
        >>> generator(torch.randn(2, 100)).shape
        torch.Size([2, 3, 64, 64])
        >>> photo = torch.zeros(1, 3, 50, 70)
        >>> generator(None, torch.randn(1, 128), content=photo).shape
        torch.Size([1, 3, 50, 70])
    """

    config: GeneratorConfig
    config_class = GeneratorConfig

    def __init__(
        self,
        latent_dim: int = 100,
        style_dim: int = 128,
        *,
        num_classes: int = 0,
        image_size: int = 64,
        channels: Sequence[int] = (24, 64, 128),
        blocks: Sequence[int] = (1, 3, 6),
        kernel: int = 5,
        expansion: int = 2,
        margin: int = 8,
        canvas_slope: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = (latent_dim, style_dim, num_classes, image_size)
        deep = (kernel, expansion, margin, canvas_slope)
        self.config = config = GeneratorConfig(*sizes, cast("Any", channels), cast("Any", blocks), *deep)
        half, quarter, eighth = config.channels
        at_half, at_quarter, at_eighth = config.blocks
        self.enter = UnshuffledConv2d(3, half)
        self.down_quarter = Conv2d(half, quarter, 3, stride=2, padding=1)
        self.down_eighth = Conv2d(quarter, eighth, 3, stride=2, padding=1)
        self.seed_map = nn.Linear(latent_dim, _SEED_CHANNELS * self._seed_side**2, dtype=torch.float32)
        self.seed_conv = Conv2d(_SEED_CHANNELS, eighth, 1)
        self.seed_gain = nn.Parameter(torch.full((eighth,), 0.1, dtype=torch.float32))
        self.mapping = nn.Embedding(config.num_classes + 1, style_dim * (latent_dim + 1), dtype=torch.float32)
        self.adapter = ContentAdapter(eighth, style_dim)
        self.style_eighth = Modulation(eighth, style_dim)
        self.noise_eighth = CanvasNoise(eighth, style_dim, seed=1, slope=config.canvas_slope)
        self.body = nn.ModuleList(self.make_block(eighth) for _ in range(at_eighth))
        self.up_quarter = Upsample(eighth, quarter)
        self.skip_quarter = Modulation(quarter, style_dim)
        self.noise_quarter = CanvasNoise(quarter, style_dim, side=2048, seed=2)
        self.body_quarter = nn.ModuleList(StyledConv(quarter, quarter, style_dim) for _ in range(at_quarter))
        self.up_half = Upsample(quarter, half)
        self.skip_half = Modulation(half, style_dim)
        self.body_half = nn.ModuleList(StyledConv(half, half, style_dim) for _ in range(at_half))
        self.style_half = Modulation(half, style_dim, act="lrelu")
        self.to_rgb = SubPixelUpsample(half, 3)
        self._initialize_mapping()

    @classmethod
    def article(
        cls,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 100,
        num_classes: int | None = None,
        **options: Any,
    ) -> ArticleGenerator:
        """The founding article's generator: a map from z, then a U-Net of convolutions, deconvolutions and upsampling.

        Args:
            image_size, channels: of the pictures, which are square.
            latent_dim: width of z, which is drawn from N(0, I).
            num_classes: K for a generator that is asked for a class: `generator(z, label)`.
            options: see `ArticleGeneratorConfig`.

        Raises:
            InputError: options that do not fit each other.

        Example:
            >>> Generator.article(image_size=28, channels=1)(torch.randn(2, 100)).shape
            torch.Size([2, 1, 28, 28])
        """
        from agnlib.models.article import ArticleGenerator

        chosen: dict[str, Any] = {
            "image_size": image_size,
            "channels": channels,
            "latent_dim": latent_dim,
            "num_classes": num_classes,
        }
        return ArticleGenerator(**chosen, **options)

    def make_block(self, channels: int) -> nn.Module:
        """A block of the deepest stage, `(features, style) -> features` of the same shape; override to replace it."""
        return StyledBottleneck(
            channels, self.config.style_dim, kernel=self.config.kernel, expansion=self.config.expansion
        )

    def forward(
        self,
        z: Tensor | None = None,
        style: Tensor | None = None,
        *,
        content: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        batch = self._check(z, style, content)
        if style is None:
            style = self.sample_style(z) if z is not None else self.sample_style(self._zeros(batch))
        height, width = content.shape[2:] if content is not None else size or (self.config.image_size,) * 2
        left, right, top, bottom = self.padding(height, width)
        if content is None:
            assert z is not None
            skips = self._skips_from_latent(z, (height + top + bottom, width + left + right))
        else:
            skips = self._skips_from_photo(extend(content, (left, right, top, bottom)), z)
        with self._adapted(skips[2], style, from_photo=content is not None) as code:
            image = self._decode(*skips, code)
        return cut(image, top, left, (height, width))

    def sample_style(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """A style code from a latent: an affine map for each class, and one for no class.

        Shapes:
            z `(B, latent_dim)`, label int64 `(B,)` in 0..num_classes - 1 or None -> `(B, style_dim)`.

        Raises:
            InputError: a label that is outside the range or of another shape, or a z of the wrong width.
        """
        self._check(z, None, None)
        if label is not None:
            check_label("Generator", label, z.shape[0], self.config.num_classes)
        index = torch.zeros(z.shape[0], dtype=torch.long, device=z.device) if label is None else label + 1
        maps = self.mapping(index).unflatten(1, (self.config.style_dim, self.config.latent_dim + 1))
        code: Tensor = torch.baddbmm(maps[:, :, -1:], maps[:, :, :-1], z[:, :, None])[:, :, 0]
        return code

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, right, top and bottom: what `forward` adds around a picture of this size and cuts off again."""
        margin = self.config.margin
        # by whole cells, and not by remainders: an exported program must see that the sum is a multiple of the stride
        rows, columns = ((side + 2 * margin + _STRIDE - 1) // _STRIDE for side in (height, width))
        return margin, columns * _STRIDE - width - margin, margin, rows * _STRIDE - height - margin

    @property
    def stride(self) -> int:
        """Pixels to a cell of the deepest features; a window of a picture begins at a multiple of it."""
        return _STRIDE

    @property
    def reach(self) -> int:
        """How many pixels away a pixel of the content can change a painted one, its statistics given.

        That is the radius of the receptive field, rounded up to the stride. A subclass with other blocks of its own
        says its own.
        """
        at_half, at_quarter, at_eighth = self.config.blocks
        encoder = 1 + 2 * 1 + 2 * 1 + 4 * 1  # pixels of a cell, then three convolutions 3x3, at 1/2, 1/2 and 1/4
        deep = 8 * (at_eighth * (self.config.kernel // 2) + 1)  # and the border's renewal
        decoder = (8 + 4 * at_quarter) + (4 + 2 * at_half) + 2 * 1 + 1  # each upsampling reaches one cell further
        return -(-(encoder + deep + decoder) // _STRIDE) * _STRIDE

    def content_features(self, image: Tensor) -> dict[str, Tensor]:
        """The encoder's "half", "quarter" and "eighth" of pictures `(B, 3, H, W)`, padded to multiples of 8."""
        height, width = image.shape[2:]
        whole = extend(image, (0, -width % _STRIDE, 0, -height % _STRIDE))
        return dict(zip(("half", "quarter", "eighth"), self._skips_from_photo(whole, None), strict=True))

    @property
    def _seed_side(self) -> int:
        return max(1, self.config.image_size // _STRIDE)

    def _initialize_mapping(self) -> None:
        config = self.config
        maps = self.mapping.weight.data.view(-1, config.style_dim, config.latent_dim + 1)
        nn.init.normal_(maps, std=config.latent_dim**-0.5)
        maps[:, :, -1] = 0

    def _seed_features(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        side = self._seed_side
        features: Tensor = self.seed_conv(self.seed_map(z).unflatten(1, (-1, side, side)))
        window = current_window()
        if window is not None:
            features = window.stretched(features, size)
        elif size != (side, side):
            features = F.interpolate(features, size, mode="bilinear", align_corners=False)
        return features * self.seed_gain[:, None, None]

    def _skips_from_photo(self, content: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        half = self.enter(content)
        quarter = self.down_quarter(F.leaky_relu(half, 0.2))
        eighth = _renew_border(self.down_eighth(F.leaky_relu(quarter, 0.2)))
        if z is not None:
            eighth = eighth + self._seed_features(z, (eighth.shape[2], eighth.shape[3]))
        return half, quarter, eighth

    def _skips_from_latent(self, z: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        height, width = size
        half, quarter, _ = self.config.channels
        eighth = self._seed_features(z, (height // 8, width // 8))
        return (
            eighth.new_zeros(z.shape[0], half, height // 2, width // 2),
            eighth.new_zeros(z.shape[0], quarter, height // 4, width // 4),
            eighth,
        )

    @contextmanager
    def _adapted(self, eighth: Tensor, style: Tensor, *, from_photo: bool) -> Iterator[Tensor]:
        """The style code for this photo; within a window the regions' codes, for the block, too."""
        window = current_window()
        if not from_photo:
            yield style
        elif window is None or window.regions is None:
            yield self.adapter(eighth, style)
        else:
            with window.styled(self.adapter(eighth, window.regions.codes)).entered():
                yield style

    def _decode(self, half: Tensor, quarter: Tensor, eighth: Tensor, style: Tensor) -> Tensor:
        x = self.noise_eighth(self.style_eighth(eighth, style), style)
        for block in self.body:
            x = block(x, style)
        x = self.noise_quarter(self.up_quarter(x).add_(self.skip_quarter(quarter, style)), style)
        for block in self.body_quarter:
            x = block(x, style)
        x = self.up_half(x).add_(self.skip_half(half, style))
        for block in self.body_half:
            x = block(x, style)
        image: Tensor = self.to_rgb(self.style_half(x, style))
        return image.clamp(-1, 1) if not self.training else image

    def _zeros(self, batch: int) -> Tensor:
        return self.seed_gain.new_zeros(batch, self.config.latent_dim)

    def _check(self, z: Tensor | None, style: Tensor | None, content: Tensor | None) -> int:
        if z is None and content is None:
            raise InputError("Generator: got neither z nor content; give a latent (B, latent_dim), a photo, or both")
        expected = {
            "z": (z, 2, 1, self.config.latent_dim),
            "style": (style, 2, 1, self.config.style_dim),
            "content": (content, 4, 1, 3),
        }
        sizes: dict[str, int] = {}
        for name, (value, rank, axis, width) in expected.items():
            if value is None:
                continue
            if value.ndim != rank or value.shape[axis] != width:
                shape = f"(B, {width})" if rank == 2 else "(B, 3, H, W)"
                raise InputError(f"Generator: {name} has shape {tuple(value.shape)}; expected {shape}")
            sizes[name] = value.shape[0]
        batch = next(iter(sizes.values()))
        if any(size != batch for size in sizes.values()):
            raise InputError(f"Generator: batch sizes differ: {sizes}; expected one size for all")
        return batch


def _renew_border(x: Tensor) -> Tensor:
    """Features whose outermost cells, which have seen the convolutions' zeros, are replaced by their neighbors.

    They lie in the margin, but the deep blocks would carry what they tell about the border across the whole picture.
    """
    if any(side < 3 for side in x.shape[2:]):
        return x
    return renew_border(x)
