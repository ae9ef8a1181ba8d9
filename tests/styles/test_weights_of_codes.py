"""A style code says which weights made it, and is not used with others without a word."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from agnlib import Generator, StyleExtractor, Stylizer
from agnlib.errors import InputError, StyleCodeWarning
from agnlib.styles.code import StyleCode

PICTURE = Image.new("RGB", (40, 30), "gold")


def made(seed: int, style_dim: int = 16) -> Stylizer:
    torch.manual_seed(seed)
    generator = Generator(8, style_dim, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(style_dim, hidden=8), device="cpu")


@pytest.fixture(scope="module")
def own() -> Stylizer:
    return made(1)


@pytest.fixture(scope="module")
def other() -> Stylizer:
    return made(2)


@pytest.fixture
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", StyleCodeWarning)
        yield


def test_the_hash_is_that_of_the_extractors_tensors(own: Stylizer) -> None:
    digest = hashlib.sha256()
    for name, value in sorted(own.extractor.state_dict().items()):
        numbers = value.numpy()
        stored = numbers.astype("<f2" if numbers.dtype.kind == "f" else "<i8")
        digest.update(f"{name} {numbers.shape};".encode() + stored.tobytes())
    assert own.weights_hash == digest.hexdigest() == made(1).weights_hash != made(2).weights_hash


def test_a_file_says_the_weights_name_hash_and_width(own: Stylizer, tmp_path: Path) -> None:
    own.save_pretrained(tmp_path / "mine")
    loaded = Stylizer.from_pretrained(tmp_path / "mine", "cpu")
    for code in (
        loaded.encode_style(PICTURE),
        loaded.random_style(3),
        loaded.refine_style(PICTURE, content=PICTURE, steps=1),
    ):
        code.save(tmp_path / "code.safetensors")
        with safe_open(str(tmp_path / "code.safetensors"), framework="np") as file:
            about = file.metadata()
        assert (about["weights"], about["weights_hash"], about["style_dim"]) == ("mine", loaded.weights_hash, "16")
        again = StyleCode.load(tmp_path / "code.safetensors")
        assert (again.weights, again.weights_hash) == ("mine", loaded.weights_hash)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_storing_the_weights_keeps_their_hash(own: Stylizer, dtype: torch.dtype, tmp_path: Path) -> None:
    own.save_pretrained(tmp_path, dtype=dtype)
    assert Stylizer.from_pretrained(tmp_path, "cpu").weights_hash == own.weights_hash


def test_another_generator_takes_the_same_codes(own: Stylizer, silent: None) -> None:
    tuned = Stylizer(made(3).generator, made(1).extractor, device="cpu")
    tuned(PICTURE, own.encode_style(PICTURE))


def test_with_other_weights_a_code_warns_once(own: Stylizer, other: Stylizer, tmp_path: Path) -> None:
    code = own.encode_style(PICTURE)
    with pytest.warns(StyleCodeWarning, match="'Image' was made with other weights"):
        other(PICTURE, code)
    code.save(tmp_path / "code.safetensors")
    with pytest.warns(StyleCodeWarning):
        other(PICTURE, str(tmp_path / "code.safetensors"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other(PICTURE, code)
        own(PICTURE, code)
        own(PICTURE, str(tmp_path / "code.safetensors"))
        pickle.loads(pickle.dumps(own))(PICTURE, code)


def test_where_the_warning_is_an_error_it_is_refused_each_time(own: Stylizer, other: Stylizer) -> None:
    code = own.encode_style(PICTURE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StyleCodeWarning)
        for _ in range(3):
            with pytest.raises(StyleCodeWarning):
                other(PICTURE, code)


def test_codes_that_came_from_one_code_are_known(own: Stylizer, other: Stylizer) -> None:
    one, two = own.encode_style(PICTURE), own.encode_style(Image.new("RGB", (9, 9)))
    for each in (one.lerp(two, 0.5), StyleCode.mix([(one, 1), (two, 2)]), pickle.loads(pickle.dumps(one))):
        assert each.weights_hash == own.weights_hash
        with pytest.warns(StyleCodeWarning):
            other(PICTURE, each)


def test_codes_of_different_weights_are_mixed_with_a_warning(own: Stylizer, other: Stylizer, silent: None) -> None:
    one, two = own.encode_style(PICTURE), other.encode_style(PICTURE)
    with pytest.warns(StyleCodeWarning, match="mixed"):
        mixture = one.lerp(two, 0.5)
    assert mixture.weights_hash == ""
    own(PICTURE, mixture)
    assert StyleCode.mix([(one, 1), (StyleCode(torch.zeros(16)), 1)]).weights_hash == ""


def test_another_width_is_refused(own: Stylizer) -> None:
    with pytest.raises(InputError, match="need a code of 24 numbers, got 16"):
        made(1, 24)(PICTURE, own.encode_style(PICTURE))


def test_a_file_from_before_there_were_hashes_is_taken_silently(other: Stylizer, tmp_path: Path, silent: None) -> None:
    path = tmp_path / "old.safetensors"
    save_file({"style": np.ones(16, np.float32)}, path, metadata={"format": "agnlib.style.1", "source": "old.jpg"})
    assert other(PICTURE, str(path)).size == PICTURE.size


def test_a_code_of_the_shipped_weights_fits_both(tmp_path: Path) -> None:
    small, fast = (Stylizer.from_pretrained(name, "cpu") for name in ("agn-small", "agn-fast"))
    assert small.weights_hash == fast.weights_hash
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    code = small.encode_style(picture)
    code.save(tmp_path / "style.safetensors")
    torch.testing.assert_close(fast.encode_style(picture).vector, code.vector, rtol=0, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_file, by_picture = fast(picture, tmp_path / "style.safetensors"), fast(picture, picture)
    np.testing.assert_array_equal(by_file, by_picture)
