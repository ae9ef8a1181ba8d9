"""A window's graph as an ONNX model."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from agnlib.engines._layout import Layout
from agnlib.engines._onnx_file import check_onnx, refuse_foreign
from agnlib.engines._window_graph import Graph, Variant
from agnlib.errors import InputError
from agnlib.models import Generator

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["window_model"]

_BATCH, _REGIONS, _ROWS, _COLUMNS = 2, 3, 5, 7  # of what is traced: no two alike, none of them 1


def window_model(generator: Generator, layout: Layout, variant: Variant) -> bytes:
    """The graph for any batch, size and number of regions, in float32, as an ONNX file's content.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        InputError: the generator has blocks that cannot be exported.
    """
    check_onnx()
    graph = Graph(_standalone(generator), layout, variant).eval()
    outputs = ["painted", "measured"] if variant.statistics == "measured" else ["painted"]
    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            _traced(graph),
            dynamo=True,
            verbose=False,
            input_names=graph.names,
            output_names=outputs,
            external_data=False,
        )
    assert program is not None
    return _checked(program.model_proto)


def _standalone(generator: Generator) -> Generator:
    copy = deepcopy(generator).to("cpu", torch.float32).eval().requires_grad_(False)
    for tensor in (*copy.parameters(), *copy.buffers()):
        # tensors that were read from one file share their memory, and all of it would be written with each
        tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copy


def _traced(graph: Graph) -> ExportedProgram:
    inputs, shapes = _examples(graph)
    try:
        program = torch.export.export(graph, inputs, dynamic_shapes={"inputs": shapes}, strict=False)
    except Exception as error:  # of many kinds, and with pages of text
        raise InputError(
            f"this {type(graph.generator).__name__} cannot be traced for pictures of any size"
            f" ({type(error).__name__}: {str(error).strip().splitlines()[0]}); use engine torch, or agnlib's own blocks"
        ) from error
    return program


def _examples(graph: Graph) -> tuple[tuple[Tensor, ...], tuple[dict[int, Dim], ...]]:
    """Inputs, and which of their sides are free."""
    stride = graph.generator.stride
    dims = {
        "batch": (_BATCH, Dim("batch", min=1)),
        "regions": (_REGIONS, Dim("regions", min=2)),
        "rows": (_ROWS, Dim("rows", min=3)),
        "columns": (_COLUMNS, Dim("columns", min=3)),
    }
    inputs, shapes = [], []
    for name in graph.names:
        sizes, free = [], {}
        for axis, size in enumerate(graph.shape_of(name)):
            if isinstance(size, int):
                sizes.append(size)
                continue
            side, scale = size
            number, dim = dims[side]
            times = stride // scale if side in ("rows", "columns") else 1
            sizes.append(times * number)
            free[axis] = dim if times == 1 else times * dim
        inputs.append(torch.zeros(sizes, device="cpu", dtype=torch.float32))
        shapes.append(free)
    return tuple(inputs), tuple(shapes)


def _checked(model: ModelProto) -> bytes:
    refuse_foreign({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain}, "ONNX's own")
    for entry in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer, model.graph):
        entry.ClearField("metadata_props")  # lines and paths of the sources
    model.graph.ClearField("value_info")
    return bytes(model.SerializeToString())
