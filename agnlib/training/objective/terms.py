"""Terms of the generator's loss: a callable `(batch, fake) -> scalar`, a weight, and when it fades in."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agnlib._shared.numbers import Ranges, is_count, is_number, settle
from agnlib.errors import InputError
from agnlib.losses import (
    FeatureMoments,
    content_loss,
    covariance_style_loss,
    feature_moments,
    guided_smoothness,
    kl_divergence,
    moment_style_loss,
    normalize_features,
    palette_loss,
    patch_nce_loss,
    relaxed_earth_mover_loss,
    sliced_style_loss,
    total_variation,
)
from agnlib.metrics._texture import texture_correlation
from agnlib.training.data.pairs import Batch

__all__ = [
    "ContentTerm",
    "CovarianceStyleTerm",
    "EarthMoverStyleTerm",
    "MomentStyleTerm",
    "PaletteTerm",
    "PatchNCETerm",
    "SharedEncoder",
    "SharedTextureTerm",
    "SlicedStyleTerm",
    "TargetCache",
    "Term",
    "Weighted",
    "guided_smoothness_term",
    "kl_term",
    "smoothness_term",
]

Term = Callable[[Batch, Tensor], Tensor]
_TARGETS_KEPT = 8
Encoder = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Weighted:
    """A term and its weight, which grows from 0 to its full value over `ramp` steps after step `start`.

    One that `needs_content` is left out where a batch has no photos.
    """

    term: Term
    weight: float
    start: int = 0
    ramp: int = 0
    needs_content: bool = False

    def __post_init__(self) -> None:
        settle(self, _RANGES)

    def weight_at(self, step: int) -> float:
        """The weight in force at a step."""
        if step < self.start:
            return 0.0
        return self.weight * min(1.0, (step - self.start + 1) / (self.ramp + 1))


_RANGES: Ranges = (
    (("term",), "a callable (batch, fake) -> scalar", callable),
    (("weight",), "a number from 0", lambda v: is_number(v, 0, math.nextafter(math.inf, 0))),
    (("start", "ramp"), "a number of steps from 0", is_count),
    (("needs_content",), "True or False", lambda v: isinstance(v, bool)),
)


class SharedEncoder:
    """An encoder that several terms look through: the result's features are kept until the next result.

    Of what is computed without gradients, targets, only the last few are: terms ask for one reference in turn. A
    trainer calls `forget` after each step, since pictures and encoders change.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._last: tuple[Tensor, Mapping[str, Tensor]] | None = None
        self._targets: OrderedDict[tuple[Any, ...], tuple[Tensor, Mapping[str, Tensor]]] = OrderedDict()

    def __call__(self, image: Tensor) -> Mapping[str, Tensor]:
        if not torch.is_grad_enabled():
            return self._target(image)
        if self._last is None or self._last[0] is not image:
            self._last = (image, self.encoder(image))
        return self._last[1]

    def forget(self) -> None:
        """Let go of the last pictures and their graph."""
        self._last = None
        self._targets.clear()

    def _target(self, image: Tensor) -> Mapping[str, Tensor]:
        # the picture is kept, so nothing else can come to lie there
        place = (image.data_ptr(), image.shape, image.stride(), image.dtype)
        if place not in self._targets:
            self._targets[place] = (image, self.encoder(image))
            if len(self._targets) > _TARGETS_KEPT:
                self._targets.popitem(last=False)
        return self._targets[place][1]


class TargetCache:
    """What is computed from a crop once and needed whenever that crop comes again, oldest out first.

    Every crop is computed alone and rounded before its first use: what comes out depends neither on the crops beside it
    nor on whether it was kept, so a resumed run, whose cache is empty, goes on as the first would have.

    Args:
        limit: bytes that may be kept.
        dtype: in which floating-point targets are kept.
    """

    def __init__(self, limit: int = 4 << 30, dtype: torch.dtype = torch.bfloat16) -> None:
        self.limit, self.dtype = limit, dtype
        self._kept: OrderedDict[str, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0

    def get(self, keys: Sequence[str], pictures: Tensor, compute: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """Tensors `(B, ...)` for the pictures of a batch; `compute(pictures)` gives those that are not kept."""
        if not keys or self.limit == 0:
            return self._computed(pictures, compute)
        rows = []
        for key, picture in zip(keys, torch.split(pictures, 1), strict=True):
            row = self._kept.get(key)
            if row is None:
                row = tuple(self._computed(picture, compute))
                self._keep(key, row)
            rows.append(row)
        return [torch.cat(column) for column in zip(*rows, strict=True)]

    @torch.no_grad()
    def _computed(self, pictures: Tensor, compute: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        return [value.to(self.dtype) for value in compute(pictures)]

    def size_for(self, count: int) -> int:
        """Bytes that `count` crops like those kept so far would take, at most the limit."""
        return min(self.limit, self._bytes * count // len(self._kept)) if self._kept else 0

    def _keep(self, key: str, values: tuple[Tensor, ...]) -> None:
        self._kept[key] = values
        self._bytes += sum(value.nbytes for value in values)
        while self._bytes > self.limit:
            _, old = self._kept.popitem(last=False)
            self._bytes -= sum(value.nbytes for value in old)


class CovarianceStyleTerm:
    """`covariance_style_loss` of the result against the reference, on the taps of an encoder."""

    def __init__(self, encoder: Encoder, taps: Sequence[str], cache: TargetCache | None = None) -> None:
        self.encoder, self.taps, self.cache = encoder, tuple(taps), cache or TargetCache(0)

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        def compute(style: Tensor) -> list[Tensor]:
            features = self.encoder(style)
            return [value for tap in self.taps for value in feature_moments(features[tap])]

        flat = [value.float() for value in self.cache.get(batch.style_keys, batch.style, compute)]
        target = {tap: FeatureMoments(flat[2 * i], flat[2 * i + 1]) for i, tap in enumerate(self.taps)}
        return covariance_style_loss(self.encoder(fake), target)


class MomentStyleTerm:
    """`moment_style_loss` of the result against the reference, on the taps of an encoder."""

    def __init__(self, encoder: Encoder, taps: Sequence[str], cache: TargetCache | None = None) -> None:
        self.encoder, self.taps, self.cache = encoder, tuple(taps), cache or TargetCache(0)

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        def compute(style: Tensor) -> list[Tensor]:
            features = self.encoder(style)
            maps = [features[tap].float() for tap in self.taps]
            return [value for f in maps for value in (f.mean((2, 3)), f.std((2, 3), correction=0))]

        flat = [value.float() for value in self.cache.get(batch.style_keys, batch.style, compute)]
        target = {tap: (flat[2 * i], flat[2 * i + 1]) for i, tap in enumerate(self.taps)}
        return moment_style_loss(self.encoder(fake), target)


class SlicedStyleTerm:
    """`sliced_style_loss` of the result against the reference, on taps of an encoder, along other lines every step."""

    def __init__(self, encoder: Encoder, taps: Sequence[str], directions: int = 64) -> None:
        self.encoder, self.taps, self.directions = encoder, tuple(taps), directions

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.encoder(batch.style)
        target = {tap: features[tap] for tap in self.taps}
        return sliced_style_loss(self.encoder(fake), target, directions=self.directions, seed=batch.step)


class EarthMoverStyleTerm:
    """`relaxed_earth_mover_loss` of the result against the reference, on taps of an encoder.

    The reference is seen at the same places each time, which can be kept, and the result at others in every step.

    Args:
        encoder, taps, cache: as of the other terms; the cache holds `samples` positions of each tap.
        samples: positions of each that are compared.
    """

    def __init__(
        self, encoder: Encoder, taps: Sequence[str], cache: TargetCache | None = None, samples: int = 1024
    ) -> None:
        self.encoder, self.taps, self.cache, self.samples = encoder, tuple(taps), cache or TargetCache(0), samples

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        def compute(style: Tensor) -> list[Tensor]:
            features = self.encoder(style)
            return [_positions(features[tap], self.samples) for tap in self.taps]

        kept = self.cache.get(batch.style_keys, batch.style, compute)
        features = self.encoder(fake)
        target = {tap: rows.to(features[tap].dtype) for tap, rows in zip(self.taps, kept, strict=True)}
        return relaxed_earth_mover_loss(features, target, samples=self.samples, seed=batch.step)


class SharedTextureTerm:
    """How much of the texture in flat parts stays the same in another style: the square of `shared_texture`.

    A part of each photo is painted after its own reference and after that of the row before, with the same noise. Rows
    whose two references are of one picture are left out, and a batch of one has nothing to compare.

    Args:
        generator: that paints.
        size: side of the part, at most the photo's; a multiple of 8.
    """

    def __init__(self, generator: Callable[..., Tensor], size: int = 160) -> None:
        self.generator, self.size = generator, size

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        code = batch.code
        if code is None or len(code) < 2 or batch.identity:
            return 0 * fake.sum()
        sources = batch.sources or tuple(map(str, range(len(code))))
        differ = [one != before for one, before in zip(sources, (sources[-1], *sources), strict=False)]
        others = torch.tensor(differ, device="cpu", dtype=torch.bool)
        if not others.any():
            return 0 * fake.sum()
        photo = _part(batch.photos, self.size, batch.step)
        paintings = []
        for each in (code, code.roll(1, 0)):
            with torch.random.fork_rng(devices=[photo.device] if photo.device.type == "cuda" else []):
                torch.manual_seed(batch.step)
                paintings.append(self.generator(None, each, content=photo))
        ours, theirs, own = (picture.mean(1, keepdim=True).float() for picture in (*paintings, photo))
        return texture_correlation(ours, theirs, own).square()[others.to(own.device)].mean()


class ContentTerm:
    """`content_loss` of the result against the photo, on the taps of an encoder."""

    def __init__(self, encoder: Encoder, taps: Sequence[str], cache: TargetCache | None = None) -> None:
        self.encoder, self.taps, self.cache = encoder, tuple(taps), cache or TargetCache(0)

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        def compute(photos: Tensor) -> list[Tensor]:
            features = self.encoder(photos)
            return [normalize_features(features[tap]) for tap in self.taps]

        target = dict(zip(self.taps, self.cache.get(batch.content_keys, batch.photos, compute), strict=True))
        return content_loss(self.encoder(fake), target)


class PatchNCETerm:
    """`patch_nce_loss` of the result against the photo, on one tap of an encoder."""

    def __init__(self, encoder: Encoder, tap: str) -> None:
        self.encoder, self.tap = encoder, tap

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.encoder(batch.photos)[self.tap]
        return patch_nce_loss(self.encoder(fake)[self.tap], target, seed=batch.step)


class PaletteTerm:
    """`palette_loss` of the result against the reference, along other directions at every step."""

    def __init__(self, pool: int = 2) -> None:
        self.pool = pool

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        return palette_loss(fake, batch.style, pool=self.pool, seed=batch.step)


def _positions(features: Tensor, count: int) -> Tensor:
    """`(B, C, 1, count)`: features at positions drawn once for all pictures of a size, or all of them."""
    rows = features.flatten(2)
    chosen = torch.randperm(rows.shape[2], generator=torch.Generator().manual_seed(0), device="cpu")[:count]
    return rows[:, :, chosen.to(rows.device)][:, :, None]


def _part(photo: Tensor, size: int, step: int) -> Tensor:
    """A square of the photos, another in every step."""
    top, left = (
        int((step * share) % 1 * max(0, side - size + 1))
        for share, side in zip((0.7549, 0.5698), photo.shape[2:], strict=True)
    )
    return photo[:, :, top : top + size, left : left + size]


def guided_smoothness_term(batch: Batch, fake: Tensor) -> Tensor:
    """`guided_smoothness` of the result, with the photo as guide."""
    return guided_smoothness(fake, batch.photos)


def kl_term(batch: Batch, fake: Tensor) -> Tensor:
    """`kl_divergence` of the codes' distribution from the prior N(0, I), with a variational extractor ("VAE-GAN").

    Raises:
        InputError: the extractor gives no distribution.
    """
    if batch.distribution is None:
        raise InputError(
            "kl_term: the batch has no distribution of codes; train with StyleExtractor(variational=True),"
            " or leave this term out"
        )
    return kl_divergence(batch.distribution.loc, batch.distribution.scale)


def smoothness_term(batch: Batch, fake: Tensor) -> Tensor:
    """`total_variation` of the result."""
    return total_variation(fake)
