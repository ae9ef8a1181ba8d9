"""Half and double precision, autocast and vmap where the rest of the library takes them: the values are float32's."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest
import torch

from agnlib import losses, metrics, ops
from agnlib.metrics import style_distance
from agnlib.models import StyleExtractor

DTYPES = [torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float64: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def pictures(seed: int = 0, side: int = 32) -> torch.Tensor:
    """Values that every dtype holds exactly."""
    return torch.randint(-64, 65, (2, 3, side, side), generator=torch.Generator().manual_seed(seed)) / 64.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_extractor_in_another_precision_gives_nearly_the_same_codes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    extractor = StyleExtractor(16, hidden=16, taps=("block0",)).eval()
    expected = extractor(pictures())
    found = extractor.to(dtype)(pictures().to(dtype))
    assert found.dtype == dtype
    assert float((found.float() - expected).detach().norm() / expected.detach().norm()) < TOLERANCE[dtype]


PICTURES = ("image", "images", "result", "first", "second", "reference", "content", "frames")  # what metrics call them


def measured(name: str, dtype: torch.dtype) -> torch.Tensor:
    """A public metric of pictures that every dtype holds exactly."""
    torch.manual_seed(0)
    encoder = StyleExtractor(16, hidden=16, taps=("block0",)).trunk
    heads = {tap: torch.ones(1, channels, 1, 1) for tap, channels in encoder.channels.items()}
    shapes = inspect.signature(getattr(metrics, name)).parameters
    given = [pictures(seed, 64).to(dtype) for seed in range(sum(key in PICTURES for key in shapes))]
    if name == "color_drift":
        given[1] /= 64  # a photo of nearly one color, where there is something to measure
    if name == "halo":  # a dark thing before a sky, with a ring around it
        given = [torch.full((1, 3, 8, 256), 0.5, dtype=dtype) for _ in range(2)]
        given[0][..., 48:104] = 0.75
        given[1][..., :48] = -0.75
    if name == "flicker":
        given.append(torch.full((1, 2, 1, 1), 0.25, dtype=dtype))
    more = {"encoder": encoder, "heads": heads}
    return getattr(metrics, name)(*given, **{key: value for key, value in more.items() if key in shapes})


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float32])
@pytest.mark.parametrize("name", sorted(set(metrics.__all__) - {"even_heads", "lpips_heads"}))
def test_metrics_measure_the_same_whatever_the_pictures_dtype(
    name: str, dtype: torch.dtype, autocast: torch.dtype | None
) -> None:
    expected = measured(name, torch.float32)
    with torch.autocast("cpu", autocast) if autocast else nullcontext():
        found = measured(name, dtype)
    own = name in ("style_distance", "content_distance", "diversity")  # the encoder's
    assert found.dtype == (torch.float64 if dtype == torch.float64 and not own else torch.float32)
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mixed", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["palette_distance", "color_ratio", "detail_ratio", "structure", "style_distance"])
def test_the_two_pictures_may_differ_in_dtype(name: str, mixed: torch.dtype) -> None:
    more = {"encoder": StyleExtractor(16, hidden=16, taps=("block0",)).trunk} if name == "style_distance" else {}
    one, other = pictures(), pictures(1)
    found = getattr(metrics, name)(one, other.to(mixed), **more)
    torch.testing.assert_close(found.float(), getattr(metrics, name)(one, other, **more), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_colors_of_a_loss_are_those_of_float32(dtype: torch.dtype) -> None:
    expected = losses.rgb_to_lab(pictures()), losses.palette_loss(pictures(), pictures(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.rgb_to_lab(pictures().to(dtype)), losses.palette_loss(pictures().to(dtype), pictures(1))
    torch.testing.assert_close(found, expected)


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
