"""The article's networks: their layers, shapes, meaning of their outputs, errors, and weights in folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agnlib.errors import InputError
from agnlib.models import (
    ArticleDiscriminator,
    ArticleDiscriminatorConfig,
    ArticleGenerator,
    ArticleGeneratorConfig,
    Discriminator,
    Generator,
    pretrained,
)

SMALL = {"image_size": 8, "channels": 1, "latent_dim": 5, "map_channels": 2, "widths": (3, 4)}


def small_pair(num_classes: int | None = None, features: str = "flat") -> tuple[ArticleGenerator, ArticleDiscriminator]:
    generator = Generator.article(num_classes=num_classes, **SMALL)
    options = {"hidden": (6, 9), "widths": (3, 4)}
    return generator, Discriminator.article(8, 1, num_classes, features, **options)


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("features", ["flat", "conv"])
def test_the_pair_at_the_articles_sizes(size: int, channels: int, features: str) -> None:
    generator = Generator.article(image_size=size, channels=channels)
    discriminator = Discriminator.article(image_size=size, channels=channels, features=features)
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)
    image = generator(torch.randn(2, 100))
    assert image.shape == (2, channels, size, size)
    assert image.abs().max() <= 1
    assert 0.05 < image.std() < 0.95  # neither gray nor saturated before training
    assert discriminator(image).shape == discriminator.probability(image).shape == (2,)
    torch.testing.assert_close(discriminator.probability(image), discriminator(image).sigmoid())


@pytest.mark.parametrize("features", ["flat", "conv"])
def test_only_the_articles_layers(features: str) -> None:
    allowed = {nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.ModuleList}
    generator, discriminator = small_pair(10, features)
    assert {type(module) for module in [*generator.modules()][1:]} == allowed
    found = {type(module) for module in [*discriminator.modules()][1:]}
    assert found == ({nn.Linear, nn.ModuleList} if features == "flat" else allowed - {nn.ConvTranspose2d})
    linear = [module for module in discriminator.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == (3 if features == "flat" else 2)
    assert linear[0].out_features < linear[1].out_features or features == "conv"


def test_deconvolutions_have_the_stride_of_the_convolutions_they_answer() -> None:
    generator = Generator.article(image_size=64, widths=(4, 5, 6))
    assert [layer.stride for layer in generator.up] == [layer.stride for layer in reversed(generator.down)]
    assert generator.first.stride == (1, 1)
    for up, down in zip(generator.up, reversed(generator.down), strict=True):
        assert (up.in_channels, up.out_channels) == (down.out_channels, down.in_channels)


def test_the_skips_reach_the_picture() -> None:
    generator, _ = small_pair()
    with torch.no_grad():
        for layer in generator.up:
            layer.weight.zero_()
    first, second = generator(torch.randn(2, 5))
    assert not torch.allclose(first, second)


def test_labels_change_the_picture_and_no_other_picture() -> None:
    generator, _ = small_pair(10)
    z, label = torch.randn(3, 5), torch.tensor([1, 2, 3])
    image = generator(z, label)
    torch.testing.assert_close(image, generator(z, label=label))
    other = generator(z, torch.tensor([1, 2, 9]))
    torch.testing.assert_close(other[:2], image[:2])
    assert not torch.allclose(other[2], image[2])


@settings(max_examples=10)
@given(classes=st.integers(1, 6), features=st.sampled_from(["flat", "conv"]), seed=st.integers(0, 99))
def test_the_k_plus_1_outputs_are_one_distribution(classes: int, features: str, seed: int) -> None:
    torch.manual_seed(seed)
    _, discriminator = small_pair(classes, features)
    image = torch.rand(4, 1, 8, 8) * 2 - 1
    probability = discriminator.probability(image)
    assert probability.shape == (4, classes + 1)
    torch.testing.assert_close(probability.sum(1), torch.ones(4))
    torch.testing.assert_close(discriminator(image).sigmoid(), probability[:, :-1].sum(1))
    for label in range(classes):
        given_label = torch.full((4,), label)
        torch.testing.assert_close(discriminator(image, given_label).sigmoid(), probability[:, label])
        torch.testing.assert_close(discriminator.probability(image, given_label), probability[:, label])


@pytest.mark.parametrize("features", ["flat", "conv"])
def test_features_are_what_the_logits_are_made_of(features: str) -> None:
    _, discriminator = small_pair(None, features)
    image = torch.randn(2, 1, 8, 8)
    found = discriminator.features(image)
    assert len(found) == (2 if features == "flat" else 3)
    assert all((f >= 0).all() for f in found)
    torch.testing.assert_close(discriminator.outputs(found[-1])[:, 0], discriminator(image))
    assert [logits.shape for logits in discriminator.patch_logits(image)] == [(2,)]


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("features", ["flat", "conv"])
def test_weights_come_back_through_either_class(tmp_path: Path, classes: int | None, features: str) -> None:
    generator, discriminator = small_pair(classes, features)
    z, label = torch.randn(2, 5), torch.tensor([0, 2]) if classes else None
    image = generator(z, label)
    generator.save_pretrained(tmp_path / "g")
    discriminator.save_pretrained(tmp_path / "d")
    for kind in (Generator, ArticleGenerator):
        again = kind.from_pretrained(tmp_path / "g")
        assert type(again) is ArticleGenerator
        assert again.config == generator.config
        torch.testing.assert_close(again(z, label), image)
    for kind in (Discriminator, ArticleDiscriminator):
        judge = kind.from_pretrained(tmp_path / "d")
        assert type(judge) is ArticleDiscriminator
        torch.testing.assert_close(judge(image, label), discriminator(image, label))


def test_modern_weights_are_not_the_articles(tmp_path: Path) -> None:
    Generator(5, 8, channels=(4, 4, 8), blocks=(1, 1, 1)).save_pretrained(tmp_path / "g")
    assert type(Generator.from_pretrained(tmp_path / "g")) is Generator
    with pytest.raises(pretrained.WeightsError, match="options of the generator do not fit"):
        ArticleGenerator.from_pretrained(tmp_path / "g")


def test_the_articles_own_loop_runs() -> None:
    generator, discriminator = small_pair()
    criterion = nn.BCEWithLogitsLoss()
    real, fake = torch.randn(4, 1, 8, 8), generator(torch.randn(4, 5))
    loss = criterion(discriminator(real), torch.ones(4)) + criterion(discriminator(fake.detach()), torch.zeros(4))
    loss.backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    assert all(parameter.grad is None for parameter in generator.parameters())
    criterion(discriminator(fake), torch.ones(4)).backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())


@pytest.mark.parametrize("label", [torch.tensor([0, 10]), torch.tensor([-1, 0])])
def test_labels_outside_the_classes_are_named(label: torch.Tensor) -> None:
    generator, discriminator = small_pair(10)
    for call in (lambda: generator(torch.randn(2, 5), label), lambda: discriminator(torch.zeros(2, 1, 8, 8), label)):
        with pytest.raises(InputError, match=r"outside 0\.\.9: \["):
            call()


def test_what_does_not_fit_is_named() -> None:
    generator, discriminator = small_pair(10)
    plain, judge = small_pair()
    z, label, image = torch.randn(2, 5), torch.zeros(2, dtype=torch.long), torch.zeros(2, 1, 8, 8)
    with pytest.raises(InputError, match=r"z has shape \(2, 100\); expected \(B, 5\)"):
        plain(torch.randn(2, 100))
    with pytest.raises(InputError, match=r"got no label.*num_classes=10.*give label"):
        generator(z)
    with pytest.raises(InputError, match="made without num_classes; give num_classes=K"):
        plain(z, label)
    with pytest.raises(InputError, match="made without num_classes; give num_classes=K"):
        judge(image, label)
    with pytest.raises(InputError, match=r"dtype torch.float32; expected torch.int64"):
        generator(z, torch.randn(2, 128))
    with pytest.raises(InputError, match=r"label has shape \(3,\); expected \(2,\)"):
        generator(z, torch.zeros(3, dtype=torch.long))
    for wrong in ((2, 1, 9, 8), (2, 3, 8, 8), (1, 8, 8)):
        with pytest.raises(InputError, match=r"expected \(B, 1, 8, 8\); resize the pictures"):
            discriminator(torch.zeros(wrong))
    with pytest.raises(InputError, match="takes no style codes"):
        judge(image, None, torch.randn(2, 128))
    with pytest.raises(InputError, match=r"class_logits without classes.*num_classes=K"):
        judge.class_logits(image)
    with pytest.raises(InputError, match="no style codes"):
        plain.sample_style(z)
    with pytest.raises(InputError, match="not from content"):
        plain.content_features(image)


@pytest.mark.parametrize(
    ("config", "options", "match"),
    [
        (ArticleGeneratorConfig, {"latent_dim": 0}, "latent_dim is 0"),
        (ArticleGeneratorConfig, {"image_size": 30}, "multiple of 4"),
        (ArticleGeneratorConfig, {"num_classes": 0}, "num_classes is 0"),
        (ArticleGeneratorConfig, {"output_gain": 0.0}, "output_gain is 0.0"),
        (ArticleGeneratorConfig, {"kernel": 4}, "odd kernel"),
        (ArticleGeneratorConfig, {"widths": ()}, "at least one width"),
        (ArticleDiscriminatorConfig, {"hidden": (512, 256)}, "FC1 < FC2"),
        (ArticleDiscriminatorConfig, {"features": "deep"}, "'flat' or 'conv'"),
        (ArticleDiscriminatorConfig, {"features": "conv", "image_size": 30}, "multiple of 4"),
        (ArticleDiscriminatorConfig, {"channels": 0}, "channels is 0"),
    ],
)
def test_options_that_do_not_fit_are_named(config: type, options: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        config(**options)
