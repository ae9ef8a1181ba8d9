"""The adversarial trainer: discriminator and generator take turns, every loss has a name."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib._shared.gradients import with_gradients
from agnlib.engines._device import resolve_device
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.models.pretrained import uncompiled
from agnlib.training._alternating_steps import (
    backward,
    forget_gradients,
    frozen,
    joined,
    named_parameters,
    parameters_of,
    rate_factor,
    slowed,
    stepped,
)
from agnlib.training._argument_checks import (
    check_networks,
    checked_config,
    checked_optimizers,
    learning,
    name_skipped,
    placed,
    reached,
    started,
    taken,
)
from agnlib.training._generator_step import generated, knows_labels, of_this_step, paint, seen
from agnlib.training._save_and_load import load, save
from agnlib.training._shown import shown
from agnlib.training._weighted_terms import forget_pictures, weighted_losses, weighted_terms
from agnlib.training.callbacks import call_hooks, check_hooks
from agnlib.training.config import TrainerConfig
from agnlib.training.data._reading import naming_ended_readers, next_batch
from agnlib.training.data.pairs import Batch
from agnlib.training.distributed import World, batch_draws
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.objective.adversarial_objective import AdversarialObjective
from agnlib.training.objective.terms import TargetCache, Term, Weighted
from agnlib.training.safety.divergence import DivergenceGuard, gradient_norm, name_the_bad
from agnlib.training.safety.random_state import LayerRng
from agnlib.training.safety.trainer_state import groups_options, restore_learned, take_learned

__all__ = ["AdversarialTrainer", "TrainerConfig"]

_REMEMBER_EVERY = 100  # steps between the states that a diverging run goes back to


class AdversarialTrainer:
    """Trains generator and extractor against a discriminator.

    Override `configure_optimizers`, `generate`, `discriminator_loss`, `discriminator_penalty`, `generator_loss`,
    `training_step`, or a hook, `on_...`. A loss method gives a dict of named, weighted scalars, empty where there is
    nothing to learn, and never calls backward. The article's networks, too, are trained, on batches without content.
    Paper: Goodfellow et al., 2014.

    Args:
        generator, discriminator, extractor: the networks, turned into float32 if they are in half precision; without an
            extractor the codes come from the latent, of the batch's labels where the generator has classes.
        terms: `{name: Weighted(term, weight)}` of the generator's loss, each term a callable `(batch, fake) -> scalar`,
            or that callable alone, for weight 1.
        callbacks: objects with any of the hooks, called with the trainer first.
        config: see `TrainerConfig`.
        device: where to train, "auto" for CUDA where there is one.

    Raises:
        InputError: networks whose widths or precisions do not fit each other, or that could not be loaded again; a term
            that is no callable or has the name of one of the trainer's own losses; a callback with an unknown hook;
            optimizers that are not two, have the other's parameters, or step by a closure.

    Example:
        >>> from agnlib.training import AdversarialTrainer, Batch
        >>> trainer = AdversarialTrainer(Generator(), Discriminator(), StyleExtractor())
        >>> picture = torch.rand(2, 3, 32, 32) * 2 - 1
        >>> batch = Batch(content=picture, style=picture.flip(0), label=torch.zeros(2, dtype=torch.long))
        >>> logs = trainer.fit([batch], steps=1, progress=False)
        >>> sorted(logs)
        ['generator/gradient_norm', 'generator/identity']
    """

    @with_gradients()
    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        extractor: StyleExtractor | None = None,
        *,
        terms: Mapping[str, Weighted | Term] | None = None,
        callbacks: Sequence[object] = (),
        config: TrainerConfig | None = None,
        device: torch.device | str = "auto",
    ) -> None:
        self.config = checked_config(config)
        self.device = resolve_device(device)
        check_networks(generator=generator, discriminator=discriminator, extractor=extractor)
        self.generator = placed(generator, self.device)
        if self.config.compile and self.device.type == "cuda":
            self.generator.compile()
        self.discriminator = placed(discriminator, self.device)
        self.extractor = None if extractor is None else placed(extractor, self.device)
        self.terms = weighted_terms({} if terms is None else terms)
        self.callbacks, self._shown = check_hooks(callbacks), tuple[object, ...]()
        self.step, self.progress, self.seconds = 0, 0.0, 0.0  # seconds of training, those before a resume counted in
        self.between_steps = True  # only then do the networks belong together
        self.stop_reason: str | None = None
        self.latest: tuple[Batch, Tensor] | None = None  # the last batch and the generated pictures, detached
        self.undecodable: set[str] = set()  # files that gave way to others
        self.world = World.current()
        self.world.broadcast(self._modules().values())
        self._guard = DivergenceGuard(["generator", "discriminator"])
        self._rng = torch.Generator().manual_seed(self.config.seed)
        self._objective = AdversarialObjective(self.config, self.discriminator, self._rng)
        self._layer_rng = LayerRng(self.config.seed + 1, self.device)
        self._statistics = TargetCache(256 << 20, torch.float32)
        optimizers = checked_optimizers(self.configure_optimizers(), self._trained(), uncompiled(self.discriminator))
        self.generator_optimizer, self.discriminator_optimizer = optimizers
        self._configured = groups_options(self)
        self.ema = ExponentialMovingAverage(self._trained(), self.config.ema_decay)

    # -- to override ----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """The optimizers of generator (with extractor) and discriminator."""
        config = self.config
        trained = learning(self._trained())
        return (
            torch.optim.Adam(trained, lr=config.lr_generator, betas=config.betas),
            torch.optim.Adam(self.discriminator.parameters(), lr=config.lr_discriminator, betas=config.betas),
        )

    def generate(self, batch: Batch) -> Tensor:
        """The generator's picture for a batch, `(B, C, H, W)`; may fill in `batch.code`."""
        return generated(self, batch)

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Named, weighted losses of the discriminator; `fake` is detached."""
        return self._objective.discriminator_losses(batch, fake)

    def discriminator_penalty(self, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted penalties of the discriminator, taken every `config.penalty_every` steps."""
        return self._objective.penalties(batch)

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Named, weighted losses of the generator."""
        if batch.identity:
            return {"identity": self.config.identity * F.l1_loss(fake, batch.photos)}
        losses = weighted_losses(self.terms, batch, fake, self.step)
        since = self.step - self.config.warmup
        ramp = min(1.0, max(0, since) / self.config.adversarial_ramp) if self.config.adversarial_ramp else since >= 0
        if self.config.adversarial * ramp > 0:
            found = self._objective.generator_losses(batch, fake, labeled=knows_labels(self))
            found["adversarial"] = self.config.adversarial * ramp * found["adversarial"]
            losses = joined(losses, found, "terms")
        return losses

    def training_step(self, batch: Batch) -> dict[str, float]:
        """One turn of each network; the named losses as numbers."""
        batch = of_this_step(self, batch)
        parts = batch.split(self.config.accumulate)
        # a whole batch is painted once for both turns; the graphs of all parts would have to be kept at the same time
        painted = paint(self, batch) if len(parts) == 1 else None
        alone = batch.identity or self.config.adversarial == 0
        logs = {} if alone else self._discriminator_turn(parts, painted)
        return logs | self._generator_turn(parts, painted)

    def get_extra_state(self) -> dict[str, Any]:
        """What a subclass adds to a checkpoint: tensors, numbers, strings, and dicts and lists of them."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` gave."""

    def on_fit_start(self) -> None:
        """Called before the first step of a fit."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Called when an optimizer's gradients are there, not yet clipped; in all processes, callbacks too."""

    def on_step_end(self, logs: Mapping[str, float]) -> None:
        """Called after every step with its named numbers."""

    def on_checkpoint(self, path: Path) -> None:
        """Called after a checkpoint was written."""

    def on_fit_end(self) -> None:
        """Called after the last step of a fit, also when it was cut short by an error."""

    def __deepcopy__(self, memo: dict[int, Any]) -> AdversarialTrainer:
        twin = memo[id(self)] = object.__new__(type(self))
        with with_gradients():  # so that the copy can go on
            twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    # -- final ----------------------------------------------------------------------------------------------------

    @final
    @with_gradients()
    def fit(
        self, batches: Iterable[Batch], *, steps: int | None = None, minutes: float | None = None, progress: bool = True
    ) -> dict[str, float]:
        """Train until `steps` steps in all are done, `minutes` have passed or the batches end, whichever comes first.

        Learning rates follow `progress`, the larger of two shares: of `steps` that are done, and of the `minutes`.
        A run of so many steps is repeatable: on the same machine with the same number of threads it gives the same
        weights, interrupted and resumed or not, as long as it does not diverge. One of so many minutes follows the
        clock; resumed, it goes on with everything that the checkpoint holds, for the minutes that are left.

        Args:
            batches: what to train on; `agnlib.training.loader` makes one from folders, from `start=trainer.step` on.
            steps, minutes: totals of the whole run, those before a resume counted in.
            progress: show a bar on standard error, and log the numbers by `logging`, as "agnlib.training" at INFO.

        Returns:
            The last step's named numbers.

        Raises:
            InputError: neither limit is given, or one that is none; a batch that is no `Batch` of floats; the first one
                lies far outside [-1, 1].
            TrainingError: the system has ended a process that reads pictures.
            TrainingDivergedError: a network had no finite loss or gradient five times in a row, and again after going
                back to the last good state at half the learning rate.
        """
        logs, coming = {}, started(batches, steps, minutes)
        self.terms = weighted_terms(self.terms)  # a subclass may have added some
        self.stop_reason, self._range_is_known = None, False
        self._shown = shown(self.callbacks, steps=steps, minutes=minutes) if progress else ()
        if not self._guard.has_good:
            self._guard.remember(self.step, take_learned(self))
        self._call("on_fit_start")
        self._begun = time.monotonic() - self.seconds
        try:
            with naming_ended_readers(), torch.autocast(self.device.type, enabled=False):
                while self._goes_on(steps, minutes):
                    batch = next_batch(coming, lambda: self.stopping)  # after the check: what is taken is trained on
                    if batch is None:
                        break
                    logs = self._complete_step(batch)
                    self._call("on_step_end", logs)
        finally:
            self._call("on_fit_end")
            self._shown = ()
        return logs

    @final
    def stop(self, reason: str) -> None:
        """End the fit after this step; `stop_reason` tells why it ended."""
        self.stop_reason = reason

    @property
    def stopping(self) -> bool:
        """Whether the fit ends after this step; what takes long looks at it and leaves off."""
        return self.stop_reason is not None

    @final
    def save_checkpoint(self, path: str | Path) -> None:
        """Write everything that the next step depends on into one file; of several processes the main one does.

        Raises:
            WeightsError: the file cannot be written; the old one is untouched.
            InputError: a callback's or subclass's state that a checkpoint cannot hold.
        """
        if not self.world.is_main:
            return
        save(self, path)
        self._call("on_checkpoint", Path(path))

    @final
    @with_gradients()
    def load_checkpoint(self, path: str | Path) -> None:
        """Go back to where a checkpoint was written; a warning names the options that were others then.

        Raises:
            WeightsError: the file is corrupt or belongs to other networks; nothing was changed.
        """
        load(self, path)
        self._guard.remember(self.step, take_learned(self))

    @property
    def skipped_steps(self) -> int:
        """How often a network was not updated because its loss or gradient was not finite."""
        return self._guard.skipped

    @property
    def averaged_generator(self) -> Generator:
        """The generator with averaged weights, in eval mode; the one to use and to ship."""
        return cast("Generator", self.ema.module["generator"])

    @property
    def averaged_extractor(self) -> StyleExtractor | None:
        """The extractor with averaged weights, in eval mode."""
        return cast("StyleExtractor | None", dict(self.ema.module.items()).get("extractor"))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _trained(self) -> nn.ModuleDict:
        modules: dict[str, nn.Module] = {"generator": uncompiled(self.generator)}
        if self.extractor is not None:
            modules["extractor"] = uncompiled(self.extractor)
        return nn.ModuleDict(modules)

    def _modules(self) -> dict[str, nn.Module]:
        return {**dict(self._trained().items()), "discriminator": uncompiled(self.discriminator)}

    def _optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        return self.generator_optimizer, self.discriminator_optimizer

    def _goes_on(self, steps: int | None, minutes: float | None) -> bool:
        """Whether there is another step to take, and how far the run has come."""
        self.seconds = time.monotonic() - self._begun
        over, progress = reached(self.step, steps, self.seconds / 60, minutes)
        stop, self.progress = self.world.agree(float(over or self.stopping), progress)
        return not stop

    def _complete_step(self, batch: Batch) -> dict[str, float]:
        batch = taken(batch, self.device, next(self.generator.parameters()).dtype, ranged=not self._range_is_known)
        self._range_is_known = True  # of the first batch alone: on a GPU it waits for the numbers
        self.between_steps = False
        self.undecodable |= name_skipped(batch, self.undecodable)
        with (
            slowed(self._optimizers(), rate_factor(self.config, self.step, self.progress) * self._guard.rate),
            self._layer_rng.in_use(),
            batch_draws(self.world, len(batch) // self.config.accumulate, self._rng),
        ):
            logs = self.training_step(batch)
        forget_pictures(self.terms)
        self.step += 1
        self.seconds = time.monotonic() - self._begun
        if self._guard.diverged:
            restore_learned(self, self._guard.go_back(self.step))
        elif self.step % _REMEMBER_EVERY == 0 and self._guard.is_healthy:
            self._guard.remember(self.step, take_learned(self))
        self.between_steps = True
        return logs

    def _discriminator_turn(self, parts: Sequence[Batch], painted: Tensor | None) -> dict[str, float]:
        def losses_of(part: Batch) -> Mapping[str, Tensor]:
            with torch.no_grad():
                fake = paint(self, part) if painted is None else painted.detach()
                looked_at, part.fake = seen(part, fake, self.config, self.step)
            return self.discriminator_loss(looked_at, part.fake)

        optimizer, phase = self.discriminator_optimizer, "discriminator"
        forget_gradients(self._modules().values(), self._optimizers())
        losses = backward(parts, losses_of, "discriminator_loss", optimizer)
        if self.step % self._objective.penalty_every == 0:
            sound = bool(torch.isfinite(gradient_norm(parameters_of(optimizer))))
            penalties = backward(parts, self.discriminator_penalty, "discriminator_penalty", optimizer)
            losses = joined(losses, penalties, "discriminator_loss and discriminator_penalty")
            phase = "penalty" if sound and penalties else phase
        logs = self._apply("discriminator", phase, losses, optimizer, self.discriminator)
        judged = {f"discriminator/{name}": value for name, value in self._objective.judged.items()}
        return joined(logs, judged, "discriminator_loss")

    def _generator_turn(self, parts: Sequence[Batch], painted: Tensor | None) -> dict[str, float]:
        def losses_of(part: Batch) -> Mapping[str, Tensor]:
            fake = paint(self, part) if painted is None else painted
            self.latest = part.detach(), fake.detach()
            return self.generator_loss(*seen(part, fake, self.config, self.step))

        trained, optimizer = self._trained(), self.generator_optimizer
        forget_gradients(self._modules().values(), self._optimizers())
        with frozen(self.discriminator):
            losses = backward(parts, losses_of, "generator_loss", optimizer)
        logs = self._apply("generator", "generator", losses, optimizer, trained)
        if self._guard.failures["generator"] == 0:
            self.ema.update(trained)
        return logs

    def _apply(
        self, network: str, phase: str, losses: dict[str, Tensor], optimizer: torch.optim.Optimizer, module: nn.Module
    ) -> dict[str, float]:
        """Take the optimizer's step if loss and gradient are finite; the losses as numbers."""
        if not losses:
            return {}
        hook = partial(self._call, "on_before_optimizer_step")
        losses, norm, sound = stepped(losses, optimizer, self.world, self.config.clip_gradient, hook)
        if sound:
            self._guard.passed(network)
        else:
            self._guard.failed(network, f"{phase}: {name_the_bad(losses, named_parameters(module, optimizer))}")
        losses = joined(losses, {"gradient_norm": norm}, f"losses of the {network}")
        return {f"{network}/{name}": float(value) for name, value in losses.items()}

    def _call(self, hook: str, *arguments: object) -> None:
        getattr(self, hook)(*arguments)
        if self.world.is_main or hook == "on_before_optimizer_step":  # which decides what is learned, in all alike
            call_hooks((*self.callbacks, *self._shown), hook, self, *arguments)
