"""What an exported file computes, as modules of PyTorch: the network, one style of it, and pictures of bytes."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from agnlib.engines._layout import smallest_side
from agnlib.engines._small_canvas import cut_canvases
from agnlib.errors import InputError, MissingDependencyError
from agnlib.layers import ContentAdapter
from agnlib.ops import moments

if TYPE_CHECKING:
    from agnlib.models import Generator

__all__ = ["Bytes", "OneStyle", "Repainter", "check_torch", "standalone", "traced"]

_EPS = 1e-5  # of ContentAdapter


def check_torch() -> None:
    """Whether this PyTorch can trace the network for pictures of any size; earlier ones hold on to the traced one's.

    Raises:
        MissingDependencyError: it cannot.
    """
    if torch.__version__ < "2.9":
        raise MissingDependencyError(
            f'an export and engine="onnx" need PyTorch 2.9 or later, this is {torch.__version__}; install it:'
            ' pip install -U "torch>=2.9" torchvision'
        )


class Repainter(nn.Module):
    """A picture and a style code in, the painting out, all in [0, 1]."""

    def __init__(self, generator: Generator, *, small_canvas: bool = False) -> None:
        super().__init__()
        self.generator = standalone(generator)
        if small_canvas:
            cut_canvases(self.generator)

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        painted: Tensor = self.generator(None, style, content=image * 2 - 1)
        return painted * 0.5 + 0.5


class OneStyle(nn.Module):
    """A picture in, the painting in one style out, both in [0, 1]; what depends on the style alone is computed here."""

    vector: Tensor

    def __init__(self, generator: Generator, code: Tensor) -> None:
        super().__init__()
        self.generator = standalone(generator)
        cut_canvases(self.generator)
        if type(self.generator.adapter) is ContentAdapter:
            self.generator.adapter = _AdaptedCode(self.generator.adapter, code)  # type: ignore[assignment]
        self.register_buffer("vector", code.detach().clone().reshape(1, -1))

    def forward(self, image: Tensor) -> Tensor:
        style = self.vector.expand(image.shape[0], -1)
        painted: Tensor = self.generator(None, style, content=image * 2 - 1)
        return painted * 0.5 + 0.5


class _AdaptedCode(nn.Module):
    """A `ContentAdapter` that knows its code: the photo's part of the step is all that is left to compute."""

    vector: Tensor
    hidden: Tensor

    def __init__(self, adapter: ContentAdapter, code: Tensor) -> None:
        super().__init__()
        self.from_mean, self.from_std, self.step = adapter.from_mean, adapter.from_std, adapter.step
        with torch.no_grad():
            self.register_buffer("hidden", adapter.from_code(code.reshape(1, -1)))
            self.register_buffer("vector", code.reshape(1, -1).clone())

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        mean, var = moments(x)
        of_photo = self.from_mean(mean) + self.from_std((var + _EPS).sqrt())
        moved: Tensor = self.vector + self.step(F.leaky_relu(of_photo + self.hidden, 0.2))
        return moved


class Bytes(nn.Module):
    """One of the others, its pictures `(B, H, W, 3)` of whole numbers from 0 to 255."""

    def __init__(self, painter: nn.Module) -> None:
        super().__init__()
        self.painter = painter

    def forward(self, image: Tensor, style: Tensor | None = None) -> Tensor:
        values = image.permute(0, 3, 1, 2).to(torch.float32) / 255
        painted: Tensor = self.painter(values) if style is None else self.painter(values, style)
        return (painted * 255).round().permute(0, 2, 3, 1).to(torch.uint8)


def standalone(generator: Generator) -> Generator:
    """A copy on the CPU in float32, whose tensors share no memory."""
    with torch.inference_mode(False):
        copy = deepcopy(generator).to("cpu", torch.float32).eval().requires_grad_(False)
        for tensor in (*copy.parameters(), *copy.buffers()):
            # tensors that were read from one file share their memory, and all of it would be written with each
            tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copy


def traced(painter: nn.Module, generator: Generator, *, styled: bool) -> ExportedProgram:
    """A module for any batch, height and width.

    Args:
        painter: one of this file.
        generator: that it was made of.
        styled: whether it takes a style code beside the picture.

    Raises:
        InputError: its generator has blocks that cannot be exported.
    """
    check_torch()
    least = smallest_side(generator)
    batch, height, width = Dim("batch", min=1), Dim("height", min=least), Dim("width", min=least)
    with torch.inference_mode(False), torch.no_grad():
        given = {"image": torch.zeros(2, 3, 37, 51, device="cpu", dtype=torch.float32)}
        shapes = {"image": {0: batch, 2: height, 3: width}}
        if isinstance(painter, Bytes):
            given = {"image": torch.zeros(2, 37, 51, 3, device="cpu", dtype=torch.uint8)}
            shapes = {"image": {0: batch, 1: height, 2: width}}
        if styled:
            given["style"] = torch.zeros(2, generator.config.style_dim, device="cpu", dtype=torch.float32)
            shapes["style"] = {0: batch}
        try:
            return torch.export.export(painter, tuple(given.values()), dynamic_shapes=shapes, strict=False)
        except Exception as error:  # of many kinds, and with pages of text
            raise InputError(
                f"this {type(generator).__name__} cannot be traced for pictures of any size"
                f" ({type(error).__name__}: {str(error).strip().splitlines()[0]}); export one with agnlib's own blocks"
            ) from error
