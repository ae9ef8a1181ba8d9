"""Which engine paints, in which precision: by name, "auto", or one's own."""

from __future__ import annotations

import pickle
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agnlib import engines, image
from agnlib.cli import main as cli
from agnlib.engines import _registry
from agnlib.errors import InputError
from agnlib.layers import current_window
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer

PHOTO = Path(__file__).parents[2] / "examples" / "images" / "castle.jpg"
STYLE = PHOTO.with_name("auvers.jpg")


@pytest.fixture(autouse=True)
def own_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come with agnlib alone, whatever was registered in this process before."""
    monkeypatch.setattr(_registry, "_KINDS", dict(_registry._OWN))


def tiny_models() -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    return Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1)), StyleExtractor(16, hidden=8, taps=("block0",))


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Noting:
    """An engine that notes what it is asked."""

    def __init__(self, generator: Generator, precision: str) -> None:
        self.generator, self.precision = generator, precision
        self.asked: list[tuple[Any, ...]] = []

    def takes(self, photo: Tensor, latent: Tensor | None) -> bool:
        return photo.shape[3] < 100

    def __call__(self, photo: Tensor, style: Tensor, latent: Tensor | None = None) -> Tensor:
        self.asked.append((tuple(photo.shape), tuple(style.shape), latent is not None, current_window() is not None))
        found: Tensor = self.generator(latent, style, content=photo)
        return found


@pytest.fixture
def own() -> Any:
    engines.register("noting", Noting, precisions=["bfloat16", "float32"])
    yield
    del _registry._KINDS["noting"]


def test_an_engine_of_ones_own_paints_what_it_takes(own: None) -> None:
    plain = Stylizer(*tiny_models(), device="cpu")
    stylizer = Stylizer(plain.generator, plain.extractor, device="cpu", engine="noting")
    assert engines.names() == ["torch", "onnx", "openvino", "noting"]
    assert stylizer._engine.precision == "bfloat16"
    style = photo(20, 20)
    for content, options in ((photo(24, 37), {}), (photo(24, 37), {"seed": 1}), (photo(90, 60), {"tile": 48})):
        np.testing.assert_array_equal(stylizer(content, style, **options), plain(content, style, **options))
    whole, seeded, *tiles = stylizer._engine.asked
    assert (whole, seeded) == (((1, 3, 24, 37), (1, 16), False, False), ((1, 3, 24, 37), (1, 16), True, False))
    assert tiles
    assert all(within for *_, within in tiles)
    stylizer._engine.asked.clear()
    np.testing.assert_array_equal(stylizer(photo(24, 120), style), plain(photo(24, 120), style))
    assert stylizer._engine.asked == []
    assert isinstance(pickle.loads(pickle.dumps(stylizer))._engine, Noting)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("torch", {}, "name is 'torch'"),
        ("auto", {}, "name is 'auto'"),
        ("two words", {}, "name is 'two words'"),
        (3, {}, "name is 3"),
        ("mine", {"devices": "cpu"}, "devices is 'cpu'"),
        ("mine", {"devices": ["tpu"]}, r"devices is \['tpu'\]"),
        ("mine", {"devices": []}, r"devices is \[\]"),
        ("mine", {"precisions": ["int8"]}, r"precisions is \['int8'\]"),
    ],
)
def test_what_cannot_be_registered_is_said(name: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        engines.register(name, Noting, **options)
    assert engines.names() == ["torch", "onnx", "openvino"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "tensorrt"}, r"^engine: expected auto, torch, onnx, openvino, got 'tensorrt'$"),
        ({"engine": "onnx", "precision": "bfloat16"}, r"engine onnx computes in float32, got 'bfloat16'; use float32"),
        ({"precision": "float16"}, r"^precision: expected auto, float32 or bfloat16, got 'float16'$"),
        ({"engine": "openvino", "device": "mps"}, "is not there|openvino runs on the CPU"),
        ({"engine": "auto", "device": "cuda:99"}, "is not there"),
    ],
)
def test_what_an_engine_cannot_is_said_before_weights_are_read(options: dict[str, Any], said: str) -> None:
    for make in (lambda: Stylizer.from_pretrained("whatever", **options), lambda: Stylizer(*tiny_models(), **options)):
        with pytest.raises(InputError, match=said):
            make()


def test_engines_of_the_cpu_take_it_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _registry.device_for("openvino", "auto") == torch.device("cpu")
    assert _registry.device_for("auto", "auto") == torch.device("cuda")
    assert _registry.choose("auto", "auto", torch.device("cuda")) == ("torch", "float32")
    with pytest.raises(
        InputError, match="openvino runs on the CPU, the device is 'cuda'; use engine torch or device cpu"
    ):
        _registry.device_for("openvino", "cuda")


@pytest.mark.parametrize(
    ("quick", "there", "precision", "expected"),
    [
        (True, True, "auto", ("openvino", "bfloat16")),
        (True, True, "bfloat16", ("openvino", "bfloat16")),
        (True, True, "float32", ("torch", "float32")),
        (True, False, "auto", ("torch", "float32")),
        (False, True, "auto", ("torch", "float32")),
    ],
)
def test_auto_takes_what_was_measured_to_be_quickest_and_says_so_once(
    quick: bool,
    there: bool,
    precision: str,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_registry, "fast_dtype", lambda _: torch.bfloat16 if quick else torch.float32)
    monkeypatch.setattr(_registry, "find_spec", lambda _: object() if there else None)
    _registry._say.cache_clear()
    with caplog.at_level("INFO", logger="agnlib.engine"):
        for _ in range(2):
            assert _registry.choose("auto", precision, torch.device("cpu")) == expected
    assert [record.getMessage() for record in caplog.records] == [f"engine auto: {expected[0]} on cpu"]


@pytest.mark.parametrize("quick", [True, False])
def test_auto_precision_is_bfloat16_with_openvino_where_the_processor_has_it(
    quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_registry, "fast_dtype", lambda _: torch.bfloat16 if quick else torch.float32)
    found = {engine: _registry.choose(engine, "auto", torch.device("cpu"))[1] for engine in engines.names()}
    assert found == {"torch": "float32", "onnx": "float32", "openvino": "bfloat16" if quick else "float32"}


def test_torch_in_float32_is_the_network_itself() -> None:
    for options in ({}, {"precision": "float32"}, {"engine": "torch", "precision": "auto"}):
        assert Stylizer(*tiny_models(), device="cpu", **options)._engine is None


def differences(options: dict[str, Any], weights: str = "agn-fast", **more: Any) -> np.ndarray:
    """Of the shipped weights' paintings of a photograph, from PyTorch's in float32."""
    found, expected = (
        Stylizer.from_pretrained(weights, "cpu", **each)(PHOTO, STYLE, size=320, **more) for each in (options, {})
    )
    return np.abs(np.asarray(found, float) - np.asarray(expected, float))


def in_bounds(difference: np.ndarray, most: float) -> None:
    assert 0 < difference.mean() <= 2
    assert np.percentile(difference, 99) <= most


MOST = {"agn-fast": 8, "agn-small": 10}


@pytest.mark.parametrize("weights", MOST)
def test_bfloat16_by_torch_differs_within_bounds(weights: str) -> None:
    in_bounds(differences({"precision": "bfloat16"}, weights), MOST[weights])


@pytest.mark.skipif(
    torch.__version__ < "2.9" or not all(map(find_spec, ("openvino", "onnx", "onnxscript"))), reason="needs openvino"
)
@pytest.mark.parametrize(
    ("weights", "more"),
    [
        ("agn-fast", {}),
        pytest.param("agn-small", {}, marks=pytest.mark.slow),
        pytest.param("agn-fast", {"tile": 96}, marks=pytest.mark.slow),
    ],
    ids=["fast", "small", "tiles"],
)
def test_bfloat16_by_openvino_differs_within_bounds(
    weights: str, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path))
    in_bounds(differences({"engine": "openvino", "precision": "bfloat16"}, weights, **more), MOST[weights])
    assert differences({"engine": "openvino", "precision": "float32"}, weights, **more).max() <= 1


def test_the_command_line_has_the_engines_that_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image.save(photo(8, 8), tmp_path / "photo.png")
    given = [str(tmp_path / "photo.png"), "--style", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png")]
    for options, said in (
        (["--engine", "tensorrt"], "argument --engine: invalid choice: 'tensorrt' (choose from"),
        (["--precision", "int8"], "argument --precision: invalid choice: 'int8' (choose from"),
        (["--engine", "onnx", "--device", "mps"], "mps"),
        (["--engine", "onnx", "--precision", "bfloat16"], "engine onnx computes in float32"),
    ):
        assert cli.main(["stylize", *given, *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        if said.startswith("argument --engine"):
            assert re.findall(r"\w+", error.partition("choose from")[2].partition(")")[0]) == [*engines.names(), "auto"]
    assert not (tmp_path / "out.png").exists()


def test_the_doctor_names_engines_with_version_and_precision(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor"])
    lines = dict(re.findall(r"^(engine \w+) +(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert lines["engine torch"].startswith("float32 on ")
    for name, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        if find_spec(package) is None:
            assert f'pip install "agnlib[{name}]"' in lines[f"engine {name}"]
        else:
            assert re.fullmatch(rf"{package} \d[\w.+-]*, (float32|bfloat16) on cpu", lines[f"engine {name}"])
    assert lines["engine auto"]
