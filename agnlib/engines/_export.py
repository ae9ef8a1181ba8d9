"""The painting network as one file for other programs: ONNX, or a program of PyTorch's own (`.pt2`)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from agnlib import __version__
from agnlib._shared.optional import require
from agnlib._shared.paths import text_of
from agnlib.errors import InputError, MissingDependencyError
from agnlib.image import check_place, write_file
from agnlib.models import Generator

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["check_torch", "export", "onnx_model", "smallest_side"]

_USAGE = (
    "Inputs: image (batch, 3, height, width), RGB in [0, 1]; style (batch, {style_dim}), a code that"
    " agnlib.Stylizer.encode_style reads off a picture (its vector). Output: painted, of the image's shape, in [0, 1]."
    " Every picture is normalized by its own statistics. Height and width are at least {least}."
)


def export(generator: Generator, path: str | os.PathLike[str], *, name: str, license: str) -> None:
    """Write the generator's whole work on a photo to one file; see `agnlib.stylizer.Stylizer.export`."""
    writers = {".onnx": onnx_model, ".pt2": _pt2_archive}
    suffix = Path(text_of(path)).suffix.lower()
    if suffix not in writers:
        raise InputError(
            f"{os.fspath(path)!r} has the suffix {suffix!r}, to which nothing can be exported; use .onnx or .pt2"
        )
    check_place(path)
    write_file(path, writers[suffix](generator, name=name, license=license))


def onnx_model(generator: Generator, *, name: str, license: str) -> bytes:
    """The network as an ONNX file's content, of ONNX's own operators only.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        InputError: the generator has blocks that cannot be exported.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx", purpose="an export to ONNX")
    program = torch.onnx.export(
        _traced(generator),
        dynamo=True,
        verbose=False,
        input_names=["image", "style"],
        output_names=["painted"],
        external_data=False,
    )
    assert program is not None
    model: ModelProto = program.model_proto
    _refuse({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain}, "ONNX's own")
    _describe(model, _about(generator, name, license))
    return bytes(model.SerializeToString())


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


def smallest_side(generator: Generator) -> int:
    """The least height and width that an exported program takes: with its margin, three cells of the stride."""
    return max(1, 2 * generator.stride + 1 - 2 * generator.config.margin)


class _Repainter(nn.Module):
    """A picture and a style code in, the painting out, all in [0, 1]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        painted: Tensor = self.generator(None, style, content=image * 2 - 1)
        return painted * 0.5 + 0.5


def _traced(generator: Generator) -> ExportedProgram:
    """The network for any batch, height and width, in float32 on the CPU."""
    check_torch()
    model = _Repainter(_standalone(generator))
    least = smallest_side(generator)
    batch, height, width = Dim("batch", min=1), Dim("height", min=least), Dim("width", min=least)
    shapes = {"image": {0: batch, 2: height, 3: width}, "style": {0: batch}}
    with torch.inference_mode(False), torch.no_grad():
        image, style = (
            torch.zeros(2, 3, 37, 51, device="cpu", dtype=torch.float32),
            torch.zeros(2, generator.config.style_dim, device="cpu", dtype=torch.float32),
        )
        try:
            program = torch.export.export(model, (image, style), dynamic_shapes=shapes, strict=False)
        except Exception as error:  # of many kinds, and with pages of text
            raise InputError(
                f"this {type(generator).__name__} cannot be traced for pictures of any size"
                f" ({type(error).__name__}: {str(error).strip().splitlines()[0]}); export one with agnlib's own blocks"
            ) from error
    _refuse(_foreign(program), "PyTorch's own")
    return program


def _standalone(generator: Generator) -> Generator:
    copy = deepcopy(generator).to("cpu", torch.float32).eval().requires_grad_(False)
    for tensor in (*copy.parameters(), *copy.buffers()):
        # tensors that were read from one file share their memory, and all of it would be written with each
        tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copy


def _foreign(program: ExportedProgram) -> set[str]:
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return {
        str(target) for target in targets if isinstance(target, torch._ops.OpOverload) and target.namespace != "aten"
    }


def _refuse(foreign: Iterable[str], owner: str) -> None:
    if foreign:
        raise InputError(
            f"this generator's blocks use operators that are not {owner} ({', '.join(sorted(foreign))}), and a file"
            " with them would run nowhere else; export one with agnlib's own blocks"
        )


def _about(generator: Generator, name: str, license: str) -> dict[str, str]:
    style_dim = str(generator.config.style_dim)
    usage = _USAGE.format(style_dim=style_dim, least=smallest_side(generator))
    return {"name": name, "agnlib": __version__, "style_dim": style_dim, "license": license, "usage": usage}


def _describe(model: ModelProto, about: Mapping[str, str]) -> None:
    """Names and notes for people, and nothing of the machine on which the file was made."""
    graph = model.graph
    for entry in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        entry.ClearField("metadata_props")  # lines and paths of the sources
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        names = ("batch", "", "height", "width") if len(sizes) == 4 else ("batch", "")
        for size, text in zip(sizes, names, strict=True):
            if text:
                size.dim_param = text
    graph.name, model.doc_string = about["name"], about["usage"]
    model.producer_name, model.producer_version = "agnlib", about["agnlib"]
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)


def _pt2_archive(generator: Generator, *, name: str, license: str) -> bytes:
    program = _traced(generator)
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # lines and paths of the sources
    file = io.BytesIO()
    torch.export.save(
        program, file, extra_files={"agnlib.json": json.dumps(_about(generator, name, license), indent=2)}
    )
    return file.getvalue()
