"""Style codes: arithmetic against numpy, files against safetensors itself."""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open
from safetensors.torch import save_file

from agnlib.errors import InputError
from agnlib.image import Limits
from agnlib.styles.code import StyleCode

VECTORS = arrays(np.float32, 5, elements=st.floats(-100, 100, width=32))
WEIGHTS = st.floats(0, 1000)


def code(*values: float, source: str = "test") -> StyleCode:
    return StyleCode(torch.tensor(values), source)


def test_a_code_is_frozen_and_keeps_its_own_copy() -> None:
    vector = torch.ones(3, dtype=torch.float64, requires_grad=True)
    kept = StyleCode(vector, "ones")
    with torch.no_grad():
        vector.zero_()
    assert kept.vector.tolist() == [1, 1, 1]
    assert kept.vector.dtype == torch.float32
    assert not kept.vector.requires_grad
    with pytest.raises(dataclasses.FrozenInstanceError):
        kept.source = "other"  # type: ignore[misc]


def test_a_code_made_under_inference_mode_can_be_trained_on() -> None:
    with torch.inference_mode():
        kept = StyleCode(torch.ones(3), "ones")
    (kept.vector * torch.ones(3, requires_grad=True)).sum().backward()


@settings(max_examples=50, deadline=None)
@given(VECTORS, VECTORS, st.floats(-2, 3))
def test_lerp_is_linear(first: np.ndarray, second: np.ndarray, amount: float) -> None:
    start, end = (StyleCode(torch.from_numpy(vector), "x") for vector in (first, second))
    expected = first.astype(np.float64) * (1 - amount) + second.astype(np.float64) * amount
    np.testing.assert_allclose(start.lerp(end, amount).vector.numpy(), expected, atol=1e-3)
    assert torch.equal(start.lerp(end, 0).vector, start.vector)
    assert torch.equal(start.lerp(end, 1).vector, end.vector)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(VECTORS, WEIGHTS), min_size=1, max_size=4), st.floats(0.01, 100))
def test_mix_is_numpys_average(pairs: list[tuple[np.ndarray, float]], scale: float) -> None:
    if sum(weight for _, weight in pairs) < 1e-6:
        return
    vectors, weights = zip(*pairs, strict=True)
    mixed = StyleCode.mix((StyleCode(torch.from_numpy(vector), "x"), weight) for vector, weight in pairs)
    np.testing.assert_allclose(mixed.vector.numpy(), np.average(vectors, axis=0, weights=weights), atol=1e-3)
    scaled = StyleCode.mix((StyleCode(torch.from_numpy(vector), "x"), weight * scale) for vector, weight in pairs)
    np.testing.assert_allclose(scaled.vector.numpy(), mixed.vector.numpy(), atol=1e-3)


def test_sources_are_told() -> None:
    first, second = code(0, source="a.jpg"), code(1, source="b.jpg")
    assert StyleCode.mix([(first, 1), (second, 3)]).source == "0.25 a.jpg + 0.75 b.jpg"
    assert StyleCode.mix([(first, 5)]).source == "a.jpg"
    assert "a.jpg" in first.lerp(second, 0.5).source


def test_a_file_gives_the_code_back(tmp_path: Path) -> None:
    kept = code(0.1, -2, 3e-8, source="Wellen · 波.jpg")
    kept.save(tmp_path / "style.safetensors")
    loaded = StyleCode.load(tmp_path / "style.safetensors")
    assert torch.equal(loaded.vector, kept.vector)
    assert loaded.source == kept.source
    with safe_open(str(tmp_path / "style.safetensors"), framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("style"), kept.vector.numpy())


@given(VECTORS)
def test_bytes_and_file_objects_give_the_code_back(vector: np.ndarray) -> None:
    kept, file = StyleCode(torch.from_numpy(vector), "Wellen · 波.jpg", "mine", "0a"), io.BytesIO()
    kept.save(file)
    np.testing.assert_array_equal(safetensors.numpy.load(file.getvalue())["style"], vector)
    for form in (file, file.getvalue(), memoryview(file.getvalue())):
        loaded = StyleCode.load(form)
        assert torch.equal(loaded.vector, kept.vector)
        assert (loaded.source, loaded.weights, loaded.weights_hash) == (kept.source, "mine", "0a")


def test_bytes_that_are_no_code_are_refused() -> None:
    file = io.BytesIO()
    code(1, 2, 3).save(file)
    whole = file.getvalue()
    foreign = safetensors.torch.save({"style": torch.zeros(3)})
    for data in (b"", b"no tensors", whole[:-1], whole[:40], whole[8:], whole + b"x", foreign):
        with pytest.raises(InputError, match=r"^<bytes> .*give a file that StyleCode\.save wrote"):
            StyleCode.load(data)
    with pytest.raises(InputError, match="has more bytes than the limit of 50"):
        StyleCode.load(file, limits=Limits(bytes=50))
    with pytest.raises(InputError, match=r'text mode.*open\(path, "rb"\)'):
        StyleCode.load(io.StringIO())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r'text mode.*open\(path, "wb"\)'):
        code(1).save(io.StringIO())  # type: ignore[arg-type]


def test_a_code_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(code(1, 2)))
    assert torch.equal(copy.vector, torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("vector", "part"),
    [
        (torch.zeros(2, 3), "(2, 3)"),
        (torch.zeros(0), "(0,)"),
        (torch.tensor([1.0, torch.nan]), "finite"),
        ([1.0, 2.0], "list"),
    ],
)
def test_what_is_no_code_is_refused(vector: object, part: str) -> None:
    with pytest.raises(InputError) as error:
        StyleCode(vector, "x")  # type: ignore[arg-type]
    assert part in str(error.value)


def test_sums_that_make_no_sense_are_refused() -> None:
    one, two = code(1), code(1, 2)
    cases = {
        "none": [],
        "lengths": [(one, 1.0), (two, 1.0)],
        "at least 0": [(one, -1.0)],
        "finite number": [(one, float("nan"))],
        "positive": [(one, 0.0), (one, 0.0)],
    }
    for part, pairs in cases.items():
        with pytest.raises(InputError, match=part):
            StyleCode.mix(pairs)
    with pytest.raises(InputError, match="lengths"):
        one.lerp(two, 0.5)
    with pytest.raises(InputError, match="finite"):
        one.lerp(one, float("inf"))
    with pytest.raises(InputError, match=r"a StyleCode, got 'painting\.jpg'; make one .* by Stylizer\.encode_style"):
        one.lerp("painting.jpg", 0.5)  # type: ignore[arg-type]


def test_what_is_no_style_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors here")
    (tmp_path / "empty").touch()
    save_file({"style": torch.zeros(3)}, tmp_path / "foreign")
    save_file({"style": torch.full((3,), torch.nan)}, tmp_path / "nan", metadata={"format": "agnlib.style.1"})
    save_file({"other": torch.zeros(3)}, tmp_path / "incomplete", metadata={"format": "agnlib.style.1"})
    for name in ("missing", ".", "text", "empty", "foreign", "nan", "incomplete"):
        with pytest.raises(InputError) as error:
            StyleCode.load(tmp_path / name)
        assert repr(str(tmp_path / name)) in str(error.value)
        assert "\n" not in str(error.value)


def test_where_nothing_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        code(1).save(tmp_path / "missing" / "style.safetensors")
    assert not list(tmp_path.iterdir())
