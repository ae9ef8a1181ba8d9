"""What goes into a `Stylizer` is what comes out of it, at run time and to a type checker."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import Generator, StyleExtractor, Stylizer

STRENGTHS = (1.0, 0.5, 0.1, 0.0)

CALLS = """
import io
from pathlib import Path
from typing import assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import agnlib
from agnlib import Stylizer
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import PictureStyle


def called(stylizer: Stylizer, photo: Image.Image, code: StyleCode, kept: PictureStyle, either: Path | bytes) -> None:
    for path in ("photo.jpg", Path("photo.jpg"), b"", bytearray(), io.BytesIO(), photo, either):
        assert_type(stylizer(path, code), Image.Image)
    with open("photo.jpg", "rb") as file:
        assert_type(stylizer(file, code, strength=0.5, progress=True), Image.Image)
    assert_type(stylizer(np.zeros((3, 4, 3), np.uint8), code, seed=1), NDArray[np.uint8])
    assert_type(stylizer(np.zeros((3, 4, 3)), code), NDArray[np.float64])
    assert_type(stylizer(torch.zeros(3, 4, 5), code, size=4), torch.Tensor)
    stylizer(photo, [(code, 1.0)])
    stylizer(photo, [(code, 1.0), ("a.jpg", 2), (kept, 1)])
    stylizer(photo, [(each, 1.0) for each in (code, code)])
    stylizer(photo, [photo, [(code, 1), ("b.jpg", 2)]], mask=[photo, np.zeros((3, 4), np.bool_)])
    stylizer.stylize_file("a.jpg", "b.jpg", [(code, 1.0)], strength=0.5, progress=lambda done, total: None)
    stylizer.encode_style([code, "a.jpg", photo])
    stylizer.encode_style([(code, 1.0), (photo, 2)])
    assert_type(agnlib.styles.code.StyleCode.load("a.safetensors"), StyleCode)
    assert_type(stylizer.to("cpu"), Stylizer)
"""
MISTAKES = {
    "stylizer(1.5, code)": "call-overload",
    "stylizer(photo, code, strenght=1.0)": "call-overload",
    "stylizer(photo, [(code, None)])": "list-item",
    "agnlib.nothing": "attr-defined",
    "agnlib.Generator(wdith=3)": "call-arg",
    'agnlib.Generator(channels="wide")': "arg-type",
    "agnlib.Discriminator(scales=0.5)": "arg-type",
    "agnlib.StyleExtractor(hidden=None)": "arg-type",
}


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    return Stylizer(Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1)), StyleExtractor(16), device="cpu")


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 12, 16), (2, 4, 12, 16), (1, 3, 5)])
def test_a_tv_tensor_stays_one(stylizer: Stylizer, shape: tuple[int, ...], dtype: torch.dtype, strength: float) -> None:
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    plain = (torch.rand(shape) * (255 if dtype == torch.uint8 else 1)).to(dtype)
    style = torch.rand(3, 9, 9)
    kinds: list[Any] = [tv_tensors.Image, *([tv_tensors.Video] if len(shape) == 4 else [])]
    for kind in kinds:
        painted = stylizer(kind(plain), tv_tensors.Image(style), strength=strength)
        assert type(painted) is kind
        assert torch.equal(painted.as_subclass(torch.Tensor), stylizer(plain, style, strength=strength))


def test_a_tv_tensor_stays_one_whatever_torchvision_returns(stylizer: Stylizer) -> None:
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    picture = tv_tensors.Image(torch.rand(3, 8, 8))
    with tv_tensors.set_return_type("TVTensor"):
        assert type(stylizer(picture, picture, size=4)) is tv_tensors.Image
    assert type(stylizer(picture, picture, size=4)) is tv_tensors.Image
    assert type(stylizer(torch.nn.Parameter(torch.rand(3, 8, 8)), picture)) is torch.Tensor


def test_the_others_stay_what_they_are(stylizer: Stylizer, tmp_path: Path) -> None:
    photo = Image.new("RGB", (9, 7), "navy")
    photo.save(tmp_path / "photo.png")
    held = io.BytesIO((tmp_path / "photo.png").read_bytes())
    for content in (str(tmp_path / "photo.png"), tmp_path / "photo.png", held.getvalue(), held, photo):
        assert isinstance(stylizer(content, photo), Image.Image)
    for dtype in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        array = stylizer(np.zeros((7, 9, 3), dtype), photo)
        assert (type(array), array.dtype) == (np.ndarray, dtype)


def test_a_type_checker_knows_it_and_sees_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    lines = CALLS.splitlines()
    wrong = {len(lines) + number: mistake for number, mistake in enumerate(MISTAKES, 1)}
    program = tmp_path / "calls.py"
    program.write_text("\n".join([*lines, *(f"    {mistake}" for mistake in MISTAKES)]) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--no-pretty", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    found = {int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in errors}
    assert found == {number: MISTAKES[mistake] for number, mistake in wrong.items()}, "\n".join(errors)
