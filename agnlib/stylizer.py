"""`Stylizer`: a picture and a style in, the repainted picture out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from agnlib.errors import InputError
from agnlib.image import Picture, PictureLike, shrink
from agnlib.models import Generator, StyleExtractor
from agnlib.style import StyleCode

__all__ = ["Stylizer", "resolve_device"]

Network = TypeVar("Network", bound=nn.Module)

# Style pictures are read with their shorter side reduced to so many pixels, about the size of a training crop.
STYLE_SIDE = 256
# Below this strength the photo is blended in, so that the result goes to it exactly as strength goes to 0.
BLEND_BELOW = 0.25


class Stylizer:
    """Repaints pictures in the style of reference pictures.

    Holds no state that a call changes: it may be shared by threads, and it can be pickled.

    Args:
        generator: paints; moved to the device and set to evaluation.
        extractor: reads styles; likewise. Its `style_dim` is the generator's.
        device: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: a device that is unknown or not there, or models of different `style_dim`.

    Example:
        >>> from agnlib.models import Generator, StyleExtractor
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
        >>> photo, painting = np.zeros((30, 40, 3), dtype=np.uint8), np.ones((20, 20, 3))
        >>> stylizer(photo, painting).shape
        (30, 40, 3)
    """

    def __init__(self, generator: Generator, extractor: StyleExtractor, *, device: str | torch.device = "auto") -> None:
        wanted, given = generator.config.style_dim, extractor.config.style_dim
        if wanted != given:
            raise InputError(f"the generator has style_dim {wanted}, the extractor {given}; use models made together")
        self.device = resolve_device(device)
        self.generator = _ready(generator, self.device)
        self.extractor = _ready(extractor, self.device)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str] = "agn-small", device: str | torch.device = "auto"
    ) -> Stylizer:
        """Load weights by name (offline: they come with the package) or from a folder.

        Args:
            name_or_path: a name that `agnlib.models.pretrained.available()` lists, or a folder with `config.json` and
                `model.safetensors`.
            device: see the class.

        Raises:
            WeightsError: unknown name, or files that are incomplete, damaged or do not fit together.
            InputError: see the class.
        """
        from agnlib.models import pretrained

        resolved = resolve_device(device)
        bundle = pretrained.load(name_or_path)
        return cls(bundle.generator, bundle.extractor, device=resolved)

    def __call__(
        self,
        content: PictureLike,
        style: PictureLike | StyleCode | Sequence[tuple[PictureLike, float]],
        *,
        strength: float = 1.0,
        seed: int | None = None,
        size: int | None = None,
    ) -> Any:
        """Repaint `content` in `style`.

        At strength 1 the result is the generator's. Below it, the style code moves from the photo's own code towards
        the style's, so brushwork and palette fade together without double contours; below 0.25 the photo itself is
        blended in as well, so that the result goes to the photo exactly as strength goes to 0.

        Args:
            content: a path, PIL image, array `(H, W)` or `(H, W, C)`, or tensor `(C, H, W)` or `(B, C, H, W)`;
                floats in [0, 1]. See `agnlib.image.Picture`.
            style: one picture, a list of (picture, weight), or a `StyleCode`.
            strength: from 0 (the input, bit for bit) to 1.
            seed: draws a latent that varies the painting; every picture of a batch gets the same one. None paints the
                deterministic middle.
            size: scale the content down first until its longer side has at most so many pixels. The result has that
                size too.

        Returns:
            The same kind as `content`: a path comes back as a PIL image; an array or tensor with the same dtype,
            height, width and alpha. Grey input comes back in colour, except at strength 0.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: an argument outside its range, of a wrong type or shape, or a picture too large for the memory.

        Example:
            >>> from PIL import Image
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> photo, painting = Image.new("RGB", (40, 30), "navy"), Image.new("RGB", (20, 20), "gold")
            >>> stylizer(photo, [(painting, 2.0), (photo, 1.0)], strength=0.5, size=20).size
            (20, 15)
        """
        strength = _checked_strength(strength)
        latent = self._latent(seed)
        picture = Picture.take(content, "content")
        if size is not None:
            picture = picture.reduced(longer=_checked_size(size))
        code = self._style_vector(style)
        if strength == 0:
            return picture.unchanged()
        try:
            painted = self._paint(picture.pixels, code, latent, strength)
        except RuntimeError as error:
            too_large = _memory_error(error, picture.pixels, self.device)
            if too_large is None:
                raise
            raise too_large from error
        return picture.restore(painted)

    def encode_style(
        self, pictures: PictureLike | Sequence[PictureLike] | Sequence[tuple[PictureLike, float]]
    ) -> StyleCode:
        """The style of one picture, or the weighted mean of several, as a reusable `StyleCode`.

        Args:
            pictures: one picture, a list of pictures (equal weights), or a list of (picture, weight); weights count
                relative to their sum. Each is read with its shorter side reduced to 256 pixels.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: no pictures, something that is none, a batch of more than one, or weights that do not add up.

        Example:
            >>> from PIL import Image
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> stylizer.encode_style(Image.new("RGB", (20, 20), "gold"))
            StyleCode(style_dim=16, source='Image')
        """
        entries = list(pictures) if _is_listing(pictures) else [pictures]
        pairs = [self._weighted(entry) for entry in entries]
        if not pairs:
            raise InputError("style: expected at least one picture, got an empty list")
        return StyleCode.mix(pairs)

    def _weighted(self, entry: Any) -> tuple[StyleCode, float]:
        picture, weight = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float, np.integer, np.floating)):
            raise InputError(f"style: a weight must be a number, got {weight!r}; write (picture, weight)")
        return self._encode(picture), float(weight)

    def _encode(self, picture: PictureLike) -> StyleCode:
        taken = Picture.take(picture, "style").reduced(shorter=STYLE_SIDE)
        if len(taken.pixels) != 1:
            raise InputError(f"style: expected one picture, got a batch of {len(taken.pixels)}; list them with weights")
        with torch.inference_mode():
            vector = self.extractor(_placed(taken.pixels, self.device))[0]
        return StyleCode(vector, os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else _kind(picture))

    def _style_vector(self, style: Any) -> Tensor:
        """The code as `(1, style_dim)` on the device."""
        code = style if isinstance(style, StyleCode) else self.encode_style(style)
        wanted = self.generator.config.style_dim
        if code.vector.numel() != wanted:
            raise InputError(
                f"style: these weights need a code of {wanted} numbers, got {code.vector.numel()}; "
                "encode the picture again with them"
            )
        return code.vector.to(self.device).unsqueeze(0)

    def _latent(self, seed: int | None) -> Tensor | None:
        """z ~ N(0, I) as `(1, latent_dim)` on the device; drawn on the CPU, so that a seed means the same anywhere."""
        if seed is None:
            return None
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
            raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}")
        source = torch.Generator().manual_seed(int(seed))
        return torch.randn(1, self.generator.config.latent_dim, generator=source).to(self.device)

    @torch.inference_mode()
    def _paint(self, pixels: Tensor, code: Tensor, latent: Tensor | None, strength: float) -> Tensor:
        photo = _placed(pixels, self.device)
        batch = photo.shape[0]
        if strength < 1:
            own = self.extractor(_placed(shrink(pixels, shorter=STYLE_SIDE), self.device))
            code = torch.lerp(own, code.expand(batch, -1), strength)
        z = None if latent is None else latent.expand(batch, -1)
        painted: Tensor = self.generator(z, code.expand(batch, -1), content=photo)
        if strength < BLEND_BELOW:
            painted = torch.lerp(photo, painted, strength / BLEND_BELOW)
        return painted


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device that a name stands for, checked to be there.

    Args:
        device: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N", "mps" or a `torch.device`.

    Raises:
        InputError: an unknown name, or a device that this machine or this PyTorch does not have.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remedy = 'use "auto" or "cpu"'
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {str(device)!r}")
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (resolved.index or 0):
            raise InputError(f"device: {str(device)!r} is not there, PyTorch sees {count} CUDA devices; {remedy}")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device: 'mps' is not there, PyTorch cannot use it on this machine; {remedy}")
    return resolved


def _ready(model: Network, device: torch.device) -> Network:
    return model.to(device).to(memory_format=torch.channels_last).eval()


def _placed(pixels: Tensor, device: torch.device) -> Tensor:
    return pixels.to(device).contiguous(memory_format=torch.channels_last)


def _is_listing(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _kind(picture: object) -> str:
    return type(picture).__name__


def _checked_strength(strength: float) -> float:
    if isinstance(strength, bool) or not isinstance(strength, (int, float, np.integer, np.floating)):
        raise InputError(f"strength must be a number from 0 to 1, got {strength!r}")
    if not 0 <= strength <= 1:  # false for NaN too
        raise InputError(f"strength must be from 0 (the photo) to 1 (the style in full), got {strength}")
    return float(strength)


def _checked_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise InputError(f"size must be a whole number of pixels, at least 1, got {size!r}")
    return int(size)


def _memory_error(error: RuntimeError, pixels: Tensor, device: torch.device) -> InputError | None:
    """The error to show when memory ran out; None for any other failure."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        return None
    batch, _, height, width = pixels.shape
    many = f"a batch of {batch} pictures" if batch > 1 else "a picture"
    return InputError(
        f"{many} of {width} x {height} pixels does not fit into the memory of {device}; give a smaller size"
    )
