"""Sixteen bits, profiles and metadata, against tifffile, imageio, scikit-image and LittleCMS."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from skimage.io import imread

from agnlib import image
from agnlib.errors import ImageError, InputError
from agnlib.image import _icc_16_bits, _metadata

tifffile = pytest.importorskip("tifffile")

ORIENTATIONS = range(1, 9)
FEW = settings(max_examples=30, deadline=None)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG, written here: Pillow cannot."""
    height, width, channels = pixels.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))
    parts = [head, *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


# Sixteen bits


@FEW
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_sixteen_bit_png_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("deep") / "a.png"
    pixels = noise(seed, height, width, channels)
    path.write_bytes(png(pixels))
    found = image.read(path)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, pixels)
    assert image.read(path, deep=False).dtype == np.uint8


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("kind", ["gray", "rgb", "rgba", "tiled"])
def test_sixteen_bit_tiff_is_read_as_it_is(tmp_path: Path, kind: str, compression: str | None, byteorder: str) -> None:
    if compression == "lzw":
        pytest.importorskip("imagecodecs")
    pixels = noise(1, 70, 50, {"gray": 1, "rgba": 4}.get(kind, 3))
    options = {"photometric": "minisblack"} if kind == "gray" else {"photometric": "rgb"}
    if kind == "rgba":
        options["extrasamples"] = ["unassalpha"]
    if kind == "tiled":
        options["tile"] = (32, 32)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels[..., 0] if kind == "gray" else pixels,
        byteorder=byteorder,
        compression=compression,
        **options,
    )
    np.testing.assert_array_equal(image.read(tmp_path / "a.tif"), pixels)


def test_premultiplied_tiff_is_divided_at_full_depth(tmp_path: Path) -> None:
    pixels = noise(2, 20, 30, 4)
    pixels[..., 3] = np.maximum(pixels[..., 3], 30_000)
    share = pixels[..., 3:].astype(float) / 65535
    multiplied = np.concatenate([np.rint(pixels[..., :3] * share).astype(np.uint16), pixels[..., 3:]], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    found = image.read(tmp_path / "a.tif").astype(int)
    assert np.abs(found - pixels).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_is_what_others_read(tmp_path: Path, suffix: str, channels: int, dtype: type) -> None:
    pixels = noise(3, 150, 40, channels).astype(dtype)
    path = tmp_path / f"a.{suffix}"
    image.save(pixels, path)
    if (suffix, channels) == ("tif", 2):  # few readers know gray with alpha there
        pixels = np.concatenate([pixels[..., :1].repeat(3, axis=2), pixels[..., 1:]], axis=2)
    reader = tifffile.imread if suffix == "tif" else imread
    if dtype == np.uint8 or suffix == "tif" or channels == 1:  # scikit-image reads 16-bit color PNG as 8 bits
        np.testing.assert_array_equal(np.asarray(reader(path)).reshape(pixels.shape), pixels)
    found = image.read(path)
    assert found.dtype == dtype
    if dtype == np.uint8 and pixels.shape[2] < 3:
        found = np.concatenate([found[..., :1], found[..., 3:]], axis=2)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_formats_of_eight_bits_round(tmp_path: Path, suffix: str) -> None:
    levels = np.tile(np.arange(0, 65536, 256, dtype=np.uint16)[None, :, None], (8, 1, 3))
    image.save(levels, tmp_path / f"a.{suffix}", quality=100)
    expected = np.rint(levels / 257)
    assert np.abs(image.read(tmp_path / f"a.{suffix}") - expected).max() <= (0 if suffix == "bmp" else 3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_pixels_are_turned_as_shallow_ones(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = noise(4, 12, 20, 3)
    if suffix == "png":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        (tmp_path / "a.png").write_bytes(png(pixels, (b"eXIf", exif.tobytes()[6:])))
    else:
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    deep = image.read(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(deep >> 8, image.read(tmp_path / f"a.{suffix}", deep=False))
    assert deep.dtype == np.uint16


def test_one_transparent_color_is_alpha(tmp_path: Path) -> None:
    pixels = noise(5, 10, 10, 3)
    pixels[3, 4] = (1, 2, 40_000)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"tRNS", struct.pack(">3H", 1, 2, 40_000))))
    found = image.read(tmp_path / "a.png")
    np.testing.assert_array_equal(found[..., :3], pixels)
    np.testing.assert_array_equal(np.argwhere(found[..., 3] == 0), [[3, 4]])


def test_a_16_bit_gradient_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.linspace(20_000, 24_000, 4000).astype(np.uint16)
    image.save(np.tile(ramp[None, :, None], (4, 1, 3)), tmp_path / "a.png")
    assert len(np.unique(image.read(tmp_path / "a.png"))) > 3900
    assert len(np.unique(image.read(tmp_path / "a.png", deep=False))) < 20


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 5), np.uint8), np.zeros((0, 2, 3), np.uint8), np.zeros(3, np.uint8)]
)
def test_arrays_that_cannot_be_saved(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(InputError, match="save: expected an array"):
        image.save(array, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


# Strips


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_strips_of_any_height_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    pixels = noise(6, 200, 30, 3)
    image.save(pixels, tmp_path / f"whole.{suffix}")
    with image.writing(tmp_path / f"strips.{suffix}", pixels.shape, pixels.dtype) as write:
        for top in range(0, 200, 37):
            write(pixels[top : top + 37])
    np.testing.assert_array_equal(image.read(tmp_path / f"strips.{suffix}"), pixels)
    if suffix == "tif":
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "strips.tif"), pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_writing_by_strips_needs_no_memory_for_the_picture(tmp_path: Path, suffix: str) -> None:
    strip = noise(7, 64, 1000, 3)
    peaks = []
    for strips in (4, 40):
        tracemalloc.start()
        with image.writing(tmp_path / f"a.{suffix}", (64 * strips, 1000, 3), np.uint16) as write:
            for _ in range(strips):
                write(strip)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_what_breaks_off_leaves_nothing_and_is_said_as_it_is(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), image.writing(tmp_path / f"a.{suffix}", (9, 9, 3), np.uint8) as write:
        [write(np.zeros((1, 9, 3), np.uint8)) for _ in (0, 1 // 0)]
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{suffix}"]
    assert (tmp_path / f"a.{suffix}").read_bytes() == b"old"


def test_a_failing_disk_is_told_without_the_temporary_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ImageError, match="No space left on device") as error:
        image.save(Image.new("RGB", (4, 4)), tmp_path / "a.png")
    assert ".tmp" not in str(error.value)


# Profiles


def curve_profile(gamma: float, swap: bool = False) -> bytes:
    """The sRGB profile with another curve, a plain gamma, and (by `swap`) red and green exchanged."""
    profile = bytearray(_icc_16_bits.srgb_profile())
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, offset, _ = struct.unpack_from(">4sII", profile, entry)
        if name.endswith(b"TRC"):
            profile[offset : offset + 16] = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, round(gamma * 65536))
        if swap and name in (b"rXYZ", b"gXYZ"):
            profile[entry : entry + 4] = b"gXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def littlecms(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    eight = Image.fromarray(np.rint(pixels[..., :3] / 257).astype(np.uint8))
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(eight, source, target, outputMode="RGB")).astype(float)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("swap", [False, True])
def test_a_deep_picture_goes_through_its_profile_as_littlecms_has_it(tmp_path: Path, gamma: float, swap: bool) -> None:
    pixels = noise(8, 40, 40, 3) // 257 * 257  # what 8 bits can hold, for the sake of the comparison
    profile = curve_profile(gamma, swap)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"iCCP", b"x\0\0" + zlib.compress(profile))))
    found = image.read(tmp_path / "a.png")
    assert found.dtype == np.uint16
    assert np.abs(found / 257 - littlecms(pixels, profile)).max() < 1.1


@pytest.mark.parametrize("table", [[0, 65535], [0, 20_000, 65535], list(range(0, 65536, 257))])
def test_curves_by_table(table: list[int]) -> None:
    tag = b"curv" + bytes(4) + struct.pack(f">I{len(table)}H", len(table), *table)
    levels = np.linspace(0, 1, 65536)
    expected = np.interp(levels, np.linspace(0, 1, len(table)), np.array(table) / 65535)
    np.testing.assert_allclose(_icc_16_bits._curve(tag), expected, atol=1e-9)


def test_the_parametric_curve_of_srgb() -> None:
    x = np.linspace(0, 1, 65536)
    expected = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    numbers = [round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)]
    tag = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *numbers)
    np.testing.assert_allclose(_icc_16_bits._curve(tag), expected, atol=1e-4)


@FEW
@given(st.data())
def test_a_damaged_profile_never_breaks_a_picture(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    profile = bytearray(curve_profile(1.8))
    for _ in range(draw.draw(st.integers(1, 8))):
        profile[draw.draw(st.integers(0, len(profile) - 1))] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("profile") / "a.png"
    path.write_bytes(png(noise(0, 5, 6, 3), (b"iCCP", b"x\0\0" + zlib.compress(bytes(profile)))))
    assert image.read(path).shape[:2] == (5, 6)


# Metadata


def photo_with_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.XResolution] = 72.0
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    camera[ExifTags.Base.ExposureTime] = 0.01
    camera[ExifTags.Base.ExifImageWidth] = 4000
    camera[ExifTags.Base.MakerNote] = b"secret"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSLatitude] = (47.0, 30.0, 0.0)
    whole = Image.Exif()  # read back: of what was put together by hand, Pillow's TIFF writes only the first directory
    whole.load(exif.tobytes())
    Image.fromarray(noise(9, 20, 30, 3).astype(np.uint8)).save(path, exif=whole)


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("metadata", ["none", "no-gps", "all"])
def test_only_the_metadata_asked_for_is_kept(tmp_path: Path, source: str, target: str, metadata: str) -> None:
    photo_with_exif(tmp_path / f"photo.{source}")
    exif = _metadata.kept_exif(tmp_path / f"photo.{source}", metadata)  # type: ignore[arg-type]
    pixels = image.read(tmp_path / f"photo.{source}")
    assert pixels.shape[:2] == (30, 20)
    with image.writing(tmp_path / f"out.{target}", pixels.shape, pixels.dtype, exif=exif) as write:
        write(pixels)
    with Image.open(tmp_path / f"out.{target}") as written:
        written.load()
        found = written.getexif()
    asked = metadata != "none" and target != "bmp"
    assert ExifTags.Base.Orientation not in found
    assert found.get(ExifTags.Base.Artist) == ("somebody" if asked else None)
    camera = found.get_ifd(ExifTags.IFD.Exif)
    assert (ExifTags.Base.ExposureTime in camera) == asked
    assert not {ExifTags.Base.MakerNote, ExifTags.Base.ExifImageWidth} & set(camera)
    place = found.get_ifd(ExifTags.IFD.GPSInfo)
    assert place.get(ExifTags.GPS.GPSLatitudeRef) == ("N" if asked and metadata == "all" else None)
    assert (b"secret" in (tmp_path / f"out.{target}").read_bytes()) is False


def test_an_unknown_word_for_metadata(tmp_path: Path) -> None:
    photo_with_exif(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match="none, no-gps, all, got 'gps'"):
        _metadata.kept_exif(tmp_path / "photo.jpg", "gps")  # type: ignore[arg-type]


def test_a_broken_profile_keeps_sixteen_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    path = tmp_path / "a.png"
    image.save(pixels, path)
    data = path.read_bytes()
    broken = zlib.compress(b"this is no profile" * 20)
    body = b"iCCP" + b"x\0\0" + broken
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(image.read(path, deep=True), pixels)
