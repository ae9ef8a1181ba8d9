"""upfirdn2d against SciPy's upfirdn, finite differences and its own reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from ops_accuracy import DTYPES, LAYOUTS, assert_accurate, stored
from scipy.signal import upfirdn
from torch import Tensor
from torch.library import opcheck

from agnlib.errors import InputError
from agnlib.ops import backend, fir_filter, upfirdn2d

layouts = st.sampled_from(LAYOUTS)
op = torch.ops.agnlib.upfirdn2d.default


@given(
    h=st.integers(4, 9),
    taps=st.integers(1, 5),
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 9]),
    layout=layouts,
    name=st.sampled_from(["auto", "reference"]),
)
def test_is_scipys_upfirdn_along_both_axes(
    h: int, taps: int, up: int, down: int, channels: int, layout: str, name: str
) -> None:
    x = np.random.default_rng(0).normal(size=(2, channels, h, h + 1))
    f = np.random.default_rng(1).normal(size=taps)
    pad, rest = taps - 1, taps - 1 - (up - 1)
    with backend(name):
        ours = upfirdn2d(
            stored(torch.from_numpy(x), layout), torch.from_numpy(f), up=up, down=down, padding=(pad, rest, pad, rest)
        )
    theirs = upfirdn(f, upfirdn(f, x, up, down, axis=2), up, down, axis=3)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-9)


@pytest.mark.parametrize("taps", [[1, 2, 1], [1, 3, 3, 1], [0, 1], [-3, 0.5, 0, 2], [1]])
@pytest.mark.parametrize("cache", [1, 40, 2**20], ids=["row by row", "in bands", "at once"])
def test_blur_of_few_channels_is_scipys(taps: list[float], cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agnlib.ops._polyphase._CACHE", cache)
    x, n = np.random.default_rng(0).normal(size=(2, 3, 11, 9)), len(taps)
    ours = upfirdn2d(stored(torch.from_numpy(x), "channels_last"), torch.tensor(taps, dtype=torch.float64), gain=-1.5)
    theirs = upfirdn(taps, upfirdn(taps, x, axis=2), axis=3)[:, :, n - 1 : 11, n - 1 : 9]
    np.testing.assert_allclose(ours.numpy(), -1.5 * theirs, atol=1e-12)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@given(data=st.data())
def test_fast_forms_and_derivatives_are_the_references(data: st.DataObject) -> None:
    b, channels = data.draw(st.integers(0, 2)), data.draw(st.sampled_from([1, 3, 8, 9]))
    h, w = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    up, down = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    high, wide = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    pad = tuple(data.draw(st.integers(-3, 6)) for _ in range(4))
    filter = torch.randn((high,) if data.draw(st.booleans()) else (high, wide), dtype=torch.float64)
    width = filter.shape[-1]
    assume(h * up + pad[2] + pad[3] >= high and w * up + pad[0] + pad[1] >= width)
    x = stored(torch.randn(b, channels, h, w, dtype=torch.float64), data.draw(layouts)).requires_grad_()

    def results() -> list[Tensor]:
        y = upfirdn2d(x, filter, up=up, down=down, padding=pad, gain=-1.5)  # type: ignore[arg-type]
        grad = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).requires_grad_()
        (dx,) = torch.autograd.grad(y, x, grad, create_graph=True)
        (again,) = torch.autograd.grad((dx * x.detach()).sum(), grad)
        with torch.no_grad():
            plain = upfirdn2d(x, filter, up=up, down=down, padding=pad, gain=-1.5)  # type: ignore[arg-type]
        return [y, dx, again, plain]

    found = results()
    with backend("reference"):
        for ours, expected in zip(found, results(), strict=True):
            torch.testing.assert_close(ours, expected)


@given(dtype=st.sampled_from(DTYPES), layout=layouts, up=st.integers(1, 2), down=st.integers(1, 2))
def test_error_is_within_twice_that_of_a_convolution(dtype: torch.dtype, layout: str, up: int, down: int) -> None:
    x, f = stored(torch.randn(1, 8, 12, 13).to(dtype), layout), fir_filter([1, 3, 3, 1])
    padding = (2, 1, 2, 1)
    with backend("reference"):
        exact = upfirdn2d(x.double(), f.double(), up=up, down=down, padding=padding)
        plain = upfirdn2d(x, f, up=up, down=down, padding=padding)
    assert_accurate(upfirdn2d(x, f, up=up, down=down, padding=padding), plain, exact)


def test_takes_a_separable_filter_as_its_outer_product() -> None:
    x, f = torch.randn(2, 3, 7, 6, dtype=torch.float64), fir_filter([1, 3, 3, 1]).double()
    torch.testing.assert_close(upfirdn2d(x, f, padding=2), upfirdn2d(x, f[:, None] * f[None], padding=2))
    torch.testing.assert_close(upfirdn2d(x, f, padding=2, gain=3.0), 3 * upfirdn2d(x, f, padding=2))


def test_negative_padding_crops() -> None:
    x, f = torch.randn(1, 2, 7, 8), fir_filter([1, 2, 1])
    torch.testing.assert_close(upfirdn2d(x, f, padding=(-1, -2, 0, -1)), upfirdn2d(x[:, :, :-1, 1:-2], f))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("learned", [False, True])
def test_first_and_second_derivatives(layout: str, learned: bool) -> None:
    x = stored(torch.randn(1, 2, 4, 5, dtype=torch.float64), layout).requires_grad_()
    f = torch.randn(3, dtype=torch.float64, requires_grad=learned)

    def function(x: Tensor, f: Tensor) -> Tensor:
        return upfirdn2d(x, f, up=2, down=2, padding=1)

    assert torch.autograd.gradcheck(function, (x, f))
    assert torch.autograd.gradgradcheck(function, (x, f))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_opcheck(layout: str, up: int, down: int) -> None:
    x = stored(torch.randn(2, 9, 6, 5), layout).detach().requires_grad_()
    opcheck(op, (x, fir_filter([1, 3, 3, 1]), up, down, [2, 1, 2, 1], False, 2.0))


def test_fir_filter() -> None:
    assert fir_filter([1, 2, 1]).tolist() == [0.25, 0.5, 0.25]
    assert fir_filter([1, 2, 1], normalize=False).tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(5)), "filter is 5 x 5"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 4, 4), torch.ones(2), padding=-2), "padded picture 0 x 0"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1), up=0), "up is 0"),
        (lambda: upfirdn2d(torch.zeros(1, 2, 2), torch.ones(1)), "expected (B, C, H, W)"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 1)), "filter has shape (1, 1, 1)"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1).long()), "filter is torch.int64"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1, device="meta")), "filter is on meta; expected cpu"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), torch.ones(1), padding=(1, 1)), "padding has 2 numbers"),  # type: ignore[arg-type]
        (lambda: fir_filter([]), "no taps"),
        (lambda: fir_filter([1, -1]), "sum to zero"),
    ],
)
def test_bad_input_is_named(call: object, named: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert named in str(caught.value)
