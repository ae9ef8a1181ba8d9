"""What one training step sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from agnlib.errors import InputError

__all__ = ["Batch"]


@dataclass
class Batch:
    """What one training step sees; pictures `(B, 3, H, W)` in [-1, 1], labels int64 `(B,)`.

    `style` holds the real pictures that the discriminator sees. Without `content` pictures are made from nothing, and
    without classes there is no label. The keys name the crops, so that what is computed from them once can be found
    again; `sources` names the file of each reference: two crops of one picture have one style; `skipped` names the
    files that could not be decoded and gave way to others. The trainer fills in `code`, the
    style code `(B, style_dim)`, with a variational extractor the `distribution` that it was drawn from, and `fake`, the
    generated pictures, detached; `identity` marks a step whose reference is the photo itself.
    """

    content: Tensor | None
    style: Tensor
    label: Tensor | None = None
    content_keys: tuple[str, ...] = ()
    style_keys: tuple[str, ...] = ()
    step: int = 0
    code: Tensor | None = None
    distribution: Normal | None = None
    fake: Tensor | None = None
    identity: bool = False
    extras: dict[str, Tensor] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.style)

    @property
    def photos(self) -> Tensor:
        """The content.

        Raises:
            InputError: a batch without any.
        """
        if self.content is None:
            raise InputError("the batch has no content, and what is asked for needs it; give photos (B, 3, H, W)")
        return self.content

    def as_identity(self) -> Batch:
        """The same photos with themselves as references."""
        return replace(self, style=self.photos, style_keys=self.content_keys, identity=True)

    def from_nothing(self) -> Batch:
        """The same references without photos."""
        return replace(self, content=None, content_keys=())

    def split(self, parts: int) -> list[Batch]:
        """The batch in so many parts, as equal as can be; fewer where it has fewer rows."""
        parts = min(parts, len(self))
        if parts < 2:
            return [self]
        bounds = [len(self) * index // parts for index in range(parts + 1)]
        return [self._rows(slice(*pair)) for pair in itertools.pairwise(bounds)]

    def _rows(self, rows: slice) -> Batch:
        names = ("content", "style", "label", "content_keys", "style_keys", "sources", "code", "fake")
        values = {name: getattr(self, name) for name in names}
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return replace(self, **chosen, extras={name: value[rows] for name, value in self.extras.items()})

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device, pictures in channels_last."""

        def taken(value: Tensor) -> Tensor:
            moved = value.to(device, non_blocking=True)
            return moved.clone() if moved.is_inference() else moved  # those of inference_mode cannot be learned from

        moved = self._with(taken)
        content = self.content if moved.content is None else moved.content.to(memory_format=torch.channels_last)
        return replace(moved, content=content, style=moved.style.to(memory_format=torch.channels_last))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from where a GPU copies while it computes; called by the loader."""
        return self._with(Tensor.pin_memory)

    def detach(self) -> Batch:
        """The batch without the graph that its code was computed by."""
        spread = self.distribution
        if spread is not None:
            spread = Normal(spread.loc.detach(), spread.scale.detach())
        return replace(self._with(Tensor.detach), distribution=spread)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with each of its tensors changed."""
        names = ("content", "style", "label", "code", "fake")
        tensors: dict[str, Any] = {name: getattr(self, name) for name in names}
        changed: dict[str, Any] = {name: None if value is None else change(value) for name, value in tensors.items()}
        return replace(self, **changed, extras={name: change(value) for name, value in self.extras.items()})
