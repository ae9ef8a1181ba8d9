"""The objective inside the trainer: what each loss takes, and that each of them trains a toy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.losses import (
    class_generator_loss,
    feature_matching_loss,
    gradient_penalty,
    interpolate,
    r1_penalty,
    uniformity_loss,
)
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.config import LOSSES
from agnlib.training.objective.adversarial_objective import AdversarialObjective
from agnlib.training.objective.terms import kl_term

MODES = torch.tensor([[2.0, 2.0], [5.0, 3.0], [3.0, 5.5]])
every_loss = pytest.mark.parametrize("loss", LOSSES)


def toy(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures 8x8 of a bright spot, its place from a mixture of three Gaussians, and from which of them."""
    label = torch.randint(3, (count,), generator=rng)
    place = MODES[label] + 0.4 * torch.randn(count, 2, generator=rng)
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    apart = (x - place[:, :1, None]).square() + (y - place[:, 1:, None]).square()
    return (2 * torch.exp(-apart / 3) - 1)[:, None], label


def toy_batches(seed: int = 0) -> Iterator[Batch]:
    rng = torch.Generator().manual_seed(seed)
    while True:
        picture, label = toy(32, rng)
        yield Batch(None, picture, label)


def toy_networks(classes: int | None) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    generator = Generator.article(8, 1, 8, classes, map_channels=4, widths=(8, 12))
    return generator, Discriminator.article(8, 1, classes, hidden=(32, 48))


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Szekely's energy distance of two sets of pictures; 0 for one distribution."""
    a, b = a.flatten(1), b.flatten(1)
    value = 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    return float(value)


@torch.no_grad()
def distance_to_toy(generator: Generator) -> float:
    rng = torch.Generator().manual_seed(1)
    real, label = toy(400, rng)
    z = torch.randn(400, 8, generator=rng)
    return energy_distance(generator(z, label if generator.config.num_classes else None), real)


class Flipped(AdversarialTrainer):
    """A generator that helps its adversary."""

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        return {name: -value for name, value in super().generator_loss(batch, fake).items()}


def train_toy(kind: type[AdversarialTrainer], loss: str, steps: int) -> tuple[float, float]:
    """Distance to the toy before and after."""
    networks = toy_networks(3 if loss == "class" else None)
    before = distance_to_toy(networks[0])
    penalty = {} if loss in ("wasserstein", "relativistic") else {"penalty": 0.5, "penalty_every": 2}
    config = TrainerConfig.article(loss, lr_generator=1e-3, lr_discriminator=2e-3, **penalty)
    kind(*networks, config=config).fit(toy_batches(), steps=steps)
    return before, distance_to_toy(networks[0])


@every_loss
def test_each_loss_trains_the_toy(loss: str) -> None:
    before, after = train_toy(AdversarialTrainer, loss, steps=200)
    assert after < 0.25 * before


@every_loss
def test_no_loss_trains_it_with_the_generators_sign_flipped(loss: str) -> None:
    before, after = train_toy(Flipped, loss, steps=100)
    assert after > 0.8 * before


# -- what is taken ----------------------------------------------------------------------------------------------------


def objective(classes: int | None = None, **options: object) -> tuple[AdversarialObjective, Batch, Tensor]:
    _, discriminator = toy_networks(classes)
    rng = torch.Generator().manual_seed(0)
    picture, label = toy(6, rng)
    fake = torch.rand(6, 1, 8, 8, generator=rng) * 2 - 1
    batch = Batch(None, picture, label, fake=fake)
    config = TrainerConfig.article(**options)  # type: ignore[arg-type]
    return AdversarialObjective(config, discriminator, torch.Generator().manual_seed(5)), batch, fake


def test_the_articles_objective_is_binary_cross_entropy_without_penalty() -> None:
    subject, batch, fake = objective()
    entropy, one = torch.nn.functional.binary_cross_entropy_with_logits, torch.ones(6)
    logits = [subject.discriminator(image) for image in (batch.style, fake)]
    losses = subject.discriminator_losses(batch, fake)
    assert set(losses) == {"adversarial"}
    torch.testing.assert_close(losses["adversarial"], entropy(logits[0], one) + entropy(logits[1], 0 * one))
    losses = subject.generator_losses(batch, fake)
    assert set(losses) == {"adversarial"}
    torch.testing.assert_close(losses["adversarial"], entropy(logits[1], one))
    assert subject.penalties(batch) == {}
    assert subject.judged["real"] == pytest.approx(logits[0].mean().item())
    assert subject.judged["fake"] == pytest.approx(logits[1].mean().item())


def test_each_penalty_goes_with_its_loss() -> None:
    for loss, names in {
        "logistic": {"r1"},
        "hinge": {"r1"},
        "least_squares": {"r1"},
        "class": {"r1"},
        "wasserstein": {"gradient_penalty"},
        "relativistic": {"r1", "r2"},
    }.items():
        subject, batch, fake = objective(3 if loss == "class" else None, loss=loss, penalty=0.3)
        found = subject.penalties(batch)
        assert set(found) == names
        weight = 0.3 * subject.penalty_every
        assert subject.penalty_every == (1 if loss in ("wasserstein", "relativistic") else 16)
        for name, image in {"r1": batch.style, "r2": fake}.items():
            if name in names:
                moved = image.clone().requires_grad_()
                expected = weight * r1_penalty(subject.discriminator(moved, subject._label(batch)), moved)
                torch.testing.assert_close(found[name], expected)
        if loss == "wasserstein":
            between = interpolate(batch.style, fake, generator=torch.Generator().manual_seed(5))
            expected = weight * gradient_penalty(subject.discriminator(between), between)
            torch.testing.assert_close(found["gradient_penalty"], expected)


def test_the_weight_and_the_turn_of_a_penalty_are_options() -> None:
    assert objective(loss="wasserstein")[0].penalty_weight == 10
    assert objective(loss="logistic", penalty=0.5, penalty_every=4)[0].penalty_weight == 2
    assert TrainerConfig().penalty is None
    subject = AdversarialObjective(TrainerConfig(), toy_networks(None)[1], torch.Generator())
    assert (subject.penalty_weight, subject.penalty_every) == (0.1 * 16, 16)


def test_feature_matching_and_uniformity_are_added() -> None:
    for classes, loss in ((None, "logistic"), (3, "class"), (3, "hinge")):
        subject, batch, fake = objective(classes, loss=loss, feature_matching=2.0, uniformity=0.5)
        losses = subject.generator_losses(batch, fake)
        judge = subject.discriminator
        expected = 2 * feature_matching_loss(judge.features(batch.style), judge.features(fake))
        torch.testing.assert_close(losses["feature_matching"], expected)
        outputs = judge(fake) if classes is None else judge.class_logits(fake)
        torch.testing.assert_close(losses["uniformity"], 0.5 * uniformity_loss(outputs))


def test_a_generator_that_knows_no_labels_is_asked_for_any_class() -> None:
    subject, batch, fake = objective(3, loss="class")
    logits = subject.discriminator.class_logits(fake)
    for labeled, label in ((True, batch.label), (False, None)):
        found = subject.generator_losses(batch, fake, labeled=labeled)["adversarial"]
        torch.testing.assert_close(found, class_generator_loss(logits, label))


@every_loss
def test_no_gradient_of_the_generators_loss_goes_through_the_real_pictures(loss: str) -> None:
    subject, batch, fake = objective(3 if loss == "class" else None, loss=loss, feature_matching=1.0)
    real = batch.style.clone().requires_grad_()
    fake = fake.clone().requires_grad_()
    total = sum(subject.generator_losses(replace(batch, style=real), fake).values())
    gradients = torch.autograd.grad(total, [fake, real], allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None


@every_loss
def test_the_modern_networks_take_every_loss_but_that_of_classes(loss: str) -> None:
    torch.manual_seed(0)
    generator = Generator(8, 16, channels=(4, 4, 8), blocks=(1, 1, 1), image_size=16, num_classes=3)
    discriminator = Discriminator(3, style_dim=16, channels=(4, 8))
    config = TrainerConfig(loss=loss, warmup=0, adversarial_ramp=0, feature_matching=0.1, uniformity=0.1)
    if loss == "class":
        with pytest.raises(InputError, match=r"needs a discriminator with class logits.*article\(num_classes=K\)"):
            AdversarialTrainer(generator, discriminator, config=config)
        return
    trainer = AdversarialTrainer(generator, discriminator, config=config)
    batches = [Batch(None, torch.rand(3, 3, 16, 24) * 2 - 1, torch.tensor([0, 1, 2])) for _ in range(2)]
    before = generator.mapping.weight.detach().clone()
    logs = trainer.fit(batches, steps=2)
    assert {"discriminator/adversarial", "discriminator/wrong_code", "generator/adversarial"} <= set(logs)
    assert {"generator/feature_matching", "generator/uniformity"} <= set(logs)
    assert all(math.isfinite(value) for value in logs.values())
    changed = (generator.mapping.weight != before).any(1)
    assert changed.tolist() == [False, True, True, True]  # the labels asked for, and not the map of no class


def test_what_the_objective_misses_is_named() -> None:
    with pytest.raises(InputError, match="loss is 'bce'; expected one of logistic"):
        TrainerConfig(loss="bce")
    with pytest.raises(InputError, match="loss is 'bce'; expected one of logistic"):
        TrainerConfig.article("bce")
    subject, batch, fake = objective(3, loss="class")
    with pytest.raises(InputError, match="batch without labels"):
        subject.discriminator_losses(replace(batch, label=None), fake)
    subject, batch, fake = objective(loss="wasserstein")
    with pytest.raises(InputError, match="needs generated pictures"):
        subject.penalties(replace(batch, fake=None))
    with pytest.raises(InputError, match=r"no content.*give photos"):
        batch.as_identity()


def test_the_articles_configuration() -> None:
    config = TrainerConfig.article()
    assert (config.loss, config.lr_generator, config.lr_discriminator) == ("logistic", 2e-4, 2e-4)
    assert (config.betas, config.final_lr, config.penalty) == ((0.5, 0.999), 1.0, 0.0)
    assert (config.warmup, config.adversarial_ramp, config.adversarial, config.identity) == (0, 0, 1.0, 0.0)
    assert TrainerConfig.article(seed=4, lr_generator=1e-3).lr_generator == 1e-3


# -- the VAE-GAN ------------------------------------------------------------------------------------------------------


def train_variational(weight: float) -> tuple[AdversarialTrainer, list[float]]:
    """A short training on flat colors, and the KL divergence of the pictures' codes at its begin and end."""
    torch.manual_seed(0)
    generator = Generator(8, 4, channels=(4, 4, 8), blocks=(1, 1, 1), image_size=16)
    discriminator = Discriminator(style_dim=4, channels=(4, 8))
    extractor = StyleExtractor(4, variational=True, taps=("block0",), hidden=32)
    terms = {
        "color": Weighted(lambda batch, fake: (fake.mean((2, 3)) - batch.style.mean((2, 3))).square().mean(), 1.0),
        "kl": Weighted(kl_term, weight),
    }
    pictures = colors(64)
    with torch.no_grad():
        extractor.calibrate(extractor.statistics(pictures))
    config = TrainerConfig(warmup=0, identity=0.0, lr_generator=4e-3)
    trainer = AdversarialTrainer(generator, discriminator, extractor, terms=terms, config=config)
    found = [divergence(extractor, pictures)]
    rng = torch.Generator().manual_seed(3)
    chosen = [pictures[torch.randperm(64, generator=rng)[:16]] for _ in range(120)]
    logs = trainer.fit([Batch(picture.flip(0), picture) for picture in chosen], steps=120)
    if weight:
        assert math.isfinite(logs["generator/kl"])
    return trainer, [*found, divergence(extractor, pictures)]


def colors(count: int) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    flat = torch.rand(count, 3, 1, 1, generator=rng) * 1.6 - 0.8
    return flat + 0.1 * torch.randn(count, 3, 16, 16, generator=rng)


@torch.no_grad()
def divergence(extractor: StyleExtractor, pictures: Tensor) -> float:
    codes = extractor.distribution(pictures)
    prior = torch.distributions.Normal(0.0, 1.0)
    return float(torch.distributions.kl_divergence(codes, prior).sum(1).mean())


def test_the_kl_term_brings_the_codes_to_the_prior_and_random_styles_come_from_it() -> None:
    trainer, (before, after) = train_variational(0.3)
    _, (_, without) = train_variational(0.0)
    assert after < 0.5 * min(before, without)
    extractor = trainer.extractor
    assert extractor is not None
    with torch.no_grad():
        codes = torch.cat([extractor.distribution(colors(64)).sample() for _ in range(20)])
        assert not torch.equal(codes[:64], codes[64:128])
        # the aggregated codes: each deviation and mean within a half of the prior's, which untrained ones are not
        assert codes.mean(0).abs().max() < 0.5
        assert (codes.std(0) - 1).abs().max() < 0.5
        fit_mapping(trainer.generator, extractor(colors(64)), torch.zeros(64, dtype=torch.long), prior=True)
        z = torch.randn(5, 8)
        torch.testing.assert_close(trainer.generator.sample_style(z), z[:, :4])


def test_a_latent_shorter_than_the_code_leaves_the_rest_at_the_priors_mean() -> None:
    generator = Generator(2, 4, channels=(4, 4, 8), blocks=(1, 1, 1), num_classes=1)
    codes = torch.randn(30, 4) + 3
    fit_mapping(generator, codes, torch.zeros(30, dtype=torch.long), prior=True)
    z = torch.randn(5, 2)
    torch.testing.assert_close(generator.sample_style(z), torch.cat([z, torch.zeros(5, 2)], dim=1))
    named = generator.sample_style(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(named, codes.mean(0).expand(5, -1))  # a class keeps the map of its own codes


def test_the_kl_term_without_a_distribution_is_named() -> None:
    with pytest.raises(InputError, match=r"no distribution of codes.*variational=True"):
        kl_term(Batch(None, torch.zeros(1, 3, 4, 4)), torch.zeros(1, 3, 4, 4))
