"""The Triton kernels of adain, bias_act and upfirdn2d against the references: results and two derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from ops_accuracy import DTYPES, LAYOUTS, assert_accurate, stored
from torch import Tensor
from torch.library import opcheck

from agnlib.ops import adain, backend, bias_act, fir_filter, upfirdn2d
from agnlib.ops._bias_act import ACTIVATIONS

Function = Callable[..., Tensor]


def results(function: Function, given: Sequence[Tensor], name: str, dtype: torch.dtype) -> list[Tensor]:
    """The result, its derivatives, and the derivatives of a weighted sum of those."""
    rng = torch.Generator().manual_seed(1)

    def drawn(like: Tensor) -> Tensor:  # the same numbers in every dtype
        numbers = torch.randn(like.shape, generator=rng).to(given[0].dtype)
        return numbers.to(device=like.device, dtype=dtype)

    leaves = [each.detach().to(dtype).requires_grad_() for each in given]
    with backend(name):
        y = function(*leaves)
        grad = drawn(y).requires_grad_()
        first = torch.autograd.grad(y, leaves, grad, create_graph=True)
        weighted = sum((each * drawn(each)).sum() for each in first)
        second = torch.autograd.grad(weighted, (*leaves, grad), materialize_grads=True)  # type: ignore[arg-type]
    return [each.detach() for each in (y, *first, *second)]


def check(function: Function, given: Sequence[Tensor]) -> None:
    """Errors against float64 are at most thrice the reference's in the same dtype, or a few units in the last place."""
    dtype = given[0].dtype
    found = results(function, given, "triton", dtype)
    plain, exact = (results(function, given, "reference", kind) for kind in (dtype, torch.float64))
    for place, (ours, theirs, true) in enumerate(zip(found, plain, exact, strict=True)):
        assert ours.dtype == dtype
        assert_accurate(ours, theirs, true, factor=3 if place else 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outside", [False, True])
def test_adain(device: torch.device, dtype: torch.dtype, layout: str, outside: bool) -> None:
    for act, shape in (("lrelu", (2, 3, 5, 4)), ("relu", (1, 5, 11, 7)), (None, (0, 2, 3, 3))):
        x = stored((torch.randn(shape, device=device) + 1).to(dtype), layout)
        others = [(torch.rand(shape[:2], device=device) + 0.5).to(dtype) for _ in range(4 if outside else 2)]
        check(lambda x, m, s, *given, act=act: adain(x, m, s, statistics=given or None, act=act), (x, *others))


def test_adain_of_a_single_pixel_is_the_new_mean(device: torch.device) -> None:
    x, (mean, std) = torch.randn(2, 3, 1, 1, device=device), torch.randn(2, 2, 3, device=device)
    with backend("triton"):
        torch.testing.assert_close(adain(x, mean, std)[:, :, 0, 0], mean)


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_act(device: torch.device, act: str, dtype: torch.dtype) -> None:
    for layout in LAYOUTS:
        x = stored(torch.randn(2, 3, 5, 7, device=device).mul_(2).to(dtype), layout)
        bias = torch.randn(3, device=device).to(dtype)
        check(lambda x, b: bias_act(x, b, act=act, clamp=2.5), (x, bias))
        check(lambda x: bias_act(x, act=act, gain=-1.0), (x,))
    with backend("triton"):
        assert bias_act(torch.zeros(0, 3, device=device, dtype=dtype), act=act).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_upfirdn2d(device: torch.device, dtype: torch.dtype, layout: str, up: int, down: int) -> None:
    x = stored(torch.randn(2, 3, 7, 6, device=device).to(dtype), layout)
    short, long = fir_filter([1, 3, 3, 1]).to(device), fir_filter(range(1, 10)).to(device)
    uneven = torch.randn(3, 2, device=device)
    for filter, padding in ((short, (2, 1, 2, 1)), (long, (4, 4, 4, 4)), (uneven, (-1, 2, 3, -1))):
        check(lambda x, f=filter, p=padding: upfirdn2d(x, f.to(wide(x)), up=up, down=down, padding=p, gain=2.0), (x,))


def wide(x: Tensor) -> torch.dtype:
    """Filters are float32, or float64 where the map is."""
    return torch.promote_types(x.dtype, torch.float32)


def test_opcheck(device: torch.device) -> None:
    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    mean, std = (torch.randn(2, 3, device=device, requires_grad=True) for _ in range(2))
    opcheck(torch.ops.agnlib.adain.default, (x, mean, std, None, None, "lrelu", 1e-5))
    opcheck(torch.ops.agnlib.bias_act.default, (x, mean[0].detach(), "swish", 0.2, 1.0, None))
    opcheck(torch.ops.agnlib.upfirdn2d.default, (x, torch.ones(3, device=device), 2, 1, [1, 1, 1, 1], False, 1.0))


def test_compiled_programs_hold_the_kernel_when_it_was_asked_for(device: torch.device) -> None:
    torch._dynamo.reset()
    x = torch.randn(2, 3, 4, 4, device=device)
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    with backend("triton"):
        y = torch.compile(lambda x: bias_act(x, act="tanh"), fullgraph=True, backend=keep)(x)
    torch.testing.assert_close(y, x.tanh())
    assert "agnlib.bias_act" in graphs[0].code


def test_more_elements_than_32_bits_count(gpu: torch.device) -> None:
    if torch.cuda.get_device_properties(gpu).total_memory < 24 * 2**30:
        pytest.skip("needs 24 GiB of GPU memory")
    x = torch.ones(1, 2**9, 2**11, 2**11 + 1, device=gpu, dtype=torch.float16)
    assert x.numel() > 2**31
    x[0, -1, -1, -1] = -5.0
    with backend("triton"):
        assert float(bias_act(x, act="relu", gain=1.0)[0, -1, -1, -1]) == 0.0
        assert float(upfirdn2d(x, torch.ones(1, device=gpu))[0, -1, -1, -1]) == -5.0
        ones = torch.ones(1, 2**9, device=gpu)
        y = adain(x, ones, ones)
        assert float(y[0, 0].std()) < 1e-2
        assert float(y[0, -1, -1, -1]) < -100
