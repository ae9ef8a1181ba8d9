"""The style extractor as a graph of ONNX: a picture of any size in, the code of its style out.

It is put together here and not traced: how the picture is reduced, and how a convolution is padded, depend on the size,
which a traced program would hold on to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from agnlib.engines._onnx_file import OPSET
from agnlib.errors import InputError
from agnlib.models import StyleExtractor
from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk
from agnlib.models.style_extractor import _MAX_DEVIATIONS as MAX_DEVIATIONS
from agnlib.models.style_extractor import _MAX_PIXELS as MAX_PIXELS

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["extractor_model"]

_LEAST_COVARIANCE = 1e-8
_FLOAT, _UINT8, _INT64 = 1, 2, 7  # as ONNX numbers its types


def extractor_model(extractor: StyleExtractor, *, side: int, bytes_in: bool) -> ModelProto:
    """Pictures `image` to codes `style`, `(B, style_dim)`.

    Args:
        extractor: of agnlib's own class.
        side: what a longer shorter side is reduced to first.
        bytes_in: whether pictures are uint8 `(B, H, W, 3)`, and not float32 `(B, 3, H, W)` in [0, 1].

    Raises:
        InputError: an extractor of another class, whose work is not known here.
    """
    from onnx import helper

    if type(extractor) is not StyleExtractor or type(extractor.trunk) is not EfficientNetLiteTrunk:
        raise InputError(
            f'part="extractor" knows StyleExtractor, got a {type(extractor).__name__}; export one of that class'
        )
    graph = _Graph()
    image = _reduced(graph, _in_range(graph, "image", bytes_in=bytes_in), side)
    code = _head(graph, extractor, _statistics(graph, extractor, image))
    graph.op("Identity", code, out="style")
    shape = [None, None, None, 3] if bytes_in else [None, 3, None, None]
    taken = helper.make_tensor_value_info("image", _UINT8 if bytes_in else _FLOAT, shape)
    given = helper.make_tensor_value_info("style", _FLOAT, [None, extractor.config.style_dim])
    made = helper.make_graph(graph.nodes, "extractor", [taken], [given], graph.tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


class _Graph:
    """Nodes and tensors as they come; each operation gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def op(self, kind: str, *inputs: Any, out: str = "", outputs: int = 1, **attributes: Any) -> str:
        """One node; inputs that are no names are constants, None is left out. Of several outputs, the first's name."""
        from onnx import helper

        names = ["" if each is None else each if isinstance(each, str) else self.constant(each) for each in inputs]
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        results = [name, *(f"{name}_{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, results, name=f"{name}.node", **attributes))
        return name

    def constant(self, value: Any, name: str = "") -> str:
        """A tensor of the graph: whole numbers are of 64 bits, others floats of 32 unless they are an array."""
        from onnx import numpy_helper

        if isinstance(value, Tensor):
            value = value.detach().cpu().float().numpy()
        elif not isinstance(value, np.ndarray):
            whole = np.issubdtype(np.asarray(value).dtype, np.integer)
            value = np.asarray(value, dtype=np.int64 if whole else np.float32)
        name = name or f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _in_range(graph: _Graph, image: str, *, bytes_in: bool) -> str:
    """In [-1, 1], `(B, 3, H, W)`."""
    if bytes_in:
        turned = graph.op("Transpose", image, perm=[0, 3, 1, 2])
        image = graph.op("Div", graph.op("Cast", turned, to=_FLOAT), 255.0)
    return graph.op("Sub", graph.op("Mul", image, 2.0), 1.0)


def _reduced(graph: _Graph, image: str, side: int) -> str:
    """As `agnlib.image.reduced_size` and `resized` do it."""
    shape = graph.op("Shape", image)
    size = graph.op("Slice", shape, [2], [4])
    shorter = graph.op("Min", graph.op("Slice", shape, [2], [3]), graph.op("Slice", shape, [3], [4]))
    smaller = graph.op("Max", _ratio(graph, graph.op("Mul", size, [side]), shorter), [1])
    chosen = graph.op("Where", graph.op("LessOrEqual", shorter, [side]), size, smaller)
    sizes = graph.op("Concat", graph.op("Slice", shape, [0], [2]), chosen, axis=0)
    bicubic: dict[str, Any] = {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1}
    resized = graph.op("Resize", image, None, None, sizes, coordinate_transformation_mode="half_pixel", **bicubic)
    return graph.op("Clip", resized, np.float32(-1), np.float32(1))


def _ratio(graph: _Graph, numbers: str, divisor: str) -> str:
    """Whole numbers, rounded as Python does, a half to the even one; without floats, which are not exact enough."""
    below = graph.op("Div", numbers, divisor)
    rest = graph.op("Sub", numbers, graph.op("Mul", below, divisor))
    is_odd = graph.op("Sub", below, graph.op("Mul", graph.op("Div", below, [2]), [2]))
    is_more = graph.op("Greater", graph.op("Add", graph.op("Mul", rest, [2]), is_odd), divisor)
    return graph.op("Add", below, graph.op("Cast", is_more, to=_INT64))


def _statistics(graph: _Graph, extractor: StyleExtractor, image: str) -> str:
    maps = _features(graph, extractor.trunk, image)
    texture = [part for each in maps for part in _moments(graph, each)]
    return graph.op("Concat", *texture, *_color_statistics(graph, extractor, image), axis=1)


def _features(graph: _Graph, trunk: EfficientNetLiteTrunk, image: str) -> list[str]:
    """The maps that statistics are taken of; a tiny picture is continued first."""
    size = graph.op("Slice", graph.op("Shape", image), [2], [4])
    missing = graph.op("Max", graph.op("Sub", [trunk.min_size, trunk.min_size], size), [0])
    x = graph.op("Pad", image, graph.op("Concat", [0] * 6, missing, axis=0), mode="edge")
    x = graph.op("Div", graph.op("Add", graph.op("Mul", x, 127.5), 0.5), 128.0)
    x = _relu6(graph, _convolved(graph, x, trunk.stem))
    found: dict[str, str] = {}
    for index, block in enumerate(trunk.blocks):
        x = _block(graph, x, block)
        found[f"block{index}"] = x
    return [found[tap] for tap in trunk.channels]


def _block(graph: _Graph, x: str, block: Any) -> str:
    y = x if block.expand is None else _relu6(graph, _convolved(graph, x, block.expand))
    y = _convolved(graph, _relu6(graph, _convolved(graph, y, block.depthwise)), block.project)
    return graph.op("Add", x, y) if block.residual else y


def _convolved(graph: _Graph, x: str, layer: nn.Conv2d) -> str:
    """Padded as TensorFlow does, which ONNX has a word for."""
    assert layer.bias is not None
    sizes: dict[str, Any] = {"kernel_shape": list(layer.kernel_size), "strides": list(layer.stride)}
    return graph.op("Conv", x, layer.weight, layer.bias, auto_pad="SAME_UPPER", group=layer.groups, **sizes)


def _relu6(graph: _Graph, x: str) -> str:
    return graph.op("Clip", x, np.float32(0), np.float32(6))


def _moments(graph: _Graph, x: str) -> Sequence[str]:
    """Mean and deviation of each channel, `(B, C)`."""
    centered = graph.op("Sub", x, graph.op("ReduceMean", x, [2, 3], keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Mul", centered, centered), [2, 3], keepdims=0)
    return graph.op("ReduceMean", x, [2, 3], keepdims=0), graph.op("Sqrt", variance)


def _color_statistics(graph: _Graph, extractor: StyleExtractor, image: str) -> Sequence[str]:
    """Mean, covariance and quantiles of the pixels, or of a regular sample of them."""
    pixels = graph.op("Reshape", image, [0, 0, -1])
    count = graph.op("Slice", graph.op("Shape", pixels), [2], [3])
    step = graph.op("Div", graph.op("Add", count, [MAX_PIXELS - 1]), [MAX_PIXELS])
    pixels = graph.op("Slice", pixels, [0], count, [2], step)
    mean = graph.op("ReduceMean", pixels, [2], keepdims=1)
    centered = graph.op("Sub", pixels, mean)
    products = graph.op("MatMul", centered, graph.op("Transpose", centered, perm=[0, 2, 1]))
    count = graph.op("Slice", graph.op("Shape", pixels), [2], [3])
    covariance = graph.op("Div", products, graph.op("Cast", count, to=_FLOAT))
    size = graph.op("Sqrt", graph.op("Max", graph.op("Abs", covariance), _LEAST_COVARIANCE))
    spread = graph.op("Reshape", graph.op("Mul", graph.op("Sign", covariance), size), [0, 9])
    upper = graph.op("Gather", spread, [0, 1, 2, 4, 5, 8], axis=1)
    quantiles = _quantiles(graph, graph.op("MatMul", extractor.axes, centered), count, extractor.quantiles)
    return graph.op("Squeeze", mean, [2]), upper, graph.op("Flatten", quantiles, axis=1)


def _quantiles(graph: _Graph, values: str, count: str, shares: Tensor) -> str:
    """`(B, 3, N)` -> `(B, 3, Q)`, between two values by their distance."""
    ordered = graph.op("TopK", values, count, axis=2, largest=0, sorted=1, outputs=2)
    last = graph.op("Sub", graph.op("Cast", count, to=_FLOAT), 1.0)
    places = graph.op("Mul", shares, last)
    below, above = graph.op("Floor", places), graph.op("Ceil", places)
    low, high = (graph.op("Gather", ordered, graph.op("Cast", each, to=_INT64), axis=2) for each in (below, above))
    return graph.op("Add", low, graph.op("Mul", graph.op("Sub", high, low), graph.op("Sub", places, below)))


def _head(graph: _Graph, extractor: StyleExtractor, statistics: str) -> str:
    standard = graph.op("Div", graph.op("Sub", statistics, extractor.shift), extractor.scale)
    x = graph.op("Clip", standard, np.float32(-MAX_DEVIATIONS), np.float32(MAX_DEVIATIONS))
    for layer in extractor.head:
        if isinstance(layer, nn.Linear):
            x = graph.op("Gemm", x, layer.weight, layer.bias, transB=1)
        else:
            x = graph.op("LeakyRelu", x, alpha=layer.negative_slope)
    return graph.op("Slice", x, [0], [extractor.config.style_dim], [1])  # in the variational case the means
