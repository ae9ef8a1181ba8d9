"""Training: terms, averages, callbacks, and steps of the trainer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy import Recorder, data, picture, trainer

from agnlib.errors import InputError
from agnlib.metrics import shared_texture
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted, loader
from agnlib.training.callbacks import LogScalars, SaveCheckpoints, SaveSamples
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.objective.terms import (
    CovarianceStyleTerm,
    EarthMoverStyleTerm,
    SharedEncoder,
    SharedTextureTerm,
    TargetCache,
)

# -- terms ------------------------------------------------------------------------------------------------------------


def test_a_term_fades_in() -> None:
    weighted = Weighted(lambda batch, fake: fake.mean(), 2.0, start=10, ramp=3)
    assert [weighted.weight_at(step) for step in (9, 10, 11, 13, 50)] == [0.0, 0.5, 1.0, 2.0, 2.0]
    with pytest.raises(InputError, match="weight is -1"):
        Weighted(lambda batch, fake: fake.mean(), -1)


def test_a_shared_encoder_runs_once_for_a_result_and_keeps_its_gradient() -> None:
    calls = []
    shared = SharedEncoder(lambda image: calls.append(1) or {"a": image * 2})
    fake = torch.ones(1, requires_grad=True)
    assert shared(fake)["a"] is shared(fake)["a"]
    with torch.no_grad():
        shared(torch.zeros(1))
    shared(fake)["a"].backward()
    assert len(calls) == 2
    assert fake.grad == 2


def test_cached_targets_are_those_computed_and_the_oldest_go() -> None:
    cache = TargetCache(limit=2 * 4 * 4, dtype=torch.float32)
    value = torch.arange(8.0).view(2, 4)
    torch.testing.assert_close(cache.get(["a", "b"], value, lambda x: [x])[0], value)
    torch.testing.assert_close(cache.get(["b", "a"], value, lambda _: pytest.fail("computed again"))[0], value.flip(0))
    cache.get(["c"], value[:1], lambda x: [x])
    assert cache.get(["a"], value[:1], lambda x: [x + 1])[0][0, 0] == 1  # "a" was the oldest


def test_targets_depend_neither_on_their_neighbors_nor_on_the_cache() -> None:
    """What a resumed run computes anew is what the first one had kept."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 3), torch.nn.ReLU(), torch.nn.Conv2d(24, 40, 3, stride=2))
    pictures = torch.randn(5, 3, 33, 35).to(memory_format=torch.channels_last)
    keys = ["a", "b", "c", "d", "e"]

    def targets(order: list[int], cache: TargetCache) -> torch.Tensor:
        return cache.get([keys[i] for i in order], pictures[order], lambda x: [net(x)])[0]

    for dtype in (torch.float32, torch.bfloat16):
        cache = TargetCache(dtype=dtype)
        fresh = targets([0, 1, 2], cache)
        assert torch.equal(targets([0, 1, 2], cache), fresh)
        assert torch.equal(targets([4, 2, 3, 0], cache)[[3, 1]], fresh[[0, 2]])
        assert torch.equal(targets([4, 2], TargetCache(dtype=dtype))[1], fresh[2])


def test_cached_and_uncached_style_terms_agree() -> None:
    encoder = SharedEncoder(lambda image: {"a": torch.nn.functional.avg_pool2d(image, 2)})
    picture, fake = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    batch = Batch(picture, picture, content_keys=("x", "y"), style_keys=("x", "y"))
    term = CovarianceStyleTerm(encoder, ("a",), TargetCache(1 << 20, torch.float32))
    first = term(batch, fake)
    torch.testing.assert_close(term(batch, fake), first)
    # without a cache of its own a term keeps its targets in bfloat16, which has three digits
    torch.testing.assert_close(CovarianceStyleTerm(encoder, ("a",))(batch, fake), first, rtol=0.02, atol=0.02)


def test_a_term_that_compares_few_places_asks_for_the_reference() -> None:
    encoder = SharedEncoder(lambda image: {"a": torch.nn.functional.avg_pool2d(image, 2)})
    picture, fake = torch.randn(2, 3, 20, 20), torch.randn(2, 3, 20, 20)
    batch = Batch(picture, picture, content_keys=("x", "y"), style_keys=("x", "y"))
    term = EarthMoverStyleTerm(encoder, ("a",), TargetCache(1 << 20), samples=30)
    assert term(batch, fake) == term(batch, fake) > 10 * EarthMoverStyleTerm(encoder, ("a",))(batch, picture)
    assert term(batch, fake) != term(replace(batch, step=1), fake)  # at other places


def test_an_encoder_looks_at_a_reference_once_for_all_terms() -> None:
    looked: list[int] = []

    def encode(image: torch.Tensor) -> dict[str, torch.Tensor]:
        looked.append(len(image))
        return {"a": image}

    encoder, picture = SharedEncoder(encode), torch.randn(2, 3, 8, 8)
    batch = Batch(picture, picture, content_keys=("x", "y"), style_keys=("x", "y"))
    for term in (CovarianceStyleTerm, EarthMoverStyleTerm):
        term(encoder, ("a",), TargetCache(1 << 20))(batch, picture.clone())
    assert looked == [1, 1, 2, 2]  # each reference for itself, and each of the paintings
    encoder.forget()
    with torch.no_grad():
        encoder(picture[:1])
    assert looked[4:] == [1]


def test_shared_texture_is_that_of_two_styles_with_the_same_noise() -> None:
    generator, photo, code = Generator(8, 8).eval(), torch.rand(2, 3, 48, 64) - 0.5, torch.randn(2, 8)
    term, fake = SharedTextureTerm(generator, size=48), torch.zeros(2, 3, 48, 64, requires_grad=True)
    batch = Batch(photo, photo, step=3, code=code)
    left = int(3 * 0.5698 % 1 * 17)
    part = photo[:, :, :, left : left + 48]
    with torch.no_grad():
        gray = [
            generator(None, each, content=part).mean(1, keepdim=True).expand(-1, 3, -1, -1)
            for each in (code, code.flip(0))
        ]
    expected = shared_texture(*gray, part.mean(1, keepdim=True).expand(-1, 3, -1, -1)).square().mean()
    torch.testing.assert_close(term(batch, fake), expected)
    generator.train()  # its noise is drawn anew each time, and the same for both
    before = torch.random.get_rng_state()
    assert term(batch, fake) == term(batch, fake)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert term(replace(batch, sources=("a", "b")), fake) == term(batch, fake)
    for without in (
        replace(batch, sources=("a", "a")),
        replace(batch, identity=True),
        replace(batch, code=code[:1]),
        replace(batch, code=None),
    ):
        assert term(without, fake) == 0


# -- trainer ----------------------------------------------------------------------------------------------------------


def test_both_networks_learn_and_the_average_follows(folders: tuple[Path, Path]) -> None:
    subject, source = trainer(), data(folders)
    before = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in subject._modules().items()}
    average = {k: v.clone() for k, v in subject.averaged_generator.state_dict().items()}
    logs = subject.fit(loader(source), steps=4)
    assert {"discriminator/adversarial", "discriminator/wrong_code", "generator/adversarial"} <= set(logs)
    for name, module in subject._modules().items():
        changed = [k for k, v in module.state_dict().items() if not torch.equal(v, before[name][k])]
        assert changed, name
        assert not any(k.startswith("trunk.") for k in changed)
    assert subject.averaged_generator is not subject.generator
    assert any(not torch.equal(v, average[k]) for k, v in subject.averaged_generator.state_dict().items())


def test_without_an_adversary_the_other_losses_teach_and_the_discriminator_stays(folders: tuple[Path, Path]) -> None:
    subject = trainer(adversarial=0.0)
    before = {k: v.clone() for k, v in subject.discriminator.state_dict().items()}
    painter = {k: v.clone() for k, v in subject.generator.state_dict().items()}
    logs = subject.fit(loader(data(folders)), steps=3)
    assert "generator/palette" in logs
    assert not [name for name in logs if name.startswith("discriminator/") or name == "generator/adversarial"]
    assert all(torch.equal(v, before[k]) for k, v in subject.discriminator.state_dict().items())
    assert any(not torch.equal(v, painter[k]) for k, v in subject.generator.state_dict().items())


@pytest.mark.parametrize("weight", [-0.5, float("nan")])
def test_an_adversary_of_negative_weight_is_an_error(weight: float) -> None:
    with pytest.raises(InputError, match="expected a weight of 0 or more"):
        TrainerConfig(adversarial=weight)


@pytest.mark.parametrize("classes", [None, 2])
def test_one_picture_of_one_pixel_in_a_batch_can_be_trained_on(tmp_path: Path, classes: int | None) -> None:
    picture(tmp_path / "content" / "dot.png", (1, 1), 0)
    picture(tmp_path / "style" / "dot.png", (1, 1), 1)
    subject = trainer(classes=classes)
    logs = subject.fit(loader(data((tmp_path / "content", tmp_path / "style"), batch=1)), steps=4)
    assert "discriminator/adversarial" in logs
    assert "discriminator/wrong_code" not in logs  # that takes another picture in the batch
    assert subject.skipped_steps == 0
    assert all(np.isfinite(value) for value in logs.values())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 5)])
def test_batches_of_ones_own_making(size: tuple[int, int]) -> None:
    subject = trainer()
    batches = [Batch(content=torch.rand(1, 3, *size), style=torch.rand(1, 3, *size)) for _ in range(3)]
    logs = subject.fit(batches, steps=9)  # neither labels nor keys
    assert subject.step == 3
    assert all(np.isfinite(value) for value in logs.values())


def test_a_generator_with_nothing_to_learn_yet_is_left_alone(folders: tuple[Path, Path]) -> None:
    subject = trainer(warmup=1, identity_every=1000)
    subject.terms.clear()
    subject.step = 1  # the warm-up is over, and the adversary's weight is still zero
    before = {k: v.clone() for k, v in subject.generator.state_dict().items()}
    logs = subject.fit([data(folders)[1]], steps=2)
    assert not [name for name in logs if name.startswith("generator/")]
    assert all(torch.equal(v, before[k]) for k, v in subject.generator.state_dict().items())


def test_the_warm_up_learns_the_photo() -> None:
    recorder, subject = Recorder(), trainer(warmup=10_000, lr_generator=5e-3)
    subject.callbacks = (recorder,)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 24), indexing="ij")
    photo = torch.stack([x, y, x * y])[None]
    subject.fit([Batch(photo, photo)] * 60, steps=60)
    losses = [logs["generator/identity"] for logs in recorder.logs]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_terms_and_overrides_are_used(folders: tuple[Path, Path]) -> None:
    class Mine(AdversarialTrainer):
        def generator_loss(self, batch: Batch, fake: torch.Tensor) -> dict[str, torch.Tensor]:
            return {**super().generator_loss(batch, fake), "mine": 0.1 * fake.square().mean()}

    terms = {"bright": Weighted(lambda batch, fake: -fake.mean(), 0.5)}
    logs = trainer(Mine, terms=terms).fit(loader(data(folders)), steps=2)
    assert {"generator/mine", "generator/bright"} <= set(logs)


@pytest.mark.parametrize("options", [{"variational": True}, {"frozen_trunk": False}])
def test_other_extractors_are_trained(folders: tuple[Path, Path], options: dict[str, bool]) -> None:
    extractor = StyleExtractor(16, taps=("block0",), **options)
    before = {k: v.clone() for k, v in extractor.state_dict().items()}
    trainer(given={"extractor": extractor}).fit(loader(data(folders)), steps=3)
    changed = {k.split(".")[0] for k, v in extractor.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == ({"head"} if options.get("frozen_trunk", True) else {"head", "trunk"})


def test_without_an_extractor_codes_come_from_the_latent(folders: tuple[Path, Path]) -> None:
    subject = trainer(given={"extractor": None})
    assert subject.fit(loader(data(folders)), steps=3)
    assert subject.averaged_extractor is None


def test_unknown_hooks_and_widths_are_errors() -> None:
    class Typo:
        def on_step_ended(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None: ...

    with pytest.raises(InputError, match="on_step_ended"):
        trainer(callbacks=[Typo()])
    with pytest.raises(InputError, match="style_dim differs"):
        trainer(given={"discriminator": Discriminator(style_dim=17)})


def test_a_full_disk_is_said_and_training_goes_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # no folder can be made below it
    subject = trainer()
    subject.callbacks = (SaveCheckpoints(tmp_path / "file" / "checkpoints", every=2), LogScalars(tmp_path, every=2))
    with pytest.warns(RuntimeWarning, match="training goes on") as said:
        subject.fit(loader(data(folders)), steps=3)
    assert subject.step == 3
    assert len(said) == 4  # two checkpoints, two lines of the log


# -- averages, mapping, callbacks -------------------------------------------------------------------------------------


def test_average_is_the_closed_form() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = ExponentialMovingAverage(module, decay=0.5)
    torch.nn.init.ones_(module.weight)
    average.update(module)  # decay min(0.5, 1/10)
    average.update(module)  # decay min(0.5, 2/11)
    expected = 1 - (1 / 10) * (2 / 11)
    assert average.module.weight.item() == pytest.approx(expected)


def test_fitted_mapping_has_the_codes_mean_and_covariance() -> None:
    generator = Generator(100, 4, num_classes=2, channels=(4, 4, 8), blocks=(1, 1, 1))
    mixing = torch.randn(4, 4, dtype=torch.float64)
    codes = (torch.randn(500, 4, dtype=torch.float64) @ mixing.T + torch.arange(4)).float()
    fit_mapping(generator, codes, torch.zeros(500, dtype=torch.long))
    sampled = generator.sample_style(torch.randn(20_000, 100))
    # 20,000 samples know a mean to 1/140 and a covariance to about 1/70 of their deviation; here are four of each
    np.testing.assert_allclose(sampled.mean(0).detach(), codes.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(sampled.detach().T), np.cov(codes.T), atol=0.06 * np.abs(np.cov(codes.T)).max())
    torch.testing.assert_close(generator.mapping.weight[2], generator.mapping.weight[0])  # a class without codes


def test_a_single_code_is_mapped_to_itself() -> None:
    generator, code = Generator(8, 4, channels=(4, 4, 8), blocks=(1, 1, 1)), torch.randn(1, 4)
    fit_mapping(generator, code, torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(generator.sample_style(torch.randn(3, 8)), code.expand(3, -1))


def test_a_run_logs_draws_and_keeps_the_last_checkpoints(folders: tuple[Path, Path], tmp_path: Path) -> None:
    subject, source = trainer(), data(folders)
    subject.callbacks = (
        LogScalars(tmp_path / "log.jsonl", every=2),
        SaveSamples(tmp_path / "samples", source[0], every=4),
        SaveCheckpoints(tmp_path / "checkpoints", every=2, keep=2),
    )
    subject.fit(loader(source), steps=5)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert "generator/adversarial" in lines[1]
    for step in (4, 5):
        assert Image.open(tmp_path / "samples" / f"step-0000000{step}.png").size == (24 * 3, 24 * 3)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000004.safetensors", "step-00000005.safetensors"]
