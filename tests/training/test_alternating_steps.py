"""The networks' turns: whose gradients count, what stays frozen, whose rates are taken, and what losses have to be."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor, nn
from toy import batches

from agnlib.errors import InputError, TrainingError, WeightsError
from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.testing import check_trainer
from agnlib.training import AdversarialTrainer, Batch, Weighted

Optimizers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]


def strong(batch: Batch, fake: Tensor) -> Tensor:
    return 30 * (fake - 0.5).square().mean()


def make(
    cls: type[AdversarialTrainer] = AdversarialTrainer,
    *,
    terms: Mapping[str, Any] | None = None,
    change: Callable[..., None] = lambda **networks: None,
    **options: Any,
) -> AdversarialTrainer:
    networks = toy.networks()
    change(**networks)
    terms = {"mine": strong} if terms is None else terms
    return toy.trainer(cls, given=networks, terms=terms, **toy.AT_ONCE, identity_every=10, **options)


def weights(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


class GeneratorAlone(AdversarialTrainer):
    """Its optimizer has the generator's parameters, not the extractor's."""

    def configure_optimizers(self) -> Optimizers:
        return torch.optim.SGD(self.generator.parameters(), 0.1), torch.optim.SGD(self.discriminator.parameters(), 0.1)


class Stepped(AdversarialTrainer):
    """A tenth of the rate after every step."""

    def configure_optimizers(self) -> Optimizers:
        pair = super().configure_optimizers()
        self.schedule = torch.optim.lr_scheduler.StepLR(pair[0], 1, gamma=0.1)
        return pair

    def on_step_end(self, logs: Mapping[str, float]) -> None:
        self.schedule.step()

    def get_extra_state(self) -> dict[str, Any]:
        state = self.schedule.state_dict()
        return {name: state[name] for name in ("last_epoch", "_step_count")}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.schedule.load_state_dict(dict(state))


class Memory(AdversarialTrainer):
    """Adafactor, whose moments are rows and columns."""

    def configure_optimizers(self) -> Optimizers:
        parts = [[p for p in m.parameters() if p.requires_grad] for m in (self._trained(), self.discriminator)]
        return torch.optim.Adafactor(parts[0]), torch.optim.Adafactor(parts[1])


# -- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_of_what_is_not_trained_do_not_count() -> None:
    """With plain SGD the clipped step has the length rate x clip: all of it is the generator's own."""
    subject = make(GeneratorAlone, adversarial=0.0, clip_gradient=1e-3, final_lr=1.0)
    for batch in batches(0, 3):
        before = weights(subject.generator)
        subject.fit([batch], steps=9)
        moved = [new - old for new, old in zip(weights(subject.generator), before, strict=True)]
        assert float(nn.utils.get_total_norm(moved)) == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_one_nan_is_got_over_where_an_optimizer_has_a_part() -> None:
    calls = []

    def once(batch: Batch, fake: Tensor) -> Tensor:
        calls.append(1)
        return strong(batch, fake) * (math.nan if len(calls) == 3 else 1)

    subject = make(GeneratorAlone, terms={"mine": once})
    subject.fit(batches(0, 12), steps=12)
    assert subject.skipped_steps == 1


def test_a_parameter_of_a_term_is_clipped_with_the_others() -> None:
    own = nn.Parameter(torch.tensor(1.0))

    class Learned(AdversarialTrainer):
        def configure_optimizers(self) -> Optimizers:
            second = super().configure_optimizers()[1]
            return torch.optim.SGD([*self.generator.parameters(), own], 0.1), second

    terms = {"mine": lambda batch, fake: fake.mean() * 1e-6 + 1000 * own}
    make(Learned, terms=terms, adversarial=0.0, clip_gradient=1.0, final_lr=1.0).fit(batches(0, 2), steps=9)
    assert float(own.detach()) == pytest.approx(1 - 2 * 0.1, rel=1e-4)  # and forgotten after each step


# -- frozen layers ----------------------------------------------------------------------------------------------------


def freeze_first(discriminator: Discriminator, **_: nn.Module) -> None:
    discriminator.scales[0].down[0].requires_grad_(False)


def test_layers_that_the_user_froze_stay_as_they_are() -> None:
    subject = make(change=freeze_first)
    first, last = subject.discriminator.scales[0].down[0], subject.discriminator.scales[0].logit
    before, other = weights(first), weights(last)
    subject.fit(batches(0, 4), steps=4)
    assert not any(p.requires_grad for p in first.parameters())
    assert all(p.requires_grad for p in last.parameters())
    assert all(map(torch.equal, before, weights(first)))
    assert not all(map(torch.equal, other, weights(last)))


def test_a_discriminator_that_is_frozen_as_a_whole_only_judges() -> None:
    subject = make(change=lambda discriminator, **_: discriminator.requires_grad_(False))
    before, generator = weights(subject.discriminator), weights(subject.generator)
    logs = subject.fit(batches(0, 2), steps=2)
    assert all(map(torch.equal, before, weights(subject.discriminator)))
    assert not all(map(torch.equal, generator, weights(subject.generator)))
    assert subject.skipped_steps == 0
    assert logs["discriminator/adversarial"] > 0


# -- optimizers and their schedules -----------------------------------------------------------------------------------


def taken_rates(subject: AdversarialTrainer) -> list[float]:
    rates: list[float] = []
    subject.generator_optimizer.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    return rates


def test_a_scheduler_of_ones_own_and_the_trainers_go_together() -> None:
    subject = make(Stepped, final_lr=0.2)
    rates = taken_rates(subject)
    subject.fit(batches(0, 4), steps=4)
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates == pytest.approx([1.2e-3 * 0.1**step * share for step, share in enumerate(cosine)])
    assert subject.generator_optimizer.param_groups[0]["lr"] == pytest.approx(1.2e-7)  # between steps the scheduler's


def test_a_step_that_fails_leaves_the_schedulers_rate() -> None:
    subject = make(final_lr=0.2)
    subject.progress = 0.5
    optimizer = subject.generator_optimizer
    optimizer.register_step_pre_hook(lambda *_: (_ for _ in ()).throw(ArithmeticError("mine")))
    with pytest.raises(ArithmeticError, match="mine"):
        subject.fit(batches(0, 1), minutes=1)
    assert optimizer.param_groups[0]["lr"] == subject.config.lr_generator


@pytest.mark.parametrize("cls", [Stepped, Memory, GeneratorAlone])
def test_a_resumed_run_is_the_run_that_was_never_stopped(cls: type[AdversarialTrainer], tmp_path: Path) -> None:
    whole, first, second = make(cls), make(cls), make(cls)
    whole.fit(batches(0, 4), steps=4)
    first.fit(batches(0, 2), steps=4)
    first.save_checkpoint(tmp_path / "half.safetensors")
    second.load_checkpoint(tmp_path / "half.safetensors")
    assert (
        second.generator_optimizer.state_dict()["param_groups"]
        == first.generator_optimizer.state_dict()["param_groups"]
    )
    second.fit(batches(2, 4), steps=4)
    whole.save_checkpoint(tmp_path / "whole.safetensors")
    second.save_checkpoint(tmp_path / "other.safetensors")
    toy.assert_same_state(tmp_path / "whole.safetensors", tmp_path / "other.safetensors")


def test_a_configured_rate_is_that_of_the_resumed_run(tmp_path: Path) -> None:
    first = make()
    first.fit(batches(0, 1), steps=2)
    first.save_checkpoint(tmp_path / "c.safetensors")
    second = make(lr_generator=5e-4)
    with pytest.warns(RuntimeWarning, match=r"other options \(lr_generator\)"):
        second.load_checkpoint(tmp_path / "c.safetensors")
    assert second.generator_optimizer.param_groups[0]["lr"] == 5e-4


def test_moments_of_another_optimizer_or_order_are_refused(tmp_path: Path) -> None:
    class Backwards(AdversarialTrainer):
        def configure_optimizers(self) -> Optimizers:
            mine = [p for p in self._trained().parameters() if p.requires_grad]
            return torch.optim.Adam(mine[::-1]), torch.optim.Adam(self.discriminator.parameters())

    first = make()
    first.fit(batches(0, 1), steps=2)
    first.save_checkpoint(tmp_path / "c.safetensors")
    for cls in (Memory, Backwards):
        second = make(cls)
        before = weights(second.generator)
        with pytest.raises(WeightsError, match="the generator's optimizer was Adam of"):
            second.load_checkpoint(tmp_path / "c.safetensors")
        assert all(map(torch.equal, before, weights(second.generator)))


# -- conformance ------------------------------------------------------------------------------------------------------


def says(words: str) -> pytest.RaisesExc[AssertionError]:
    return pytest.raises(AssertionError, match=words)


@pytest.mark.parametrize("cls", [Stepped, Memory, GeneratorAlone])
def test_check_trainer_takes_these(cls: type[AdversarialTrainer]) -> None:
    check_trainer(lambda: make(cls, change=freeze_first), size=16, steps=4)


def test_check_trainer_tells_what_breaks_a_promise() -> None:
    class Thaws(AdversarialTrainer):
        def training_step(self, batch: Batch) -> dict[str, float]:
            self.discriminator.requires_grad_(True)
            return super().training_step(batch)

    class Remembers(AdversarialTrainer):
        mean = 0.0

        def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
            losses = super().generator_loss(batch, fake)
            return {**losses, "drift": 1e-6 * (self.mean + losses["mine"])}

        def on_step_end(self, logs: Mapping[str, float]) -> None:
            self.mean += logs["generator/mine"]

        def get_extra_state(self) -> dict[str, Any]:
            return {"mean": self.mean}

        def set_extra_state(self, state: Mapping[str, Any]) -> None:
            self.mean = state["mean"]

    class Forgets(Stepped):
        def get_extra_state(self) -> dict[str, Any]:
            return {}

        def set_extra_state(self, state: Mapping[str, Any]) -> None:
            self.generator_optimizer.param_groups[0]["lr"] = 1.0

    with says(r"Thaws: freezes or thaws discriminator\.scales\.0\.down\.0\.weight"):
        check_trainer(lambda: make(Thaws, change=freeze_first), size=16, steps=2)
    with says("Remembers: does not get over one step whose losses are nan"):
        check_trainer(lambda: make(Remembers), size=16, steps=3)
    with says("Forgets: a resumed run is not the whole run"):
        check_trainer(lambda: make(Forgets), size=16, steps=2)


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adversarial", "feature_matching", "identity", "uniformity"])
def test_a_term_is_not_called_as_a_loss_of_the_trainers(name: str) -> None:
    with pytest.raises(InputError, match=rf"the term '{name}' has the name of a loss that the trainer adds itself"):
        make(terms={name: strong})


def test_a_name_in_two_dicts_is_an_error() -> None:
    class Penalty(AdversarialTrainer):
        def discriminator_penalty(self, batch: Batch) -> dict[str, Tensor]:
            return {"adversarial": self.discriminator(batch.style).mean()}

    class Judged(AdversarialTrainer):
        def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
            losses = super().discriminator_loss(batch, fake)
            return {**losses, "real": losses["adversarial"]}

    with pytest.raises(InputError, match="discriminator_loss and discriminator_penalty: the name 'adversarial' is"):
        make(Penalty).fit(batches(0, 1), steps=1)
    with pytest.raises(InputError, match="discriminator_loss: the name 'discriminator/real' is there twice"):
        make(Judged).fit(batches(0, 1), steps=1)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (lambda b, f: f.mean().reshape(1), r"a tensor of the shape \(1,\); expected one number: take the mean"),
        (lambda b, f: f, r"a tensor of the shape \(2, 3, 16, 16\); expected one number"),
        (lambda b, f: 0.3, "a float; expected a tensor with one number"),
        (lambda b, f: None, "a NoneType; expected a tensor with one number"),
        (lambda b, f: (f.mean(), {}), "a tuple; expected a tensor with one number"),
        (lambda b, f: torch.tensor(3), "a number of type torch.int64; expected a floating-point number"),
    ],
)
def test_a_loss_that_is_no_number_is_named(term: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"the term 'mine' gave {words}"):
        make(terms={"mine": term}).fit(batches(0, 1), steps=1)

    class Own(AdversarialTrainer):
        def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
            return {"own": term(batch, fake)}

    with pytest.raises(InputError, match=f"discriminator_loss: the loss 'own' gave {words}"):
        make(Own).fit(batches(0, 1), steps=1)


def test_losses_that_are_no_dict_or_have_no_gradient_are_named() -> None:
    class Bare(AdversarialTrainer):
        def generator_loss(self, batch: Batch, fake: Tensor) -> Any:
            return fake.mean()

    with pytest.raises(InputError, match="generator_loss gave a Tensor; expected a dict of named numbers"):
        make(Bare).fit(batches(0, 1), steps=1)
    with pytest.raises(InputError, match="generator_loss: no gradient goes from 'mine' to what is trained"):
        make(terms={"mine": lambda b, f: f.detach().mean()}, adversarial=0.0).fit(batches(0, 1), steps=1)


# -- batches and copies -----------------------------------------------------------------------------------------------


def test_all_of_a_batch_moves() -> None:
    picture = torch.zeros(2, 3, 8, 8)
    whole = Batch(picture, picture, torch.zeros(2), code=torch.zeros(2, 4), fake=picture, extras={"mask": picture})
    moved = whole.to("meta")
    tensors = (moved.content, moved.style, moved.label, moved.code, moved.fake, moved.extras["mask"])
    assert [str(each.device) for each in tensors if each is not None] == ["meta"] * 6
    assert moved.style.is_contiguous(memory_format=torch.channels_last)


def test_a_trainer_is_copied_after_steps_and_both_go_on_alike() -> None:
    subject = make(latent_probability=1.0)
    subject.fit(batches(0, 2), steps=4)
    assert subject.latest is not None
    code = subject.latest[0].code
    assert code is not None
    assert code.grad_fn is None
    twin = copy.deepcopy(subject)
    for each in (subject, twin):
        each.fit(batches(2, 4), steps=4)
    assert all(map(torch.equal, weights(subject.generator), weights(twin.generator)))
    assert all(map(torch.equal, weights(subject.discriminator), weights(twin.discriminator)))


def test_the_copy_of_a_variational_trainer_keeps_no_graph() -> None:
    extractor = StyleExtractor(16, variational=True, hidden=16, taps=("block0",))
    subject = toy.trainer(given={"extractor": extractor}, **toy.AT_ONCE)
    subject.fit(batches(0, 1), steps=1)
    assert subject.latest is not None
    assert subject.latest[0].distribution is not None
    assert subject.latest[0].distribution.loc.grad_fn is None
    assert copy.deepcopy(subject).step == 1


# -- what comes out can be loaded -------------------------------------------------------------------------------------


def weight_norm(network: nn.Module) -> nn.Module:
    for module in list(network.modules()):
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim == 4:
            nn.utils.parametrizations.weight_norm(module)
    return network


def compiled(network: nn.Module) -> Any:
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize("change", [weight_norm, compiled])
def test_what_a_wrapped_generator_learned_is_loaded(change: Callable[..., Any], tmp_path: Path) -> None:
    networks = toy.networks()
    generator = networks["generator"] = change(networks["generator"])
    networks["discriminator"] = compiled(networks["discriminator"])
    subject = toy.trainer(given=networks, **toy.AT_ONCE)
    subject.fit(batches(0, 2), steps=2)
    trained = {"generator": subject.averaged_generator, "discriminator": subject.discriminator}
    for network in (generator, *trained.values()):
        pretrained.save(tmp_path, {network.role: network})
        assert all(
            map(torch.equal, weights(type(pretrained.uncompiled(network)).from_pretrained(tmp_path)), computed(network))
        )
    if change is compiled:  # a checkpoint is that of the plain network
        subject.save_checkpoint(tmp_path / "c.safetensors")
        other = toy.trainer(classes=None, **toy.AT_ONCE)
        other.load_checkpoint(tmp_path / "c.safetensors")
        assert all(map(torch.equal, weights(other.generator), weights(pretrained.uncompiled(generator))))


def computed(network: Any) -> list[Tensor]:
    """The network's weights in the order of a plain one, read as its layers read them."""
    plain = pretrained.uncompiled(network)
    names = type(plain)(**vars(plain.config)).state_dict()
    return [getattr(plain.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]


def test_a_network_that_could_not_be_loaded_is_refused_beforehand(tmp_path: Path) -> None:
    def add(generator: Generator, **_: nn.Module) -> None:
        generator.mine = nn.Linear(1, 1)

    with pytest.raises(
        InputError, match=r"the generator has other parts than a Generator .*\(mine\.bias, mine\.weight\)"
    ):
        make(change=add)

    class Own(Generator):
        def __init__(self) -> None:
            super().__init__(8, 16, **toy.TINY)

    Own().save_pretrained(tmp_path)  # its parts are a Generator's
    assert Generator.from_pretrained(tmp_path).config.style_dim == 16


# -- reading processes ------------------------------------------------------------------------------------------------


class Killed(torch.utils.data.Dataset[Batch]):
    """Its reading process is killed at the third batch."""

    def __getitem__(self, index: int) -> Batch:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return batches(index, index + 1)[0]


def train_with_a_reader_that_is_killed() -> None:
    subject = make()
    read = torch.utils.data.DataLoader(Killed(), batch_size=None, sampler=range(5), num_workers=1)
    with pytest.raises(TrainingError, match=r"ended by the system \(DataLoader worker .*fewer processes \(--workers 0"):
        subject.fit(read, steps=5)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert all(torch.isfinite(value).all() for value in weights(subject.generator))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in another way")
def test_a_reading_process_that_is_killed_is_explained() -> None:
    # in a process of its own: PyTorch's handler of SIGCHLD may speak of the dead one again, when other tests are on
    assert toy.in_new_process(train_with_a_reader_that_is_killed) == 0


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1, "a", None, True])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(InputError, match=r"Weighted: weight is .*; expected a number from 0"):
        Weighted(lambda batch, fake: fake.mean(), weight)


def test_a_checkpoint_is_loaded_in_inference_mode_and_trained_on(tmp_path: Path) -> None:
    first = make()
    first.fit(batches(0, 2), steps=2)
    first.save_checkpoint(tmp_path / "c.safetensors")
    first.fit(batches(2, 4), steps=4)
    second = make()
    with torch.inference_mode():
        second.load_checkpoint(tmp_path / "c.safetensors")
    second.fit(batches(2, 4), steps=4)
    for one, other in zip(weights(first.generator), weights(second.generator), strict=True):
        assert torch.equal(one, other)


# -- before a step ----------------------------------------------------------------------------------------------------


class Halving:
    """A callback that halves the generator's gradients, and keeps their norms."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: AdversarialTrainer, optimizer: torch.optim.Optimizer) -> None:
        if optimizer is trainer.generator_optimizer:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            torch._foreach_mul_(gradients, 0.5)
            self.norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))


def test_gradients_can_be_changed_before_a_step_and_the_log_has_their_norm() -> None:
    subject, halving = make(GeneratorAlone, adversarial=0.0, clip_gradient=math.inf, final_lr=1.0), Halving()
    plain = make(GeneratorAlone, adversarial=0.0, clip_gradient=math.inf, final_lr=1.0)
    before = weights(subject.generator)
    subject.callbacks = (halving,)
    (batch,) = batches(0, 1)
    logs, usual = (each.fit([batch], steps=9, progress=False) for each in (subject, plain))
    assert logs["generator/gradient_norm"] == pytest.approx(halving.norms[0])
    assert usual["generator/gradient_norm"] == pytest.approx(2 * halving.norms[0], rel=1e-4)
    moved = [new - old for new, old in zip(weights(subject.generator), before, strict=True)]
    assert float(nn.utils.get_total_norm(moved)) == pytest.approx(0.1 * halving.norms[0], rel=1e-3)


def test_a_term_named_as_the_norm_is_refused() -> None:
    with pytest.raises(InputError, match="gradient_norm"):
        make(terms={"gradient_norm": strong})
