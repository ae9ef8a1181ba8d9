"""One picture being painted: whatever window of the result is asked for, the same as that part of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib._shared.strokes import stroke_scale
from agnlib.engines._device import placed
from agnlib.image import Picture, reduced_size
from agnlib.layers import Regions, Window
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._camera import Aligned, Camera, Placed
from agnlib.painting._effect import Effect
from agnlib.painting._guided_upsampling import GuidedUpsampled, Once, lightness
from agnlib.painting._temporal_smoothing import SmoothedStatistics, Smoothing
from agnlib.styles._reader import STYLE_SIDE
from agnlib.tiling import Box, Computed, Resampled, Source, window_side

if TYPE_CHECKING:
    from agnlib.engines import Engine

__all__ = ["Masks", "Painting", "WholePainter"]

# Below this strength the photo is blended in, so that the result goes to it exactly as strength goes to 0.
BLEND_BELOW = 0.25
# A larger picture's normalization statistics are taken from it reduced to so many pixels, tiled or not.
OVERVIEW_PIXELS = 2**20
# A window on the CPU; larger maps leave the caches and the allocator's pool: twice the time for a pixel.
_WINDOW_PIXELS = 1168**2
_ENLARGED_AT_ONCE = 1024**2  # pixels of the result, of a painting that is enlarged
_BYTES_A_PIXEL = 256  # that the network needs on a GPU, rounded up
_NEAR_BLACK = 0.02  # above black, of 2
_MOST_CHROMA = 3.0  # times as much as there was: what is nearly black has no hue worth enlarging


@dataclass(frozen=True)
class Masks:
    """Where each style goes: one mask for each, white (1) where it does; soft between.

    With `rest`, a further style takes what the masks leave. Where masks overlap they share, and where nothing covers a
    place the photo stays.
    """

    sources: Sequence[Source]
    rest: bool = False

    def shares(self, size: tuple[int, int], box: Box) -> Tensor:
        """How much of each style there is, `(1, R, h, w)`; at most 1 together."""
        seen = [source if source.size == size else Resampled(source, size) for source in self.sources]
        masks = torch.cat([each.window(box).clamp(0, 1) for each in seen], dim=1)
        total = masks.sum(1, keepdim=True)
        masks = masks / total.clamp_min(1)
        return torch.cat([masks, (1 - total).clamp_min(0)], dim=1) if self.rest else masks


class WholePainter(Protocol):
    """What paints a picture as a whole, begun with the network's painting."""

    def paint(
        self, start: Tensor, photo: Tensor, shares: Tensor | None, amount: float, turn: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """The painting `(B, 3, H, W)` in [-1, 1].

        Args:
            start: `(B, 3, H, W)`, the network's painting in the style in full.
            photo: `(B, 3, H, W)`.
            shares: `(1, R, H, W)` of the regions' styles; None for one.
            amount: of the style, above 0.
            turn: how many paintings of this picture were made before, and how many there are in all.
        """


@dataclass(frozen=True)
class Painting:
    """A picture and all that decides what becomes of it.

    Args:
        generator: paints.
        extractor: reads the picture's own style, where the effect is not in full.
        picture: to be painted.
        codes: `(R, style_dim)`, one style for each region.
        masks: the regions; None for one style everywhere.
        latent: `(1, latent_dim)` or None.
        effect: how much of the styles.
        engine: paints in the generator's place what it takes.
        smoothing: where the picture is frames of a clip: over the frames before.
        camera: where it is a frame of a clip: how that goes on from the frames before.
        photo: what is seen where the effect leaves the photo, of the picture's size; None for the picture itself.
        painter: goes on where the network has composed the picture; None where the network's painting is the result.
    """

    generator: Generator
    extractor: StyleExtractor
    picture: Picture
    codes: Tensor
    masks: Masks | None
    latent: Tensor | None
    effect: Effect
    smoothing: Smoothing | None = None
    camera: Camera | None = None
    engine: Engine | None = None
    photo: Picture | None = None
    painter: WholePainter | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.picture.size

    def boxes(self, tile: int | Literal["auto"] | None) -> list[Box]:
        """The result cut into what is painted at once, in reading order."""
        whole = Box(0, 0, *self.size)
        if tile is None:
            return [whole]
        if tile == "auto":
            budget = _window_pixels(self._device) // len(self.picture.values)
            if math.prod(self._network_size) <= budget and self._network_size == self.size:
                return [whole]
            if self._is_painted_once:
                return whole.split(math.isqrt(_ENLARGED_AT_ONCE), align=self.generator.stride)
            side = window_side(budget, self.generator.reach, align=self.generator.stride) * self.scale
            halo = math.ceil(self.generator.reach * self.scale)
            return whole.split(int(side), align=self.generator.stride, halo=halo)
        return whole.split(int(tile), align=self.generator.stride)

    def encoded(self, pixels: Tensor, box: Box) -> Tensor:
        """Painted pixels of a part as the result has them; what no mask covers is as it came in, bit for bit."""
        found = self.picture.encoded(pixels, box)
        if self.masks is None or self.masks.rest or not self.picture.is_exact:
            return found
        bare = self.masks.shares(self.size, box).sum(1, keepdim=True) == 0
        return self.picture.with_given(found, box, bare)

    @torch.inference_mode()
    def window(self, box: Box) -> Tensor:
        """A part of the result, float32 `(B, 3, h, w)` in about [-1, 1], on the picture's device."""
        with torch.autocast(self._device.type, enabled=False):  # a caller's own would change the picture
            return self._window(box)

    def _window(self, box: Box) -> Tensor:
        photo = (self.photo or self.picture).window(box)
        texture, color = self.effect.texture_amount, self.effect.color_amount
        painted = {amount: self._at(amount, box, photo) for amount in {texture, color}}
        result = painted[color]
        if texture != color:
            result = _with_luma(result, lightness(painted[texture]))
        if self.masks is not None and not self.masks.rest:
            covered = self.masks.shares(self.size, box).sum(1, keepdim=True)
            result = torch.lerp(photo, result, covered.to(photo.device))
        return result

    def _at(self, amount: float, box: Box, photo: Tensor) -> Tensor:
        """The part at one strength: the photo at 0, and from there on through its own style to the style asked for."""
        if amount == 0:
            return photo
        painted = self._painted(amount, box).to(photo.device, photo.dtype)
        return torch.lerp(photo, painted, amount / BLEND_BELOW) if amount < BLEND_BELOW else painted

    def _painted(self, amount: float, box: Box) -> Tensor:
        painting = self._paintings[amount]
        if self._network_size == self.size:
            return painting.window(box)
        if self.scale < 1:
            return Resampled(painting, self.size).window(box)
        return GuidedUpsampled(painting, self._seen, self.picture).window(box)

    @property
    def scale(self) -> float:
        """How broad the strokes are, in those of a picture that is painted in its own size."""
        if self.effect.scale != "auto":
            return self.effect.scale
        return stroke_scale(self.size) if self.painter is None else 1.0

    @cached_property
    def _network_size(self) -> tuple[int, int]:
        """Of the picture that the network sees: strokes twice as broad are painted at half the size."""
        height, width = (max(1, round(side / self.scale)) for side in self.size)
        return height, width

    @property
    def _is_painted_once(self) -> bool:
        """Whether it is painted as a whole, and then brought to its size part by part."""
        return self._network_size != self.size and math.prod(self._network_size) <= _WINDOW_PIXELS

    @cached_property
    def _seen(self) -> Source:
        """The picture that the network sees."""
        return self.picture if self._network_size == self.size else Resampled(self.picture, self._network_size)

    @cached_property
    def _paintings(self) -> Mapping[float, Source]:
        seen = self._seen
        amounts = {self.effect.texture_amount, self.effect.color_amount} - {0.0}
        if self.painter is not None:
            return {amount: _ByPainter(self, seen, self.painter, amount) for amount in amounts}
        painted = {amount: self._by_network(amount) for amount in amounts}
        return {amount: Once(each) for amount, each in painted.items()} if self._is_painted_once else painted

    def _by_network(self, amount: float) -> Source:
        codes, seen = self._codes_at(amount), self._seen
        if self.camera is None:
            return _ByNetwork(self, seen, codes, amount)
        aligned = Aligned(seen, self.camera.position(seen.size), self.generator.stride)
        painted = _ByNetwork(self, aligned, codes, amount)
        return self.camera.carried(Placed(painted, aligned.shift, seen.size), amount)

    def _codes_at(self, amount: float) -> Tensor:
        """`(B, R, style_dim)`: on the way from each photo's own code to each style's."""
        codes = self.codes.expand(len(self.picture.values), -1, -1)
        return codes if amount == 1 else torch.lerp(self._own[:, None], codes, amount)

    @cached_property
    def _own(self) -> Tensor:
        size = reduced_size(self.picture.size, shorter=STYLE_SIDE)
        code: Tensor = self.extractor(placed(self.picture.resized(size), self._device))
        return code if self.smoothing is None else self.smoothing.smoothed(self.extractor, code)

    @cached_property
    def _overview(self) -> Tensor:
        """The whole picture that the network sees, where that is large at a smaller size."""
        shrink = math.sqrt(OVERVIEW_PIXELS / math.prod(self._network_size))
        size = self._network_size
        if shrink < 1:
            size = max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))
        if size[0] <= self.size[0] and size[1] <= self.size[1]:
            return self.picture.resized(size)
        return Resampled(self.picture, size).window(Box(0, 0, *size))

    @property
    def _device(self) -> torch.device:
        return self.codes.device


class _ByNetwork:
    """The network at work on one picture, with one strength of the styles: a source of painted windows."""

    def __init__(self, painting: Painting, seen: Source, codes: Tensor, amount: float) -> None:
        self._painting, self._seen, self._codes, self._amount = painting, seen, codes, amount
        self.size = seen.size

    def window(self, box: Box) -> Tensor:
        generator, whole = self._painting.generator, Box(0, 0, *self.size)
        if box == whole and math.prod(self.size) <= OVERVIEW_PIXELS:  # its own statistics are those of the whole
            if self._painting.smoothing is None and self._codes.shape[1] == 1:
                return self._paint(self._seen.window(box))
            with self._window(box, self.size, self._unmeasured()).entered():
                return self._paint(self._seen.window(box))
        outer = box.grown(generator.reach, self.size, align=generator.stride)
        with self._window(outer, self.size, self._statistics).entered():
            painted = self._paint(self._seen.window(outer))
        return painted[box.within(outer).slices]

    @cached_property
    def _statistics(self) -> dict[nn.Module, tuple[Tensor, Tensor]]:
        overview = self._painting._overview
        size = (overview.shape[2], overview.shape[3])
        measured = self._unmeasured()
        with self._window(Box(0, 0, *size), size, measured).entered():
            self._paint(overview)
        return measured

    def _unmeasured(self) -> dict[nn.Module, tuple[Tensor, Tensor]]:
        smoothing = self._painting.smoothing
        return {} if smoothing is None else SmoothedStatistics(smoothing, self._amount)

    def _window(self, box: Box, size: tuple[int, int], statistics: dict[nn.Module, tuple[Tensor, Tensor]]) -> Window:
        left, right, top, bottom = self._painting.generator.padding(box.height, box.width)
        regions, masks = None, self._painting.masks
        if masks is not None and self._codes.shape[1] > 1:
            shares = self._shares(masks, size, box)
            total = shares.sum(1, keepdim=True)
            shares = torch.where(total > 0, shares / total.clamp_min(1e-6), 1 / shares.shape[1])
            padded = F.pad(shares, (left, right, top, bottom), mode="replicate")
            regions = Regions(self._codes, padded.to(self._codes.device))
        around = self._painting.generator.padding(*size)
        return Window(
            statistics,
            origin=(box.top, box.left),
            canvas=self._seen.origin if isinstance(self._seen, Aligned) and size == self.size else (0, 0),
            size=(box.height + top + bottom, box.width + left + right),
            whole=(size[0] + around[2] + around[3], size[1] + around[0] + around[1]),
            regions=regions,
        )

    def _shares(self, masks: Masks, size: tuple[int, int], box: Box) -> Tensor:
        seen = self._seen
        if not isinstance(seen, Aligned) or size != seen.size:
            return masks.shares(size, box)
        inner = Computed(seen.frame.size, partial(masks.shares, seen.frame.size))
        return Aligned(inner, seen.position, seen.cell).window(box)

    def _paint(self, photo: Tensor) -> Tensor:
        latent, codes, engine = self._painting.latent, self._codes, self._painting.engine
        z = None if latent is None else latent.expand(len(photo), -1)
        if engine is not None and engine.takes(photo, z):
            return engine(photo, codes[:, 0], z)
        painted: Tensor = self._painting.generator(z, codes[:, 0], content=placed(photo, codes.device))
        return painted


class _ByPainter:
    """A painter of whole pictures at work on one: a source of windows of what it painted when it was first asked."""

    def __init__(self, painting: Painting, seen: Source, painter: WholePainter, amount: float) -> None:
        self._painting, self._seen, self._painter, self._amount = painting, seen, painter, amount
        self.size = seen.size

    def window(self, box: Box) -> Tensor:
        return self._whole[box.slices]

    @cached_property
    def _whole(self) -> Tensor:
        whole, masks = Box(0, 0, *self.size), self._painting.masks
        photo = self._seen.window(whole)
        shares = None
        if masks is not None and len(self._painting.codes) > 1:
            shares = masks.shares(self.size, whole)
        return self._painter.paint(self._composed(photo), photo, shares, self._amount, self._turn)

    @property
    def _turn(self) -> tuple[int, int]:
        """Lightness and colors may each have a painting of their own."""
        paintings = self._painting._paintings.values()
        return sum("_whole" in vars(painting) for painting in paintings), len(paintings)

    def _composed(self, photo: Tensor) -> Tensor:
        """The network's painting in the style in full, tile by tile."""
        generator = self._painting.generator
        painting = _ByNetwork(self._painting, self._seen, self._painting._codes_at(1), 1)
        budget = _window_pixels(self._painting._device) // len(photo)
        side = window_side(budget, generator.reach, align=generator.stride)
        composed = torch.empty_like(photo)
        for box in Box(0, 0, *self.size).split(side, align=generator.stride, halo=generator.reach):
            composed[box.slices] = painting.window(box)
        return composed


def _with_luma(pixels: Tensor, luma: Tensor) -> Tensor:
    """The pixels at another luma, their hue kept and their chroma in proportion, as far as colors go.

    Were it kept as it is, a dark red that becomes light would be salmon, and a light one that becomes dark glaring.
    """
    own = lightness(pixels)
    chroma = pixels - own
    ratio = ((luma + 1) / (own + 1).clamp_min(_NEAR_BLACK)).clamp(0, _MOST_CHROMA)
    room = (1 - luma) / chroma.amax(1, keepdim=True).clamp_min(1e-6)  # beyond it a channel would be clipped
    return luma + torch.minimum(ratio, room.clamp_min(0)) * chroma


def _window_pixels(device: torch.device) -> int:
    """How large a window may be: what is quick on a CPU, what fits on a GPU."""
    if device.type != "cuda":
        return _WINDOW_PIXELS
    free, _ = torch.cuda.mem_get_info(device)
    return max(_WINDOW_PIXELS, int(0.6 * free) // _BYTES_A_PIXEL)
