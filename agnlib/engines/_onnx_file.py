"""The content of an ONNX file: what it says of itself, and its weights in 16 bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agnlib._shared.optional import require
from agnlib.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OPSET", "check_onnx", "described", "refuse_foreign"]

OPSET = 18  # of ONNX's operators, of December 2022: the first whose Resize does not alias
_SMALL = 1024  # numbers in a tensor, below which nothing is gained


def check_onnx() -> None:
    """Whether what writes the files is there.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx", purpose="an export to ONNX")


def described(model: ModelProto, about: Mapping[str, str], *, half: bool) -> bytes:
    """The file's content, with names and notes for people and nothing of the machine on which it was made.

    Raises:
        InputError: operators that are not ONNX's own.
    """
    refuse_foreign({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain}, "ONNX's own")
    graph = model.graph
    for entry in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        entry.ClearField("metadata_props")  # lines and paths of the sources
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        _name_sizes(value.type.tensor_type.shape.dim)
    graph.name, model.doc_string = about["name"], about["usage"]
    model.producer_name, model.producer_version = "agnlib", about["agnlib"]
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    if half:
        _halve(model)
    return bytes(model.SerializeToString())


def refuse_foreign(foreign: Iterable[str], owner: str) -> None:
    """Say which operators other programs would not know.

    Raises:
        InputError: there are some.
    """
    if foreign:
        raise InputError(
            f"this generator's blocks use operators that are not {owner} ({', '.join(sorted(foreign))}), and a file"
            " with them would run nowhere else; export one with agnlib's own blocks"
        )


def _name_sizes(sizes: Iterable[object]) -> None:
    free = [size for size in sizes if not getattr(size, "dim_value", 0)]
    for size, text in zip(free, ("batch", "height", "width"), strict=False):
        size.dim_param = text  # type: ignore[attr-defined]


def _halve(model: ModelProto) -> None:
    """Weights of 16 bits, cast to 32 in the graph, where numbers are computed as before."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size >= _SMALL and _may_be_rounded(tensor.name, values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    rest = list(model.graph.node)
    model.graph.ClearField("node")
    model.graph.node.extend([*casts, *rest])


def _may_be_rounded(name: str, values: NDArray[Any]) -> bool:
    """All weights; of what the exporter names, such as noise, only what is as exact in 16 bits."""
    if np.abs(values).max() >= np.finfo(np.float16).max:
        return False
    return not name.startswith("val_") or bool((values == values.astype(np.float16)).all())
