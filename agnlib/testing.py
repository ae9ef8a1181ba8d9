"""Conformance checks for what other people add: a loss, a block, an encoder, a kernel, a trainer of their own.

Each check returns nothing when all is well and otherwise raises an `AssertionError` that says what is wrong; errors of
the thing itself come through with a note where they arose. They need no data, no GPU and no test framework:

    def test_my_loss():
        agnlib.testing.check_loss(MyLoss())
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.training import Batch
from agnlib.training.safety.checkpoint import load_state

if TYPE_CHECKING:
    from agnlib.models import PerceptualEncoder
    from agnlib.training import AdversarialTrainer
    from agnlib.training.objective.terms import Term

__all__ = ["check_block", "check_encoder", "check_kernel", "check_loss", "check_trainer"]

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}  # relative to size 1
_SEED = 1234


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
    name = _name(term)
    for count, height, width in ((2, size, size), (1, size, size + 24)):
        batch, leaf = _batch(count, height, width), _pictures(count, height, width, seed=9).requires_grad_()
        fake, kept = leaf * 1.0, _copies(batch)
        with _told(f"{name} on pictures {tuple(leaf.shape)}"):
            loss, again = (_seeded(term, batch, fake) for _ in range(2))
        _require(isinstance(loss, Tensor), f"{name}: gave a {type(loss).__name__}; expected a tensor with one number")
        _require(loss.shape == (), f"{name}: gave shape {tuple(loss.shape)}; expected one number: take the mean")
        _require(bool(torch.isfinite(loss)), f"{name}: gave {loss.item()} on pictures {tuple(leaf.shape)}")
        _require(leaf.grad is None, f"{name}: calls backward; a loss only gives its number, the trainer calls backward")
        _require(torch.equal(fake, leaf), f"{name}: changes the generated pictures in place; work on a copy")
        _require(_same(batch, kept), f"{name}: changes the batch in place; work on a copy")
        advice = "draw from torch's own generator, or seed one by batch.step, so that a resumed run is exact"
        _require(torch.equal(loss, again), f"{name}: gave {loss}, then {again} for the same pictures; {advice}")
        reason = "it has to depend on the generated pictures"
        _require(loss.requires_grad, f"{name}: the loss has no gradient; {reason}")
        with _told(f"{name}, its gradient"):
            (gradient,) = torch.autograd.grad(loss, leaf, allow_unused=True)
        _require(gradient is not None and bool(gradient.any()), f"{name}: no gradient reaches the pictures; {reason}")
        _require(bool(torch.isfinite(gradient).all()), f"{name}: its gradient is not finite; round off roots at zero")


def check_block(block: nn.Module, *, channels: int, style_dim: int) -> None:
    """Check a block of the generator, a module `(features, style) -> features`, as `Generator.make_block` gives it.

    It has to keep shape and dtype at any size, treat every picture by itself, follow the style code, be repeatable in
    eval mode, and learn: a gradient reaches the features, the style and each of its parameters.

    Args:
        block: to be checked; it is copied first.
        channels: of the features.
        style_dim: width of the style code.

    Raises:
        AssertionError: what it does otherwise.

    Example:
        >>> from agnlib.layers import StyledBottleneck
        >>> check_block(StyledBottleneck(8, 16), channels=8, style_dim=16)
    """
    name, block = _name(block), copy.deepcopy(block)
    rng = torch.Generator().manual_seed(_SEED)
    style = torch.randn(2, style_dim, generator=rng, device="cpu", dtype=torch.float32)
    for height, width in ((8, 8), (5, 13)):
        features = torch.randn(2, channels, height, width, generator=rng, device="cpu", dtype=torch.float32)
        with torch.no_grad(), _told(f"{name} on features {tuple(features.shape)}"):
            block.eval()
            first, again, alone = (
                block(x.clone(), s) for x, s in ((features, style), (features, style), (features[:1], style[:1]))
            )
            other = block(features.clone(), style.roll(1, 0))
        shape, expected = tuple(first.shape), tuple(features.shape)
        _require(shape == expected, f"{name}: gave shape {shape}; expected that of the features, {expected}")
        _require(first.dtype == features.dtype, f"{name}: gave {first.dtype}; expected {features.dtype}")
        _require(bool(torch.isfinite(first).all()), f"{name}: gave values that are not finite")
        _require(torch.equal(first, again), f"{name}: is not repeatable in eval mode; draw only while training")
        _require(_close(first[:1], alone), f"{name}: a picture's result depends on the others in its batch")
        _require(not _close(first, other), f"{name}: two style codes gave the same result; modulate by the style")
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
    name = _name(encoder)
    for attribute in ("channels", "min_size"):
        _require(hasattr(encoder, attribute), f"{name}: has no {attribute}; see agnlib.models.PerceptualEncoder")
    least, channels = encoder.min_size, dict(encoder.channels)
    _require(isinstance(least, int) and least >= 1, f"{name}: min_size is {least!r}; expected a whole number above 0")
    _require(bool(channels), f"{name}: channels is empty; expected {{tap: channels}}")
    if isinstance(encoder, nn.Module):
        trainable = [key for key, p in encoder.named_parameters() if p.requires_grad]
        _require(not trainable, f"{name}: is not frozen ({', '.join(trainable[:3])}); call requires_grad_(False)")
    for height, width in ((least, least), (least + 7, 2 * least + 16)):
        image = _pictures(2, height, width, seed=5).requires_grad_()
        with _told(f"{name} on pictures of {height} x {width} px, where min_size is {least}"):
            features, again = encoder(image), encoder(image)
        _require(isinstance(features, Mapping), f"{name}: gave a {type(features).__name__}; expected {{tap: features}}")
        taps, expected = sorted(features), sorted(channels)
        _require(taps == expected, f"{name}: gave the taps {taps}; expected those of channels, {expected}")
        for tap, found in features.items():
            shape = tuple(found.shape)
            fits = found.ndim == 4 and shape[:2] == (2, channels[tap]) and min(shape[2:]) >= 1
            _require(fits, f"{name}: {tap} has shape {shape}; expected (2, {channels[tap]}, h, w)")
            _require(bool(torch.isfinite(found).all()), f"{name}: {tap} has values that are not finite")
            _require(torch.equal(found, again[tap]), f"{name}: {tap} is not repeatable; call eval()")
            _require(not torch.equal(found[0], found[1]), f"{name}: {tap} is the same for different pictures")
            total = found.float().sum()
            reached = total.requires_grad and torch.autograd.grad(total, image, retain_graph=True)[0].any()
            _require(bool(reached), f"{name}: no gradient goes from {tap} to the picture; leave out no_grad()")


def check_kernel(kernel: Callable[..., Any], reference: Callable[..., Any], samples: Iterable[tuple[Any, ...]]) -> None:
    """Check a kernel against the op's reference, which is its specification: same arguments, same results.

    For each sample the shapes and dtypes have to be equal and the values agree to the precision of the dtype; what
    comes in stays as it is; and where a floating argument requires a gradient, the gradients agree as well.

    Args:
        kernel: what is checked, such as an op inside `agnlib.ops.backend("triton")`.
        reference: for an op of ours `agnlib.ops.backend("reference")` and the same function.
        samples: tuples of arguments; give small and odd shapes, all dtypes, and slices that are not contiguous.

    Raises:
        AssertionError: what differs, for which sample, and by how much.

    Example:
        >>> samples = [(torch.randn(2, 3, 5, requires_grad=True),)]
        >>> check_kernel(lambda x: x.clamp_min(0), torch.relu, samples)
        >>> check_kernel(lambda x: x.abs(), torch.relu, samples)
        Traceback (most recent call last):
        AssertionError: <lambda>, sample 0: the result is off by ...
    """
    name, count = _name(kernel), 0
    for count, sample in enumerate(samples, start=1):
        where = f"{name}, sample {count - 1}"
        kept = [value.detach().clone() if isinstance(value, Tensor) else value for value in sample]
        with _told(where):
            found, wanted = _flat(kernel(*sample)), _flat(reference(*sample))
        for before, after in zip(kept, sample, strict=True):
            same = not isinstance(after, Tensor) or torch.equal(before, after.detach())
            _require(same, f"{where}: an argument was changed in place; write to a new tensor")
        _require(len(found) == len(wanted), f"{where}: gave {len(found)} tensors; the reference {len(wanted)}")
        for one, other in zip(found, wanted, strict=True):
            _compare(f"{where}: the result", one, other)
        inputs = [value for value in sample if isinstance(value, Tensor) and value.requires_grad]
        if inputs:
            _compare_gradients(where, found, wanted, inputs)
    _require(count > 0, f"{name}: there were no samples; give at least one tuple of arguments")


def check_trainer(make: Callable[[], AdversarialTrainer], *, size: int = 24, steps: int = 6) -> None:
    """Check a trainer's subclass, or one with callbacks and terms of its own, in a few steps on random pictures.

    Its numbers have to be finite; its loss methods give dicts of single numbers and call no backward; the generated
    pictures have the size of the real ones; what is frozen stays frozen; a step whose losses are not finite is skipped
    and got over; the same start gives the same run; and a run that is interrupted, saved, loaded into a new trainer and
    continued gives bit for bit the weights and rates of one that is not. What a subclass remembers from step to step
    belongs in `get_extra_state`, or the last will fail.

    Args:
        make: gives a new trainer, with new networks and callbacks, the same each time.
        size: side of the pictures in pixels.
        steps: of the whole run, at least 2; enough that everything of the trainer's has happened.

    Raises:
        AssertionError: what it does otherwise.
        AgnError: errors of the trainer itself.
    """
    subject = make()
    name = type(subject).__name__
    with tempfile.TemporaryDirectory() as folder:
        batches = [_batch(4, size, size, seed=step, labels=_labels(subject)) for step in range(steps)]
        whole, again, begun = Path(folder, "whole"), Path(folder, "again"), Path(folder, "begun")
        _check_losses(name, make(), batches[-1])
        frozen = _frozen(subject)
        with _told(f"{name}, {steps} steps"):
            logs = subject.fit(batches, steps=steps)
        bad = [key for key, value in logs.items() if not math.isfinite(value)]
        _require(not bad, f"{name}: {', '.join(bad)} is not finite after {steps} steps")
        _check_frozen(name, subject, frozen)
        _check_gets_over(name, make(), batches)
        subject.save_checkpoint(whole)
        second = make()
        _require(second is not subject, f"{name}: make() gave the same trainer twice; make a new one each time")
        second.fit(batches, steps=steps)
        second.save_checkpoint(again)
        advice = "seed what it draws by config.seed, and let make() seed the networks"
        _compare_runs(f"{name}: the same start does not give the same run", whole, again, advice)
        first, resumed = make(), make()
        first.fit(batches[: steps // 2], steps=steps)
        first.save_checkpoint(begun)
        with _told(f"{name}, a checkpoint loaded"):
            resumed.load_checkpoint(begun)
        resumed.fit(batches[steps // 2 :], steps=steps)
        resumed.save_checkpoint(again)
        advice = "give what it remembers from step to step in get_extra_state"
        _compare_runs(f"{name}: a resumed run is not the whole run", whole, again, advice)


# -- inside -----------------------------------------------------------------------------------------------------------


def _check_block_learns(name: str, block: nn.Module, features: Tensor, style: Tensor) -> None:
    inputs = {"the features": features.clone().requires_grad_(), "the style": style.clone().requires_grad_()}
    with _told(f"{name} while training"):
        # the sum of squares, since what is normalised has the same sum whatever it was made from
        (block(inputs["the features"] * 1.0, inputs["the style"]) * torch.randn_like(features)).sum().backward()
    for what, value in inputs.items():
        _require(value.grad is not None and bool(value.grad.any()), f"{name}: no gradient reaches {what}")
    idle = [key for key, p in block.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"{name}: no gradient reaches {', '.join(idle)}; use them or leave them out")


def _check_losses(name: str, trainer: AdversarialTrainer, batch: Batch) -> None:
    with _told(f"{name}.generate"):
        fake = trainer.generate(batch)
    expected = tuple(batch.style.shape)
    _require(tuple(fake.shape) == expected, f"{name}.generate: gave {tuple(fake.shape)}; expected {expected}")
    batch.fake = fake.detach()
    trainer.step = trainer.config.warmup + trainer.config.adversarial_ramp + 1  # everything is switched on
    methods: dict[str, Callable[[], Mapping[str, Tensor]]] = {
        "discriminator_loss": lambda: trainer.discriminator_loss(batch, fake.detach()),
        "discriminator_penalty": lambda: trainer.discriminator_penalty(batch),
        "generator_loss": lambda: trainer.generator_loss(batch, fake),
    }
    for method, call in methods.items():
        with _told(f"{name}.{method}"):
            losses = call()
        _require(isinstance(losses, Mapping), f"{name}.{method}: gave a {type(losses).__name__}; expected a dict")
        for key, value in losses.items():
            scalar = isinstance(value, Tensor) and value.shape == ()
            _require(scalar, f"{name}.{method}: {key!r} is no tensor with one number; take the mean")
        grown = [key for key, m in trainer._modules().items() if any(p.grad is not None for p in m.parameters())]
        _require(not grown, f"{name}.{method}: calls backward; it only gives its numbers, the trainer calls backward")


def _frozen(trainer: AdversarialTrainer) -> dict[str, Tensor | None]:
    """Copies of the parameters that are frozen by name, and None for the others."""
    named = ((f"{role}.{key}", p) for role, m in trainer._modules().items() for key, p in m.named_parameters())
    return {name: None if p.requires_grad else p.detach().clone() for name, p in named}


def _check_frozen(name: str, trainer: AdversarialTrainer, before: Mapping[str, Tensor | None]) -> None:
    after = _frozen(trainer)
    changed = [key for key in before if (before[key] is None) != (after[key] is None)]
    _require(not changed, f"{name}: freezes or thaws {', '.join(changed[:3])}; leave requires_grad as it was")
    moved = [key for key, old in before.items() if old is not None and not torch.equal(old, _given(after[key]))]
    _require(not moved, f"{name}: moves {', '.join(moved[:3])}, which is frozen; leave it out")


def _given(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _check_gets_over(name: str, trainer: AdversarialTrainer, batches: list[Batch]) -> None:
    """One step whose losses are all NaN: it is skipped, and those after it are not."""
    losses = {method: getattr(trainer, method) for method in ("generator_loss", "discriminator_loss")}
    for method, whole in losses.items():
        setattr(trainer, method, lambda *given, whole=whole: {key: v * math.nan for key, v in whole(*given).items()})
    with _told(f"{name}, a step whose losses are nan"):
        trainer.fit(batches[:1], steps=len(batches))
    bad = trainer.skipped_steps
    for method in losses:
        delattr(trainer, method)
    with _told(f"{name}, the steps after one whose losses were nan"):
        trainer.fit(batches[1:], steps=len(batches))
    advice = "let no number of a bad step stay in what it remembers"
    _require(trainer.skipped_steps == bad, f"{name}: does not get over one step whose losses are nan; {advice}")
    torn = [key for role in trainer._modules().values() for key, p in role.named_parameters() if not p.isfinite().all()]
    _require(not torn, f"{name}: a step whose losses are nan spoils {', '.join(torn[:3])}; {advice}")


def _compare_runs(what: str, first: Path, second: Path, advice: str) -> None:
    (tensors, meta), (others, other_meta) = load_state(first), load_state(second)
    rates, other_rates = meta["options"], other_meta["options"]
    _require(rates == other_rates, f"{what}: the optimizers' options are {other_rates}, not {rates}; {advice}")
    differing = sorted(key for key in tensors if key not in others or not torch.equal(tensors[key], others[key]))
    missing = sorted(set(others) - set(tensors))
    found = [*differing, *missing]
    _require(not found, f"{what}: {', '.join(found[:3])} ({len(found)} in all) differ; {advice}")


def _compare(what: str, found: Tensor, wanted: Tensor) -> None:
    _require(found.shape == wanted.shape, f"{what} has shape {tuple(found.shape)}; expected {tuple(wanted.shape)}")
    _require(found.dtype == wanted.dtype, f"{what} is {found.dtype}; expected {wanted.dtype}")
    if not wanted.is_floating_point():
        _require(torch.equal(found, wanted), f"{what} differs")
        return
    one, other = found.detach().double(), wanted.detach().double()
    _require(torch.equal(one.isfinite(), other.isfinite()), f"{what} is not finite at the same places")
    apart = torch.where(other.isfinite(), (one - other).abs(), 0)
    allowed = _TOLERANCE.get(wanted.dtype, 1e-4)
    scale = max(1.0, float(torch.where(other.isfinite(), other.abs(), 0).max())) if other.numel() else 1.0
    worst = float(apart.max()) if apart.numel() else 0.0
    limit = allowed * scale
    _require(worst <= limit, f"{what} is off by {worst:.3g}; at most {limit:.3g} for {wanted.dtype}")


def _compare_gradients(where: str, found: list[Tensor], wanted: list[Tensor], inputs: list[Tensor]) -> None:
    differentiable = [index for index, value in enumerate(wanted) if value.requires_grad]
    missing = [index for index in differentiable if not found[index].requires_grad]
    _require(not missing, f"{where}: has no gradient; register one, or fall back where one is needed")
    rng = torch.Generator().manual_seed(_SEED)
    weights = [
        torch.randn(wanted[index].shape, generator=rng, device="cpu", dtype=torch.float32).to(wanted[index])
        for index in differentiable
    ]
    gradients = [
        torch.autograd.grad([values[index] for index in differentiable], inputs, weights, allow_unused=True)
        for values in (found, wanted)
    ]
    for index, (one, other) in enumerate(zip(*gradients, strict=True)):
        _require((one is None) == (other is None), f"{where}: gradient {index} is there in one of the two alone")
        if one is not None:
            _compare(f"{where}: gradient {index}", one, other)


def _flat(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [each for each in result if isinstance(each, Tensor)]


def _pictures(count: int, height: int, width: int, *, seed: int) -> Tensor:
    """Smooth pictures in [-1, 1], each with colours of its own."""
    coarse = (
        torch.rand(
            count, 3, 5, 5, generator=torch.Generator().manual_seed(_SEED + seed), device="cpu", dtype=torch.float32
        )
        * 2
        - 1
    )
    return F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def _batch(count: int, height: int, width: int, *, seed: int = 0, labels: int = 0) -> Batch:
    content, style = (_pictures(count, height, width, seed=1000 * seed + salt) for salt in (1, 2))
    label = torch.arange(count, device="cpu") % labels if labels else None
    return Batch(content, style, label, step=seed)


def _labels(trainer: AdversarialTrainer) -> int:
    return trainer.discriminator.config.num_classes or trainer.generator.config.num_classes or 0


def _copies(batch: Batch) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in vars(batch).items() if isinstance(value, Tensor)}


def _same(batch: Batch, copies: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(getattr(batch, name), value) for name, value in copies.items())


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _seeded(term: Term, batch: Batch, fake: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return term(batch, fake)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say at which check an error of the thing that is checked arose."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{where}: raised {type(error).__name__}: {error}") from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _name(thing: object) -> str:
    return getattr(thing, "__name__", type(thing).__name__)
