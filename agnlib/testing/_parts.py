"""Checks of what a training is made of: a loss, a block, an encoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agnlib.testing._common import SEED, batch_of, name_of, pictures, require, told
from agnlib.training import Batch

if TYPE_CHECKING:
    from agnlib.models import PerceptualEncoder
    from agnlib.training.objective.terms import Term

__all__ = ["check_block", "check_encoder", "check_loss"]


def check_loss(term: Term, *, size: int = 64) -> None:
    """Check a term of the generator's loss, a callable `(batch, fake) -> scalar`.

    It has to give one finite number that depends on the generated pictures, with a gradient that reaches them; leave
    the batch and the pictures as they are; call no backward; give the same number again; and take batches of one
    picture and pictures that are not square.

    Args:
        term: to be checked.
        size: side of the pictures in pixels; raise it for encoders that need more.

    Raises:
        AssertionError: what it does otherwise.

    Example:
        >>> check_loss(lambda batch, fake: (fake - batch.style).abs().mean())
        >>> check_loss(lambda batch, fake: batch.style.mean())
        Traceback (most recent call last):
        AssertionError: <lambda>: the loss has no gradient; it has to depend on the generated pictures
    """
    name = name_of(term)
    for count, height, width in ((2, size, size), (1, size, size + 24)):
        batch, leaf = batch_of(count, height, width), pictures(count, height, width, seed=9).requires_grad_()
        fake, kept = leaf * 1.0, _copies(batch)
        with told(f"{name} on pictures {tuple(leaf.shape)}"):
            loss, again = (_seeded(term, batch, fake) for _ in range(2))
        require(isinstance(loss, Tensor), f"{name}: gave a {type(loss).__name__}; expected a tensor with one number")
        require(loss.shape == (), f"{name}: gave shape {tuple(loss.shape)}; expected one number: take the mean")
        require(bool(torch.isfinite(loss)), f"{name}: gave {loss.item()} on pictures {tuple(leaf.shape)}")
        require(leaf.grad is None, f"{name}: calls backward; a loss only gives its number, the trainer calls backward")
        require(torch.equal(fake, leaf), f"{name}: changes the generated pictures in place; work on a copy")
        require(_same(batch, kept), f"{name}: changes the batch in place; work on a copy")
        advice = "draw from torch's own generator, or seed one by batch.step, so that a resumed run is exact"
        require(torch.equal(loss, again), f"{name}: gave {loss}, then {again} for the same pictures; {advice}")
        reason = "it has to depend on the generated pictures"
        require(loss.requires_grad, f"{name}: the loss has no gradient; {reason}")
        with told(f"{name}, its gradient"):
            (gradient,) = torch.autograd.grad(loss, leaf, allow_unused=True)
        require(gradient is not None and bool(gradient.any()), f"{name}: no gradient reaches the pictures; {reason}")
        require(bool(torch.isfinite(gradient).all()), f"{name}: its gradient is not finite; round off roots at zero")


def check_block(block: nn.Module, *, channels: int, style_dim: int) -> None:
    """Check a block of the generator, a module `(features, style) -> features`, as `Generator.make_block` gives it.

    It has to keep shape and dtype at any size, treat every picture by itself, follow the style code, be repeatable in
    eval mode, and learn: a gradient reaches the features, the style and each of its parameters.

    Args:
        block: to be checked, such as `generator.body[0]` of a generator whose class makes it; it is copied first.
        channels: of the features, those of the generator's deepest stage.
        style_dim: width of the style code, `generator.config.style_dim`.

    Raises:
        AssertionError: what it does otherwise.

    Example:
        >>> from agnlib.layers import StyledBottleneck
        >>> check_block(StyledBottleneck(8, 16), channels=8, style_dim=16)
    """
    name, block = name_of(block), copy.deepcopy(block)
    rng = torch.Generator().manual_seed(SEED)
    style = torch.randn(2, style_dim, generator=rng, device="cpu", dtype=torch.float32)
    for height, width in ((8, 8), (5, 13)):
        features = torch.randn(2, channels, height, width, generator=rng, device="cpu", dtype=torch.float32)
        with torch.no_grad(), told(f"{name} on features {tuple(features.shape)}"):
            block.eval()
            first, again, alone = (
                block(x.clone(), s) for x, s in ((features, style), (features, style), (features[:1], style[:1]))
            )
            other = block(features.clone(), style.roll(1, 0))
        shape, expected = tuple(first.shape), tuple(features.shape)
        require(shape == expected, f"{name}: gave shape {shape}; expected that of the features, {expected}")
        require(first.dtype == features.dtype, f"{name}: gave {first.dtype}; expected {features.dtype}")
        require(bool(torch.isfinite(first).all()), f"{name}: gave values that are not finite")
        require(torch.equal(first, again), f"{name}: is not repeatable in eval mode; draw only while training")
        require(_close(first[:1], alone), f"{name}: a picture's result depends on the others in its batch")
        require(not _close(first, other), f"{name}: two style codes gave the same result; modulate by the style")
    _check_block_learns(name, block.train(), features, style)


def check_encoder(encoder: PerceptualEncoder) -> None:
    """Check a perceptual encoder: `channels`, `min_size`, and features by name of pictures `(B, 3, H, W)` in [-1, 1].

    It has to take pictures from `min_size` on, square or not; give for each name in `channels` finite features with so
    many channels; be repeatable; differ between pictures; and let a gradient through to the picture.

    Raises:
        AssertionError: what it does otherwise.

    Example:
        >>> from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk
        >>> check_encoder(EfficientNetLiteTrunk(0, ("block0",)).requires_grad_(False))
    """
    name = name_of(encoder)
    for attribute in ("channels", "min_size"):
        require(hasattr(encoder, attribute), f"{name}: has no {attribute}; see agnlib.models.PerceptualEncoder")
    least, channels = encoder.min_size, dict(encoder.channels)
    require(isinstance(least, int) and least >= 1, f"{name}: min_size is {least!r}; expected a whole number above 0")
    require(bool(channels), f"{name}: channels is empty; expected {{tap: channels}}")
    if isinstance(encoder, nn.Module):
        trainable = [key for key, p in encoder.named_parameters() if p.requires_grad]
        require(not trainable, f"{name}: is not frozen ({', '.join(trainable[:3])}); call requires_grad_(False)")
    for height, width in ((least, least), (least + 7, 2 * least + 16)):
        image = pictures(2, height, width, seed=5).requires_grad_()
        with told(f"{name} on pictures of {height} x {width} px, where min_size is {least}"):
            features, again = encoder(image), encoder(image)
        require(isinstance(features, Mapping), f"{name}: gave a {type(features).__name__}; expected {{tap: features}}")
        taps, expected = sorted(features), sorted(channels)
        require(taps == expected, f"{name}: gave the taps {taps}; expected those of channels, {expected}")
        for tap, found in features.items():
            shape = tuple(found.shape)
            fits = found.ndim == 4 and shape[:2] == (2, channels[tap]) and min(shape[2:]) >= 1
            require(fits, f"{name}: {tap} has shape {shape}; expected (2, {channels[tap]}, h, w)")
            require(bool(torch.isfinite(found).all()), f"{name}: {tap} has values that are not finite")
            require(torch.equal(found, again[tap]), f"{name}: {tap} is not repeatable; call eval()")
            require(not torch.equal(found[0], found[1]), f"{name}: {tap} is the same for different pictures")
            total = found.float().sum()
            reached = total.requires_grad and torch.autograd.grad(total, image, retain_graph=True)[0].any()
            require(bool(reached), f"{name}: no gradient goes from {tap} to the picture; leave out no_grad()")


def _check_block_learns(name: str, block: nn.Module, features: Tensor, style: Tensor) -> None:
    inputs = {"the features": features.clone().requires_grad_(), "the style": style.clone().requires_grad_()}
    with told(f"{name} while training"):
        # the sum of squares, since what is normalized has the same sum whatever it was made from
        (block(inputs["the features"] * 1.0, inputs["the style"]) * torch.randn_like(features)).sum().backward()
    for what, value in inputs.items():
        require(value.grad is not None and bool(value.grad.any()), f"{name}: no gradient reaches {what}")
    idle = [key for key, p in block.named_parameters() if p.requires_grad and p.grad is None]
    require(not idle, f"{name}: no gradient reaches {', '.join(idle)}; use them or leave them out")


def _copies(batch: Batch) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in vars(batch).items() if isinstance(value, Tensor)}


def _same(batch: Batch, copies: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(getattr(batch, name), value) for name, value in copies.items())


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _seeded(term: Term, batch: Batch, fake: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return term(batch, fake)
