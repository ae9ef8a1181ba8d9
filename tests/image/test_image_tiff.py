"""TIFF in all its organizations, against tifffile."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from turned import TURNED

from agnlib import image
from agnlib.errors import ImageError
from agnlib.image import Picture

tifffile = pytest.importorskip("tifffile")

FEW = settings(max_examples=40, deadline=None)


def noise(seed: int, *shape: int, kind: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, endpoint=True).astype(kind)


def taken(path: Path) -> np.ndarray:
    """What `Picture` makes of a file that Pillow opened by its path."""
    with Image.open(path) as opened:
        picture = Picture.take(opened)
    return np.asarray(picture.restore(picture.pixels))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_uncompressed_files_are_turned_whatever_their_mode(tmp_path: Path, mode: str, orientation: int) -> None:
    colors = Image.fromarray(noise(0, 18, 30, 3, kind=np.uint8))
    deep = Image.fromarray(noise(0, 18, 30) // 257 * 257)  # what 8 bits can hold
    original = deep if mode == "I;16" else colors.convert(mode)
    plain = Image.fromarray((np.asarray(deep) // 257).astype(np.uint8)) if mode == "I;16" else original
    exif = Image.Exif()
    exif[0x0112] = orientation
    original.save(tmp_path / "a.tif", exif=exif)
    expected = TURNED[orientation](np.asarray(plain.convert("RGBA" if mode in ("LA", "RGBA") else "RGB")))
    np.testing.assert_array_equal(np.asarray(image.load(tmp_path / "a.tif")), expected)
    np.testing.assert_array_equal(taken(tmp_path / "a.tif"), expected)
    found = image.read(tmp_path / "a.tif")
    if mode == "I;16":
        np.testing.assert_array_equal(found[..., 0], TURNED[orientation](np.asarray(original)))
    else:
        np.testing.assert_array_equal(found, expected)


@FEW
@given(
    channels=st.sampled_from([3, 4]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    compression=st.sampled_from([None, "deflate"]),
    byteorder=st.sampled_from("<>"),
    tile=st.sampled_from([None, (16, 32)]),
    orientation=st.sampled_from([1, 3, 6]),
    extra=st.sampled_from(["unspecified", "unassalpha"]),
    planar=st.booleans(),
    seed=st.integers(0, 99),
)
def test_planes_and_further_channels_are_read_as_tifffile_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    channels: int,
    depth: type,
    compression: str | None,
    byteorder: str,
    tile: tuple[int, int] | None,
    orientation: int,
    extra: str,
    planar: bool,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("planes") / "a.tif"
    pixels = noise(seed, 35, 50, channels, kind=depth)
    tifffile.imwrite(
        path,
        np.moveaxis(pixels, -1, 0) if planar else pixels,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        compression=compression,
        byteorder=byteorder,
        tile=tile,
        extrasamples=[extra] if channels == 4 else None,
        extratags=[(274, 3, 1, orientation, True)],
    )
    stored = tifffile.imread(path)
    stored = np.moveaxis(stored, 0, -1) if planar else stored
    expected = TURNED[orientation](stored[..., :3] if extra == "unspecified" else stored)
    found = image.read(path)
    assert found.dtype == depth
    np.testing.assert_array_equal(found, expected)
    shallow = expected >> 8 if depth == np.uint16 else expected
    eights = [np.asarray(image.load(path)), image.read(path, deep=False)]
    if not (depth == np.uint8 and compression is None and planar and channels == 4 and extra == "unspecified"):
        eights.append(taken(path))  # Pillow cannot even open that kind
    for eight in eights:
        visible = np.ones(shallow.shape[:2], bool) if shallow.shape[2] == 3 else shallow[..., 3] > 0
        np.testing.assert_array_equal(eight[visible], shallow[visible])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_color_multiplied_by_alpha_is_divided(
    tmp_path: Path, compression: str | None, depth: type, planar: str
) -> None:
    peak = np.iinfo(depth).max
    pixels = noise(1, 20, 30, 4, kind=depth)
    pixels[..., 3] = np.maximum(pixels[..., 3], peak // 2)
    multiplied = pixels.copy()
    multiplied[..., :3] = np.rint(pixels[..., :3] * (pixels[..., 3:] / peak))
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(multiplied, -1, 0) if planar == "separate" else multiplied,
        photometric="rgb",
        planarconfig=planar,
        extrasamples=["assocalpha"],
        compression=compression,
    )
    assert np.abs(image.read(tmp_path / "a.tif").astype(int) - pixels).max() <= 2
    shallow = image.read(tmp_path / "a.tif", deep=False).astype(int)
    assert np.abs(shallow - pixels * (255 / peak)).max() < 4


def test_sixteen_bit_planes_of_ink(tmp_path: Path) -> None:
    planes = noise(2, 4, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="separated", planarconfig="separate")
    ink = Image.merge("CMYK", [Image.fromarray((plane >> 8).astype(np.uint8)) for plane in planes])
    np.testing.assert_array_equal(image.read(tmp_path / "a.tif"), np.asarray(ink.convert("RGB")))


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_where_zero_is_white(tmp_path: Path, kind: str, compression: str | None) -> None:
    ramp = np.tile(np.arange(256), (4, 1))
    white = {"u1": 255 - ramp, "u2": (255 - ramp) * 257, "f4": 1 - ramp / 255}[kind].astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", white, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(np.asarray(image.load(tmp_path / "a.tif"))[..., 0], ramp)
    np.testing.assert_array_equal(taken(tmp_path / "a.tif")[..., 0], ramp)
    found = image.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[..., 0], ramp if kind == "u1" else ramp * 257)


def test_twelve_bits_are_scaled_to_sixteen(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    levels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", levels, photometric="minisblack", bitspersample=12)
    assert np.abs(image.read(tmp_path / "a.tif")[..., 0] - levels * (65535 / 4095)).max() <= 1


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_one_plane_may_call_itself_separate(tmp_path: Path, bits: int, photometric: int) -> None:
    ramp = np.tile(np.arange(256), (4, 1)).astype(f"<u{bits // 8}") * (1 if bits == 8 else 257)
    stored = ramp if photometric else ramp[:, ::-1]
    entries = {
        256: 256,
        257: 4,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: 4,
        279: stored.nbytes,
        284: 2,
    }
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + stored.nbytes)
    (tmp_path / "a.tif").write_bytes(head + stored.tobytes() + struct.pack("<H", len(entries)) + directory + bytes(4))
    np.testing.assert_array_equal(image.read(tmp_path / "a.tif")[..., 0], ramp)


UNREAD = {
    "floats with alpha": (
        np.zeros((9, 9, 2), np.float32),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
    ),
    "bands": (noise(3, 9, 9, 5), {"photometric": "minisblack"}),
    "ink with alpha": (
        noise(3, 9, 9, 5, kind=np.uint8),
        {"photometric": "separated", "extrasamples": ["unassalpha"]},
    ),
    "big-endian BigTIFF": (noise(3, 9, 9), {"bigtiff": True, "byteorder": ">", "photometric": "minisblack"}),
    "three samples of which one is gray": (noise(3, 9, 9, 3, kind=np.uint8), {"photometric": "minisblack"}),
    "floats in color": (np.zeros((9, 9, 3), np.float32), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_kinds_of_tiff_that_are_not_read_are_said_to_be_such(tmp_path: Path, kind: str) -> None:
    pixels, options = UNREAD[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, planarconfig="contig", **options)
    with pytest.raises(ImageError, match=r"a\.tif' is a TIFF file of a kind that is not read, or damaged .*RGB"):
        image.read(tmp_path / "a.tif")


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("byteorder", "<>")
def test_values_from_2_to_the_31_on_are_said_as_they_are(tmp_path: Path, byteorder: str, photometric: str) -> None:
    values = np.array([[70000, 2**32 - 1]], np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, photometric=photometric)
    for deep in (False, True):
        with pytest.raises(
            ImageError, match=r"must lie in 0\.\.65535, got values from 70000 to 4294967295; rescale it"
        ):
            image.read(tmp_path / "a.tif", deep=deep)


def test_planes_that_claim_more_than_the_file_are_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(4, 3, 64, 64), photometric="rgb", planarconfig="separate")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        place = opened.pages[0].tags[279].valueoffset
    struct.pack_into("<I", data, place, 2**31)
    (tmp_path / "a.tif").write_bytes(data)
    for reading in (image.load, image.read):
        with pytest.raises(ImageError, match="damaged or incomplete"):
            reading(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("space", ["YCbCr", "LAB"])
def test_other_spaces_of_color_are_converted_whatever_their_planes(
    tmp_path: Path, space: str, planar: str, compression: str | None
) -> None:
    ramps = np.stack(np.meshgrid(np.arange(40, 200, 10), np.arange(60, 180, 10), indexing="ij"), -1).astype(np.uint8)
    colors = np.concatenate([ramps, ramps[..., ::-1][..., :1]], -1)
    if space == "YCbCr":
        stored, expected = np.asarray(Image.fromarray(colors).convert("YCbCr")), colors
    else:
        stored = colors.copy()
        stored[..., 1:] ^= 128  # a and b are signed
        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        lab = Image.merge("LAB", [Image.fromarray(np.ascontiguousarray(colors[..., i])) for i in range(3)])
        expected = np.asarray(ImageCms.applyTransform(lab, to_rgb))
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(stored, -1, 0) if planar == "separate" else stored,
        photometric="cielab" if space == "LAB" else "ycbcr",
        planarconfig=planar,
        compression=compression,
        **({} if space == "LAB" else {"subsampling": (1, 1)}),
    )
    assert np.abs(image.read(tmp_path / "a.tif").astype(int) - expected).max() <= 3
    assert np.abs(taken(tmp_path / "a.tif").astype(int) - expected).max() <= 3


def test_signed_levels_of_8_bits_are_not_taken_for_others(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.int8), photometric="minisblack")
    with pytest.raises(ImageError, match=r"\(gray in 1 channel, 8-bit signed integers\)"):
        image.read(tmp_path / "a.tif")
