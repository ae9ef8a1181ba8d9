"""Ops against torch's own, SciPy's, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import upfirdn

from agnlib.errors import InputError
from agnlib.ops import adain, fir_filter, upfirdn2d
from agnlib.ops._adain import adain_reference

sizes = st.integers(2, 9)


@given(b=st.integers(1, 3), c=st.integers(1, 4), h=sizes, w=sizes, last=st.booleans())
def test_adain_is_instance_norm_then_scale_and_shift(b: int, c: int, h: int, w: int, last: bool) -> None:
    x = torch.randn(b, c, h, w, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    mean, std = torch.randn(2, b, c, dtype=torch.float64)
    expected = F.instance_norm(x, eps=1e-5) * std[:, :, None, None] + mean[:, :, None, None]
    torch.testing.assert_close(adain(x, mean, std), expected)
    torch.testing.assert_close(adain_reference(x, mean, std), expected)


@pytest.mark.parametrize(("act", "function"), [("lrelu", lambda x: F.leaky_relu(x, 0.2)), ("relu", F.relu)])
def test_adain_activation_comes_last(act: str, function: object) -> None:
    x, mean, std = torch.randn(2, 3, 5, 4), torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(adain(x, mean, std, act=act), function(adain(x, mean, std)))  # type: ignore[operator]


def test_adain_with_statistics_from_outside() -> None:
    x, mean, std = torch.randn(2, 3, 6, 8), torch.randn(2, 3), torch.randn(2, 3)
    own = (x.mean((2, 3)), x.var((2, 3), correction=0))
    torch.testing.assert_close(adain(x, mean, std, statistics=own), adain(x, mean, std))
    half = adain(x[..., :4], mean, std, statistics=own)
    torch.testing.assert_close(half, adain(x, mean, std)[..., :4])


@pytest.mark.parametrize("batch", [1, 2])
def test_adain_derivatives(batch: int) -> None:
    x = torch.randn(batch, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    mean, std = (torch.randn(batch, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(adain, (x, mean, std))
    assert torch.autograd.gradgradcheck(adain, (x, mean, std))


@given(
    h=st.integers(4, 9),
    taps=st.integers(1, 4),
    up=st.integers(1, 3),
    down=st.integers(1, 3),
)
def test_upfirdn2d_is_scipys_upfirdn_along_both_axes(h: int, taps: int, up: int, down: int) -> None:
    x = np.random.default_rng(0).normal(size=(h, h + 1))
    f = np.random.default_rng(1).normal(size=taps)
    pad = taps - 1
    ours = upfirdn2d(
        torch.from_numpy(x)[None, None],
        torch.from_numpy(f),
        up=up,
        down=down,
        padding=(pad, pad - (up - 1), pad, pad - (up - 1)),
    )
    theirs = upfirdn(f, upfirdn(f, x, up, down, axis=0), up, down, axis=1)
    np.testing.assert_allclose(ours[0, 0].numpy(), theirs, atol=1e-9)


def test_upfirdn2d_takes_a_separable_filter_as_its_outer_product() -> None:
    x, f = torch.randn(2, 3, 7, 6, dtype=torch.float64), fir_filter([1, 3, 3, 1]).double()
    torch.testing.assert_close(upfirdn2d(x, f, padding=2), upfirdn2d(x, f[:, None] * f[None], padding=2))
    torch.testing.assert_close(upfirdn2d(x, f, padding=2, gain=3.0), 3 * upfirdn2d(x, f, padding=2))


def test_upfirdn2d_derivatives() -> None:
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    f = torch.randn(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: upfirdn2d(v, f, up=2, down=2, padding=1), (x,))
    assert torch.autograd.gradgradcheck(lambda v: upfirdn2d(v, f, up=2, down=2, padding=1), (x,))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: adain(torch.zeros(3, 4, 4), torch.zeros(3, 4), torch.zeros(3, 4)), "x has 3 dimensions"),
        (lambda: adain(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2), torch.zeros(1, 3)), "mean has shape"),
        (lambda: adain(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3), torch.zeros(1, 3), act="tanh"), "act is 'tanh'"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(5)), "filter is 5 x 5"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1), up=0), "up is 0"),
        (lambda: upfirdn2d(torch.zeros(1, 2, 2), torch.ones(1)), "expected (B, C, H, W)"),
        (lambda: fir_filter([]), "no taps"),
        (lambda: fir_filter([1, -1]), "sum to zero"),
    ],
)
def test_bad_input_is_named(call: object, named: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert named in str(caught.value)
