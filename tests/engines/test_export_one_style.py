"""One style as a file, pictures as bytes, weights in 16 bits, and the extractor as a file, run by onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agnlib.engines._small_canvas import PERIOD, SEAM, _shortened, cut_canvases
from agnlib.errors import ImageError, InputError
from agnlib.layers import CanvasNoise
from agnlib.models import Generator, StyleExtractor
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="PyTorch before 2.9 cannot trace for any size")

SHAPES = [(1, 37, 51), (2, 24, 41), (1, 1, 1)]
STYLE_DIM = 16


def models(**options: Any) -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"channels": (8, 8, 16), "blocks": (1, 1, 1), "canvas_slope": 1.0, **options}
    generator = Generator(8, STYLE_DIM, **shape)
    for layer in generator.modules():
        if isinstance(layer, CanvasNoise) and layer.by_style is not None:  # at first they are the same in each style
            nn.init.normal_(layer.by_style.weight)
    return generator, StyleExtractor(STYLE_DIM, hidden=16, taps=("block0", "block2"))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Neither flat nor white noise, so that every statistic is something."""
    generator = np.random.default_rng(seed)
    tile = generator.integers(0, 256, (3, 3, 3))
    waves = np.kron(tile, np.ones((-(-height // 3), -(-width // 3), 1)))[:height, :width]
    return (0.8 * waves + 0.2 * generator.integers(0, 256, (height, width, 3))).astype(np.uint8)


STYLIZER = Stylizer(*models(), device="cpu")
STYLE = [(photo(30, 40, 1), 2.0), ("wave", 1.0)]
CODE = STYLIZER.encode_style(STYLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One style in each of its kinds, and the extractor in two."""
    made = tmp_path_factory.mktemp("exported")
    STYLIZER.export(made / "style.onnx", style=STYLE)
    STYLIZER.export(made / "bytes.onnx", style=STYLE, dtype="uint8")
    STYLIZER.export(made / "half.onnx", style=STYLE, half=True)
    STYLIZER.export(made / "style.pt2", style=STYLE)
    STYLIZER.export(made / "bytes.pt2", dtype="uint8")
    STYLIZER.export(made / "extractor.onnx", part="extractor")
    STYLIZER.export(made / "extractor-bytes.onnx", part="extractor", dtype="uint8", half=True)
    return made


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def eager(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bytes `(B, H, W, 3)` to what PyTorch paints of them in the style, `(B, 3, H, W)` in [0, 1]."""
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        painted = STYLIZER.generator(None, CODE.vector.expand(len(pictures), -1), content=image * 2 - 1)
    return (painted * 0.5 + 0.5).numpy()


def pictures(batch: int, height: int, width: int) -> np.ndarray[Any, Any]:
    return np.stack([photo(height, width, seed) for seed in range(batch)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_file_of_one_style_paints_what_the_network_paints_in_it(folder: Path, shape: tuple[int, int, int]) -> None:
    content = pictures(*shape)
    expected = eager(content)
    image = (content / 255).astype(np.float32).transpose(0, 3, 1, 2)
    (painted,) = session(folder / "style.onnx").run(None, {"image": image})
    assert expected.std() > 0.01 or shape[1] == 1
    np.testing.assert_allclose(painted, expected, atol=1e-3)
    by_torch = torch.export.load(folder / "style.pt2").module()(torch.from_numpy(image))
    np.testing.assert_allclose(by_torch, expected, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pictures_of_bytes_are_rounded_as_a_stylizer_rounds(folder: Path, shape: tuple[int, int, int]) -> None:
    content = pictures(*shape)
    expected = (eager(content).transpose(0, 2, 3, 1) * 255).round().astype(int)
    (painted,) = session(folder / "bytes.onnx").run(None, {"image": content})
    code = CODE.vector.expand(len(content), -1)
    by_torch = torch.export.load(folder / "bytes.pt2").module()(torch.from_numpy(content), code).numpy()
    for found in (painted, by_torch):
        assert (found.dtype, found.shape) == (np.uint8, content.shape)
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert (found != expected).mean() < 0.01
    assert np.abs(painted[0].astype(int) - STYLIZER(content[0], STYLE)).max() <= 1


def test_weights_in_16_bits_halve_the_file_and_change_nothing_to_see(folder: Path) -> None:
    sizes = [(folder / name).stat().st_size for name in ("style.onnx", "half.onnx")]
    model = onnx.load(folder / "half.onnx")
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= 1024]
    assert {tensor.data_type for tensor in large if "." in tensor.name} == {onnx.TensorProto.FLOAT16}
    noise = [tensor for tensor in large if list(tensor.dims) == [PERIOD // 8] * 2]
    assert [tensor.data_type for tensor in noise] == [onnx.TensorProto.FLOAT]
    halved = sum(np.prod(tensor.dims) for tensor in large if tensor.data_type == onnx.TensorProto.FLOAT16)
    assert 1.8 * halved < sizes[0] - sizes[1] <= 2 * halved  # and the casts take some bytes
    image = np.random.default_rng(0).random((1, 3, 37, 51), dtype=np.float32)
    ((one,), (other,)) = (session(folder / name).run(None, {"image": image}) for name in ("style.onnx", "half.onnx"))
    assert 0 < np.abs(one - other).max() < 0.02  # of weights that were never saved in 16 bits


def test_weights_that_were_saved_in_16_bits_lose_nothing(tmp_path: Path) -> None:
    generator, extractor = models()
    for parameter in (*generator.parameters(), *extractor.parameters()):
        parameter.data = parameter.data.half().float()
    stylizer = Stylizer(generator, extractor, device="cpu")
    image = np.random.default_rng(0).random((1, 3, 37, 51), dtype=np.float32)
    found = []
    for half in (False, True):
        stylizer.export(tmp_path / "style.onnx", style=CODE, half=half)
        found += session(tmp_path / "style.onnx").run(None, {"image": image})
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("name", ["style", "bytes", "half", "extractor", "extractor-bytes"])
def test_every_file_is_valid_standard_and_says_what_it_is(folder: Path, name: str) -> None:
    path = folder / f"{name}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    started = session(path)
    shapes = {value.name: value.shape for value in (*started.get_inputs(), *started.get_outputs())}
    picture = ["batch", "height", "width", 3] if "bytes" in name else ["batch", 3, "height", "width"]
    other = {"style": ["batch", STYLE_DIM]} if "extractor" in name else {"painted": picture}
    assert shapes == {"image": picture, **other}
    about = started.get_modelmeta().custom_metadata_map
    assert about["part"] == ("extractor" if "extractor" in name else "network")
    assert ("uint8" if "bytes" in name else "float32") == about["dtype"]
    assert about["dtype"] in about["usage"]
    assert about.get("style", "") == ("" if "extractor" in name else CODE.source)
    assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()


def test_a_program_of_one_style_says_so_too(folder: Path) -> None:
    notes = {"agnlib.json": ""}
    torch.export.load(folder / "style.pt2", extra_files=notes)
    assert json.loads(notes["agnlib.json"])["style"] == CODE.source == "0.667 ndarray + 0.333 wave"


def test_a_style_may_be_a_code_or_drawn_by_chance(folder: Path, tmp_path: Path) -> None:
    wanted = {"code": CODE, "random": STYLIZER.encode_style("random", seed=3)}
    STYLIZER.export(tmp_path / "code.pt2", style=CODE)
    STYLIZER.export(tmp_path / "random.pt2", style="random", seed=3)
    for name, code in wanted.items():
        vector = torch.export.load(tmp_path / f"{name}.pt2").state_dict["vector"]
        torch.testing.assert_close(vector[0], code.vector)


class Adapting(nn.Module):
    """An adapter of another kind."""

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return code + x.mean((2, 3))


def test_an_adapter_of_another_kind_is_exported_as_it_is(tmp_path: Path) -> None:
    generator, extractor = models()
    generator.adapter = Adapting()  # type: ignore[assignment]
    stylizer = Stylizer(generator, extractor, device="cpu")
    stylizer.export(tmp_path / "style.pt2", style=CODE)
    image = torch.rand(2, 3, 21, 30)
    with torch.inference_mode():
        expected = generator(None, CODE.vector.expand(2, -1), content=image * 2 - 1) * 0.5 + 0.5
    painted = torch.export.load(tmp_path / "style.pt2").module()(image)
    torch.testing.assert_close(painted, expected, atol=1e-3, rtol=0)
    assert isinstance(generator.adapter, Adapting)


# -- the canvas


def test_the_canvas_is_cut_and_what_comes_before_the_seam_stays() -> None:
    generator, _ = models()
    before = generator.noise_eighth.canvas.clone()
    cut_canvases(generator)
    after, cells, seam = generator.noise_eighth.canvas, PERIOD // 8, SEAM // 8
    assert after.shape == (cells, cells)
    assert torch.equal(after[: cells - seam, : cells - seam], before[: cells - seam, : cells - seam])
    assert 0.9 < after[cells - seam :].std() / before.std() < 1.1


@given(cells=st.integers(40, 60), seam=st.integers(2, 20))
def test_a_shortened_canvas_begins_again_where_it_ends(cells: int, seam: int) -> None:
    """Of a smooth one the step from the last row to the first is no larger than those between others."""
    place = torch.arange(200, dtype=torch.float32)
    wave = torch.sin(2 * torch.pi * place / 100)[:, None].expand(-1, 3)
    short = _shortened(wave, cells, seam)
    assert len(short) == cells
    torch.testing.assert_close(short[-1], wave[-1], atol=1e-5, rtol=0)  # the row before the first
    assert torch.equal(short[: cells - seam], wave[: cells - seam])


# -- the extractor


@pytest.fixture(scope="module")
def extractor(folder: Path) -> Any:
    return session(folder / "extractor.onnx")


def planes(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bytes `(H, W, 3)` as a batch of one in [0, 1]."""
    return np.float32(picture / 255).transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("height", "width"), [(30, 41), (1, 1), (10, 300), (208, 209), (211, 511), (301, 500), (417, 220), (1000, 700)]
)
def test_the_extractors_file_reads_the_code_that_encode_style_reads(
    folder: Path, extractor: Any, height: int, width: int
) -> None:
    picture = photo(height, width)
    expected = STYLIZER.encode_style(picture).vector
    (found,) = extractor.run(["style"], {"image": planes(picture)})
    assert expected.std() > 0.1
    np.testing.assert_allclose(found[0], expected, atol=1e-3)
    (halved,) = session(folder / "extractor-bytes.onnx").run(["style"], {"image": picture[None]})
    np.testing.assert_allclose(halved[0], expected, atol=0.02 * float(expected.abs().max()))


def test_the_extractors_file_takes_several_pictures_at_once(extractor: Any) -> None:
    content = pictures(2, 250, 230)
    image = (content / 255).astype(np.float32).transpose(0, 3, 1, 2)
    (found,) = extractor.run(["style"], {"image": image})
    for each, picture in zip(found, content, strict=True):
        np.testing.assert_allclose(each, STYLIZER.encode_style(picture).vector, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_sizes_are_rounded_as_agnlib_rounds_them(extractor: Any, height: int, width: int) -> None:
    """A size that is one pixel off moves a code far more than this."""
    picture = photo(height, width)
    (found,) = extractor.run(["style"], {"image": planes(picture)})
    np.testing.assert_allclose(found[0], STYLIZER.encode_style(picture).vector, atol=1e-3)


def test_a_variational_extractors_file_gives_the_means(tmp_path: Path) -> None:
    generator, _ = models()
    torch.manual_seed(1)
    extractor = StyleExtractor(STYLE_DIM, True, hidden=16, taps=("block1",))
    stylizer = Stylizer(generator, extractor, device="cpu")
    stylizer.export(tmp_path / "extractor.onnx", part="extractor")
    picture = photo(40, 50)
    (found,) = session(tmp_path / "extractor.onnx").run(None, {"image": planes(picture)})
    np.testing.assert_allclose(found[0], stylizer.encode_style(picture).vector, atol=1e-3)


class Mine(StyleExtractor):
    """An extractor that may do anything."""


# -- what is refused


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.pt2", {"part": "extractor"}, r"for \.onnx alone"),
        ("a.pt2", {"half": True}, r"half=True is for \.onnx alone"),
        ("a.onnx", {"part": "extractor", "style": "wave"}, "paints in none"),
        ("a.onnx", {"part": "discriminator"}, "part: expected network or extractor, got 'discriminator'"),
        ("a.onnx", {"dtype": "int8"}, "dtype: expected float32 or uint8, got 'int8'"),
        ("a.onnx", {"half": 1}, "half must be True or False, got 1"),
        ("a.onnx", {"style": "no-such-style"}, "no-such-style"),
        ("a.onnx", {"style": StyleCode(torch.ones(3))}, "a code of 16 numbers, got 3"),
        ("a.txt", {"style": "wave"}, r"use \.onnx or \.pt2"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as error:
        STYLIZER.export(tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_extractor_of_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    generator, _ = models()
    stylizer = Stylizer(generator, Mine(STYLE_DIM, hidden=16, taps=("block0",)), device="cpu")
    with pytest.raises(InputError, match="got a Mine"):
        stylizer.export(tmp_path / "extractor.onnx", part="extractor")
    assert not list(tmp_path.iterdir())


def test_a_place_is_looked_at_before_the_style_is_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        STYLIZER.export(tmp_path / "missing" / "a.onnx", style="no-such-style")
