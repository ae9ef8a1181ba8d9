"""Half and double precision, autocast and vmap where the rest of the library takes them: the values are float32's."""

from __future__ import annotations

import pytest
import torch

from agnlib import ops
from agnlib.metrics import palette_distance, style_distance
from agnlib.models import StyleExtractor

DTYPES = [torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float64: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def pictures(seed: int = 0) -> torch.Tensor:
    """Values that every dtype holds exactly."""
    return torch.randint(-64, 65, (2, 3, 32, 32), generator=torch.Generator().manual_seed(seed)) / 64.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_extractor_in_another_precision_gives_nearly_the_same_codes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    extractor = StyleExtractor(16, hidden=16, taps=("block0",)).eval()
    expected = extractor(pictures())
    found = extractor.to(dtype)(pictures().to(dtype))
    assert found.dtype == dtype
    assert float((found.float() - expected).detach().norm() / expected.detach().norm()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_metrics_measure_the_same_whatever_the_pictures_dtype(dtype: torch.dtype) -> None:
    encoder = StyleExtractor(16, hidden=16, taps=("block0",)).trunk
    one, other = pictures(), pictures(1)
    for measure in (palette_distance, lambda a, b: style_distance(a, b, encoder)):
        found, expected = measure(one.to(dtype), other.to(dtype)), measure(one, other)
        torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-4)  # the pictures are the same numbers


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_encoder_measures_in_its_own_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    encoder = StyleExtractor(16, hidden=16, taps=("block0",)).trunk
    expected = style_distance(pictures(), pictures(1), encoder)
    found = style_distance(pictures(), pictures(1), encoder.to(dtype))
    assert torch.allclose(found.float(), expected, rtol=TOLERANCE[dtype])


def test_bias_act_under_autocast_takes_its_bias_as_conv2d_does() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3)
    bias = torch.randn(4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        features = ops.conv2d(x, weight)
        found = ops.bias_act(features, bias)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, ops.bias_act(features, bias.to(torch.bfloat16)))
    (gradient,) = torch.autograd.grad(found.float().sum(), bias)
    assert gradient.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match="bias is a list"):
        ops.bias_act(features, [1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_and_adain_inside_vmap(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.stack([torch.randn(2, 4, 8, 8).to(memory_format=layout) for _ in range(3)])
    mean, std = torch.randn(3, 2, 4), torch.rand(3, 2, 4) + 0.5
    mu, var = torch.func.vmap(ops.moments)(x)
    torch.testing.assert_close(mu, x.mean((3, 4)))
    torch.testing.assert_close(var, x.var((3, 4), correction=0))
    found = torch.func.vmap(ops.adain)(x, mean, std)
    torch.testing.assert_close(found, torch.stack([ops.adain(*each) for each in zip(x, mean, std, strict=True)]))
