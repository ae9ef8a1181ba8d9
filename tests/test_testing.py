"""The conformance checks: our own pieces and examples pass, and each way of being wrong is told by name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toy import trainer

from agnlib.layers import StyledBottleneck, StyledConv
from agnlib.models import Generator
from agnlib.models.efficientnet_lite import EfficientNetLiteTrunk
from agnlib.models.vgg import VGG16Trunk
from agnlib.ops import adain, bias_act
from agnlib.ops import backend as ops_backend
from agnlib.testing import check_block, check_encoder, check_kernel, check_loss, check_trainer
from agnlib.training import AdversarialTrainer, Batch, Weighted
from agnlib.training.callbacks import LogScalars
from agnlib.training.objective.terms import PaletteTerm, PatchNCETerm, guided_smoothness_term, smoothness_term

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def says(words: str) -> pytest.RaisesExc[AssertionError]:
    return pytest.raises(AssertionError, match=words)


# -- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["custom_loss", "custom_block", "custom_encoder", "custom_kernel", "custom_trainer"])
def test_our_examples_pass_and_run(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    importlib.import_module(name).main()  # each checks what it adds before it uses it
    assert re.fullmatch(r"[^\n]+\d\.\d\d\d[^\n]*\n", capsys.readouterr().out)


# -- losses -----------------------------------------------------------------------------------------------------------


def test_our_terms_pass() -> None:
    generator = Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1))
    for term in (PaletteTerm(), PatchNCETerm(generator.content_features, "quarter"), smoothness_term):
        check_loss(term)
    check_loss(guided_smoothness_term, size=96)


def calls_backward(batch: Batch, fake: Tensor) -> Tensor:
    fake.square().mean().backward(retain_graph=True)
    return fake.square().mean()


def changes_the_picture(batch: Batch, fake: Tensor) -> Tensor:
    loss = fake.square().mean()
    fake.data.clamp_(-0.1, 0.1)
    return loss


def changes_the_batch(batch: Batch, fake: Tensor) -> Tensor:
    batch.style.mul_(0.5)
    return (fake - batch.style).square().mean()


class Forgetful:
    """Gives another number at every call."""

    calls = 0

    def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
        self.calls += 1
        return self.calls * fake.mean()


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (lambda batch, fake: fake.square(), r"gave shape \(2, 3, 64, 64\); expected one number"),
        (lambda batch, fake: fake.mean().item(), "gave a float; expected a tensor"),
        (lambda batch, fake: fake.mean() * float("nan"), "gave nan"),
        (lambda batch, fake: (fake.detach() - batch.style).square().mean(), "no gradient; it has to depend"),
        (lambda batch, fake: (fake * 0).mean(), "no gradient reaches the pictures"),
        (lambda batch, fake: (fake * 0).square().sum().sqrt(), "gradient is not finite|no gradient reaches"),
        (lambda batch, fake: (fake - fake.mT).abs().mean(), r"on pictures \(1, 3, 64, 88\): raised RuntimeError"),
        (calls_backward, "calls_backward: calls backward"),
        (changes_the_picture, "changes the generated pictures in place"),
        (changes_the_batch, "changes the batch in place"),
        (Forgetful(), r"Forgetful: gave .*, then .*; draw from torch's own generator"),
    ],
)  # fmt: skip
def test_wrong_losses_are_told(term: Callable[[Batch, Tensor], Any], words: str) -> None:
    with says(words):
        check_loss(term)


def test_a_loss_may_draw_from_torch_s_own_generator() -> None:
    check_loss(lambda batch, fake: (fake * torch.rand_like(fake)).mean())


# -- blocks -----------------------------------------------------------------------------------------------------------


def test_our_blocks_pass_and_are_left_alone() -> None:
    block = StyledBottleneck(8, 16)
    check_block(block, channels=8, style_dim=16)
    assert all(p.grad is None for p in block.parameters())
    assert block.training
    check_block(StyledConv(8, 8, 16), channels=8, style_dim=16)


class Wrong(nn.Module):
    """A block that is sound but for one thing."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.calls = fault, 0
        self.conv, self.affine = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(16, 8)
        self.idle = nn.Linear(2, 2) if fault == "idle" else None

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        self.calls += 1
        shift = self.affine(style)[:, :, None, None]
        if self.fault == "no style":
            shift = shift * 0
        if self.fault == "detached style":
            shift = shift.detach()
        y = features + self.conv(features.detach() if self.fault == "detached" else features) + shift
        if self.fault == "detached":
            y = y - features
        if self.fault == "shape":
            y = y[:, :, 1:]
        if self.fault == "square":
            y = y + y.mT
        if self.fault == "half":
            y = y.half()
        if self.fault == "batch":
            y = y - y.mean((0, 2, 3), keepdim=True)
        if self.fault == "noise":
            y = y + torch.randn_like(y)
        return y / 0 if self.fault == "infinite" else y


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("shape", r"gave shape \(2, 8, 7, 8\); expected that of the features"),
        ("square", r"on features \(2, 8, 5, 13\): raised RuntimeError"),
        ("half", "gave torch.float16"),
        ("infinite", "not finite"),
        ("noise", "not repeatable in eval mode"),
        ("batch", "depends on the others in its batch"),
        ("no style", "two style codes gave the same result"),
        ("detached style", "no gradient reaches the style"),
        ("detached", "no gradient reaches the features"),
        ("idle", r"no gradient reaches idle\.weight, idle\.bias"),
    ],
)
def test_wrong_blocks_are_told(fault: str, words: str) -> None:
    check_block(Wrong("none"), channels=8, style_dim=16)
    with says(words):
        check_block(Wrong(fault), channels=8, style_dim=16)


# -- encoders ---------------------------------------------------------------------------------------------------------


def test_our_encoders_pass() -> None:
    check_encoder(EfficientNetLiteTrunk(0, ("block0", "block2")).requires_grad_(False))
    check_encoder(VGG16Trunk(("relu1_1", "relu2_1")).requires_grad_(False))


class WrongEncoder:
    """An encoder that is sound but for one thing."""

    def __init__(self, fault: str) -> None:
        self.fault, self.calls = fault, 0
        self.channels, self.min_size = {"a": 3, "b": 3}, 4 if fault == "min_size" else 8
        if fault == "no channels":
            del self.channels

    def __call__(self, image: Tensor) -> Any:
        self.calls += 1
        if self.fault == "no gradient":
            image = image.detach()
        a, b = F.avg_pool2d(image, 2), F.avg_pool2d(image, 8)
        faults: dict[str, Callable[[], Any]] = {
            "tuple": lambda: (a, b),
            "taps": lambda: {"a": a, "c": b},
            "width": lambda: {"a": a, "b": b[:, :2]},
            "flat": lambda: {"a": a, "b": b.mean((2, 3))},
            "infinite": lambda: {"a": a, "b": b / 0},
            "drifting": lambda: {"a": a, "b": b + self.calls},
            "constant": lambda: {"a": a, "b": b * 0 + 1},
        }
        return faults.get(self.fault, lambda: {"a": a, "b": b})()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no channels", "has no channels"),
        ("min_size", "of 4 x 4 px, where min_size is 4: raised RuntimeError"),
        ("tuple", "gave a tuple; expected {tap: features}"),
        ("taps", r"gave the taps \['a', 'c'\]; expected those of channels, \['a', 'b'\]"),
        ("width", r"b has shape \(2, 2, 1, 1\); expected \(2, 3, h, w\)"),
        ("flat", r"b has shape \(2, 3\)"),
        ("infinite", "b has values that are not finite"),
        ("drifting", "b is not repeatable"),
        ("constant", "b is the same for different pictures"),
        ("no gradient", "no gradient goes from a to the picture"),
    ],
)
def test_wrong_encoders_are_told(fault: str, words: str) -> None:
    check_encoder(WrongEncoder("none"))
    with says(words):
        check_encoder(WrongEncoder(fault))


def test_an_encoder_that_is_not_frozen_is_told() -> None:
    with says("is not frozen"):
        check_encoder(EfficientNetLiteTrunk(0, ("block0",)))


# -- kernels ----------------------------------------------------------------------------------------------------------


def test_our_fast_forms_pass() -> None:
    def referred(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*arguments: Tensor) -> Tensor:
            with ops_backend("reference"):
                return op(*arguments)

        return run

    maps = [torch.randn(2, 6, *size).requires_grad_() for size in ((5, 7), (1, 1), (16, 3))]
    check_kernel(bias_act, referred(bias_act), [(x, torch.randn(6, requires_grad=True)) for x in maps])
    codes = torch.randn(2, 2, 6)
    samples = [(x, *(c.clone().requires_grad_() for c in codes)) for x in maps if x[0, 0].numel() > 1]
    check_kernel(adain, referred(adain), samples)


def twice(x: Tensor) -> Tensor:
    return 2 * x


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * gradient


def in_place(x: Tensor) -> Tensor:
    result = 2 * x
    x.detach().zero_()
    return result


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (lambda x: 2.01 * x, r"sample 0: the result is off by .*; at most"),
        (lambda x: (2 * x).double(), "the result is torch.float64; expected torch.float32"),
        (lambda x: (2 * x)[None], r"the result has shape \(1, 3, 4\); expected \(3, 4\)"),
        (lambda x: (2 * x, x), "gave 2 tensors; the reference 1"),
        (lambda x: torch.where(x > 0, 2 * x, torch.inf), "not finite at the same places"),
        (lambda x: 2 * x.detach(), "has no gradient"),
        (WrongGradient.apply, "gradient 0 is off by"),
        (in_place, "an argument was changed in place"),
        (lambda x: x.no_such_thing(), "raised AttributeError"),
    ],
)
def test_wrong_kernels_are_told(kernel: Callable[..., Any], words: str) -> None:
    sample = (torch.randn(3, 4, requires_grad=True),)
    check_kernel(twice, twice, [sample])
    with says(words):
        check_kernel(kernel, twice, [sample])


def test_precision_goes_by_the_dtype() -> None:
    rough = torch.linspace(-1, 1, 9)
    check_kernel(lambda x: (1.02 * x.float()).to(x.dtype), lambda x: x, [(rough.bfloat16(),)])
    with says("off by"):
        check_kernel(lambda x: 1.02 * x, lambda x: x, [(rough,)])
    with says("no samples"):
        check_kernel(twice, twice, [])


# -- trainers ---------------------------------------------------------------------------------------------------------


def make(kind: type[AdversarialTrainer] = AdversarialTrainer, **named: Any) -> Callable[[], AdversarialTrainer]:
    options = {"terms": {}, "adversarial_ramp": 0, "identity_every": 4, **named}
    return partial(trainer, kind, given={"extractor": None}, **options)


def test_the_trainer_itself_passes(tmp_path: Path) -> None:
    terms = {"palette": Weighted(PaletteTerm(), 1.0)}
    check_trainer(make(callbacks=[LogScalars(tmp_path / "log.jsonl", every=2)], terms=terms))


class Remembers(AdversarialTrainer):
    """What it learns depends on a number that no checkpoint has."""

    seen = 0.0

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        return {**super().generator_loss(batch, fake), "more": (1 + self.seen) * fake.square().mean()}

    def on_step_end(self, logs: Mapping[str, float]) -> None:
        self.seen += 1


class Random(AdversarialTrainer):
    """Draws from a generator of its own that nobody seeds alike."""

    rng = torch.Generator().manual_seed(3)

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        weight = torch.rand((), generator=self.rng)
        return {**super().generator_loss(batch, fake), "more": weight * fake.square().mean()}


class Backward(AdversarialTrainer):
    def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        losses = super().discriminator_loss(batch, fake)
        sum(losses.values()).backward(retain_graph=True)  # type: ignore[union-attr]
        return losses


class NotScalar(AdversarialTrainer):
    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        return {"each": fake.square().mean((1, 2, 3))}


class NoDict(AdversarialTrainer):
    def discriminator_penalty(self, batch: Batch) -> Any:
        return torch.zeros(())


class Smaller(AdversarialTrainer):
    def generate(self, batch: Batch) -> Tensor:
        return super().generate(batch)[:, :, ::2, ::2]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Remembers, r"Remembers: a resumed run is not the whole run: .* differ; give what .*get_extra_state"),
        (Random, "Random: the same start does not give the same run: .*seed what it draws"),
        (Backward, "Backward.discriminator_loss: calls backward"),
        (NotScalar, "NotScalar.generator_loss: 'each' is no tensor with one number"),
        (NoDict, "NoDict.discriminator_penalty: gave a Tensor; expected a dict"),
        (Smaller, r"Smaller.generate: gave \(4, 3, 12, 12\); expected \(4, 3, 24, 24\)"),
    ],
)
def test_wrong_trainers_are_told(kind: type[AdversarialTrainer], words: str) -> None:
    with says(words):
        check_trainer(make(kind))


def test_a_make_that_makes_nothing_new_is_told() -> None:
    subject = make()()
    with says("gave the same trainer twice"):
        check_trainer(lambda: subject)
