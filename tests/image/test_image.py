"""Files and `Picture`, checked against Pillow, numpy and scikit-image."""

from __future__ import annotations

import io
import itertools
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageFile, JpegImagePlugin
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio
from turned import TURNED

from agnlib import image
from agnlib.errors import ImageError, InputError
from agnlib.image import Limits, Picture, _icc_16_bits

SRGB = _icc_16_bits.srgb_profile()
SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=40, deadline=None)


def noise(seed: int, *shape: int, peak: int = 255) -> np.ndarray:
    """Random whole numbers from 0 to `peak`."""
    return np.random.default_rng(seed).integers(0, peak, shape, endpoint=True)


def smooth(height: int = 48, width: int = 64) -> Image.Image:
    """A picture that JPEG holds well."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_line(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


# `Picture`: what goes in comes out


def in_color(pixels: np.ndarray) -> np.ndarray:
    """`(H, W, C)` with gray repeated to three channels, as a result has them."""
    channels = pixels.shape[-1]
    if channels in (1, 2):
        colored = np.concatenate([pixels[..., :1].repeat(3, -1), pixels[..., 1:]], axis=-1)
        return colored.astype(pixels.dtype)  # numpy brings the bytes into this machine's order on the way
    return pixels


def assert_same_visible(result: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    visible = np.ones(expected.shape[:2], dtype=bool)
    if expected.shape[-1] == 4:
        np.testing.assert_array_equal(result[..., 3], expected[..., 3])
        visible = expected[..., 3] > 0
    np.testing.assert_allclose(
        result[visible].astype(np.float64), expected[visible].astype(np.float64), rtol=0, atol=tolerance
    )


def values(dtype: str, seed: int, *shape: int) -> np.ndarray:
    """Random pixels over the full range of a dtype."""
    kind = np.dtype(dtype)
    if kind.kind == "u":
        return noise(seed, *shape, peak=int(np.iinfo(kind).max)).astype(kind)
    return (noise(seed, *shape, peak=1000) / 1000).astype(kind)


@FEW
@given(st.sampled_from(["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"]), st.integers(0, 4), SIDES, SIDES, SEEDS)
def test_an_array_comes_back(dtype: str, channels: int, height: int, width: int, seed: int) -> None:
    array = values(dtype, seed, height, width, channels) if channels else values(dtype, seed, height, width)
    picture = Picture.take(array)
    assert picture.pixels.shape == (1, 3, height, width)
    assert picture.pixels.abs().max() <= 1
    expected = in_color(array if channels else array[..., None])
    assert_same_visible(picture.restore(picture.pixels), expected, 0 if "u" in dtype else 1e-6)
    np.testing.assert_array_equal(picture.unchanged(), array)
    assert picture.unchanged().dtype == array.dtype


@FEW
@given(
    st.sampled_from([torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.tuples(SIDES, SIDES),
    SEEDS,
)
def test_a_tensor_comes_back(dtype: torch.dtype, channels: int, batch: int, side: tuple[int, int], seed: int) -> None:
    height, width = side
    name = "u2" if dtype == torch.uint16 else "u1" if dtype == torch.uint8 else "f4"
    shape = (batch, channels, height, width) if batch else (channels, height, width)
    tensor = torch.from_numpy(values(name, seed, *shape)).to(dtype)
    picture = Picture.take(tensor)
    result = picture.restore(picture.pixels)
    assert result.dtype == dtype
    assert result.is_contiguous()
    assert result.ndim == tensor.ndim
    singles = zip(result, tensor, strict=True) if batch else [(result, tensor)]
    for got, given_ in singles:
        arrays = [each.permute(1, 2, 0).to(torch.float64).numpy() for each in (got, given_)]
        assert_same_visible(arrays[0], in_color(arrays[1]), 0 if name != "f4" else 1e-6)
    assert torch.equal(picture.unchanged(), tensor)


@FEW
@given(
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]), SIDES, SIDES, SEEDS
)
def test_a_pil_image_comes_back_as_pillow_converts_it(mode: str, height: int, width: int, seed: int) -> None:
    bands = Image.new(mode, (1, 1)).getbands()
    if mode == "1":
        original = Image.fromarray(noise(seed, height, width).astype(np.uint8)).convert("1")
    elif mode == "P":
        original = Image.fromarray(noise(seed, height, width, 3).astype(np.uint8)).quantize(16)
    else:
        layers = [Image.fromarray(layer.astype(np.uint8)) for layer in noise(seed, len(bands), height, width)]
        original = Image.merge(mode, layers) if len(layers) > 1 else layers[0]
    picture = Picture.take(original)
    result = picture.restore(picture.pixels)
    kept = "RGBA" if mode in ("LA", "RGBA") else "RGB"
    assert result.mode == kept
    assert_same_visible(np.asarray(result), np.asarray(original.convert(kept)), 0)
    assert picture.unchanged().mode == mode
    assert picture.unchanged().tobytes() == original.tobytes()


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_images_come_back_straight(mode: str) -> None:
    original = Image.new("RGBA", (3, 2), (200, 100, 50, 128)).convert("LA" if mode == "La" else "RGBA").convert(mode)
    picture = Picture.take(original)
    expected = np.asarray(original.convert("LA" if mode == "La" else "RGBA").convert("RGBA"))
    np.testing.assert_array_equal(np.asarray(picture.restore(picture.pixels)), expected)


def test_palette_and_rgb_transparency_are_alpha() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    palette.info["transparency"] = 0
    keyed = Image.new("RGB", (2, 1), (1, 2, 3))
    keyed.putpixel((1, 0), (9, 9, 9))
    keyed.info["transparency"] = (1, 2, 3)
    for original in (palette, keyed):
        picture = Picture.take(original)
        assert picture.restore(picture.pixels).getchannel("A").tobytes() == b"\x00\xff"


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "F"])
def test_deep_gray_is_scaled_not_clipped(mode: str) -> None:
    peak = 1.0 if mode == "F" else 65535
    levels = np.linspace(0, peak, 300).reshape(15, 20)
    array = levels.astype({"I": np.int32, "I;16": "<u2", "I;16B": ">u2", "F": np.float32}[mode])
    original = Image.fromarray(array)
    assert original.mode == mode
    picture = Picture.take(original)
    expected = np.rint(array.astype(np.float64) / peak * 255)
    np.testing.assert_array_equal(np.asarray(picture.restore(picture.pixels))[..., 0], expected)


@FEW
@given(SIDES, SIDES, SEEDS, st.floats(0, 1))
def test_hidden_color_does_not_leak(height: int, width: int, seed: int, share: float) -> None:
    first = noise(seed, height, width, 4).astype(np.uint8)
    hidden = np.random.default_rng(seed).random((height, width)) < share
    first[..., 3] = np.where(hidden, 0, 255)
    second = first.copy()
    second[hidden, :3] = 255 - second[hidden, :3]
    pictures = [Picture.take(array) for array in (first, second)]
    assert torch.equal(pictures[0].pixels, pictures[1].pixels)
    if not hidden.all():  # the filling is an average of what is visible
        visible = first[~hidden][:, :3] / 127.5 - 1
        filled = pictures[0].pixels[0].permute(1, 2, 0).numpy()[hidden]
        assert (filled >= visible.min(0) - 1e-5).all()
        assert (filled <= visible.max(0) + 1e-5).all()


def test_a_tensor_keeps_its_graph_out_and_stays_usable_for_training() -> None:
    tensor = torch.rand(3, 4, 5, requires_grad=True)
    picture = Picture.take(tensor)
    result = picture.restore(picture.pixels)
    assert not result.requires_grad
    (result * torch.ones((), requires_grad=True)).sum().backward()
    assert tensor.grad is None


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (np.full((4, 4), np.nan), ["NaN", "[0, 1]"]),
        (np.full((4, 4, 3), 1.5), ["[0, 1]", "1.5", "rescale"]),
        (torch.full((3, 4, 4), -1.0), ["[0, 1]", "-1", "(x + 1) / 2"]),
        (torch.full((3, 4, 4), torch.inf), ["[0, 1]", "inf"]),
        (np.zeros((4, 4), dtype=np.int64), ["uint8", "int64"]),
        (np.zeros((4, 4), dtype=bool), ["uint8", "bool"]),
        (torch.zeros(3, 4, 4, dtype=torch.int32), ["uint8", "int32"]),
        (np.zeros((1, 2, 4, 4)), ["(H, W, C)", "(1, 2, 4, 4)"]),
        (np.zeros((3, 40, 50)), ["(H, W, C)", "50 channels"]),
        (torch.zeros(40, 50, 3), ["(C, H, W)", "40 channels"]),
        (torch.zeros(4, 4), ["(C, H, W)", "(4, 4)"]),
        (np.zeros((0, 4, 3)), ["at least one pixel"]),
        (torch.zeros(0, 3, 4, 4), ["at least one pixel"]),
        (7, ["a path", "int"]),
        (None, ["a path", "NoneType"]),
        (Image.fromarray(np.full((2, 2), 3.5, dtype=np.float32)), ["[0, 1]", "3.5"]),
        (Image.fromarray(np.full((2, 2), 70_000, dtype=np.int32)), ["0..65535", "70000"]),
    ],
)
def test_what_is_no_picture_is_refused(value: object, parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Picture.take(value, "content")  # type: ignore[arg-type]
    one_line(error, "content", *parts)


def test_restore_refuses_another_shape() -> None:
    with pytest.raises(InputError, match="shape"):
        Picture.take(np.zeros((4, 5, 3))).restore(torch.zeros(1, 3, 5, 4))


def test_reduced_is_pillows_bicubic() -> None:
    original = smooth(90, 120)
    reduced = Picture.take(original).reduced(longer=40)
    result = np.asarray(reduced.unchanged()).astype(int)
    expected = np.asarray(original.resize((40, 30), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(result - expected).max() <= 2


@pytest.mark.parametrize("size", [(90, 1), (1, 90), (3, 200)])
def test_narrow_pictures_are_reduced_as_well(size: tuple[int, int]) -> None:
    pixels = noise(0, *size, 3).astype(np.uint8)
    result = Picture.take(pixels).reduced(longer=30).unchanged()
    wanted = (max(1, round(size[1] * 30 / max(size))), max(1, round(size[0] * 30 / max(size))))
    expected = np.asarray(Image.fromarray(pixels).resize(wanted, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(result - expected).max() <= 2


@FEW
@given(SIDES, SIDES, st.integers(1, 50))
def test_reduced_never_enlarges(height: int, width: int, limit: int) -> None:
    picture = Picture.take(np.zeros((height, width, 4), dtype=np.uint8))
    assert picture.reduced(longer=limit).restore(picture.reduced(longer=limit).pixels).shape[2] == 4
    assert max(picture.reduced(longer=limit).pixels.shape[-2:]) == min(limit, max(height, width))
    assert min(picture.reduced(shorter=limit).pixels.shape[-2:]) == min(limit, height, width)


# Reading files


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_orientation_is_applied_and_dropped(tmp_path: Path, orientation: int, suffix: str) -> None:
    original = smooth(24, 40)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{suffix}"
    original.save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    expected = TURNED[orientation](np.asarray(original)).astype(int)
    loaded = image.load(path)
    assert np.abs(np.asarray(loaded).astype(int) - expected).mean() <= (3 if suffix == "jpg" else 0)
    assert not loaded.getexif()
    with Image.open(path) as opened:
        picture = Picture.take(opened)
    assert np.array_equal(np.asarray(picture.restore(picture.pixels)), np.asarray(loaded))
    assert np.array_equal(np.asarray(picture.unchanged()), np.asarray(loaded))


def swapped_profile() -> bytes:
    """The sRGB profile with its red and green primaries exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"----"), (b"gXYZ", b"rXYZ"), (b"----", b"gXYZ")):
        profile = profile.replace(old, new, 1)
    return profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_color_profile_is_converted(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "swapped.png"
    Image.new(mode, (4, 3), (255, 0, 0)).save(path, icc_profile=swapped_profile())
    loaded = image.load(path)
    red, green, blue = loaded.convert("RGB").getpixel((0, 0))
    assert (red, green, blue) == pytest.approx((0, 255, 0), abs=3)
    assert loaded.mode == mode
    assert "icc_profile" not in loaded.info


@pytest.mark.parametrize(
    "profile", [b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_a_broken_or_srgb_profile_changes_nothing(tmp_path: Path, profile: bytes) -> None:
    smooth().save(tmp_path / "a.png", icc_profile=profile)
    assert image.load(tmp_path / "a.png").tobytes() == smooth().tobytes()


def test_every_format_and_depth_is_read(tmp_path: Path) -> None:
    gray16 = np.linspace(0, 65535, 600, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(gray16).save(tmp_path / "16.png")
    Image.fromarray(gray16).save(tmp_path / "16.tif")
    for name in ("16.png", "16.tif"):
        np.testing.assert_array_equal(np.asarray(image.load(tmp_path / name))[..., 1], np.rint(gray16 / 257))
    smooth().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    cmyk = np.asarray(image.load(tmp_path / "cmyk.jpg")).astype(int)
    assert np.abs(cmyk - np.asarray(smooth())).mean() < 3
    smooth().quantize(200).save(tmp_path / "palette.png")
    smooth().convert("LA").save(tmp_path / "la.png")
    smooth().convert("1").save(tmp_path / "bits.bmp")
    modes = {name: image.load(tmp_path / name).mode for name in ("palette.png", "la.png", "bits.bmp", "cmyk.jpg")}
    assert modes == {"palette.png": "RGB", "la.png": "RGBA", "bits.bmp": "RGB", "cmyk.jpg": "RGB"}


def test_only_the_first_frame_is_read(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    for name in ("a.png", "a.webp", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        assert image.load(tmp_path / name).getpixel((0, 0))[0] > 200


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(bytes(1000))
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (9_000, 9_000), (20_000, 10), (2**31 - 1, 1)])
def test_a_picture_that_claims_too_much_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageError) as error:
        image.load(tmp_path / "bomb.png")
    one_line(error, "bomb.png", "reduce")


def test_limits_can_be_chosen(tmp_path: Path) -> None:
    smooth(30, 40).save(tmp_path / "a.png")
    assert image.load(tmp_path / "a.png", limits=Limits(pixels=1200, side=40)).size == (40, 30)
    for limits in (Limits(pixels=1199), Limits(side=39), Limits(bytes=10)):
        with pytest.raises(ImageError, match=r"a\.png.*limit"):
            image.load(tmp_path / "a.png", limits=limits)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["empty", "get the picture again"]),
        (b"just some text", ["not a picture", "JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF"]),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", ["not a picture"]),
        (b"\xff\xd8\xff\xe0" + bytes(20), ["a.png"]),
        (b"GIF89a" + bytes(50), ["not a picture"]),
    ],
)
def test_what_is_no_picture_file_is_refused(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError) as error:
        image.load(tmp_path / "a.png")
    one_line(error, "a.png", *parts)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "missing.jpg": "does not exist",
        ".": "folder",
        "pipe": "regular file",
        "x\0y": "cannot",
        "a" * 999: "cannot",
    }
    for name, part in cases.items():
        with pytest.raises(ImageError, match=part):
            image.load(str(tmp_path / name))
    with pytest.raises(ImageError) as error:
        image.load("two\nlines")
    one_line(error, "does not exist")


def outcome_of(path: Path) -> str:
    """The mode of the picture, or our error's message; any other error goes through."""
    try:
        return image.load(path).mode
    except ImageError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]), st.data())
def test_a_damaged_file_gives_a_picture_or_our_error(format_name: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    smooth(20, 30).save(buffer, format_name)
    damaged = bytearray(buffer.getvalue())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(damaged)
        outcome = outcome_of(path)
        assert outcome in ("RGB", "RGBA") or ("\n" not in outcome and repr(str(path)) in outcome)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, share: float) -> None:
    smooth(200, 300).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError) as error:
        image.load(tmp_path / "cut.jpg")
    one_line(error, "cut.jpg", "get it again")


def test_pillows_settings_stay_as_they_are(tmp_path: Path) -> None:
    def pillow() -> tuple[object, ...]:
        return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES

    before = pillow()
    image.save(smooth(), tmp_path / "a.png")
    image.load(tmp_path / "a.png")
    assert pillow() == before


# Writing files


@pytest.mark.parametrize("suffix", image.SUFFIXES)
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix.upper()}"
    image.save(smooth(), path)
    assert names(tmp_path) == [path.name]
    result = np.asarray(image.load(path))
    if suffix in (".png", ".tif", ".tiff", ".bmp"):
        np.testing.assert_array_equal(result, np.asarray(smooth()))
    else:
        assert peak_signal_noise_ratio(np.asarray(smooth()), result) > 33


def test_another_reader_sees_the_same(tmp_path: Path) -> None:
    image.save(smooth(), tmp_path / "a.png")
    np.testing.assert_array_equal(imread(tmp_path / "a.png"), np.asarray(smooth()))


def test_jpeg_keeps_the_chroma(tmp_path: Path) -> None:
    image.save(smooth(), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as written:
        assert JpegImagePlugin.get_sampling(written) == 0


def in_parts(pixels: np.ndarray, target: Path, cuts: list[int], quality: int = 95) -> None:
    with image.writing(target, pixels.shape, pixels.dtype, quality=quality) as write:
        for top, bottom in itertools.pairwise([0, *sorted(set(cuts) - {0, len(pixels)}), len(pixels)]):
            write(pixels[top:bottom])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 90), st.sampled_from([1, 3]), st.integers(1, 100), st.lists(st.integers(1, 399))
)
def test_a_jpeg_written_in_strips_is_the_one_that_pillow_writes_whole(
    height: int, width: int, channels: int, quality: int, cuts: list[int]
) -> None:
    pixels = noise(height, height, width, channels).astype(np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(whole, "JPEG", quality=quality, subsampling=0)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "a.jpg")
        in_parts(pixels, target, [cut for cut in cuts if cut < height], quality)
        with Image.open(target) as written, Image.open(whole) as expected:
            assert written.size == (width, height)
            np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))


def test_another_decoder_sees_the_same_jpeg(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    pixels = np.asarray(smooth(1000, 130))
    in_parts(pixels, tmp_path / "strips.jpg", [100, 700])
    Image.fromarray(pixels).save(tmp_path / "whole.jpg", quality=95, subsampling=0)
    seen = []
    for name in ("strips.jpg", "whole.jpg"):
        with av.open(str(tmp_path / name)) as opened:
            seen.append(next(opened.decode(video=0)).to_ndarray(format="rgb24"))
    np.testing.assert_array_equal(*seen)


def test_a_jpeg_of_too_many_pixels_a_side_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        image.save(np.zeros((65_501, 1, 3), np.uint8), tmp_path / "a.jpg")
    one_line(error, "a.jpg", "65,500 pixels a side", "another format")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg", ".bmp"])
def test_alpha_is_kept_or_laid_on_white(tmp_path: Path, suffix: str) -> None:
    original = smooth().convert("RGBA")
    original.putalpha(Image.linear_gradient("L").resize(original.size))
    image.save(original, tmp_path / f"a{suffix}")
    loaded = image.load(tmp_path / f"a{suffix}")
    if suffix in (".jpg", ".bmp"):
        white = Image.new("RGBA", original.size, "white")
        expected = Image.alpha_composite(white, original).convert("RGB")
        assert loaded.mode == "RGB"
        assert np.abs(np.asarray(loaded).astype(int) - np.asarray(expected)).mean() < 3
    else:
        assert loaded.getchannel("A").tobytes() == original.getchannel("A").tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_srgb_profile_and_nothing_else_is_written(tmp_path: Path, suffix: str) -> None:
    original = smooth()
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    original.info.update(icc_profile=swapped_profile(), exif=exif.tobytes())
    image.save(original, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as written:
        assert written.info.get("icc_profile") == SRGB
        assert ExifTags.Base.Artist not in written.getexif()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "F", "I;16", "HSV"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_every_mode_can_be_written(tmp_path: Path, mode: str, suffix: str) -> None:
    image.save(Image.new(mode, (5, 4)), tmp_path / f"a{suffix}")
    assert image.load(tmp_path / f"a{suffix}").size == (5, 4)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.gif", [".gif", ".jpg", ".webp"]),
        ("a", ["no suffix", ".png"]),
        ("missing/a.png", ["missing", "does not exist", "create it"]),
        ("file/a.png", ["file", "not a folder"]),
        ("folder.png", ["folder.png", "is a folder"]),
        ("n/" * 3000 + "a.png", ["too long", "choose another"]),  # as a path, wherever the folder lies
        ("n" * 300 + ".png", ["too long", "choose another name"]),
    ],
)
def test_where_nothing_can_be_written(tmp_path: Path, name: str, parts: list[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ImageError) as error:
        image.save(smooth(), tmp_path / name)
    one_line(error, name, *parts)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failing_encoder_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"old")
    with pytest.raises(ImageError) as error:
        image.save(Image.new("RGB", (16384, 1)), tmp_path / "a.webp")  # WebP ends at 16383
    one_line(error, "a.webp", "another format")
    assert (tmp_path / "a.webp").read_bytes() == b"old"
    assert names(tmp_path) == ["a.webp"]


def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ImageError) as error:
        image.save(smooth(), tmp_path / "a.png")
    one_line(error, "a.png", "No space left")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert names(tmp_path) == ["a.png"]


def test_quality_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 100"):
        image.save(smooth(), tmp_path / "a.jpg", quality=0)
