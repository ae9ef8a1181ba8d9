"""An op of your own in one of agnlib's layers: a Triton kernel on CUDA, plain PyTorch everywhere else.

    python examples/custom_kernel.py

The op is `shrink(x, threshold)`: features nearer to zero than a threshold become zero, the others move towards it by as
much. The style code sets the threshold of each channel, so a style may leave faint strokes out.

`torch.library` chooses by device. The plain form comes first: it is the specification, and what runs where there is no
kernel. Beside it stand a fake kernel, which gives shapes to `torch.compile`, and the derivative, itself of PyTorch's
operators, so that it can be differentiated again.
"""
# ruff: noqa: N803, PLR0917 - constants of a kernel are in capitals, its arguments have an order

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.layers import Modulation, StyledBottleneck
from agnlib.models import Generator
from agnlib.testing import check_block, check_kernel

HAS_TRITON = importlib.util.find_spec("triton") is not None
# With TRITON_INTERPRET=1 Triton runs its kernels on the CPU, slowly: so they can be tested without a GPU.
DEVICES = ("cuda", "cpu") if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda",)
BLOCK = 1024

if HAS_TRITON:  # a package of several files would keep this in one that is imported when the kernel first runs
    import triton
    import triton.language as tl

    @triton.jit
    def _kernel(x_ptr, threshold_ptr, y_ptr, count, channels, of_picture, of_channel, BLOCK: tl.constexpr):
        # Element i belongs to channel (i // of_channel) % channels of picture i // of_picture, in any memory format.
        i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = i < count
        row = i // of_picture * channels + (i // of_channel) % channels
        x = tl.load(x_ptr + i, mask=inside, other=0.0).to(tl.float32)
        threshold = tl.load(threshold_ptr + row, mask=inside, other=0.0).to(tl.float32)
        y = tl.where(x > threshold, x - threshold, tl.where(x < -threshold, x + threshold, 0.0))
        tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=inside)


def shrink_reference(x: Tensor, threshold: Tensor) -> Tensor:
    """The specification: `sign(x) * max(|x| - threshold, 0)`, computed in float32 or wider.

    Args:
        x: features `(B, C, H, W)`.
        threshold: `(B, C)`, at least 0.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    level = threshold.to(wide.dtype)[:, :, None, None]
    return torch.empty_like(x).copy_(wide.sign() * F.relu(wide.abs() - level))


shrink = torch.library.custom_op("agnlib_examples::shrink", shrink_reference, mutates_args=())


@shrink.register_fake
def _(x: Tensor, threshold: Tensor) -> Tensor:
    return torch.empty_like(x)


def shrink_triton(x: Tensor, threshold: Tensor) -> Tensor:
    """The same in one pass over the features; what the kernel cannot take goes to the reference."""
    if not HAS_TRITON or x.dtype == torch.float64 or x.numel() == 0:
        return shrink_reference(x, threshold)
    y = torch.empty_like(x)
    x = x if x.stride() == y.stride() else torch.empty_like(y).copy_(x)  # y is dense: one index serves both
    channels, of_channel = y.shape[1], y.stride(1) if y.shape[1] > 1 else 1
    grid = (triton.cdiv(y.numel(), BLOCK),)
    with torch.cuda.device_of(x):
        _kernel[grid](
            x, threshold.contiguous(), y, y.numel(), channels, y[0].numel(), of_channel, BLOCK=BLOCK
        )  # fmt: skip
    return y


shrink.register_kernel(DEVICES)(shrink_triton)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    x, threshold = ctx.saved_tensors
    passed = grad * (x.abs() > threshold[:, :, None, None])
    lost = (passed * x.sign()).sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
    return passed, -lost.to(threshold.dtype)


shrink.register_autograd(_backward, setup_context=_setup_context)


class ShrinkModulation(Modulation):
    """agnlib's `Modulation`, and what it leaves nearest to zero is left out, as far as the style code asks for it."""

    def __init__(self, channels: int, style_dim: int, *, act: str | None = None) -> None:
        super().__init__(channels, style_dim, act=act)
        self.threshold = nn.Linear(style_dim, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        threshold = 0.1 * F.softplus(self.threshold(style))
        return shrink(super().forward(x, style), threshold)


class ShrinkGenerator(Generator):
    """A `Generator` whose deepest stage has `ShrinkModulation` in the place of `Modulation`; its reach is the same."""

    def make_block(self, channels: int) -> nn.Module:
        config = self.config
        block = StyledBottleneck(channels, config.style_dim, kernel=config.kernel, expansion=config.expansion)
        block.modulation = ShrinkModulation(channels * config.expansion, config.style_dim, act="lrelu")
        return block


def samples(device: str | torch.device) -> list[tuple[Tensor, Tensor]]:
    """Arguments that a kernel may stumble on: odd shapes, half precision, other memory formats, one channel."""
    torch.manual_seed(0)
    maps = [torch.randn(shape, device=device) for shape in ((2, 5, 7, 3), (1, 1, 1, 1), (3, 1, 4, 9), (2, 64, 20, 20))]
    maps += [maps[0].half(), maps[3].bfloat16(), maps[3].contiguous(memory_format=torch.channels_last)]
    maps += [maps[3][:, ::2], maps[3].mT]
    thresholds = [torch.rand(x.shape[:2], device=device) for x in maps]
    return [(x.detach().requires_grad_(), t.requires_grad_()) for x, t in zip(maps, thresholds, strict=True)]


def main() -> None:
    """Check op and block, and paint with them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    check_kernel(shrink, shrink_reference, samples(device))
    torch.manual_seed(0)
    generator = ShrinkGenerator(channels=(8, 16, 32), blocks=(0, 1, 2)).eval()
    check_block(generator.body[0], channels=32, style_dim=generator.config.style_dim)
    photo, style = torch.rand(1, 3, 40, 56) * 2 - 1, torch.randn(2, generator.config.style_dim)
    with torch.no_grad():
        one, other = (generator.to(device)(None, s[None].to(device), content=photo.to(device)) for s in style)
    print(f"painted {tuple(one.shape)}; two styles differ by {(one - other).abs().mean():.3f} on average")


if __name__ == "__main__":
    main()
