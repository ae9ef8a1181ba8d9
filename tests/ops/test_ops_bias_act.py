"""bias_act against PyTorch's activations, finite differences and float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from ops_accuracy import DTYPES, LAYOUTS, assert_accurate, stored
from torch import Tensor
from torch.library import opcheck

from agnlib.errors import InputError
from agnlib.ops import backend, bias_act

THEIRS = {
    "linear": lambda z: z,
    "relu": F.relu,
    "lrelu": lambda z: F.leaky_relu(z, 0.2),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "swish": F.silu,
}
ROOT = ("relu", "lrelu", "swish")
acts = st.sampled_from(sorted(THEIRS))
op = torch.ops.agnlib.bias_act.default
op_backward = torch.ops.agnlib.bias_act_backward.default


def theirs(x: Tensor, bias: Tensor | None, act: str, gain: float, clamp: float | None) -> Tensor:
    y = THEIRS[act](x if bias is None else x + bias.view(-1, *(1,) * (x.ndim - 2))) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


@given(
    act=acts,
    shape=st.sampled_from([(2, 3), (0, 3), (1, 3, 5), (2, 3, 4, 5), (1, 2, 3, 4, 5)]),
    biased=st.booleans(),
    gain=st.sampled_from([1.0, 0.5, -2.0, 0.0]),
    clamp=st.sampled_from([None, 0.7]),
    name=st.sampled_from(["auto", "reference"]),
)
def test_is_the_activation_between_bias_and_gain(
    act: str, shape: tuple[int, ...], biased: bool, gain: float, clamp: float | None, name: str
) -> None:
    x, bias = torch.randn(shape, dtype=torch.float64), torch.randn(shape[1], dtype=torch.float64) if biased else None
    with backend(name):
        torch.testing.assert_close(
            bias_act(x, bias, act=act, gain=gain, clamp=clamp), theirs(x, bias, act, gain, clamp)
        )


@pytest.mark.parametrize("act", sorted(THEIRS))
def test_default_gain(act: str) -> None:
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(bias_act(x, act=act), theirs(x, None, act, 2**0.5 if act in ROOT else 1.0, None))


@given(act=acts, dtype=st.sampled_from(DTYPES), layout=st.sampled_from(LAYOUTS))
def test_error_is_within_twice_that_of_torchs(act: str, dtype: torch.dtype, layout: str) -> None:
    x, bias = stored(torch.randn(2, 3, 8, 9).mul_(2).to(dtype), layout), torch.randn(3).to(dtype)
    exact = theirs(x.double(), bias.double(), act, 1.3, 2.0)
    assert_accurate(bias_act(x, bias, act=act, gain=1.3, clamp=2.0), theirs(x, bias, act, 1.3, 2.0), exact)


@pytest.mark.parametrize("act", sorted(THEIRS))
@pytest.mark.parametrize("clamp", [None, 0.6])
def test_first_and_second_derivatives(act: str, clamp: float | None) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def public(x: Tensor, bias: Tensor) -> Tensor:
        return bias_act(x, bias, act=act, clamp=clamp)

    def kernels(x: Tensor, bias: Tensor) -> Tensor:  # the derivatives that the kernels are given
        return op(x, bias, act, 0.2, 1.5, clamp)  # type: ignore[no-any-return]

    for function in (public, kernels):
        assert torch.autograd.gradcheck(function, (x, bias))
        assert torch.autograd.gradgradcheck(function, (x, bias))


@pytest.mark.parametrize("act", sorted(THEIRS))
def test_opcheck(act: str) -> None:
    x = torch.randn(2, 3, 4, 5).requires_grad_()
    opcheck(op, (x, torch.randn(3, requires_grad=True), act, 0.2, 1.5, 0.9))
    if act in ("lrelu", "swish"):
        opcheck(op, (stored(x.detach(), "channels_last").requires_grad_(), None, act, 0.2, 1.0, None))
        opcheck(op_backward, (torch.randn(2, 3, 4, 5), x, None, act, 0.2, 1.0, None, 1))


def test_its_input_stays_as_it_was() -> None:
    x = torch.randn(2, 3, 4)
    before = x.clone()
    for act in THEIRS:
        bias_act(x, act=act, gain=1.0, clamp=0.1)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"x": torch.zeros(3)}, "x has 1 dimensions (3,); expected (B, C, ...)"),
        ({"bias": torch.zeros(4)}, "bias has shape (4,); expected (3,)"),
        ({"bias": torch.zeros(3, dtype=torch.float64)}, "bias is torch.float64; expected torch.float32"),
        ({"bias": torch.zeros(3, device="meta")}, "bias is on meta; expected cpu"),
        ({"act": "gelu"}, "act is 'gelu'; expected one of linear"),
        ({"clamp": -1.0}, "clamp is -1.0"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError) as caught:
        bias_act(**({"x": torch.zeros(2, 3)} | change))  # type: ignore[arg-type]
    assert named in str(caught.value)
