"""The network as a file for other programs, and onnxruntime as an engine: the same pictures, whatever runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from agnlib import __version__, image
from agnlib._shared import atomic, optional
from agnlib.cli import main as cli
from agnlib.engines import _export
from agnlib.engines._export import smallest_side
from agnlib.engines._programs import Repainter, traced
from agnlib.errors import ImageError, InputError, MissingDependencyError
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.stylizer import Stylizer

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="PyTorch before 2.9 cannot trace for any size")

# odd, tiny, long, a batch, and one that the stride divides
SHAPES = [(1, 37, 51), (1, 1, 1), (1, 9, 130), (3, 24, 41), (1, 160, 200)]
STYLE_DIM = 16


def tiny_models(**options: Any) -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    generator = Generator(8, STYLE_DIM, **{"channels": (8, 8, 16), "blocks": (1, 1, 1), **options})
    return generator, StyleExtractor(STYLE_DIM, hidden=16, taps=("block0", "block2"))


STYLIZER = Stylizer(*tiny_models(), device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same network as ONNX and as a program of PyTorch, exported from weights in a folder."""
    folder = tmp_path_factory.mktemp("exported")
    generator, extractor = tiny_models()
    models, info = {"generator": generator, "extractor": extractor}, {"license": "Apache-2.0"}
    pretrained.save(folder / "weights", models, name="tiny", info=info)
    stylizer = Stylizer.from_pretrained(folder / "weights", device="cpu")
    for name in ("model.onnx", "model.pt2"):
        stylizer.export(folder / name)
    assert not stylizer.generator.training
    assert all(parameter.requires_grad for parameter in stylizer.generator.parameters())
    assert not any(isinstance(buffer, FakeTensor) for buffer in stylizer.generator.buffers())
    return folder


@pytest.fixture(scope="module")
def session(files: Path) -> Any:
    return onnxruntime.InferenceSession(files / "model.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def program(files: Path) -> tuple[torch.export.ExportedProgram, nn.Module, dict[str, Any]]:
    """The loaded program, the same ready to run, and its notes."""
    notes = {"agnlib.json": ""}
    loaded = torch.export.load(files / "model.pt2", extra_files=notes)
    return loaded, loaded.module(), json.loads(notes["agnlib.json"])


def eager(image: Tensor, style: Tensor) -> Tensor:
    with torch.inference_mode():
        painted: Tensor = STYLIZER.generator(None, style, content=image * 2 - 1)
    return painted * 0.5 + 0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exported_programs_paint_what_the_network_paints(
    session: Any, program: Any, shape: tuple[int, int, int]
) -> None:
    batch, height, width = shape
    image, style = torch.rand(batch, 3, height, width), torch.randn(batch, STYLE_DIM)
    expected = eager(image, style)
    assert expected.std() > 0.01 or height == 1
    (by_onnx,) = session.run(["painted"], {"image": image.numpy(), "style": style.numpy()})
    by_torch = program[1](image, style)
    for painted in (torch.from_numpy(by_onnx), by_torch):
        assert painted.shape == image.shape
        torch.testing.assert_close(painted, expected, atol=1e-3, rtol=0)


def test_the_onnx_file_is_valid_and_standard(files: Path) -> None:
    model = onnx.load(files / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions


def test_the_onnx_file_says_what_it_is(session: Any) -> None:
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    picture = ["batch", 3, "height", "width"]
    assert shapes == {"image": picture, "style": ["batch", STYLE_DIM], "painted": picture}
    about = session.get_modelmeta().custom_metadata_map
    assert "[0, 1]" in about.pop("usage")
    known = {"name": "tiny", "license": "Apache-2.0", "agnlib": __version__, "style_dim": str(STYLE_DIM)}
    assert about == {**known, "part": "network", "dtype": "float32"}


def test_the_program_holds_pytorchs_operators_alone(program: Any) -> None:
    called = {node.target for node in program[0].graph.nodes if node.op == "call_function"}
    spaces = {target.namespace for target in called if isinstance(target, torch._ops.OpOverload)}
    assert spaces == {"aten"}
    assert (program[2]["name"], program[2]["agnlib"]) == ("tiny", __version__)


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_files_tell_nothing_of_the_machine(files: Path, name: str) -> None:
    content = (files / name).read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_without_a_margin_a_program_takes_larger_pictures() -> None:
    generator, _ = tiny_models(margin=0)
    least = smallest_side(generator)
    assert (least, smallest_side(STYLIZER.generator)) == (17, 1)
    program = traced(Repainter(generator), generator, styled=True).module()
    image, style = torch.rand(1, 3, least, least), torch.randn(1, STYLE_DIM)
    with torch.inference_mode():
        expected = generator.eval()(None, style, content=image * 2 - 1) * 0.5 + 0.5
    torch.testing.assert_close(program(image, style), expected, atol=1e-3, rtol=0)
    with pytest.raises(AssertionError, match=r"17|height"):
        program(image[:, :, 1:], style)


def test_blocks_whose_kernels_are_wider_than_the_least_picture_are_exported_too() -> None:
    generator, _ = tiny_models(kernel=9)
    program = traced(Repainter(generator), generator, styled=True).module()
    style = torch.randn(1, STYLE_DIM)
    for height, width in ((8, 8), (25, 70)):  # of the smaller one there is too little to mirror
        image = torch.rand(1, 3, height, width)
        with torch.inference_mode():
            expected = generator.eval()(None, style, content=image * 2 - 1) * 0.5 + 0.5
        torch.testing.assert_close(program(image, style), expected, atol=1e-3, rtol=0)


class Foreign(nn.Module):
    """A block whose operator no other program knows."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        found: Tensor = torch.ops.agnlib.conv2d(
            x, torch.ones(16, 16, 1, 1), None, [1, 1], [0, 0], [1, 1], 1, "linear", 1.0
        )
        return found


class Deciding(nn.Module):
    """A block that asks about its input's values."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


@pytest.mark.parametrize(("block", "said"), [(Foreign, "agnlib.conv2d"), (Deciding, "cannot be traced")])
def test_blocks_that_cannot_be_exported_are_named(block: type[nn.Module], said: str, tmp_path: Path) -> None:
    generator, extractor = tiny_models()
    generator.body[0] = block()
    with pytest.raises(InputError, match=said) as error:
        Stylizer(generator, extractor, device="cpu").export(tmp_path / "model.pt2")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx.gz"])
def test_an_unknown_suffix_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"use \.onnx or \.pt2"):
        STYLIZER.export(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("the work had begun"))
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ImageError, match="does not exist"):
        STYLIZER.export(tmp_path / "missing" / "model.onnx")
    with pytest.raises(ImageError, match="it is a folder"):
        STYLIZER.export(tmp_path / "folder.onnx")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "model.pt2"
    target.write_text("old")
    monkeypatch.setattr(_export, "_pt2_archive", lambda *_, **__: b"new")
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(ImageError, match="No space left"):
        STYLIZER.export(target)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(package, monkeypatch)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[onnx\]"'):
        STYLIZER.export(tmp_path / "model.onnx")


def forbid(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package were not installed."""
    found = optional.importlib.import_module

    def import_module(name: str) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name)

    monkeypatch.setattr(optional.importlib, "import_module", import_module)


# -- the page, and the command line; engines have tests/engines/test_engines.py


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache."""
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path / "cache"))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


STYLE = photo(30, 40, seed=9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "tensorrt"], "argument --engine: invalid choice: 'tensorrt' (choose from"),
        (["--engine", "onnx", "--device", "mps"], "mps"),
    ],
)
def test_the_command_line_says_which_engines_there_are(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image.save(photo(8, 8), tmp_path / "photo.png")
    given = [str(tmp_path / "photo.png"), "--style", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png")]
    assert cli.main(["stylize", *given, *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("weights", ["tiny", pytest.param("shipped", marks=pytest.mark.slow)])
def test_the_page_about_onnx_runs(
    weights: str, files: Path, cache: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weights == "tiny":
        found = Stylizer.from_pretrained
        monkeypatch.setattr(Stylizer, "from_pretrained", lambda **options: found(files / "weights", **options))
    page = Path(__file__).parents[2] / "docs" / "howto" / "onnx.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 5
    monkeypatch.chdir(tmp_path)
    image.save(photo(45, 70), "photo.jpg")
    image.save(STYLE, "painting.jpg")
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
        if "pixels = " in block:  # by onnxruntime alone
            alone = image.read("painted.png")
    by_engine = image.read("painted.png")
    assert alone.shape == by_engine.shape == (45, 70, 3)
    assert np.abs(alone.astype(int) - by_engine).max() <= 1
    assert names["painted"].shape == (1, 3, 45, 83)
