"""Layers: shapes, what the code does to the statistics, and no grid from upsampling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from agnlib.layers import CanvasNoise, Modulation, PatchScale, StyledBottleneck, StyledConv, SubPixelUpsample, Upsample


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


def test_canvas_noise_learns_how_much() -> None:
    layer = CanvasNoise(3)
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert layer.gain.grad is not None
    assert layer.gain.grad.abs().min() > 0
