"""The stylizer, with small untrained networks: what goes in comes out, and every option does what it says."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import agnlib
from agnlib.errors import ImageError, InputError, WeightsError
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.painting._painted_windows import BLEND_BELOW, STYLE_SIDE
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer, resolve_device

FEW = settings(max_examples=15, deadline=None)


def tiny_models() -> tuple[Generator, StyleExtractor]:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
    return generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0", "block2"))


STYLIZER = Stylizer(*tiny_models(), device="cpu")


def picture(height: int = 24, width: int = 36, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


PHOTO, PAINTING, OTHER = picture(), picture(40, 30, seed=1) // 2, 255 - picture(20, 50, seed=2) // 4


def as_kind(array: np.ndarray, kind: str, folder: Path) -> Any:
    """The same pixels as a path, PIL image, array or tensor."""
    if kind == "path":
        Image.fromarray(array).save(folder / "picture.png")
        return folder / "picture.png"
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    kinds = {"pil": Image.fromarray(array), "array": array, "tensor": tensor, "floats": tensor / 255}
    return kinds[kind]


@pytest.mark.parametrize("kind", ["path", "pil", "array", "tensor", "floats"])
def test_every_kind_of_content_gives_the_same_painting(kind: str, tmp_path: Path) -> None:
    content = as_kind(PHOTO, kind, tmp_path)
    result = STYLIZER(content, PAINTING)
    assert type(result) is (Image.Image if kind in ("path", "pil") else type(content))
    pixels = result.permute(1, 2, 0).numpy() if isinstance(result, torch.Tensor) else np.asarray(result)
    if kind == "floats":
        assert result.dtype == content.dtype
        pixels = np.rint(pixels * 255)
    np.testing.assert_array_equal(pixels, STYLIZER(PHOTO, PAINTING))


@pytest.mark.parametrize("kind", ["path", "pil", "array", "tensor", "floats"])
def test_every_kind_of_style_gives_the_same_code(kind: str, tmp_path: Path) -> None:
    code = STYLIZER.encode_style(as_kind(PAINTING, kind, tmp_path))
    torch.testing.assert_close(code.vector, STYLIZER.encode_style(PAINTING).vector)
    assert isinstance(STYLIZER(PHOTO, code), np.ndarray)


@FEW
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_any_size_of_photo_and_style(height: int, width: int, high: int, wide: int, strength: float) -> None:
    photo = np.zeros((height, width, 4))
    photo[..., 3] = np.linspace(0, 1, width)
    result = STYLIZER(photo, picture(high, wide), strength=strength)
    assert result.shape == photo.shape
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[..., 3], photo[..., 3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_strength_0_returns_the_image_bit_for_bit(mode: str) -> None:
    photo = Image.fromarray(PHOTO).convert(mode) if mode not in ("I;16", "F") else Image.new(mode, (5, 4), 1)
    result = STYLIZER(photo, PAINTING, strength=0)
    assert result is not photo
    assert (result.mode, result.size, result.tobytes()) == (photo.mode, photo.size, photo.tobytes())


@FEW
@given(st.sampled_from(["u1", "u2", "f2", "f4", "f8"]), st.sampled_from([(), (1,), (2,), (3,), (4,)]))
def test_strength_0_returns_the_array_bit_for_bit(dtype: str, channels: tuple[int, ...]) -> None:
    photo = np.random.default_rng(0).random((5, 7, *channels))
    photo = (photo * 60000 % 250).astype(dtype) if dtype[0] == "u" else photo.astype(dtype)
    for content in (photo, torch.from_numpy(np.atleast_3d(photo)).permute(2, 0, 1)):
        result = STYLIZER(content, PAINTING, strength=0)
        assert result.dtype == content.dtype
        assert result.shape == content.shape
        assert bool((result == content).all())
        result[...] = 0
    assert photo.any()


def test_strength_is_continuous() -> None:
    photo = torch.from_numpy(PHOTO).permute(2, 0, 1) / 255
    at = {s: STYLIZER(photo, PAINTING, strength=s) for s in (0, 1e-5, BLEND_BELOW - 1e-5, BLEND_BELOW, 0.99999, 1)}
    for low, high in ((0, 1e-5), (BLEND_BELOW - 1e-5, BLEND_BELOW), (0.99999, 1)):
        assert (at[low] - at[high]).abs().max() < 1e-3
    assert (at[0] - at[1]).abs().mean() > 0.02


def test_several_references_are_mixed_by_weight() -> None:
    codes = [STYLIZER.encode_style(each) for each in (PAINTING, OTHER)]
    expected = StyleCode.mix([(codes[0], 1), (codes[1], 3)])
    assert torch.equal(STYLIZER.encode_style([(PAINTING, 1), (OTHER, 3.0)]).vector, expected.vector)
    assert torch.equal(STYLIZER.encode_style([(PAINTING, 10), (OTHER, 30)]).vector, expected.vector)
    equal = STYLIZER.encode_style([PAINTING, OTHER]).vector
    assert torch.equal(equal, StyleCode.mix([(code, 1) for code in codes]).vector)
    np.testing.assert_array_equal(STYLIZER(PHOTO, [(PAINTING, 1), (OTHER, 3)]), STYLIZER(PHOTO, expected))


def test_a_style_picture_is_reduced_before_it_is_read() -> None:
    stylizer = Stylizer(*tiny_models(), device="cpu")
    seen: list[torch.Size] = []
    stylizer.extractor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    stylizer.encode_style(np.zeros((STYLE_SIDE * 2, STYLE_SIDE * 3, 3), dtype=np.uint8))
    stylizer.encode_style(np.zeros((20, 1000, 3), dtype=np.uint8))
    assert [tuple(shape[2:]) for shape in seen] == [(STYLE_SIDE, STYLE_SIDE * 3 // 2), (20, 1000)]


def test_a_subclass_may_read_styles_in_its_own_way() -> None:
    class Plain(Stylizer):
        def encode_style(self, pictures: Any, *, seed: int | None = None) -> StyleCode:
            return StyleCode(torch.zeros(16))

    painted = Plain(*tiny_models(), device="cpu")(PHOTO, PAINTING)
    np.testing.assert_array_equal(painted, STYLIZER(PHOTO, StyleCode(torch.zeros(16))))


def test_a_seed_varies_the_painting_and_repeats_it() -> None:
    without, again = STYLIZER(PHOTO, PAINTING), STYLIZER(PHOTO, PAINTING)
    first, same, second = (STYLIZER(PHOTO, PAINTING, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(without, again)
    np.testing.assert_array_equal(first, same)
    assert (first != second).any()
    assert (first != without).any()


def test_seeds_leave_torchs_own_randomness_alone() -> None:
    before = torch.get_rng_state()
    STYLIZER(PHOTO, PAINTING, seed=5)
    assert torch.equal(before, torch.get_rng_state())


def test_a_batch_gives_what_each_picture_gives_alone() -> None:
    batch = torch.from_numpy(np.stack([PHOTO, 255 - PHOTO])).permute(0, 3, 1, 2) / 255
    together = STYLIZER(batch, PAINTING, strength=0.6, seed=3)
    for photo, result in zip(batch, together, strict=True):
        torch.testing.assert_close(STYLIZER(photo, PAINTING, strength=0.6, seed=3), result, atol=1e-4, rtol=0)


def test_size_reduces_the_longer_side() -> None:
    photo = Image.fromarray(picture(30, 60))
    assert STYLIZER(photo, PAINTING, size=20).size == (20, 10)
    assert STYLIZER(photo, PAINTING, size=600).size == (60, 30)
    assert STYLIZER(photo, PAINTING, size=20, strength=0).size == (20, 10)


def test_gray_comes_back_in_color() -> None:
    assert STYLIZER(PHOTO[..., 0], PAINTING).shape == (24, 36, 3)
    assert STYLIZER(Image.fromarray(PHOTO).convert("L"), PAINTING).mode == "RGB"
    assert STYLIZER(torch.zeros(2, 1, 5, 6), PAINTING).shape == (2, 3, 5, 6)


def test_a_tensor_result_can_be_used_in_training() -> None:
    result = STYLIZER(torch.rand(3, 8, 9, requires_grad=True), PAINTING)
    assert not result.is_inference()
    assert not result.requires_grad


def test_threads_share_a_stylizer() -> None:
    photos = [picture(10 + n, 30 - n, seed=n) for n in range(6)]
    alone = [STYLIZER(photo, PAINTING, strength=0.5, seed=n) for n, photo in enumerate(photos)]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda n: STYLIZER(photos[n], PAINTING, strength=0.5, seed=n), range(6))
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_stylizer_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(STYLIZER))
    np.testing.assert_array_equal(copy(PHOTO, PAINTING), STYLIZER(PHOTO, PAINTING))


def test_weights_from_a_folder(tmp_path: Path) -> None:
    generator, extractor = tiny_models()
    pretrained.save(tmp_path, {"generator": generator, "extractor": extractor})
    stylizer = agnlib.Stylizer.from_pretrained(tmp_path, device="cpu")
    np.testing.assert_array_equal(stylizer(PHOTO, PAINTING), STYLIZER(PHOTO, PAINTING))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"strength": 1.5}, ["strength", "from 0", "1.5"]),
        ({"strength": -0.1}, ["strength", "-0.1"]),
        ({"strength": float("nan")}, ["strength", "nan"]),
        ({"strength": "half"}, ["strength", "'half'"]),
        ({"size": 0}, ["size", "at least 1", "0"]),
        ({"size": 12.5}, ["size", "12.5"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": "x"}, ["seed", "'x'"]),
        ({"style": None}, ["style", "NoneType"]),
        ({"style": []}, ["style", "at least one picture"]),
        ({"style": [(PAINTING, -1)]}, ["weight", "-1"]),
        ({"style": [(PAINTING, 0)]}, ["weights", "positive"]),
        ({"style": [(PAINTING, "much")]}, ["weight", "'much'"]),
        ({"style": (PAINTING, 0.5)}, ["style", "one pair alone", "list of pairs"]),
        ({"style": torch.zeros(2, 3, 5, 5)}, ["style", "batch of 2"]),
        ({"style": StyleCode(torch.zeros(7), "other weights")}, ["16", "7", "encode"]),
        ({"content": np.full((4, 4, 3), 300.0)}, ["content", "[0, 1]", "300"]),
        ({"content": "missing.jpg"}, ["missing.jpg", "does not exist"]),
        ({"style": "missing.jpg"}, ["missing.jpg", "does not exist"]),
    ],
)
def test_what_cannot_be_done_is_said(options: dict[str, Any], parts: list[str]) -> None:
    arguments = {"content": PHOTO, "style": PAINTING} | options
    with pytest.raises(InputError) as error:
        STYLIZER(**arguments)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_file_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        STYLIZER(tmp_path / "a.jpg", PAINTING)


def test_a_picture_too_large_for_the_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    stylizer = Stylizer(*tiny_models(), device="cpu")
    monkeypatch.setattr(stylizer.generator, "forward", exhausted)
    with pytest.raises(InputError, match=r"36 x 24 pixels.*smaller size"):
        stylizer(PHOTO, PAINTING)


def test_other_failures_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    stylizer = Stylizer(*tiny_models(), device="cpu")
    monkeypatch.setattr(stylizer.generator, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        stylizer(PHOTO, PAINTING)


def test_devices_that_are_not_there() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("cuda:99", "tpu", "meta", "", "cuda:x"):
        with pytest.raises(InputError, match="device"):
            Stylizer.from_pretrained("whatever", device=name)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match='0 CUDA devices; use "auto" or "cpu"'):
            resolve_device("cuda")


def test_models_that_do_not_fit_together() -> None:
    with pytest.raises(InputError, match=r"16.*8"):
        Stylizer(tiny_models()[0], StyleExtractor(style_dim=8, hidden=16, taps=("block0",)), device="cpu")


def test_unknown_weights() -> None:
    with pytest.raises(WeightsError, match="no-such-weights"):
        Stylizer.from_pretrained("no-such-weights", device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_paints_what_the_cpu_paints() -> None:
    on_cuda = Stylizer(*tiny_models(), device="cuda")
    difference = STYLIZER(PHOTO, PAINTING, seed=1).astype(int) - on_cuda(PHOTO, PAINTING, seed=1)
    assert np.abs(difference).mean() < 1
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1).cuda()
    assert on_cuda(tensor, PAINTING).device == tensor.device


def test_it_works_where_torchvision_cannot_be_imported(tmp_path: Path) -> None:
    """A CPU torch beside a CUDA torchvision fails at import with a RuntimeError."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms is missing")')
    generator, extractor = tiny_models()
    pretrained.save(tmp_path / "weights", {"generator": generator, "extractor": extractor})
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    command = ["stylize", "photo.png", "--style", "photo.png", "--weights", "weights", "--quiet", "-o", "out.png"]
    program = f"import sys; from agnlib.cli.main import main; sys.exit(main({command!r}))"
    packages = os.pathsep.join([str(tmp_path), str(Path(agnlib.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": packages},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "out.png") as out:
        assert out.size == (36, 24)
