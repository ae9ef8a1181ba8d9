"""Engines beside PyTorch: whatever runs the network, everything is painted, and it is the same picture."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agnlib import image
from agnlib._shared import optional
from agnlib.cli import main as cli
from agnlib.engines import _window_export
from agnlib.engines._program_cache import Programs
from agnlib.engines._window_graph import Variant
from agnlib.errors import InputError, MissingDependencyError
from agnlib.image import Picture
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.painting._effect import Effect
from agnlib.painting._frames import FramePainter, Steadying
from agnlib.painting._masks import paired
from agnlib.painting._painted_windows import Painting
from agnlib.painting._temporal_smoothing import Smoothing
from agnlib.stylizer import Stylizer

if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime", "openvino"))):  # not imported: see the last test
    pytest.skip("needs the extras onnx and openvino", allow_module_level=True)
pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="PyTorch before 2.9 cannot trace for any size")

ENGINES = ("onnx", "openvino")
STYLE_DIM = 16


def tiny_models(**options: Any) -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    generator = Generator(8, STYLE_DIM, **{"channels": (8, 8, 16), "blocks": (0, 1, 1), **options})
    torch.nn.init.normal_(generator.noise_quarter.by_style.weight)  # so that codes, places and seeds are to be seen
    torch.nn.init.normal_(generator.noise_eighth.by_style.weight)
    torch.nn.init.normal_(generator.seed_gain)
    return generator, StyleExtractor(STYLE_DIM, hidden=16, taps=("block0", "block2"))


STYLIZER = Stylizer(*tiny_models(), device="cpu")


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for the module: an export takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("programs")
        patch.setenv("AGNLIB_CACHE", str(folder))
        yield folder


@pytest.fixture
def exports(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Variant]:
    """An empty cache, and the variants that are exported into it; they come from the module's."""
    done: list[Variant] = []
    kept = Programs(STYLIZER.generator)

    def window_model(generator: Generator, layout: Any, variant: Variant) -> bytes:
        done.append(variant)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AGNLIB_CACHE", str(programs))
            patch.setattr(_window_export, "window_model", found)
            return kept.program(variant, "the tests")

    found = _window_export.window_model
    monkeypatch.setattr(_window_export, "window_model", window_model)
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path / "cache"))
    return done


def by(engine: str, precision: str = "float32", **options: Any) -> Stylizer:
    return Stylizer(*tiny_models(**options), device="cpu", engine=engine, precision=precision)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


STYLE, OTHER = photo(30, 40, seed=9), photo(33, 35, seed=8)
LEFT = np.tile(np.arange(37) < 20, (24, 1))


def difference(found: Any, expected: Any) -> float:
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    scale = 255 if found.dtype == np.uint8 else 1
    return float(np.abs(np.asarray(found, float) - np.asarray(expected, float)).max()) / scale


def forbid_pytorch(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stylizer.generator, "forward", lambda *_, **__: pytest.fail("PyTorch painted"))


# -- everything that PyTorch paints


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("content", "style", "options"),
    [
        pytest.param(photo(24, 37), STYLE, {}, id="whole"),
        pytest.param(photo(1, 3), STYLE, {}, id="tiny"),
        pytest.param(photo(33, 20) / 255, STYLE, {"strength": 0.6}, id="strength"),
        pytest.param(photo(33, 20), STYLE, {"strength": 0.1}, id="blended"),
        pytest.param(photo(40, 30), STYLE, {"texture": 0.5, "color": 0.9, "scale": 1.5}, id="texture"),
        pytest.param(torch.rand(2, 3, 21, 30), STYLE, {"preserve_color": True}, id="batch"),
        pytest.param(photo(24, 37), STYLE, {"seed": 3}, id="seed"),
        pytest.param(photo(24, 37), "random", {"seed": 3}, id="random"),
        pytest.param(photo(150, 130), STYLE, {"tile": 48}, id="tiles"),
        pytest.param(photo(24, 37), STYLE, {"mask": LEFT}, id="mask"),
        pytest.param(photo(24, 37), [STYLE, OTHER], {"mask": LEFT}, id="regions"),
        pytest.param(photo(24, 37), [STYLE, OTHER], {"mask": [LEFT, ~LEFT], "strength": 0.5}, id="regions-strength"),
        pytest.param(torch.rand(2, 3, 24, 37), [STYLE, OTHER, STYLE], {"mask": [LEFT, LEFT]}, id="regions-batch"),
        pytest.param(
            photo(150, 130), [STYLE, OTHER], {"mask": photo(150, 130)[..., 0], "tile": 48, "seed": 2}, id="all"
        ),
    ],
)
def test_everything_is_painted_without_pytorch_and_the_same(
    engine: str, content: Any, style: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, stylizer = STYLIZER(content, style, **options), by(engine)
    forbid_pytorch(stylizer, monkeypatch)
    assert np.ptp(np.asarray(expected)) > 0
    assert difference(stylizer(content, style, **options), expected) <= 1 / 255 + 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_a_large_picture_is_normalized_by_its_overview(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.tile(photo(16, 16), (66, 66, 1))
    assert content.shape[0] * content.shape[1] > 2**20
    expected, stylizer = STYLIZER(content, STYLE, scale=1), by(engine)
    forbid_pytorch(stylizer, monkeypatch)
    assert difference(stylizer(content, STYLE, scale=1), expected) <= 1 / 255


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("regions", [False, True])
def test_frames_of_a_clip_are_averaged_as_by_pytorch(
    engine: str, regions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = torch.from_numpy(np.stack([photo(24, 37, seed=seed) for seed in range(5)])).permute(0, 3, 1, 2)
    frames = (frames.float() * torch.linspace(0.3, 1, 5)[:, None, None, None]).to(torch.uint8)

    def painted(stylizer: Stylizer) -> list[torch.Tensor]:
        styles, masks = paired([STYLE, OTHER] if regions else STYLE, LEFT if regions else None, (24, 37))
        codes = torch.stack([stylizer.encode_style(each).vector for each in styles])
        averages, steadying = Smoothing(0.5), Steadying.chosen(0.5, required=True)
        assert steadying is not None

        def painting(steady: Picture, seen: Picture) -> Painting:
            given = (stylizer.generator, stylizer.extractor, steady, codes, masks, None, Effect())
            return Painting(*given, averages, steadying.camera, stylizer._engine, seen)

        painter = FramePainter(painting, steadying, averages, stylizer.device)
        return [painter(frames[:2], [float("inf"), 0.2]), painter(frames[2:3], [0.2]), painter(frames[3:], [0.2, 0.2])]

    expected, stylizer = painted(STYLIZER), by(engine)
    forbid_pytorch(stylizer, monkeypatch)
    alone = STYLIZER(frames[4].permute(1, 2, 0).numpy(), STYLE)
    assert regions or difference(expected[2][1].permute(1, 2, 0).numpy(), alone) > 2 / 255  # averages are to be seen
    for found, wanted in zip(painted(stylizer), expected, strict=True):
        assert difference(found, wanted) <= 1


# -- what is exported, and kept


@pytest.mark.parametrize("engine", ENGINES)
def test_the_network_is_exported_once_for_all_processes_and_engines(
    engine: str, exports: list[Variant], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="agnlib.engine"):
        for stylizer in (by(engine), by(engine), by("onnx")):
            stylizer(photo(24, 37), STYLE)
            stylizer(photo(25, 36), STYLE)
    assert exports == [Variant()]
    assert len([*(tmp_path / "cache").iterdir()]) == 1
    assert [record.getMessage().partition(" for")[0] for record in caplog.records] == ["exporting the network"]


@pytest.mark.parametrize("left", ["", "no model", "changed"])
def test_a_cached_file_that_is_damaged_is_replaced(left: str, exports: list[Variant], tmp_path: Path) -> None:
    by("openvino")(photo(24, 37), STYLE)
    (file,) = (tmp_path / "cache").iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:500] + b"x" + good[501:] if left == "changed" else left.encode())
    painted = by("openvino")(photo(24, 37), STYLE)
    assert difference(painted, STYLIZER(photo(24, 37), STYLE)) <= 1 / 255
    assert exports == [Variant()] * 2
    assert file.read_bytes() == good


def test_other_weights_have_files_of_their_own() -> None:
    names = set()
    for seed in (0, 1):
        generator, _ = tiny_models()
        torch.manual_seed(seed)
        torch.nn.init.normal_(generator.seed_gain)
        names.add(Programs(generator)._path(Variant()))
    assert len(names) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, exports: list[Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGNLIB_CACHE", str(tmp_path / "file" / "cache"))
    stylizer = by("openvino")
    for _ in range(2):
        stylizer(photo(24, 37), STYLE)
    assert exports == [Variant()]


def test_programs_tell_nothing_of_the_machine(exports: list[Variant]) -> None:
    content = Programs(STYLIZER.generator).program(Variant(), "the tests")
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content


class Deciding(torch.nn.Module):
    """A block that asks about its input's values."""

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return x if x.mean() > 0 else -x


def test_blocks_that_cannot_be_traced_are_said(exports: list[Variant], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    generator, extractor = tiny_models()
    generator.body[0] = Deciding()
    with pytest.raises(InputError, match=r"cannot be traced.*use engine torch") as error:
        Stylizer(generator, extractor, engine="openvino")(photo(24, 37), STYLE)
    assert "\n" not in str(error.value)


# -- threads, processes


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_share_an_engine(engine: str) -> None:
    stylizer = by(engine)
    photos = [photo(10 + n % 4, 40 - n % 4, seed=n) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: stylizer(each, STYLE), photos))
    for content, found in zip(photos, together, strict=True):
        np.testing.assert_array_equal(found, stylizer(content, STYLE))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_travels_to_other_processes(engine: str, exports: list[Variant]) -> None:
    stylizer = by(engine, "auto")
    for _ in range(2):  # before its first picture and after
        copy = pickle.loads(pickle.dumps(stylizer))
        assert (copy.engine, copy.precision) == (engine, "auto")
        np.testing.assert_array_equal(copy(photo(24, 37), STYLE), stylizer(photo(24, 37), STYLE))
    assert exports == [Variant()]


IN_A_CHILD = """
import multiprocessing, pickle, sys
import numpy as np, torch

torch.set_num_threads(2)
with open(sys.argv[1], "rb") as file:
    stylizer = pickle.load(file)
photo = np.random.default_rng(0).integers(0, 256, (24, 37, 3), dtype=np.uint8)
code = stylizer.encode_style(photo)
expected = stylizer(photo, code)


def paint():
    torch.set_num_threads(1)
    np.testing.assert_allclose(stylizer(photo, code).astype(int), expected.astype(int), rtol=0, atol=1)


child = multiprocessing.get_context("fork").Process(target=paint)
child.start()
child.join(100)
print("painted", child.exitcode)
child.kill()
np.testing.assert_array_equal(stylizer(photo, code), expected)
print("and here again")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_starts_anew_in_a_child(engine: str, tmp_path: Path) -> None:
    (tmp_path / "stylizer").write_bytes(pickle.dumps(by(engine)))
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", IN_A_CHILD, str(tmp_path / "stylizer")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.split("\n")[:2] == ["painted 0", "and here again"], done.stderr


def test_threads_are_torchs_later_ones_too() -> None:
    onnx, openvino = by("onnx"), by("openvino")
    before = torch.get_num_threads()
    try:
        for threads in (before + 1, before):
            torch.set_num_threads(threads)
            onnx(photo(24, 37), STYLE)
            ((_, session),) = onnx._engine._sessions.values()
            assert session.get_session_options().intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)
    openvino(photo(24, 37), STYLE)
    (compiled,) = openvino._engine._compiled.values()
    assert compiled._model.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()


def test_a_size_that_comes_again_is_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer = by("openvino")
    monkeypatch.setattr("agnlib.engines._openvino._WORTH", 3 * 40 * 56)
    monkeypatch.setattr("agnlib.engines._openvino._KEPT", 4 * 40 * 56)
    expected = STYLIZER(photo(24, 37), STYLE)
    for times in range(4):
        assert difference(stylizer(photo(24, 37), STYLE), expected) <= 1 / 255
        fixed = [shapes is not None for _, shapes, _ in stylizer._engine._compiled]
        assert fixed == ([False] if times < 2 else [False, True])
    for width in range(37, 70, 8):
        for _ in range(3):
            stylizer(photo(24, width), STYLE)
        assert sum(each.pixels for each in stylizer._engine._compiled.values()) <= 4 * 40 * 56


# -- what cannot be


def forbid(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package were not installed."""
    found = optional.importlib.import_module

    def import_module(name: str) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name)

    monkeypatch.setattr(optional.importlib, "import_module", import_module)


@pytest.mark.parametrize(("engine", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_is_named(engine: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(package, monkeypatch)
    with pytest.raises(MissingDependencyError, match=rf'pip install "agnlib\[{engine}\]"'):
        by(engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_margin_small_pictures_are_left_to_pytorch(
    engine: str, exports: list[Variant], caplog: pytest.LogCaptureFixture
) -> None:
    models = tiny_models(margin=0)
    plain, stylizer = Stylizer(*models, device="cpu"), Stylizer(*models, engine=engine)
    with caplog.at_level("INFO", logger="agnlib.engine"):
        for _ in range(2):
            np.testing.assert_array_equal(stylizer(photo(16, 40), STYLE), plain(photo(16, 40), STYLE))
    assert exports == []
    assert [record.getMessage() for record in caplog.records if "PyTorch paints" in record.getMessage()] == [
        record.getMessage() for record in caplog.records
    ]
    assert len(caplog.records) == 1


class OwnWay(Generator):
    """A generator whose work is another."""

    def forward(self, *args: Any, **options: Any) -> torch.Tensor:
        return super().forward(*args, **options) * 0.5


def test_a_generator_of_another_make_is_left_to_pytorch(exports: list[Variant]) -> None:
    torch.manual_seed(0)
    generator = OwnWay(8, STYLE_DIM, channels=(8, 8, 16), blocks=(1, 1, 1))
    extractor = tiny_models()[1]
    plain, stylizer = (Stylizer(generator, extractor, device="cpu", engine=each) for each in ("torch", "openvino"))
    np.testing.assert_array_equal(stylizer(photo(24, 37), STYLE), plain(photo(24, 37), STYLE))
    assert exports == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_command_line_takes_the_engine(
    engine: str, exports: list[Variant], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator, extractor = tiny_models()
    pretrained.save(tmp_path / "weights", {"generator": generator, "extractor": extractor})
    (tmp_path / "photos").mkdir()
    for number in range(2):
        image.save(photo(24, 37, seed=number), tmp_path / "photos" / f"{number}.png")
    first = str(tmp_path / "photos" / "0.png")
    options = ["--style", first, "--weights", str(tmp_path / "weights"), "--engine", engine]
    options += ["--precision", "float32", "--quiet"]
    assert cli.main(["stylize", first, *options, "-o", str(tmp_path / "painted.png")]) == 0
    assert cli.main(["stylize", str(tmp_path / "photos"), *options, "-o", str(tmp_path / "painted")]) == 0
    assert exports == [Variant()]
    assert capsys.readouterr() == ("", "")
    painted, again = (image.read(tmp_path / name) for name in ("painted.png", "painted/0.png"))
    np.testing.assert_array_equal(painted, again)
    assert difference(painted, STYLIZER(photo(24, 37), photo(24, 37))) <= 1 / 255
    for program in (tmp_path / "cache").iterdir():
        program.unlink()
    assert cli.main(["stylize", first, *options[:-1], "-o", str(tmp_path / "aloud.png")]) == 0
    assert "exporting the network for" in capsys.readouterr().err
    assert logging.getLogger("agnlib.engine").level == logging.NOTSET


SILENT = """
import sys
events = []
sys.addaudithook(lambda name, given: events.append((name, given)) if name.startswith("socket.") else None)
from agnlib.engines._openvino_package import openvino_package
openvino_package().Core()
import time
time.sleep(1)  # a report is sent by a thread
assert not events, events
assert "openvino_telemetry" not in sys.modules
"""


def test_openvino_reports_nothing_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", SILENT], check=True, env=environment, timeout=100)
    assert list(tmp_path.iterdir()) == []


SIGNALED = """
import faulthandler, gc, signal
import numpy as np
from agnlib import Generator, StyleExtractor, Stylizer
faulthandler.enable()  # handlers of signals then have a stack of their own
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
models = Generator(style_dim=8, channels=(8, 8, 16), blocks=(0, 1, 1)), StyleExtractor(8, taps=("block0",))
picture = np.zeros((24, 32, 3), np.uint8)
stylizers = [Stylizer(*models, device="cpu", engine="openvino", precision="float32") for _ in range(2)]
for stylizer in stylizers:
    stylizer(picture, picture)
del stylizer
while stylizers:
    stylizers.pop(0)
    gc.collect()
signal.raise_signal(signal.SIGTERM)
assert seen
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_after_openvino_is_handled_as_before() -> None:
    subprocess.run([sys.executable, "-c", SIGNALED], check=True, timeout=300)
