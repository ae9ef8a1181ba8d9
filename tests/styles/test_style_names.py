"""Styles by chance and by name: `Stylizer.random_style`, and names in the place of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import Stylizer
from agnlib.errors import ImageError, InputError
from agnlib.models import Generator, StyleExtractor
from agnlib.styles.code import StyleCode


@pytest.fixture(scope="module")
def stylizer():
    torch.manual_seed(0)
    generator = Generator(style_dim=8, latent_dim=12, channels=(8, 8, 16), blocks=(0, 1, 1), num_classes=2)
    made = Stylizer(generator, StyleExtractor(style_dim=8), device="cpu")
    made.class_names = ("cubism", "ukiyo-e")
    return made


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_a_seed_is_a_style_and_another_seed_another(stylizer):
    first, again, other = (stylizer.random_style(seed).vector for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, stylizer.random_style(3, "cubism").vector)


def test_without_a_seed_every_style_is_new(stylizer):
    assert not torch.allclose(stylizer.random_style().vector, stylizer.random_style().vector)
    assert not torch.allclose(stylizer.encode_style("random").vector, stylizer.encode_style("random").vector)


@pytest.mark.parametrize(("name", "label"), [("cubism", 0), ("ukiyo-e", 1)])
def test_a_name_is_the_class_of_the_mapping_network(stylizer, name, label):
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(5))
    wanted = stylizer.generator.sample_style(z, torch.tensor([label]))[0]
    torch.testing.assert_close(stylizer.random_style(5, name).vector, wanted)
    torch.testing.assert_close(stylizer.encode_style(name, seed=5).vector, wanted)
    torch.testing.assert_close(stylizer.encode_style(name).vector, stylizer.random_style(0, name).vector)


def test_names_go_where_pictures_go(stylizer, photo):
    drawn = stylizer.random_style(7, "ukiyo-e")
    np.testing.assert_array_equal(stylizer(photo, "ukiyo-e", seed=7), stylizer(photo, drawn, seed=7))
    mixed = StyleCode.mix([(drawn, 1.0), (stylizer.encode_style(photo), 3.0)])
    np.testing.assert_array_equal(stylizer(photo, [("ukiyo-e", 1), (photo, 3)], seed=7), stylizer(photo, mixed, seed=7))
    half = np.tile(np.arange(32) < 16, (24, 1))
    assert stylizer(photo, ["cubism", "ukiyo-e"], mask=half).shape == photo.shape


def test_a_file_of_that_name_is_the_file(stylizer, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save(tmp_path / "cubism", format="PNG")
    torch.testing.assert_close(stylizer.encode_style("cubism").vector, stylizer.encode_style(photo).vector)
    with pytest.raises(ImageError, match="nowhere"):
        stylizer.encode_style("nowhere.png")


@pytest.mark.parametrize("name", ["cubsim", "x" * 5000, "a\0b"])
def test_an_unknown_name_is_told_the_known_ones(stylizer, photo, name):
    with pytest.raises(InputError, match=r"neither a file nor a name that is known.*cubism, ukiyo-e; random"):
        stylizer(photo, name)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True, "3"])
def test_a_seed_that_is_none_is_refused(stylizer, seed):
    with pytest.raises(InputError, match="seed must be a whole number"):
        stylizer.random_style(seed)


def test_the_shipped_weights_know_their_classes():
    shipped = Stylizer.from_pretrained(device="cpu")
    assert "ukiyo-e" in shipped.class_names
    assert shipped.random_style(1, "ukiyo-e").source == "ukiyo-e, seed 1"
