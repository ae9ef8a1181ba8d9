"""The network as a file for other programs, and onnxruntime as an engine: the same pictures, whatever runs them."""

from __future__ import annotations

import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
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
from agnlib.engines import _onnx_runtime as _engine
from agnlib.engines._export import smallest_side
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
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions


def test_the_onnx_file_says_what_it_is(session: Any) -> None:
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    picture = ["batch", 3, "height", "width"]
    assert shapes == {"image": picture, "style": ["batch", STYLE_DIM], "painted": picture}
    about = session.get_modelmeta().custom_metadata_map
    assert "[0, 1]" in about.pop("usage")
    known = {"name": "tiny", "license": "Apache-2.0", "agnlib": __version__, "style_dim": str(STYLE_DIM)}
    assert about == known


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
    program = _export._traced(generator).module()
    image, style = torch.rand(1, 3, least, least), torch.randn(1, STYLE_DIM)
    with torch.inference_mode():
        expected = generator.eval()(None, style, content=image * 2 - 1) * 0.5 + 0.5
    torch.testing.assert_close(program(image, style), expected, atol=1e-3, rtol=0)
    with pytest.raises(AssertionError, match=r"17|height"):
        program(image[:, :, 1:], style)


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


# -- onnxruntime as an engine


@pytest.fixture
def cache(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def exports(files: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for each export; they hand out the file that is there."""
    done: list[str] = []

    def onnx_model(generator: Generator, *, name: str, license: str) -> bytes:
        done.append(name)
        return (files / "model.onnx").read_bytes()

    monkeypatch.setattr(_export, "onnx_model", onnx_model)
    return done


def by_onnx() -> Stylizer:
    return Stylizer(*tiny_models(), engine="onnx")


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


STYLE = photo(30, 40, seed=9)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (photo(24, 37), {}),
        (photo(1, 3), {}),
        (photo(33, 20) / 255, {"strength": 0.6}),
        (photo(40, 30), {"texture": 0.5, "color": 0.9, "scale": 1.5}),
        (torch.rand(2, 3, 21, 30), {"preserve_color": True}),
        (photo(24, 37), {"seed": 3}),
        (photo(50, 70), {"tile": 32}),
        (photo(24, 37), {"mask": np.tile(np.arange(37) < 20, (24, 1))}),
    ],
)
def test_both_engines_paint_the_same(content: Any, options: dict[str, Any], cache: Path, exports: list[str]) -> None:
    expected, found = (each(content, STYLE, **options) for each in (STYLIZER, by_onnx()))
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    scale = 255 if content.dtype == np.uint8 else 1
    difference = np.abs(np.asarray(found, float) - np.asarray(expected, float)).max()
    assert difference <= (1 if scale == 255 else 1e-3)  # a rounding apart


def test_what_onnxruntime_paints_and_what_not(
    cache: Path, exports: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stylizer = by_onnx()
    code = stylizer.encode_style(STYLE)
    stylizer(photo(24, 37), code)
    monkeypatch.setattr(stylizer.generator, "forward", lambda *_, **__: pytest.fail("PyTorch painted"))
    stylizer(photo(24, 37), code)
    assert not caplog.records
    monkeypatch.undo()
    with caplog.at_level("INFO", logger="agnlib.engine"):
        for _ in range(2):
            stylizer(photo(24, 37), code, seed=1)
    assert [record.getMessage() for record in caplog.records] == [
        "PyTorch paints what the exported network does not hold: large pictures, regions, seeds"
    ]


def test_a_large_picture_is_normalized_by_its_overview_with_either_engine(cache: Path, exports: list[str]) -> None:
    content = np.tile(photo(16, 16), (66, 66, 1))
    assert content.shape[0] * content.shape[1] > 2**20
    np.testing.assert_array_equal(by_onnx()(content, STYLE), STYLIZER(content, STYLE))
    assert exports == []


def test_the_network_is_exported_once_for_all_processes(cache: Path, exports: list[str]) -> None:
    first, second = by_onnx(), by_onnx()
    painted = first(photo(24, 37), STYLE)
    for stylizer in (first, second):
        np.testing.assert_array_equal(stylizer(photo(24, 37), STYLE), painted)
    assert len(exports) == 1
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("left", ["", "no model", "another network"])
def test_a_cached_file_that_is_something_else_is_replaced(left: str, cache: Path, exports: list[str]) -> None:
    by_onnx()(photo(24, 37), STYLE)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    model = onnx.load_from_string(good)
    next(iter(model.graph.initializer)).raw_data = b"\x00" * len(next(iter(model.graph.initializer)).raw_data)
    file.write_bytes({"another network": model.SerializeToString()}.get(left, left.encode()))
    painted = by_onnx()(photo(24, 37), STYLE)
    assert np.abs(painted.astype(int) - STYLIZER(photo(24, 37), STYLE)).max() <= 1
    assert len(exports) == 2
    assert file.read_bytes() == good


def test_other_weights_have_a_file_of_their_own(cache: Path, exports: list[str]) -> None:
    names = set()
    for seed in (0, 1):
        generator, _ = tiny_models()
        torch.manual_seed(seed)
        torch.nn.init.normal_(generator.seed_gain)
        names.add(_engine._cached(generator))
    assert len(names) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, exports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path / "file" / "cache"))
    stylizer = by_onnx()
    for _ in range(2):
        stylizer(photo(24, 37), STYLE)
    assert len(exports) == 1


def test_threads_share_an_engine_and_start_it_once(cache: Path, exports: list[str]) -> None:
    stylizer = by_onnx()
    photos = [photo(10 + n, 40 - n, seed=n) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: stylizer(each, STYLE), photos))
    for content, found in zip(photos, together, strict=True):
        np.testing.assert_array_equal(found, stylizer(content, STYLE))
    assert len(exports) == 1


def test_an_engine_travels_to_other_processes(cache: Path, exports: list[str]) -> None:
    stylizer = by_onnx()
    for _ in range(2):  # before its first picture and after
        copy = pickle.loads(pickle.dumps(stylizer))
        assert copy.engine == "onnx"
        np.testing.assert_array_equal(copy(photo(24, 37), STYLE), stylizer(photo(24, 37), STYLE))
    assert len(exports) == 1


def test_threads_are_torchs(cache: Path, exports: list[str]) -> None:
    stylizer = by_onnx()
    stylizer(photo(24, 37), STYLE)
    options = stylizer._engine._session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()


def test_engines_that_cannot_run_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^engine: expected torch or onnx, got 'tensorrt'$"):
        Stylizer.from_pretrained("whatever", engine="tensorrt")
    with pytest.raises(InputError, match=r"is not there|onnx runs on the CPU"):
        Stylizer(*tiny_models(), device="mps", engine="onnx")
    forbid("onnxruntime", monkeypatch)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[onnx\]"'):
        by_onnx()


def test_without_a_margin_small_pictures_are_painted_by_pytorch(cache: Path, exports: list[str]) -> None:
    models = tiny_models(margin=0)
    plain, engine = Stylizer(*models, device="cpu"), Stylizer(*models, engine="onnx")
    np.testing.assert_array_equal(engine(photo(16, 40), STYLE), plain(photo(16, 40), STYLE))
    assert exports == []


def test_the_command_line_takes_the_engine(
    cache: Path, exports: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator, extractor = tiny_models()
    pretrained.save(tmp_path / "weights", {"generator": generator, "extractor": extractor})
    (tmp_path / "photos").mkdir()
    for number in range(2):
        image.save(photo(24, 37, seed=number), tmp_path / "photos" / f"{number}.png")
    first = str(tmp_path / "photos" / "0.png")
    options = ["--style", first, "--weights", str(tmp_path / "weights"), "--engine", "onnx", "--quiet"]
    assert cli.main(["stylize", first, *options, "-o", str(tmp_path / "painted.png")]) == 0
    assert cli.main(["stylize", str(tmp_path / "photos"), *options, "-o", str(tmp_path / "painted")]) == 0
    assert exports == ["agnlib"]
    assert capsys.readouterr() == ("", "")
    painted, again = (image.read(tmp_path / name) for name in ("painted.png", "painted/0.png"))
    np.testing.assert_array_equal(painted, again)
    assert np.abs(painted.astype(int) - STYLIZER(photo(24, 37), photo(24, 37))).max() <= 1
    for model in cache.rglob("*.onnx"):
        model.unlink()
    assert cli.main(["stylize", first, *options[:-1], "-o", str(tmp_path / "aloud.png")]) == 0
    assert "exporting the network for onnxruntime; this happens once" in capsys.readouterr().err


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
    weights: str, files: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    if weights == "tiny":
        request.getfixturevalue("exports")
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
