"""The part of a `Stylizer` that knows no photo: styles as codes of its networks, and those as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from agnlib._shared.progress import Listener, check_progress, telling
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS, Limits, PictureLike, write_file
from agnlib.image._resizing import checked_size
from agnlib.styles._names import ANY, as_known, is_name, named_source, picture_by_name
from agnlib.styles._network_pair import NetworkPair
from agnlib.styles._reader import STYLE_SIDE, MixedStyle, StyleReader, one_picture, opened
from agnlib.styles._sampling import sampled
from agnlib.styles.code import StyleCode

__all__ = ["StyleEncoder"]


class StyleEncoder(NetworkPair):
    """Encodes styles for a generator; what it is made of, `Stylizer` says."""

    def random_style(self, seed: int | None = None, name: str | None = None) -> StyleCode:
        """A style without a reference, by chance: like those of the pictures that the weights were trained on.

        Args:
            seed: the same gives the same style; None draws a new one each time.
            name: of a class, one of `class_names`; None for any.

        Raises:
            InputError: a name that the weights do not know, or a seed that is none.

        Example:
            >>> from agnlib import Stylizer
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> stylizer.random_style(3)
            StyleCode(style_dim=16, source='random, seed 3')
        """
        if seed is None:
            seed = int(torch.randint(2**62, (), device="cpu"))
        code = sampled(self.generator, self.class_names, ANY if name is None else name, seed)
        return self._styles.signed(code)

    def encode_style(
        self,
        pictures: MixedStyle,
        *,
        seed: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> StyleCode:
        """The style of one picture, or the weighted mean of several, as a reusable `StyleCode`.

        Args:
            pictures: one picture, a list of pictures (equal weights), or a list of (picture, weight); weights count
                relative to their sum. Each is read with its shorter side reduced to 208 pixels. A text that names no
                file is a style by name: one of `class_names`, or "random" for any.
            seed: of styles by name, see `random_style`; without it a class gives that of seed 0, "random" a new one.
            limits: of picture files, checked before they are decoded.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: no pictures, something that is none, a batch of more than one, or weights that do not add up.

        Example:
            >>> from PIL import Image
            >>> from agnlib import Stylizer
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> stylizer.encode_style(Image.new("RGB", (20, 20), "gold"))
            StyleCode(style_dim=16, source='Image')
        """
        return replace(self._styles, limits=limits).code(pictures, seed)

    def refine_style(
        self,
        style: PictureLike,
        *,
        content: PictureLike | Sequence[PictureLike],
        steps: int = 60,
        size: int = 192,
        drawing: float = 4.0,
        limits: Limits = DEFAULT_LIMITS,
        progress: bool | Listener = False,
    ) -> StyleCode:
        """The style of a picture, learned for these photos: closer to the reference than `encode_style`, in seconds.

        The weights stay as they are; the code moves by gradient descent until paintings of the photos have the
        reference's statistics of features and colors (Gatys et al., CVPR 2016), with as much of the photos' drawing as
        `encode_style` keeps. It mostly suits other photos too.

        Args:
            style: one picture; neither a code nor a mixture.
            content: one photo, or a list of them, whose size is the cost.
            steps: of gradient descent; 0 gives `encode_style(style)`.
            size: the photos' shorter side is reduced to so many pixels first.
            drawing: how much it counts where more of the drawing is lost than by `encode_style`; with 0 photos dissolve
                into the reference's strokes and colors.
            limits: of picture files, checked before they are decoded.
            progress: see `Stylizer.__call__`; in steps of gradient descent.

        Raises:
            ImageError: a picture file cannot be read.
            InputError: no photo, a batch of several, a style that is no one picture, or an argument outside its range.

        Example:
            >>> from PIL import Image
            >>> from agnlib import Stylizer
            >>> from agnlib.models import Generator, StyleExtractor
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> photo, painting = Image.new("RGB", (40, 30), "navy"), Image.new("RGB", (20, 20), "gold")
            >>> stylizer.refine_style(painting, content=photo, steps=2)
            StyleCode(style_dim=16, source='Image, refined')
        """
        from agnlib.styles._refining import refined

        check_progress(progress)
        style = one_picture(style, limits)
        photos = list(content) if isinstance(content, (list, tuple)) else [content]
        reader = replace(self._styles, limits=limits)
        pixels = [reader.pixels(photo, "content", checked_size(size)) for photo in photos]
        source = named_source(style)
        if isinstance(style, str) and is_name(style):
            if as_known(style, (ANY, *self.class_names)) in (ANY, *self.class_names):
                raise InputError(f"style: {style!r} is a class, not a picture; refining needs one picture")
            style = picture_by_name(style)
        reference = reader.pixels(style, "style", STYLE_SIDE)
        with telling(progress) as told:
            given = (self.generator, self.extractor, pixels, reference)
            code, _ = refined(*given, steps=steps, drawing=drawing, told=told)
        return reader.signed(StyleCode(code, f"{source}, refined"))

    @property
    def _styles(self) -> StyleReader:
        networks = (self.generator, self.extractor)
        weights = (self.name or "", self.weights_hash)
        return StyleReader(*networks, self.class_names, self.device, DEFAULT_LIMITS, *weights)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        style: MixedStyle | None = None,
        part: Literal["network", "extractor"] = "network",
        dtype: Literal["float32", "uint8"] = "float32",
        half: bool = False,
        seed: int | None = None,
    ) -> None:
        """Write one of the networks to one file that other programs run, whole or not at all.

        The inputs of "network" are `image`, `(B, 3, H, W)` in [0, 1], and `style`, `(B, style_dim)`, the vectors of
        `StyleCode`s; its output `painted` has the shape of the image, in [0, 1]. With a `style` it is part of the file,
        and the image is the only input. "extractor" takes `image` and gives `style`, for the network's file. B, H and W
        are free (from 1, with the margin of the shipped weights). A picture is normalized by its own statistics; a
        `Stylizer` does so up to 2**20 pixels.

        Args:
            path: .onnx, of ONNX's own operators only (opset 18), with notes on name, license and use in its metadata
                (extra `onnx`); or .pt2, of PyTorch's own operators only, which `torch.export.load` reads.
            style: for a file of this one style; see `encode_style`. None has the style as an input.
            part: what to write: "network" paints, "extractor" reads the code off a picture as `encode_style` does (to
                .onnx only).
            dtype: of pictures in the file: "float32", or "uint8" for `(B, H, W, 3)` from 0 to 255.
            half: store weights in 16 bits, for half the file (.onnx only); they are cast to 32 before they are used.
                Nothing is lost of weights that were saved in 16 bits, as the shipped ones. As in a file of one style,
                the noise that becomes strokes begins again after 2,048 pixels.
            seed: of a style by name, see `encode_style`.

        Raises:
            InputError: another suffix, an option that is none or does not go with another, a style that is none, or a
                network with blocks that cannot be exported.
            ImageError: the file cannot be written there, or a style's picture cannot be read.
            MissingDependencyError: a package of the extra is not installed.

        Example:
            >>> import os, tempfile
            >>> from agnlib import Stylizer
            >>> from agnlib.models import Generator, StyleExtractor
            >>> tiny = Generator(style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
            >>> stylizer = Stylizer(tiny, StyleExtractor(style_dim=16), device="cpu")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     stylizer.export(f"{folder}/wave.pt2", style="wave")
            ...     os.listdir(folder)
            ['wave.pt2']
        """
        from agnlib.engines._export import Order, content_of, suffix_of

        order = Order(part, dtype, half, one_style=style is not None).checked(path)
        if style is not None:
            code = self.encode_style(style, seed=seed)
            order = replace(order, code=self._styles.vector(code), style=code.source)
        about: dict[str, Any] = {"side": STYLE_SIDE, "name": self.name or "agnlib", "license": self.license}
        write_file(path, content_of(suffix_of(path), self.generator, self.extractor, order, **about))

    def _style_vector(self, style: Any, seed: int | None, limits: Limits = DEFAULT_LIMITS) -> Tensor:
        if isinstance(style, StyleCode):
            return self._styles.vector(style)
        if limits != DEFAULT_LIMITS:  # not handed on: a subclass's `encode_style` may not know them
            style = opened(style, limits)
        return self._styles.vector(self.encode_style(style, seed=seed))
