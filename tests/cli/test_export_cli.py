"""`agnlib export`: a file for other programs, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.cli.main import main
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer

pytestmark = pytest.mark.skipif(torch.__version__ < "2.9", reason="PyTorch before 2.9 cannot trace for any size")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    generator = Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1), num_classes=1)
    Stylizer(generator, StyleExtractor(16, hidden=8, taps=("block0",)), device="cpu").save_pretrained(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "style.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return path


def test_a_mixture_of_styles_is_written_as_a_stylizer_mixes_them(
    weights: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mixed.pt2"
    given = ["--style", f"{picture}:2", "--style", "wave", "--weights", str(weights)]
    assert main(["export", str(target), *given]) == 0
    size = target.stat().st_size / 1e6
    assert capsys.readouterr().err == f"agnlib: {target}: {size:.1f} MB, from a photograph to the painting\n"
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    expected = stylizer.encode_style([(picture, 2.0), ("wave", 1.0)]).vector
    torch.testing.assert_close(torch.export.load(target).state_dict["vector"][0], expected)
    assert main(["export", str(target), *given]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", str(target), *given, "--dtype", "uint8", "--overwrite"]) == 0
    photo = torch.randint(0, 256, (1, 21, 30, 3), dtype=torch.uint8)
    painted = torch.export.load(target).module()(photo)
    assert np.abs(painted[0].numpy().astype(int) - stylizer(photo[0].numpy(), [(picture, 2.0), "wave"])).max() <= 1


def test_the_extractor_is_written(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    target = tmp_path / "extractor.onnx"
    assert main(["export", str(target), "--part", "extractor", "--half", "--weights", str(weights)]) == 0
    assert "from a picture to the code of its style" in capsys.readouterr().err
    assert [value.name for value in onnx.load(target).graph.output] == ["style"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "expected FILE or --web DIR, got neither"),
        (["a.onnx", "--web", "page"], "expected FILE or --web DIR, got both"),
        (["a.txt"], "use .onnx or .pt2"),
        (["a.onnx", "--part", "extractor", "--style", "wave"], "paints in none"),
        (["a.pt2", "--part", "extractor"], "is for .onnx alone"),
        (["a.pt2", "--half"], "half=True is for .onnx alone"),
        (["missing/a.onnx"], "the folder 'missing' does not exist"),
        (["a.pt2", "--style", "missing.jpg"], "'missing.jpg' does not exist"),
        (["a.pt2", "--style", "wave:-1"], "the weight of 'wave' must be a number above 0"),
        (["a.pt2", "--runtime", "package"], "argument --runtime: is for --web"),
        (["--web", "page", "--half"], "argument --half: is for FILE"),
        (["--web", "page", "--part", "extractor"], "argument --part: is for FILE"),
        (["a.onnx", "--dtype", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_mistakes_are_said_in_one_line_and_nothing_is_written(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
