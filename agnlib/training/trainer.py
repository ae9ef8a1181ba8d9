"""The adversarial trainer: discriminator and generator take turns, every loss has a name."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError, TrainingDivergedError, WeightsError
from agnlib.losses import hinge_discriminator_loss, hinge_generator_loss, r1_penalty
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training.callbacks import call_hooks, check_hooks
from agnlib.training.checkpoint import flatten_optimizer, load_state, restore_optimizer, save_state
from agnlib.training.data import Batch
from agnlib.training.dice import LayerDice
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.terms import SharedEncoder, TargetCache, Weighted

__all__ = ["AdversarialTrainer", "TrainerConfig"]

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class TrainerConfig:
    """Options of `AdversarialTrainer`; learning rates fall along half a cosine to `final_lr` of their start.

    `warmup` steps of plain reconstruction come first (reference = photo, L1), and one step in `identity_every` stays
    so. The penalty is taken every `penalty_every` steps with its weight multiplied by as much.
    """

    lr_generator: float = 1.2e-3
    lr_discriminator: float = 6e-4
    betas: tuple[float, float] = (0.5, 0.99)
    final_lr: float = 0.03
    ema_decay: float = 0.999
    adversarial: float = 0.5
    wrong_code: float = 0.5
    penalty: float = 0.1
    penalty_every: int = 16
    identity: float = 1.0
    identity_every: int = 10
    warmup: int = 250
    adversarial_ramp: int = 500
    clip_gradient: float = 1.0
    latent_probability: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("lr_generator", "lr_discriminator", "clip_gradient"):
            if getattr(self, name) <= 0:
                raise InputError(f"TrainerConfig: {name} is {getattr(self, name)}; expected more than 0")
        for name in ("penalty_every", "identity_every"):
            if getattr(self, name) < 1:
                raise InputError(f"TrainerConfig: {name} is {getattr(self, name)}; expected at least 1")


class AdversarialTrainer:
    """Trains generator and extractor against a discriminator.

    Override `configure_optimizers`, `generate`, `discriminator_loss`, `discriminator_penalty`, `generator_loss`,
    `training_step`, or the hooks `on_fit_start`, `on_step_end(logs)`, `on_checkpoint(path)`, `on_fit_end`. A loss
    method gives a dict of named, weighted scalars, empty where there is nothing to learn, and never calls backward.
    Papers: Goodfellow et al., 2014 (the game); Lim and Ye, 2017 (hinge); Mescheder et al., 2018 (the penalty).

    Args:
        generator, discriminator, extractor: the networks; without an extractor the codes come from the latent.
        terms: `{name: Weighted(term, weight)}` of the generator's loss, each term a callable `(batch, fake) -> scalar`.
        callbacks: objects with any of the four hooks, called with the trainer first.
        config: see `TrainerConfig`.
        device: where to train.

    Raises:
        InputError: widths of the networks that do not fit each other, or a callback with an unknown hook.

    Example:
        >>> from agnlib.training import AdversarialTrainer, Batch
        >>> trainer = AdversarialTrainer(Generator(), Discriminator(), StyleExtractor())
        >>> picture = torch.rand(2, 3, 32, 32) * 2 - 1
        >>> batch = Batch(content=picture, style=picture.flip(0), label=torch.zeros(2, dtype=torch.long))
        >>> logs = trainer.fit([batch], steps=1)
        >>> sorted(logs)
        ['generator/identity']
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        extractor: StyleExtractor | None = None,
        *,
        terms: Mapping[str, Weighted] | None = None,
        callbacks: Sequence[object] = (),
        config: TrainerConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config or TrainerConfig()
        self.device = torch.device(device)
        widths = {"generator": generator.config.style_dim, "discriminator": discriminator.config.style_dim}
        if extractor is not None:
            widths["extractor"] = extractor.config.style_dim
        if len(set(widths.values())) > 1:
            raise InputError(f"AdversarialTrainer: style_dim differs: {widths}; expected one width for all")
        self.generator = self._place(generator)
        self.discriminator = self._place(discriminator)
        self.extractor = None if extractor is None else self._place(extractor)
        self.terms = dict(terms or {})
        self.callbacks = tuple(callbacks)
        check_hooks(self.callbacks)
        self.step, self.progress, self.skipped_steps = 0, 0.0, 0
        self._failures = {"generator": 0, "discriminator": 0}  # in a row
        self._judged: Tensor | None = None  # the last mean logits of real and of generated pictures
        self._dice = torch.Generator().manual_seed(self.config.seed)
        self._layer_dice = LayerDice(self.config.seed + 1, self.device)
        self._statistics = TargetCache(256 << 20, torch.float32)
        self.generator_optimizer, self.discriminator_optimizer = self.configure_optimizers()
        self.ema = ExponentialMovingAverage(self._trained(), self.config.ema_decay)

    # -- to override ----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """The optimizers of generator (with extractor) and discriminator."""
        config = self.config
        trained = [p for p in self._trained().parameters() if p.requires_grad]
        return (
            torch.optim.Adam(trained, lr=config.lr_generator, betas=config.betas),
            torch.optim.Adam(self.discriminator.parameters(), lr=config.lr_discriminator, betas=config.betas),
        )

    def generate(self, batch: Batch) -> Tensor:
        """The generator's picture for a batch, `(B, 3, H, W)`; may fill in `batch.code`."""
        latent = None
        if self.extractor is None or torch.rand((), generator=self._dice) < self.config.latent_probability:
            shape = len(batch.content), self.generator.config.latent_dim
            latent = torch.randn(shape, generator=self._dice).to(self.device)
        batch.code = self._codes(batch, latent)
        fake: Tensor = self.generator(latent, batch.code, content=batch.content)
        return fake

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Named, weighted losses of the discriminator; `fake` is detached."""
        code = None if batch.code is None else batch.code.detach()
        label = self._label(batch)
        real_logits = self.discriminator.patch_logits(batch.style, label, code)
        fake_logits = self.discriminator.patch_logits(fake, label, code)
        losses = {"adversarial": hinge_discriminator_loss(real_logits, fake_logits)}
        means = [torch.stack([m.mean() for m in maps]).mean() for maps in (real_logits, fake_logits)]
        self._judged = torch.stack(means).detach()
        if code is not None and len(code) > 1 and self.config.wrong_code > 0:
            other = None if label is None else label.roll(1)
            wrong = self.discriminator.patch_logits(batch.style, other, code.roll(1, 0))
            losses["wrong_code"] = self.config.wrong_code * torch.stack([F.relu(1 + w).mean() for w in wrong]).mean()
        return losses

    def discriminator_penalty(self, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted penalties of the discriminator, taken every `config.penalty_every` steps."""
        real = batch.style.detach().requires_grad_()
        code = None if batch.code is None else batch.code.detach()
        weight = self.config.penalty * self.config.penalty_every
        return {"r1": weight * r1_penalty(self.discriminator(real, self._label(batch), code), real)}

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Named, weighted losses of the generator."""
        if batch.identity:
            return {"identity": self.config.identity * F.l1_loss(fake, batch.content)}
        losses = {}
        for name, weighted in self.terms.items():
            weight = weighted.weight_at(self.step)
            if weight > 0:
                losses[name] = weight * weighted.term(batch, fake)
        ramp = min(1.0, max(0, self.step - self.config.warmup) / max(1, self.config.adversarial_ramp))
        if self.config.adversarial * ramp > 0:
            code = None if batch.code is None else batch.code.detach()
            logits = self.discriminator.patch_logits(fake, self._label(batch), code)
            losses["adversarial"] = self.config.adversarial * ramp * hinge_generator_loss(logits)
        return losses

    def training_step(self, batch: Batch) -> dict[str, float]:
        """One turn of each network; the named losses as numbers."""
        if self.step < self.config.warmup or self.step % self.config.identity_every == 0:
            batch = batch.as_identity()
        fake = self.generate(batch)
        logs = {} if batch.identity else self._discriminator_turn(batch, fake)
        logs |= self._generator_turn(batch, fake)
        return logs

    def on_fit_start(self) -> None:
        """Called before the first step of a fit."""

    def on_step_end(self, logs: Mapping[str, float]) -> None:
        """Called after every step with its named numbers."""

    def on_checkpoint(self, path: Path) -> None:
        """Called after a checkpoint was written."""

    def on_fit_end(self) -> None:
        """Called after the last step of a fit, also when it was cut short by an error."""

    # -- final ----------------------------------------------------------------------------------------------------

    @final
    def fit(
        self, batches: Iterable[Batch], *, steps: int | None = None, minutes: float | None = None
    ) -> dict[str, float]:
        """Train until `steps` steps in all are done, `minutes` have passed or the batches end, whichever comes first.

        Learning rates follow `progress`, the larger of two shares: of `steps` that are done, and of the time. The
        time's goes to 1 in the `minutes` of this call, from where the last fit or the loaded checkpoint had come to.

        Args:
            batches: what to train on; `agnlib.training.loader` makes one from folders.
            steps: total of the whole run, those before a resume counted in.
            minutes: of this call.

        Returns:
            The last step's named numbers.

        Raises:
            InputError: neither limit is given.
            TrainingDivergedError: a network had no finite loss or gradient five times in a row.
        """
        if steps is None and minutes is None:
            raise InputError("fit: got neither steps nor minutes; give at least one of them")
        self._call("on_fit_start")
        started, before, logs = time.monotonic(), self.progress, {}
        coming = iter(batches)
        try:
            while True:
                spent = (time.monotonic() - started) / 60
                if (steps is not None and self.step >= steps) or (minutes is not None and spent >= minutes):
                    break
                batch = next(coming, None)  # not before the check: what is taken is trained on
                if batch is None:
                    break
                by_time = before + (1 - before) * spent / minutes if minutes else 0.0
                self.progress = min(1.0, max(self.step / steps if steps else 0.0, by_time))
                logs = self._whole_step(batch)
                self._call("on_step_end", logs)
        finally:
            self._call("on_fit_end")
        return logs

    @final
    def save_checkpoint(self, path: str | Path) -> None:
        """Write everything that the next step depends on into one file.

        Raises:
            WeightsError: the file cannot be written; the old one is untouched.
        """
        tensors = {f"ema.{k}": v for k, v in self.ema.module.state_dict().items()}
        for name, module in self._modules().items():
            tensors |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        tensors |= flatten_optimizer("generator_optimizer", self.generator_optimizer)
        tensors |= flatten_optimizer("discriminator_optimizer", self.discriminator_optimizer)
        tensors["dice"] = self._dice.get_state()
        tensors |= {f"layer_dice.{name}": state for name, state in self._layer_dice.states.items()}
        meta = {
            "step": self.step,
            "progress": self.progress,
            "ema_updates": self.ema.updates,
            "skipped_steps": self.skipped_steps,
            "config": asdict(self.config),
        }
        save_state(path, tensors, meta)
        self._call("on_checkpoint", Path(path))

    @final
    def load_checkpoint(self, path: str | Path) -> None:
        """Go back to where a checkpoint was written.

        Raises:
            WeightsError: the file is corrupt or belongs to other networks; nothing was changed.
        """
        tensors, meta = load_state(path)
        targets = self._modules() | {"ema": self.ema.module}
        for name, module in targets.items():
            expected = {f"{name}.{k}": v.shape for k, v in module.state_dict().items()}
            found = {k: v.shape for k, v in tensors.items() if k.startswith(f"{name}.")}
            if expected != found:
                wrong = sorted(set(expected.items()) ^ set(found.items()))[0][0]
                raise WeightsError(
                    f"{path} belongs to other networks: {wrong} does not fit; give the options of that run"
                )
        for name, module in targets.items():
            module.load_state_dict({k: tensors[f"{name}.{k}"] for k in module.state_dict()})
        restore_optimizer("generator_optimizer", self.generator_optimizer, tensors)
        restore_optimizer("discriminator_optimizer", self.discriminator_optimizer, tensors)
        self._dice.set_state(tensors["dice"])
        states = {k: v for k, v in tensors.items() if k.startswith("layer_dice.")}
        self._layer_dice.restore({k.removeprefix("layer_dice."): v for k, v in states.items()})
        self.step, self.progress = int(meta["step"]), float(meta["progress"])
        self.ema.updates, self.skipped_steps = int(meta["ema_updates"]), int(meta["skipped_steps"])
        self._failures = dict.fromkeys(self._failures, 0)

    @property
    def averaged_generator(self) -> Generator:
        """The generator with averaged weights, in eval mode: the one to use and to ship."""
        return cast("Generator", self.ema.module["generator"])

    @property
    def averaged_extractor(self) -> StyleExtractor | None:
        """The extractor with averaged weights, in eval mode."""
        return cast("StyleExtractor | None", dict(self.ema.module.items()).get("extractor"))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _place(self, module: Network) -> Network:
        return module.to(self.device).to(memory_format=torch.channels_last).train()

    def _trained(self) -> nn.ModuleDict:
        modules: dict[str, nn.Module] = {"generator": self.generator}
        if self.extractor is not None:
            modules["extractor"] = self.extractor
        return nn.ModuleDict(modules)

    def _modules(self) -> dict[str, nn.Module]:
        return {**dict(self._trained().items()), "discriminator": self.discriminator}

    def _codes(self, batch: Batch, latent: Tensor | None) -> Tensor:
        if self.extractor is None:
            assert latent is not None
            return self.generator.sample_style(latent)
        if self.extractor.config.variational:
            return self.extractor.distribution(batch.style).rsample()
        if not self.extractor.config.frozen_trunk:
            code: Tensor = self.extractor(batch.style)
            return code
        extractor = self.extractor
        (statistics,) = self._statistics.get(batch.style_keys, lambda: [extractor.statistics(batch.style)])
        return extractor.encode(statistics)

    def _label(self, batch: Batch) -> Tensor | None:
        return None if self.discriminator.config.num_classes is None else batch.label

    def _whole_step(self, batch: Batch) -> dict[str, float]:
        factor = self.config.final_lr + (1 - self.config.final_lr) * (1 + math.cos(math.pi * self.progress)) / 2
        for optimizer, rate in (
            (self.generator_optimizer, self.config.lr_generator),
            (self.discriminator_optimizer, self.config.lr_discriminator),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        with self._layer_dice.in_use():
            logs = self.training_step(batch.to(self.device))
        for term in self.terms.values():
            encoder = getattr(term.term, "encoder", None)
            if isinstance(encoder, SharedEncoder):
                encoder.forget()
        self.step += 1
        return logs

    def _discriminator_turn(self, batch: Batch, fake: Tensor) -> dict[str, float]:
        losses = self.discriminator_loss(batch, fake.detach())
        if self.step % self.config.penalty_every == 0:
            losses |= self.discriminator_penalty(batch)
        logs = self._update("discriminator", losses, self.discriminator_optimizer, self.discriminator)
        if self._judged is not None:
            logs |= {"discriminator/real": float(self._judged[0]), "discriminator/fake": float(self._judged[1])}
        return logs

    def _generator_turn(self, batch: Batch, fake: Tensor) -> dict[str, float]:
        self.discriminator.requires_grad_(False)
        try:
            losses = self.generator_loss(batch, fake)
            trained = self._trained()
            logs = self._update("generator", losses, self.generator_optimizer, trained)
        finally:
            self.discriminator.requires_grad_(True)
        if self._failures["generator"] == 0:
            self.ema.update(trained)
        return logs

    def _update(
        self, phase: str, losses: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, module: nn.Module
    ) -> dict[str, float]:
        if not losses:  # before the adversary fades in, a generator without terms has nothing to learn
            return {}
        optimizer.zero_grad(set_to_none=True)
        total = torch.stack(list(losses.values())).sum()
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(module.parameters(), self.config.clip_gradient)
        if torch.isfinite(total) and torch.isfinite(norm):
            optimizer.step()
            self._failures[phase] = 0
        else:
            self._failures[phase] += 1
            self.skipped_steps += 1
            if self._failures[phase] >= 5:
                values = {name: float(value.detach()) for name, value in losses.items()}
                raise TrainingDivergedError(
                    f"the {phase}'s loss or gradient was not finite five times in a row, last at step {self.step}:"
                    f" {values}; lower the learning rate or the weight of the term that is not finite"
                )
        return {f"{phase}/{name}": float(value.detach()) for name, value in losses.items()}

    def _call(self, hook: str, *arguments: object) -> None:
        getattr(self, hook)(*arguments)
        call_hooks(self.callbacks, hook, self, *arguments)
