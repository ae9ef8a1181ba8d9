"""What cannot be taken or written is said in words, before the work begins; what only looks so is taken."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, TiffImagePlugin
from skimage import data
from torchvision.transforms.v2 import functional

from agnlib import image
from agnlib.errors import ImageError, InputError
from agnlib.folder import stylize_folder
from agnlib.image import Picture
from agnlib.image._value_range import must_be_clipped
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer
from agnlib.transforms import RandomStyle, Recolor

FEW = settings(max_examples=40, deadline=None)
COFFEE = Image.fromarray(data.coffee())


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0",)), device="cpu")


def never(*_: object, **__: object) -> None:
    raise AssertionError("the work has begun")


# Tensors, PIL images and paths


TENSORS = {
    "float8_e4m3fn": torch.zeros(3, 4, 4).to(torch.float8_e4m3fn),
    "float8_e5m2": torch.zeros(3, 4, 4).to(torch.float8_e5m2),
    "complex64": torch.zeros(3, 4, 4, dtype=torch.complex64),
    "sparse": torch.zeros(3, 4, 4).to_sparse(),
    "meta": torch.zeros(3, 4, 4, device="meta"),
    "nested": torch.nested.nested_tensor([torch.zeros(3, 4), torch.zeros(5, 4)], layout=torch.jagged),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_cannot_be_computed_with_are_refused_in_words(kind: str, stylizer: Stylizer) -> None:
    tensor = TENSORS[kind]
    for taking in (Picture.take, Recolor("blue", "red"), RandomStyle(p=1, stylizer=stylizer)):
        with pytest.raises(InputError, match=rf"{kind}|(expected a )?dense"):
            taking(tensor)
    with pytest.raises(InputError, match=rf"mask 1: .*({kind}|dense)"):
        stylizer(COFFEE, COFFEE, mask=tensor)


@pytest.mark.parametrize("value", [None, 7, b"a.png", io.BytesIO(), []])
def test_what_is_no_path_is_refused_in_words(value: object) -> None:
    said = f"expected a path .*, got {type(value).__name__}"
    for checking in (image.check_output, image.check_place):
        with pytest.raises(InputError, match=said):
            checking(value)  # type: ignore[arg-type]
    for reading in (image.load, image.read, image.probe):
        with pytest.raises(InputError, match=said if not isinstance(value, (bytes, io.BytesIO)) else "picture"):
            reading(value)  # type: ignore[operator]
    with pytest.raises(InputError, match="format of a file object" if isinstance(value, io.BytesIO) else said):
        image.save(COFFEE, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, "a.png", torch.zeros(3, 4, 4)])
def test_what_is_no_picture_is_not_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match=f"save: expected a PIL image or an array, got {type(value).__name__}"):
        image.save(value, tmp_path / "a.png")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I", "I;16", "F"])
def test_a_pil_image_without_pixels_is_refused_in_words(tmp_path: Path, mode: str) -> None:
    for act in (Picture.take, lambda empty: image.save(empty, tmp_path / "a.png")):
        with pytest.raises(InputError, match="expected at least one pixel, got 0 x 3"):
            act(Image.new(mode, (0, 3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_closed_image_is_said_to_be_closed(tmp_path: Path, suffix: str) -> None:
    COFFEE.save(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as left:
        pass
    ended = Image.open(tmp_path / f"a.{suffix}")
    ended.load()
    ended.close()
    for closed in (ended,) if suffix == "webp" else (left, ended):  # an opened WebP is in memory as a whole
        with pytest.raises(ImageError, match=r"content is a PIL image that was closed .* give the path"):
            Picture.take(closed, "content")
        with pytest.raises(ImageError, match="closed"):
            image.save(closed, tmp_path / "b.png")


# Floats that resampling took a little out of the range


@FEW
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 10**6))
def test_bicubic_crops_of_photographs_are_taken_and_clipped(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    whole = functional.to_dtype(functional.to_image(COFFEE), torch.float32, scale=True)
    top, left = (int(torch.randint(300, ())) for _ in range(2))
    crop = functional.resized_crop(whole, top, left, 100, 100, [height, width], interpolation=3).as_subclass(
        torch.Tensor
    )
    assert torch.equal(Picture.take(crop).pixels, Picture.take(crop.clamp(0, 1)).pixels)
    assert torch.equal(Picture.take(crop).unchanged(), crop)
    assert torch.equal(Recolor("blue", "red")(crop), Recolor("blue", "red")(crop.clamp(0, 1)))


@pytest.mark.parametrize("value", [-0.449, 1.449, -0.15, 1.15, 1.0000001])
@pytest.mark.parametrize("container", ["array", "tensor", "pil"])
def test_an_overshoot_is_clipped(value: float, container: str) -> None:
    array = np.full((4, 4), value, np.float32)
    given_ = {"array": array, "tensor": torch.from_numpy(array)[None], "pil": Image.fromarray(array)}[container]
    assert Picture.take(given_).pixels.unique().tolist() == [1 if value > 0 else -1]


@pytest.mark.parametrize("value", [-0.451, 1.451, -1.0, 255.0])
@pytest.mark.parametrize("container", ["array", "tensor", "pil"])
def test_what_lies_further_out_is_an_error_with_its_number(value: float, container: str) -> None:
    array = np.full((4, 4), value, np.float32)
    given_ = {"array": array, "tensor": torch.from_numpy(array)[None], "pil": Image.fromarray(array)}[container]
    with pytest.raises(InputError, match=rf"\[0, 1\], got values from {value:g} to {value:g}, .* \(x \+ 1\) / 2"):
        Picture.take(given_)


@pytest.mark.parametrize("a", [-0.75, -0.5])
@pytest.mark.parametrize("down_and_across", [False, True])
def test_the_tolerance_is_the_most_that_keys_kernel_can_overshoot(a: float, down_and_across: bool) -> None:
    """By the picture that is white where weights are above 0 and black elsewhere, at the worst of many places."""
    t = np.linspace(0, 1, 1001)
    x = np.stack([1 + t, t, 1 - t, 2 - t])
    weights = np.where(x <= 1, (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4))
    if down_and_across:
        weights = (weights[:, None, ::20, None] * weights[None, :, None, ::20]).reshape(16, -1)
    np.testing.assert_allclose(weights.sum(0), 1)
    n = -a / 4
    assert weights.clip(0).sum(0).max() - 1 == pytest.approx(2 * n * (1 + n) if down_and_across else n)
    assert must_be_clipped(weights.clip(None, 0).sum(0).min(), weights.clip(0).sum(0).max(), "picture")


@FEW
@given(
    seed=st.integers(0, 10**6),
    given_size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    wanted=st.tuples(st.integers(1, 48), st.integers(1, 48)),
    antialias=st.booleans(),
    by=st.sampled_from(["torch", "torch, corners", "torchvision", "float16", "bfloat16"]),
)
def test_black_and_white_resized_once_is_never_refused(
    seed: int, given_size: tuple[int, int], wanted: tuple[int, int], antialias: bool, by: str
) -> None:
    picture = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (1, 3, *given_size))).float()
    if by == "torchvision":
        resized = functional.resize(picture, list(wanted), interpolation=3, antialias=antialias)
    else:
        picture = picture.to({"float16": torch.float16, "bfloat16": torch.bfloat16}.get(by, torch.float32))
        corners, plain = by == "torch, corners", by != "torch"  # PyTorch antialiases neither corners nor halves
        resized = torch.nn.functional.interpolate(
            picture, wanted, mode="bicubic", antialias=antialias and not plain, align_corners=corners
        )
    assert torch.equal(Picture.take(resized).pixels, Picture.take(resized.clamp(0, 1)).pixels)


def test_the_worst_picture_is_taken_and_a_normalized_one_is_not() -> None:
    outer, inner = torch.tensor([1.0, 0, 0, 1]), torch.tensor([0.0, 1, 1, 0])
    edge = inner.outer(inner) + outer.outer(outer)
    middle = torch.nn.functional.interpolate(edge[None, None], (1, 1), mode="bicubic", align_corners=False)
    assert middle.item() == pytest.approx(1.4453125)
    assert Picture.take(middle).pixels.unique().tolist() == [1]
    photo = functional.to_dtype(functional.to_image(COFFEE), torch.float32, scale=True)
    for normalized in (photo * 2 - 1, photo * 255, functional.normalize(photo, [0.485, 0.456, 0.406], [0.229] * 3)):
        with pytest.raises(InputError, match=r"more than a bicubic resize overshoots \(0\.45\)"):
            Picture.take(normalized)


def test_a_float_tiff_that_overshoots_is_read_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-0.05, 0.5, 1.05]], np.float32)).save(tmp_path / "a.tif")
    assert image.read(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 32768, 65535]
    assert np.asarray(image.load(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 128, 255]


def test_a_classifiers_pipeline_with_bicubic_crops_goes_through(stylizer: Stylizer) -> None:
    whole = functional.to_dtype(functional.to_image(COFFEE), torch.float32, scale=True)
    crop = functional.resize(whole[:, :200, :200], [64, 64], interpolation=3, antialias=True)
    assert crop.min() < -0.001 or crop.max() > 1.001
    painted = RandomStyle(p=1, stylizer=stylizer)(crop)
    assert painted.min() >= 0
    assert painted.max() <= 1


# Before the work begins


def large_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "long " * 15_000
    return exif


def test_exif_that_jpeg_has_no_room_for_is_said_before_the_work(
    tmp_path: Path, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    COFFEE.resize((30, 20)).save(tmp_path / "a.png", exif=large_exif())
    code = stylizer.encode_style(COFFEE)
    with monkeypatch.context() as patch:
        patch.setattr(Stylizer, "_painting", never)
        with pytest.raises(ImageError, match=r'out\.jpg.* EXIF has 75,\d+ bytes, and JPEG holds 65,533; .*"none"'):
            stylizer.stylize_file(tmp_path / "a.png", tmp_path / "out.jpg", code, metadata="all")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    for target, metadata in (("out.png", "all"), ("out.webp", "all"), ("out.tif", "all"), ("out.jpg", "none")):
        stylizer.stylize_file(tmp_path / "a.png", tmp_path / target, code, metadata=metadata)
        with Image.open(tmp_path / target) as written:
            assert (ExifTags.Base.ImageDescription in written.getexif()) == (metadata == "all")


def test_exif_of_just_the_right_size_is_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 65_499
    assert len(exif.tobytes()) == 65_532
    pixels = np.zeros((4, 5, 3), np.uint8)
    with image.writing(tmp_path / "a.jpg", pixels.shape, pixels.dtype, exif=exif) as write:
        write(pixels)
    with Image.open(tmp_path / "a.jpg") as written:
        assert written.getexif()[ExifTags.Base.ImageDescription].count("x") > 65_000


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numpys_whole_numbers_are_a_quality(tmp_path: Path, kind: type, suffix: str) -> None:
    image.save(COFFEE.resize((30, 20)), tmp_path / f"a.{suffix}", quality=kind(40))
    image.save(COFFEE.resize((30, 20)), tmp_path / f"b.{suffix}", quality=40)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize(
    "options", [{"quality": np.int64(40)}, {"size": np.int32(24)}, {"seed": np.int64(3)}, {"tile": np.int64(64)}]
)
def test_options_of_a_picture_take_numpys_numbers(tmp_path: Path, stylizer: Stylizer, options: dict) -> None:
    COFFEE.resize((90, 80)).save(tmp_path / "a.png")
    for name, given_ in (("a", options), ("b", {key: int(value) for key, value in options.items()})):
        stylizer.stylize_file(tmp_path / "a.png", tmp_path / f"{name}.jpg", COFFEE, **given_)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "photos").mkdir()
    COFFEE.resize((30, 20)).save(tmp_path / "photos" / "a.jpg")
    assert not stylize_folder(stylizer, tmp_path / "photos", tmp_path / "out", COFFEE, **options).failed


@pytest.mark.parametrize("quality", ["a", 95.5, 0, 101, None, True, float("nan")])
def test_a_quality_that_is_none_is_said_before_the_work(tmp_path: Path, stylizer: Stylizer, quality: object) -> None:
    said = r"quality must be a whole number from 1 to 100, got "
    with pytest.raises(InputError, match=said):
        image.save(COFFEE, tmp_path / "a.jpg", quality=quality)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):  # before the photo is looked for
        stylizer.stylize_file("missing.jpg", tmp_path / "a.jpg", COFFEE, quality=quality)  # type: ignore[arg-type]
    (tmp_path / "photos").mkdir()
    COFFEE.save(tmp_path / "photos" / "a.jpg")
    with pytest.raises(InputError, match=said):
        stylize_folder(
            stylizer,
            tmp_path / "photos",
            tmp_path / "out",
            COFFEE,
            quality=quality,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("suffix", "side"), [("jpg", 65_501), ("webp", 16_384)])
def test_a_side_that_is_too_long_is_said_before_a_row_is_written(tmp_path: Path, suffix: str, side: int) -> None:
    said = rf"at most {side - 1:,} pixels a side, and the picture is {side} x 1;"
    with pytest.raises(ImageError, match=said), image.writing(tmp_path / f"a.{suffix}", (1, side, 3), np.uint8):
        never()
    assert not list(tmp_path.iterdir())


# Files: what is transparent, what is a palette, what lacks its end, what is of another kind


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes], bits: int = 16) -> bytes:
    """A gray or RGB PNG."""
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = [row.astype(f">u{max(bits, 8) // 8}").view(np.uint8).ravel() for row in pixels]
    if bits < 8:
        rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel()) for row in rows]
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_one_transparent_gray_of_few_bits_is_transparent(tmp_path: Path, bits: int) -> None:
    levels = np.arange(2**bits, dtype=np.uint8)[None].repeat(2, 0)
    for key in {0, 1, 2**bits - 1}:
        (tmp_path / "a.png").write_bytes(png(levels, (b"tRNS", struct.pack(">H", key)), bits=bits))
        expected = np.stack([*3 * [levels * (255 // (2**bits - 1))], np.where(levels == key, 0, 255)], -1)
        with Image.open(tmp_path / "a.png") as opened:
            taken = Picture.take(opened)
        assert taken.alpha is not None
        for found in (image.read(tmp_path / "a.png"), np.asarray(image.load(tmp_path / "a.png"))):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(taken.alpha[0, 0] * 255, expected[..., 3])


def test_a_transparent_gray_of_16_bits_is_transparent_at_8(tmp_path: Path) -> None:
    gray = np.array([[0, 300, 40_000, 40_001]], np.uint16)
    (tmp_path / "a.png").write_bytes(png(gray, (b"tRNS", struct.pack(">H", 40_000))))
    assert image.read(tmp_path / "a.png")[0, :, 1].tolist() == [65535, 65535, 0, 65535]
    for found in (image.read(tmp_path / "a.png", deep=False), np.asarray(image.load(tmp_path / "a.png"))):
        assert found[0, :, 3].tolist() == [255, 255, 0, 255]
        assert found[0, :, 0].tolist() == [0, 1, 156, 156]
    with Image.open(tmp_path / "a.png") as opened:
        image.save(opened, tmp_path / "b.jpg", quality=100)
    assert np.asarray(image.load(tmp_path / "b.jpg"))[0, 2].tolist() == pytest.approx([255, 255, 255], abs=60)


def test_a_transparent_color_of_16_bits_is_transparent_at_8(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 40_000], [1, 2, 40_001], [0, 0, 0]]], np.uint16)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"tRNS", struct.pack(">3H", 1, 2, 40_000))))
    for found in (image.read(tmp_path / "a.png", deep=False), np.asarray(image.load(tmp_path / "a.png"))):
        assert found[0, :, 3].tolist() == [0, 255, 255]


@pytest.mark.parametrize("loaded", [False, True])
def test_a_transparent_color_of_16_bits_is_transparent_as_a_pil_image(tmp_path: Path, loaded: bool) -> None:
    pixels = np.array([[[1, 2, 40_000], [1, 2, 40_001], [1, 2, 30_000], [0, 0, 0]]], np.uint16)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"tRNS", struct.pack(">3H", 1, 2, 40_000))))
    for source in (tmp_path / "a.png", io.BytesIO((tmp_path / "a.png").read_bytes())):
        with Image.open(source) as opened:
            if loaded:
                opened.load()  # 8 bits are left, by which the neighbor is transparent, too
            picture = Picture.take(opened)
            assert picture.alpha is not None
            expected = [0, 0 if loaded else 255, 255, 255]
            assert (picture.alpha * 255).int().flatten().tolist() == expected
            image.save(opened, tmp_path / "b.png")
            assert np.asarray(image.load(tmp_path / "b.png"))[0, :, 3].tolist() == expected
            assert picture.unchanged().size == (4, 1)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_a_palette_with_alpha_is_read_without_a_warning(tmp_path: Path, suffix: str) -> None:
    palette = COFFEE.resize((30, 20)).quantize(8)
    palette.info["transparency"] = bytes([0, 128, 255, 255, 255, 255, 255, 255])
    palette.save(tmp_path / "a.png", transparency=palette.info["transparency"])
    expected = np.asarray(palette.convert("RGBA"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(np.asarray(image.load(tmp_path / "a.png")), expected)
        image.save(palette, tmp_path / f"b.{suffix}")
        taken = Picture.take(palette)
    assert taken.alpha is not None
    assert len(taken.alpha.unique()) == 3
    assert np.asarray(image.load(tmp_path / f"b.{suffix}"))[..., 3].tolist() == expected[..., 3].tolist()


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart": {"restart_marker_blocks": 4},
    "fine": {"quality": 100, "subsampling": 0},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(tmp_path: Path, mode: str, kind: str) -> None:
    file = io.BytesIO()
    COFFEE.resize((123, 77)).convert(mode).save(file, "JPEG", **JPEGS[kind])
    whole, path = file.getvalue(), tmp_path / "a.jpg"
    assert whole.endswith(b"\xff\xd9")
    path.write_bytes(whole)
    expected = np.asarray(image.load(path))
    for lacking in (1, 2):
        path.write_bytes(whole[:-lacking])
        np.testing.assert_array_equal(np.asarray(image.load(path)), expected)
        with Image.open(path) as opened:
            np.testing.assert_array_equal(np.asarray(image.load(path)), expected)
            taken = Picture.take(opened)
        np.testing.assert_array_equal(np.asarray(taken.restore(taken.pixels)), expected)


@FEW
@given(st.sampled_from(sorted(JPEGS)), st.sampled_from(["RGB", "L"]), st.integers(0, 999), st.floats(0.1, 1))
def test_a_jpeg_that_lacks_pixels_is_refused_or_loses_none(
    tmp_path_factory: pytest.TempPathFactory, kind: str, mode: str, seed: int, share: float
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    file, path = io.BytesIO(), tmp_path_factory.mktemp("cut") / "a.jpg"
    Image.fromarray(noise).convert(mode).save(file, "JPEG", **JPEGS[kind])
    whole = file.getvalue()
    path.write_bytes(whole)
    expected = np.asarray(image.load(path))
    near = len(whole) - 2 - min(int(12 * (1 - share) / 0.9), 11)  # the last bytes are what matters
    for length in (near, int(len(whole) * share)):
        path.write_bytes(whole[:length])
        with suppress(ImageError):
            np.testing.assert_array_equal(np.asarray(image.load(path)), expected)


def test_a_progressive_jpeg_that_ends_between_scans_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    COFFEE.resize((123, 77)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for start in scans[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, start)  # those of this scan come before it
        (tmp_path / "a.jpg").write_bytes(whole[: tables if whole.find(b"\xff\xda", tables) == start else start])
        with pytest.raises(ImageError, match="damaged or incomplete"):
            image.load(tmp_path / "a.jpg")


def test_a_jpeg_of_12_bits_is_said_to_be_of_a_kind_that_is_not_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    COFFEE.save(file, "JPEG")
    data_ = bytearray(file.getvalue())
    data_[data_.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(data_)
    with pytest.raises(ImageError, match=r"a JPEG file of a kind that is not read, or damaged \(cannot handle 12-bit"):
        image.load(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("start", "kind", "remedy"),
    [
        (b"GIF89a" + bytes(20), "GIF", "it is painted as a clip"),
        (b"\xff\x0a" + bytes(20), "JPEG XL", "convert it"),
        (b"%PDF-1.7\n" + bytes(20), "PDF", "save its page as a PNG"),
        (b"<svg xmlns=" + bytes(20), "SVG", "save it as a PNG"),
        (b"<!DOCTYPE html>", "a web page", "save the picture itself"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a film", "give it as a file with its suffix"),
    ],
)
def test_well_known_kinds_that_are_not_read_are_named(tmp_path: Path, start: bytes, kind: str, remedy: str) -> None:
    (tmp_path / "a.jpg").write_bytes(start)
    with pytest.raises(
        ImageError, match=rf"a\.jpg' is not a picture that can be read; expected JPEG, .*, got {kind}: {remedy}"
    ):
        image.load(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.NEF", "b.cr2", "c.tif", "d.jpg"])
def test_raw_files_are_to_be_developed_and_not_taken_for_their_thumbnails(tmp_path: Path, name: str) -> None:
    thumbnail, more = Image.new("RGB", (16, 12), "gray"), TiffImagePlugin.ImageFileDirectory_v2()
    if name == "c.tif":
        more[50706] = b"\1\4\0\0"  # DNGVersion
    thumbnail.save(tmp_path / "raw.tif", tiffinfo=more)
    data = (tmp_path / "raw.tif").read_bytes()
    (tmp_path / name).write_bytes(data[:8] + b"CR\2\0" + data[12:] if name == "d.jpg" else data)
    with pytest.raises(ImageError, match=rf"{name}' is a raw file of a camera, which is not read; develop it to JPEG"):
        image.load(tmp_path / name)
