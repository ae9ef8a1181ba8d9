"""The loop that training is measured against: the same networks and losses in plain eager PyTorch.

What it does is what a careful first version does: one forward of the generator for both turns (detached for the
discriminator's), R1 only every 16th step, encoders once for each picture, their targets without gradients, Adam, a
moving average of the weights. What it leaves out is what the trainer is said to gain by: everything is float32 in the
default memory format, and the targets of a picture are computed whenever it comes.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from agnlib.losses import hinge_discriminator_loss, hinge_generator_loss, r1_penalty
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import Batch, TrainerConfig, Weighted


class PlainLoop:
    """One step of training at a time, on copies of the networks.

    Args:
        generator, discriminator, extractor: what is trained.
        terms: of the generator's loss; their encoders are used as they are.
        config: whose weights are used.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        extractor: StyleExtractor,
        terms: dict[str, Weighted],
        config: TrainerConfig,
    ) -> None:
        self.generator, self.discriminator, self.extractor = (
            copy.deepcopy(network).to(memory_format=torch.contiguous_format).train()
            for network in (generator, discriminator, extractor)
        )
        self.terms, self.config = terms, config
        self.trained = nn.ModuleList([self.generator, self.extractor])
        self.average = copy.deepcopy(self.trained)
        learning = [p for p in self.trained.parameters() if p.requires_grad]
        self.generator_optimizer = torch.optim.Adam(learning, config.lr_generator, config.betas)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), config.lr_discriminator, config.betas
        )

    def step(self, batch: Batch, *, penalty: bool) -> None:
        """One turn of each network."""
        config = self.config
        latent = torch.randn(len(batch), self.generator.config.latent_dim)
        code = self.extractor(batch.style)
        fake = self.generator(latent, code, content=batch.content)
        fixed, judge = code.detach(), self.discriminator.patch_logits

        real_logits, fake_logits = judge(batch.style, batch.label, fixed), judge(fake.detach(), batch.label, fixed)
        other = None if batch.label is None else batch.label.roll(1)
        wrong = judge(batch.style, other, fixed.roll(1, 0))
        loss = hinge_discriminator_loss(real_logits, fake_logits)
        loss = loss + config.wrong_code * torch.stack([torch.relu(1 + w).mean() for w in wrong]).mean()
        if penalty:
            real = batch.style.detach().requires_grad_()
            loss = loss + 0.1 * 16 * r1_penalty(self.discriminator(real, batch.label, fixed), real)
        self._update(loss, self.discriminator, self.discriminator_optimizer)

        self.discriminator.requires_grad_(False)
        loss = config.adversarial * hinge_generator_loss(judge(fake, batch.label, fixed))
        for term in self.terms.values():
            loss = loss + term.weight * term.term(batch, fake)
        self._update(loss, self.trained, self.generator_optimizer)
        self.discriminator.requires_grad_(True)
        for term in self.terms.values():
            encoder = getattr(term.term, "encoder", None)
            if encoder is not None:
                encoder.forget()
        with torch.no_grad():
            for average, weight in zip(self.average.parameters(), self.trained.parameters(), strict=True):
                average.lerp_(weight, 1 - config.ema_decay)

    def _update(self, loss: torch.Tensor, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), self.config.clip_gradient)
        optimizer.step()
