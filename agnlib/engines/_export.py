"""The networks as files for other programs: ONNX, or programs of PyTorch's own (`.pt2`)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from agnlib import __version__
from agnlib._shared.paths import text_of
from agnlib.engines._layout import smallest_side
from agnlib.engines._onnx_file import OPSET, check_onnx, described, refuse_foreign
from agnlib.engines._programs import Bytes, OneStyle, Repainter, check_torch, traced
from agnlib.errors import InputError
from agnlib.image import check_place
from agnlib.models import Generator, StyleExtractor

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["DTYPES", "PARTS", "Order", "check_torch", "content_of", "onnx_model", "smallest_side", "suffix_of"]

PARTS = ("network", "extractor")
DTYPES = ("float32", "uint8")

_PICTURES = {
    "float32": "{name} (batch, 3, height, width), float32 RGB in [0, 1]",
    "uint8": "{name} (batch, height, width, 3), uint8 RGB from 0 to 255",
}
_PAINTS = (
    "Inputs: {image}{style}. Output: {painted}. Every picture is normalized by its own statistics. Height and width are"
    " at least {least}."
)
_STYLE = (
    "; style (batch, {style_dim}), a code that agnlib.Stylizer.encode_style reads off a picture (its vector), or the"
    " extractor's file"
)
_READS = (
    "Input: {image}. Output: style (batch, {style_dim}), its code as of agnlib.Stylizer.encode_style, for the network's"
    " file of the same weights. A picture whose shorter side is above {side} pixels is reduced to that first."
)


@dataclass(frozen=True)
class Order:
    """What is asked for: see `agnlib.stylizer.Stylizer.export`.

    Raises:
        InputError: an option that is none, or two that exclude each other.
    """

    part: str = "network"
    dtype: str = "float32"
    half: bool = False
    one_style: bool = False
    code: Tensor | None = None
    style: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("part", self.part, PARTS), ("dtype", self.dtype, DTYPES)):
            if value not in known:
                raise InputError(f"{name}: expected {' or '.join(known)}, got {value!r}")
        if not isinstance(self.half, bool):
            raise InputError(f"half must be True or False, got {self.half!r}")
        if self.part == "extractor" and self.one_style:
            raise InputError('part="extractor" reads styles, and paints in none; leave out the style, or the part')

    def checked(self, path: str | os.PathLike[str]) -> Order:
        """This, if it can be written to that file.

        Raises:
            InputError: an unknown suffix, or one that the options do not go with.
            ImageError: the file cannot be written there.
        """
        suffix = suffix_of(path)
        if suffix not in (".onnx", ".pt2"):
            raise InputError(
                f"{os.fspath(path)!r} has the suffix {suffix!r}, to which nothing can be exported; use .onnx or .pt2"
            )
        for wanted, what in ((self.part == "extractor", 'part="extractor"'), (self.half, "half=True")):
            if wanted and suffix != ".onnx":
                raise InputError(f"{os.fspath(path)!r}: {what} is for .onnx alone; choose that suffix")
        check_place(path)
        return self

    def notes(self, name: str, license: str) -> dict[str, str]:
        """What every file says of itself."""
        about = {"name": name, "agnlib": __version__, "license": license, "part": self.part, "dtype": self.dtype}
        return {key: _in_utf8(text) for key, text in about.items()}


def content_of(
    suffix: str,
    generator: Generator,
    extractor: StyleExtractor,
    order: Order,
    *,
    side: int,
    name: str,
    license: str,
) -> bytes:
    """A network's whole work on a picture, as a file of this suffix; see `agnlib.stylizer.Stylizer.export`."""
    about = order.notes(name, license)
    if order.part == "extractor":
        return _extractor_file(extractor, order, about, side)
    writer = _onnx_file if suffix == ".onnx" else _pt2_archive
    return writer(generator, order, {**about, **_notes(generator, order)})


def suffix_of(path: str | os.PathLike[str]) -> str:
    """In lower case."""
    return Path(text_of(path)).suffix.lower()


def onnx_model(generator: Generator, *, name: str, license: str) -> bytes:
    """The network as an ONNX file's content, of ONNX's own operators only.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        InputError: the generator has blocks that cannot be exported.
    """
    order = Order()
    about = order.notes(name, license)
    return _onnx_file(generator, order, {**about, **_notes(generator, order)})


def _onnx_file(generator: Generator, order: Order, about: Mapping[str, str]) -> bytes:
    check_onnx()
    program = torch.onnx.export(
        _program(generator, order),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=["image"] if order.code is not None else ["image", "style"],
        output_names=["painted"],
        external_data=False,
    )
    assert program is not None
    model: ModelProto = program.model_proto
    return described(model, about, half=order.half)


def _extractor_file(extractor: StyleExtractor, order: Order, about: Mapping[str, str], side: int) -> bytes:
    check_onnx()
    from agnlib.engines._extractor_graph import extractor_model

    style_dim = str(extractor.config.style_dim)
    image = _PICTURES[order.dtype].format(name="image")
    usage = _READS.format(image=image, style_dim=style_dim, side=side)
    model = extractor_model(extractor, side=side, bytes_in=order.dtype == "uint8")
    notes = {**about, "style_dim": style_dim, "side": str(side), "usage": usage}
    return described(model, notes, half=order.half)


def _pt2_archive(generator: Generator, order: Order, about: Mapping[str, str]) -> bytes:
    program = _program(generator, order)
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # lines and paths of the sources
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"agnlib.json": json.dumps(about, indent=2)})
    return file.getvalue()


def _program(generator: Generator, order: Order) -> ExportedProgram:
    """What is asked for, for any batch, height and width, of PyTorch's own operators only."""
    check_torch()
    code = None if order.code is None else order.code.to("cpu", torch.float32)
    if code is None:
        painter: nn.Module = Repainter(generator, small_canvas=order.half)
    else:
        painter = OneStyle(generator, code)
    program = traced(Bytes(painter) if order.dtype == "uint8" else painter, generator, styled=code is None)
    refuse_foreign(_foreign(program), "PyTorch's own")
    return program


def _foreign(program: ExportedProgram) -> set[str]:
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return {
        str(target) for target in targets if isinstance(target, torch._ops.OpOverload) and target.namespace != "aten"
    }


def _notes(generator: Generator, order: Order) -> dict[str, str]:
    style_dim = str(generator.config.style_dim)
    pictures = {each: _PICTURES[order.dtype].format(name=each) for each in ("image", "painted")}
    of_style = {"style": _in_utf8(order.style)} if order.code is not None else {"style_dim": style_dim}
    style = "" if order.code is not None else _STYLE.format(style_dim=style_dim)
    usage = _PAINTS.format(**pictures, style=style, least=smallest_side(generator))
    return {**of_style, "usage": usage}


def _in_utf8(text: str) -> str:
    """The text of a file's name, which may be none in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
