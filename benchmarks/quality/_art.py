"""Works of art by class, and what a network says of them; reading 1,900 pictures takes minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from agnlib import image
from agnlib.models.encoders import EfficientNetLiteFeatures

__all__ = ["SIDE", "TAPS", "Collection", "held_out", "pictures", "pixels", "read", "square", "statistics"]

SIDE = 224  # of the squares that are judged, as most of the training pictures are
TAPS = ("block0", "block3", "block6", "block10")


@dataclass(frozen=True)
class Collection:
    """Pictures with the class that their folder names.

    Args:
        files: the pictures.
        labels: int64 `(N,)`, into `names`.
        names: of the classes.
    """

    files: tuple[Path, ...]
    labels: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Collection:
        """All pictures of the folder's folders."""
        names = tuple(sorted(each.name for each in folder.iterdir() if each.is_dir()))
        found = [(file, label) for label, name in enumerate(names) for file in pictures(folder / name)]
        return cls(tuple(file for file, _ in found), torch.tensor([label for _, label in found]), names)

    def without(self, name: str) -> Collection:
        """The other classes."""
        kept = [(file, self.names[label]) for file, label in zip(self.files, self.labels.tolist(), strict=True)]
        kept = [(file, of) for file, of in kept if of != name]
        names = tuple(each for each in self.names if each != name)
        return Collection(tuple(file for file, _ in kept), torch.tensor([names.index(of) for _, of in kept]), names)


def pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in image.SUFFIXES)


def held_out(labels: Tensor, *, share: float = 0.25, seed: int = 0) -> Tensor:
    """True for that share of each class, drawn by seed."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        chosen[members[torch.randperm(len(members), generator=rng)[: round(share * len(members))]]] = True
    return chosen


def square(file: Path, side: int = SIDE) -> Image.Image:
    """The largest square from the middle of a picture."""
    return ImageOps.fit(image.load(file).convert("RGB"), (side, side), Image.Resampling.LANCZOS)


@torch.inference_mode()
def statistics(network: EfficientNetLiteFeatures, picture: Image.Image) -> Tensor:
    """`(n,)`: means and deviations of the channels of each of `TAPS`, one tap after the other."""
    features = network(pixels(picture))
    moments = [torch.std_mean(features[tap].flatten(2), dim=2, correction=0) for tap in TAPS]
    return torch.cat([part[0] for deviation, mean in moments for part in (mean, deviation)])


def read(network: EfficientNetLiteFeatures, files: Sequence[Path]) -> Tensor:
    """`statistics` of files, each as a whole, brought to a square."""
    return torch.stack([statistics(network, _whole(file)) for file in tqdm(files, "reading", disable=None)])


def _whole(file: Path) -> Image.Image:
    return image.load(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def pixels(picture: Image.Image) -> Tensor:
    """`(1, 3, H, W)` in [-1, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
