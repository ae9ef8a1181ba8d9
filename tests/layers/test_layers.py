"""Layers: shapes, what the code does to the statistics, and no grid from upsampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agnlib.errors import InputError
from agnlib.layers import (
    BlurDownsample,
    BlurUpsample,
    CanvasNoise,
    ContentAdapter,
    Conv2d,
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    ModulatedConv2d,
    Modulation,
    PatchScale,
    Regions,
    StyledBottleneck,
    StyledConv,
    SubPixelUpsample,
    ToRGB,
    Upsample,
    Window,
)
from agnlib.layers._unshuffled import UnshuffledConv2d
from agnlib.models import Discriminator, Generator
from agnlib.ops import moments


def test_modulation_sets_the_statistics_that_the_code_asks_for() -> None:
    layer, style = Modulation(4, 8), torch.randn(2, 8)
    mean, std = layer.affine(style).chunk(2, 1)
    y = layer(torch.randn(2, 4, 32, 32) * 5 + 3, style)
    torch.testing.assert_close(y.mean((2, 3)), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(y.std((2, 3), correction=0), std.abs(), atol=1e-3, rtol=1e-3)


def test_modulation_forgets_contrast_and_brightness_of_what_comes_in() -> None:
    layer, style, x = Modulation(4, 8), torch.randn(1, 8), torch.randn(1, 4, 16, 16)
    torch.testing.assert_close(layer(3 * x + 7, style), layer(x, style), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("block", [StyledBottleneck(6, 8, kernel=3), StyledConv(6, 6, 8)])
def test_styled_blocks_keep_the_shape_and_are_residual(block: torch.nn.Module) -> None:
    x, style = torch.randn(2, 6, 7, 5), torch.randn(2, 8)
    assert block(x, style).shape == x.shape
    last = block.project if isinstance(block, StyledBottleneck) else block.conv
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    torch.testing.assert_close(block(x, style), x)


def test_upsample_is_a_convolution_and_torchs_bilinear() -> None:
    layer, x = Upsample(3, 2), torch.randn(1, 3, 5, 4)
    expected = layer.conv(F.interpolate(x, scale_factor=2, mode="bilinear"))
    torch.testing.assert_close(layer(x), expected)


def test_sub_pixel_upsample_makes_no_grid_whatever_its_weights() -> None:
    layer = SubPixelUpsample(4, 3)
    torch.nn.init.normal_(layer.conv.weight)
    torch.nn.init.normal_(layer.conv.bias)
    inner = layer(torch.randn(1, 4, 1, 1).expand(1, 4, 8, 8))[:, :, 4:-4, 4:-4]
    assert inner.std((2, 3)).max() < 1e-5  # constant features, constant picture
    assert layer.conv.weight.std() > 0.5


def test_sub_pixels_start_equal() -> None:
    weight = SubPixelUpsample(4, 3).conv.weight
    torch.testing.assert_close(weight[0::4], weight[3::4])


def test_patch_scale_condition_is_an_inner_product() -> None:
    scale, image = PatchScale(3, (4, 8)), torch.randn(2, 3, 16, 16)
    condition = torch.randn(2, 8)
    features = scale.features(image)[-1]
    expected = scale(image) + torch.einsum("bchw,bc->bhw", features, condition) / 8**0.5
    torch.testing.assert_close(scale(image, condition), expected)


def test_canvas_noise_is_fixed_when_painting_and_new_when_training() -> None:
    layer, x = CanvasNoise(3, side=4), torch.zeros(2, 3, 6, 9)
    painted = layer.eval()(x.clone())
    torch.testing.assert_close(layer(x.clone()), painted)
    torch.testing.assert_close(painted[:, :, :2, :5], painted[:, :, 4:6, 4:9])  # the canvas repeats after four cells
    torch.testing.assert_close(painted[:1], painted[1:])
    torch.testing.assert_close(painted[:, 0] / layer.gain[0], painted[:, 2] / layer.gain[2])
    trained = layer.train()(x.clone())
    assert not torch.allclose(layer(x.clone()), trained)
    assert not torch.allclose(trained[0], trained[1])


def test_a_tilted_canvas_is_what_training_sees_each_picture_another_place() -> None:
    layer, x = CanvasNoise(2, side=8, slope=1.5).train(), torch.zeros(40, 2, 5, 11)
    places = np.asarray((layer(x)[:, 0] / layer.gain[0]).detach())
    whole = np.tile(layer.canvas, (2, 3))
    windows = np.lib.stride_tricks.sliding_window_view(whole, (5, 11))[:8, :8].reshape(-1, 5, 11)
    found = [int(np.abs(windows - place).max((1, 2)).argmin()) for place in places]
    np.testing.assert_allclose(windows[found], places, atol=1e-6)
    assert len(set(found)) > 20


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_a_canvas_falls_with_frequency_as_asked_and_has_no_long_waves(slope: float) -> None:
    canvas = np.asarray(CanvasNoise(3, side=512, seed=2, slope=slope).canvas, np.float64)
    assert canvas.mean() == pytest.approx(0, abs=1e-6)
    frequency = np.fft.fftfreq(len(canvas))
    radius = np.hypot(frequency[:, None], frequency[None])
    power = np.abs(np.fft.fft2(canvas)) ** 2
    rings = [power[(radius > low) & (radius <= 1.1 * low)].mean() for low in (1 / 64, 1 / 32, 0.15, 0.3)]
    assert rings[3] / rings[2] == pytest.approx(2 ** (-2 * slope), rel=0.1)
    assert rings[0] < 1e-3 * rings[2] * (0.15 * 64) ** (2 * slope)  # what the slope would give is cut off
    assert rings[1] < 0.02 * rings[2] * (0.15 * 32) ** (2 * slope)


@pytest.mark.parametrize("slope", [0.0, 1.5])
def test_no_part_of_a_canvas_comes_again_before_its_side(slope: float) -> None:
    x = torch.zeros(1, 1, 1024, 1024)
    field = CanvasNoise(1, seed=1, slope=slope).eval()(x).detach().double()[0, 0]
    power = torch.fft.fft2(field - field.mean()).abs().square()
    correlation = np.array(torch.fft.ifft2(power).real / torch.fft.ifft2(power).real[0, 0])
    correlation[:16, :16] = correlation[-16:, :16] = correlation[:16, -16:] = correlation[-16:, -16:] = 0
    assert np.abs(correlation).max() < 0.05


def test_canvas_noise_learns_how_much() -> None:
    layer = CanvasNoise(3)
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert layer.gain.grad is not None
    assert layer.gain.grad.abs().min() > 0


def test_a_style_turns_the_noise_off() -> None:
    layer, x, style = CanvasNoise(3, 5).eval(), torch.zeros(1, 3, 8, 8), torch.randn(1, 5)
    torch.testing.assert_close(layer(x.clone(), style), CanvasNoise(3).eval()(x.clone()))  # until it is trained
    assert layer.by_style is not None
    torch.nn.init.constant_(layer.by_style.bias, -1)
    assert layer(x.clone(), style).abs().max() == 0


def test_an_adapter_takes_the_whole_photo_into_account() -> None:
    layer, x, codes = ContentAdapter(4, 5, hidden=6), 3 * torch.randn(1, 4, 8, 8) + 1, torch.randn(1, 3, 5)
    whole = layer(x, codes[:, 0])
    inner = x.mean((2, 3)) @ layer.from_mean.weight.T + layer.from_mean.bias
    inner = inner + x.std((2, 3), correction=0) @ layer.from_std.weight.T + codes[:, 0] @ layer.from_code.weight.T
    expected = codes[:, 0] + F.leaky_relu(inner, 0.2) @ layer.step.weight.T + layer.step.bias
    torch.testing.assert_close(whole, expected)
    assert not torch.allclose(whole, layer(x + 1, codes[:, 0]), atol=1e-4)
    torch.testing.assert_close(layer(x, codes)[:, 0], whole)  # several regions' codes, each for itself
    with Window().entered():
        layer(x, codes[:, 0])
        torch.testing.assert_close(layer(x[:, :, :2], codes[:, 0]), whole)  # a window knows of the whole


def test_the_noise_of_a_region_is_that_of_its_style() -> None:
    layer, x, codes = CanvasNoise(3, 5).eval(), torch.zeros(1, 3, 8, 8), torch.randn(1, 2, 5)
    assert layer.by_style is not None
    torch.nn.init.normal_(layer.by_style.weight)
    left = (torch.arange(64) < 32).expand(1, 1, 64, 64).float()
    regions = Regions(codes, torch.cat([left, 1 - left], dim=1))
    with Window(size=(64, 64), whole=(64, 64), regions=regions).entered():
        painted = layer(x.clone(), codes[:, 0])
    torch.testing.assert_close(painted[..., :4], layer(x.clone(), codes[:, 0])[..., :4])
    torch.testing.assert_close(painted[..., 4:], layer(x.clone(), codes[:, 1])[..., 4:])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pixels_are_convolved_where_they_are_as_after_they_were_moved(layout: torch.memory_format) -> None:
    layer = UnshuffledConv2d(3, 5).double()
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64).contiguous(memory_format=layout)
    expected = F.conv2d(F.pixel_unshuffle(x, 2), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)


def test_conv2d_is_torchs_layer_with_an_activation() -> None:
    ours, theirs = Conv2d(4, 6, 3, stride=2, padding=1, groups=2, act="lrelu"), torch.nn.Conv2d(4, 6, 3, 2, 1, groups=2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 7, 6)
    torch.testing.assert_close(ours(x), F.leaky_relu(theirs(x), 0.2))


@pytest.mark.parametrize("network", [Generator(style_dim=4), Discriminator()])
def test_the_networks_convolve_by_our_op(network: torch.nn.Module) -> None:
    plain = [
        name for name, m in network.named_modules() if isinstance(m, torch.nn.Conv2d) and not isinstance(m, Conv2d)
    ]
    assert plain == []


def test_equalized_layers_are_torchs_with_scaled_weights() -> None:
    conv, x = EqualizedConv2d(4, 6, 3, stride=2, padding=1, act="lrelu", gain=1.5), torch.randn(2, 4, 7, 6)
    expected = 1.5 * F.leaky_relu(F.conv2d(x, conv.weight / 6, conv.bias, stride=2, padding=1), 0.2)
    torch.testing.assert_close(conv(x), expected)
    linear, v = EqualizedLinear(9, 5, bias=0.7, speed=0.01), torch.randn(3, 9)
    torch.testing.assert_close(linear(v), F.linear(v, linear.weight * 0.01 / 3, torch.full((5,), 0.7)))
    assert EqualizedLinear(3, 2, bias=None).bias is None
    with pytest.raises(InputError, match="speed is 0"):
        EqualizedLinear(3, 2, speed=0)


def test_equalized_layers_start_with_unit_deviation() -> None:
    y = EqualizedConv2d(32, 64, 3)(torch.randn(4, 32, 16, 16))
    assert abs(float(y.std()) - 1) < 0.1
    assert abs(float(EqualizedLinear(512, 256, speed=0.01)(torch.randn(64, 512)).std()) - 1) < 0.1


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2)])
def test_blurred_resampling_keeps_constants_and_sizes(size: tuple[int, int]) -> None:
    x = torch.full((2, 3, *size), 1.7)
    up, down = BlurUpsample()(x), BlurDownsample()(x)
    torch.testing.assert_close(up, torch.full((2, 3, 2 * size[0], 2 * size[1]), 1.7))
    torch.testing.assert_close(down, torch.full((2, 3, -(-size[0] // 2), -(-size[1] // 2)), 1.7))


def test_blurred_resampling_is_bilinear_and_the_mean() -> None:
    x = torch.randn(2, 3, 6, 8)
    torch.testing.assert_close(BlurUpsample()(x), F.interpolate(x, scale_factor=2, mode="bilinear"))
    torch.testing.assert_close(BlurUpsample([1, 1])(x), F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(BlurDownsample([1, 1])(x), F.avg_pool2d(x, 2))
    longer = BlurUpsample([1, 2, 3, 3, 2, 1])(x)
    assert longer.shape == (2, 3, 12, 16)
    with pytest.raises(InputError, match="got 3 taps"):
        BlurUpsample([1, 2, 1])


def test_downsampling_removes_what_the_coarse_grid_cannot_hold() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    inner = BlurDownsample()(stripes)[:, :, :, 1:-1]
    assert inner.abs().max() < 1e-6


def test_modulated_convolution_follows_the_style() -> None:
    layer, x, style = ModulatedConv2d(4, 6, 3, style_dim=8, act=None), torch.randn(2, 4, 7, 5), torch.randn(2, 8)
    for i in range(2):
        own = layer.weight * layer.scale * layer.affine(style)[i][None, :, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = F.conv2d(x[i : i + 1], own, padding=1)
        torch.testing.assert_close(layer(x, style)[i : i + 1], expected, atol=1e-5, rtol=1e-4)
    assert ModulatedConv2d(4, 6, 3, style_dim=8, up=2)(x, style).shape == (2, 6, 14, 10)


def test_to_rgb_adds_to_the_picture_below() -> None:
    layer, x, style, below = ToRGB(4, style_dim=8), torch.randn(2, 4, 3, 5), torch.randn(2, 8), torch.randn(2, 3, 3, 5)
    expected = torch.einsum("oi,bi,bihw->bohw", layer.weight[:, :, 0, 0] * layer.scale, layer.affine(style), x)
    torch.testing.assert_close(layer(x, style), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(layer(x, style, below), layer(x, style) + below)


@pytest.mark.parametrize(("batch", "group", "used"), [(8, 4, 4), (6, 4, 3), (1, 4, 1), (2, 4, 2)])
def test_minibatch_deviation_is_the_mean_of_numpys(batch: int, group: int, used: int) -> None:
    x = torch.randn(batch, 3, 4, 5)
    y = MinibatchStdDev(group=group)(x)
    torch.testing.assert_close(y[:, :3], x)
    apart = batch // used
    for i in range(batch):
        deviation = x[i % apart :: apart].numpy().std(axis=0).mean()
        torch.testing.assert_close(y[i, 3], torch.full((4, 5), float(deviation)), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_have_derivatives_in_every_layout(layout: torch.memory_format) -> None:
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    torch.testing.assert_close(moments(x), moments(x.detach()))
    assert torch.autograd.gradcheck(moments, x)


@pytest.mark.parametrize("border", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 4), (12, 7)])
def test_a_frame_is_mirrored_as_far_as_there_is_something_and_the_same_when_exported(
    border: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agnlib.layers import _border, styled

    x = torch.rand(1, 2, *size)
    expected = np.asarray(x)
    for axis, side in zip((2, 3), size, strict=True):
        inner = min(border, side - 1)
        for mode, width in (("reflect", inner), ("edge", border - inner)):
            pad = [(width, width) if each == axis else (0, 0) for each in range(4)]
            expected = np.pad(expected, pad, mode=mode)
    np.testing.assert_array_equal(styled._framed(x, border), expected)
    if border > 2:
        for module in (_border, styled):
            monkeypatch.setattr(module, "is_exporting", lambda: True)
        np.testing.assert_array_equal(styled._framed(x, border), expected)
