"""Works of art by class, and what networks say of them, kept between runs: reading 1,900 pictures takes minutes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from agnlib import image
from agnlib.image import reduced_size
from agnlib.models import StyleExtractor
from agnlib.models.encoders import EfficientNetLiteFeatures

__all__ = ["CACHE", "SIDE", "TAPS", "Collection", "Reader", "held_out", "pictures", "pixels", "square", "statistics"]

CACHE = Path(tempfile.gettempdir()) / "agnlib-art"
SIDE = 224  # of the squares that are judged, as most of the training pictures are
TAPS = ("block0", "block3", "block6", "block10")
_CODE_SIDE = 256  # as `Stylizer.encode_style` reads references
_KEEP_EVERY = 100


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
    dice = torch.Generator().manual_seed(seed)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        chosen[members[torch.randperm(len(members), generator=dice)[: round(share * len(members))]]] = True
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


class Reader:
    """Reads files with networks, and remembers what they said.

    Args:
        cache: a folder.
    """

    def __init__(self, cache: Path = CACHE) -> None:
        self.cache = cache
        self.judge = EfficientNetLiteFeatures.pretrained(2, TAPS)

    def statistics(self, files: Sequence[Path]) -> Tensor:
        """`statistics` of files, each as a whole, brought to a square."""
        return self._kept("judge", files, lambda file: statistics(self.judge, _whole(file)))

    @torch.inference_mode()
    def codes(self, files: Sequence[Path], extractor: StyleExtractor) -> Tensor:
        """Style codes `(N, style_dim)` of files."""
        return extractor.encode(self.trunk_statistics(files, extractor))

    @torch.inference_mode()
    def trunk_statistics(self, files: Sequence[Path], extractor: StyleExtractor) -> Tensor:
        """`extractor.statistics` of files, of which a frozen trunk always says the same."""
        trunk = b"".join(value.numpy().tobytes() for value in extractor.trunk.state_dict().values())
        name = f"trunk-{hashlib.sha256(trunk).hexdigest()[:12]}"
        return self._kept(name, files, lambda file: extractor.statistics(pixels(_reference(file)))[0])

    def _kept(self, what: str, files: Sequence[Path], read: Callable[[Path], Tensor]) -> Tensor:
        store = self.cache / f"{what}.pt"
        self.cache.mkdir(parents=True, exist_ok=True)
        known: dict[str, Tensor] = torch.load(store, weights_only=True) if store.is_file() else {}
        missing = [file for file in files if _key(file) not in known]
        for count, file in enumerate(tqdm(missing, f"reading for {what}", disable=None if missing else True), 1):
            known[_key(file)] = read(file).clone()
            if count % _KEEP_EVERY == 0 or count == len(missing):
                torch.save(known, store)
        return torch.stack([known[_key(file)] for file in files])


def _key(file: Path) -> str:
    return f"{file.parent.name}/{file.name} {file.stat().st_size}"


def _whole(file: Path) -> Image.Image:
    return image.load(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _reference(file: Path) -> Image.Image:
    picture = image.load(file).convert("RGB")
    height, width = reduced_size((picture.height, picture.width), shorter=_CODE_SIDE)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def pixels(picture: Image.Image) -> Tensor:
    """`(1, 3, H, W)` in [-1, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
