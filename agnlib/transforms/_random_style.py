"""Repaint pictures in random styles: augmentation for training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from agnlib._shared.numbers import is_count, is_number
from agnlib.errors import InputError
from agnlib.image.picture import check_dense, has_floats
from agnlib.stylizer import Stylizer
from agnlib.transforms._painter import Painter
from agnlib.transforms._pil import tensor_of
from agnlib.transforms._styles import Draw, StyleLike, Styles

__all__ = ["RandomStyle", "RandomStyleBatch"]


class RandomStyle(v2.Transform):  # type: ignore[misc] # torchvision tells no types
    """Repaints a picture in a random style, with probability `p`; boxes, masks and labels stay as they are.

    A classifier that sees the same thing in many styles relies less on texture. At strength s the result is
    `photo + s * (painted - photo)`, pixel by pixel, which costs nothing. `Stylizer` moves the style code instead, for
    which it has to read the photo's own style: more than half of the painting's time again.
    Papers: Jackson et al., "Style augmentation", CVPR Workshops 2019; Geirhos et al., "ImageNet-trained CNNs are biased
    towards texture", ICLR 2019.

    All is random by torch's own generator, from which each sample takes one number, the seed of its recipe: so
    `torch.manual_seed`, a DataLoader's generator and its workers' seeds decide it. Several pictures of one sample get
    the same recipe. Nothing is loaded before the first picture is painted, and a pickled transform holds no weights.

    Args:
        styles: what to draw from, each entry as often: None for random styles that the weights make up; a class name
            that they know; a folder of pictures; a picture; a `StyleCode`; or a list of these. A `str` is a class name
            if there is one of that name, else a path. Pictures are encoded once, when first drawn: see `prepare`.
        p: how probable it is that a sample is repainted.
        strength: from 0 (the photo) to 1 (the painting), or a range `(low, high)` to draw from.
        weights: a name or a folder, as for `Stylizer.from_pretrained`.
        stylizer: what paints, in place of `weights`; pictures go to its device, which in a DataLoader's workers has to
            be the CPU. Without it they are painted where they are, PIL pictures on the CPU.
        size: the longer side in pixels of what the network paints, or None for the picture's own. Strokes are about a
            dozen pixels broad: a picture of 64 px painted at 256 and reduced again keeps what it shows, at the price
            of a larger one; a large picture painted at less and enlarged again is quicker and softer.

    Shapes:
        PIL picture of mode RGB, or tensor `(3, H, W)` or `(B, 3, H, W)`, uint8 or float in [0, 1] -> the same kind,
        dtype and size; every picture of a batch in the same style. No gradient passes.

    Raises:
        InputError: an option outside its range, an unknown style, a picture of another kind, floats outside [0, 1] by
            more than a bicubic resize leaves (0.45), which is clipped.
        ImageError: a style picture that cannot be read.
        WeightsError: unknown weights.

    Example:
        >>> from agnlib.models import Generator, StyleExtractor
        >>> tiny = Stylizer(Generator(style_dim=16, channels=(4, 4, 8)), StyleExtractor(style_dim=16), device="cpu")
        >>> style = RandomStyle(p=1.0, strength=(0.5, 1.0), stylizer=tiny)
        >>> style(Image.new("RGB", (40, 30), "navy")).size
        (40, 30)
        >>> photo = torch.zeros(3, 30, 40, dtype=torch.uint8)
        >>> torch.equal(style.transform(photo, style.recipe(7)), style.transform(photo, style.recipe(7)))
        True
    """

    def __init__(
        self,
        styles: StyleLike | Sequence[StyleLike] | None = None,
        *,
        p: float = 0.5,
        strength: float | Sequence[float] = (0.5, 1.0),
        weights: str | os.PathLike[str] = "agn-small",
        stylizer: Stylizer | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.p = self._share("p", p)
        self.strength = self._strength_range(strength)
        if size is not None and not is_count(size, 1):
            raise InputError(f"{self._name}: size is {size!r}; expected a whole number of pixels, at least 1, or None")
        self.size = size
        self._painter = Painter(weights, stylizer, size)
        self._styles = Styles(styles, lambda: self._painter.class_names)

    def prepare(self) -> None:
        """Load the weights and encode every style picture now, once, instead of in each worker when first drawn.

        Forked workers share what is loaded here; the codes travel into spawned ones too.

        Raises:
            ImageError: a style picture cannot be read.
        """
        self._styles.encode(self._painter.at())

    def recipe(self, seed: int) -> dict[str, Any]:
        """What a seed decides, the same whenever and wherever it is asked for.

        Args:
            seed: from 0 to 2**63 - 1.

        Returns:
            "seed", and "strength": 0 where the picture stays as it is.

        Raises:
            InputError: a seed of another type or outside its range.
        """
        if not is_count(seed, 0, 2**63 - 1):
            raise InputError(f"{self._name}: the seed is {seed!r}; expected a whole number from 0 to 2**63 - 1")
        seed = int(seed)
        chance, amount, _ = _draws(seed)[0]
        low, high = self.strength
        return {"seed": seed, "strength": low + (high - low) * amount if chance < self.p else 0.0}

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse an array where a picture should be, which torchvision would pass by in silence; it calls this."""
        arrays = any(isinstance(each, np.ndarray) and each.ndim > 1 for each in flat_inputs)
        if arrays and not any(map(_is_picture, flat_inputs)):
            raise InputError(f"{self._name}: got a NumPy array and no picture; put v2.ToImage() before it")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The recipe of a sample; torchvision calls it."""
        for image in filter(_is_picture, flat_inputs):
            self._checked(image, (3, 4), "(3, H, W) or (B, 3, H, W)")
        return self.recipe(_seeds(1)[0])

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One picture of a sample by a `recipe`; torchvision calls it."""
        if params["strength"] == 0 or not _is_picture(inpt):
            return inpt
        if isinstance(inpt, Image.Image):
            return v2.functional.to_pil_image(self._repainted(tensor_of(inpt), [params]))
        painted = self._repainted(inpt.as_subclass(Tensor), [params])
        return tv_tensors.wrap(painted, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else painted

    def _repainted(self, images: Tensor, recipes: Sequence[dict[str, Any]]) -> Tensor:
        """`images` by one recipe, or by one for each."""
        codes = self._styles.codes([_draw(recipe["seed"]) for recipe in recipes], self._painter.at(images.device))
        strengths = torch.tensor([recipe["strength"] for recipe in recipes], device="cpu", dtype=torch.float32)
        try:
            return self._painter.repaint(images, codes, strengths)
        except InputError as error:
            raise InputError(f"{self._name}: {error}; put {self._name} before v2.Normalize") from error

    def _checked(self, image: Any, ranks: tuple[int, ...], shapes: str) -> None:
        """Raise unless this is a picture that keeps its kind when it is painted; whatever is drawn."""
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                raise InputError(f"{self._name}: the picture's mode is {image.mode}; {_cure(image.mode)}")
            return
        check_dense(image, self._name)
        if image.ndim not in ranks or image.shape[-3] != 3 or 0 in image.shape:
            raise InputError(
                f"{self._name}: the tensor has shape {tuple(image.shape)}; expected {shapes}, not empty:"
                " put v2.RGB() before it if it is gray"
            )
        if not (has_floats(image) or image.dtype == torch.uint8):
            raise InputError(f"{self._name}: the tensor is {image.dtype}; expected uint8, or floats in [0, 1]")

    def _share(self, name: str, value: Any) -> float:
        if not is_number(value, 0, 1):
            raise InputError(f"{self._name}: {name} is {value!r}; expected a number from 0 to 1")
        return float(value)

    def _strength_range(self, strength: Any) -> tuple[float, float]:
        ends = tuple(strength) if isinstance(strength, Sequence) and not isinstance(strength, str) else (strength,) * 2
        if len(ends) != 2:
            raise InputError(f"{self._name}: strength is {strength!r}; expected a number or a range (low, high)")
        low, high = (self._share("strength", end) for end in ends)
        if low > high:
            raise InputError(f"{self._name}: strength is {strength!r}; expected a range (low, high), low first")
        return low, high

    @property
    def _name(self) -> str:
        return type(self).__name__


class RandomStyleBatch(RandomStyle):
    """Repaints pictures of a batch, each in a random style of its own, on the device that the batch is on.

    Each picture is repainted with probability `p`; those that are go through the network together, once. With the same
    random state a batch gets what `RandomStyle` gives its pictures one after the other. It has no parameters: inside
    another module it is neither trained nor saved; weights are loaded where a batch first needs them.

    Args:
        styles, p, strength, weights, stylizer, size: see `RandomStyle`.

    Shapes:
        Tensor `(B, 3, H, W)`, uint8 or float in [0, 1] -> the same shape, dtype and device. No gradient passes.

    Raises:
        InputError, ImageError, WeightsError: see `RandomStyle`.

    Example:
        >>> from agnlib.models import Generator, StyleExtractor
        >>> tiny = Stylizer(Generator(style_dim=16, channels=(4, 4, 8)), StyleExtractor(style_dim=16), device="cpu")
        >>> images, labels = torch.rand(4, 3, 24, 24), torch.arange(4)
        >>> painted, same = RandomStyleBatch(p=0.5, stylizer=tiny)(images, labels)
        >>> painted.shape, same is labels
        (torch.Size([4, 3, 24, 24]), True)
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """A recipe for each picture; torchvision calls it."""
        images = [each for each in flat_inputs if _is_picture(each)]
        for image in images:
            if isinstance(image, (Image.Image, tv_tensors.Video)):
                raise InputError(
                    f"{self._name}: got a {type(image).__name__}; expected a tensor (B, 3, H, W): use RandomStyle"
                )
            self._checked(image, (4,), "(B, 3, H, W)")
        lengths = {len(image) for image in images}
        if len(lengths) > 1:
            raise InputError(f"{self._name}: batches of {sorted(lengths)} pictures; expected one length for all")
        return {"recipes": [self.recipe(seed) for seed in _seeds(max(lengths, default=0))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One batch by its recipes; torchvision calls it."""
        chosen = [index for index, recipe in enumerate(params["recipes"]) if recipe["strength"] > 0]
        if not chosen or not _is_picture(inpt):
            return inpt
        rows = torch.tensor(chosen, device=inpt.device, dtype=torch.int64)
        result = inpt.detach().as_subclass(Tensor).clone()
        result[rows] = self._repainted(result[rows], [params["recipes"][index] for index in chosen])
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else result


def _cure(mode: str) -> str:
    """How a picture of a mode becomes RGB; Pillow itself clips what has more than 8 bits."""
    deep = mode[0] in "IF"
    return "open its file by agnlib.image.load, which keeps its tones" if deep else 'convert it to "RGB" first'


def _is_picture(value: Any) -> bool:
    kinds = (Image.Image, tv_tensors.Image, tv_tensors.Video)
    return isinstance(value, kinds) or bool(v2.functional.is_pure_tensor(value))


def _seeds(count: int) -> list[int]:
    seeds: list[int] = torch.randint(2**63 - 1, (count,), device="cpu").tolist()
    return seeds


def _draws(seed: int) -> tuple[list[float], torch.Generator]:
    """Three numbers from 0 to below 1 (whether, how much, which), and the generator behind them."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(3, generator=rng, dtype=torch.float64, device="cpu").tolist(), rng


def _draw(seed: int) -> Draw:
    (_, _, place), rng = _draws(seed)
    return Draw(place, rng)
