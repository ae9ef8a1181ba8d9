"""Limits are the caller's: Pillow's own ceiling, one for the whole process, is neither obeyed nor touched."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agnlib import image
from agnlib.cli import main as cli
from agnlib.cli._types import limits
from agnlib.errors import ImageError, InputError
from agnlib.folder import stylize_folder
from agnlib.image import DEFAULT_LIMITS, Limits, Picture
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
LOSSLESS = {
    "png": {},
    "tif": {},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "bmp": {},
    "webp": {"lossless": True},
}


@pytest.fixture
def low_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from 100 pixels on, and refuses from 200."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_pillows_ceiling_does_not_matter(tmp_path: Path, suffix: str, low_ceiling: None) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(path, **LOSSLESS[suffix])
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.probe(path) == (60, 40)
        np.testing.assert_array_equal(np.asarray(image.load(path)), PIXELS)
        np.testing.assert_array_equal(image.read(path), PIXELS)
        assert Picture.take(path).size == (40, 60)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_nor_for_sixteen_bits(tmp_path: Path, suffix: str, channels: int, low_ceiling: None) -> None:
    deep = PIXELS[..., [0, 1, 2, 0]][..., :channels].astype(np.uint16) * 257
    image.save(deep, tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(image.read(tmp_path / f"a.{suffix}"), deep)


def claiming(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (head, b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def test_two_hundred_megapixels_as_the_how_to_has_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(claiming(20_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.probe(tmp_path / "a.png", limits=Limits(200 * 2**20, 40_000, 2**30)) == (20_000, 10_000)
        with pytest.raises(ImageError, match=r"200|limits=Limits\(\.\.\.\), or --max-pixels"):
            image.probe(tmp_path / "a.png", limits=Limits(199_999_999, 40_000))


@pytest.mark.parametrize(
    ("text", "pixels"), [("200M", 200_000_000), ("1.5g", 1_500_000_000), ("100k", 100_000), ("50", 50)]
)
def test_limits_by_a_word(text: str, pixels: int) -> None:
    found = limits(text)
    assert found.pixels == pixels
    assert found.side >= max(DEFAULT_LIMITS.side, min(pixels, 10**9))
    assert found.bytes >= max(DEFAULT_LIMITS.bytes, 8 * pixels)


@pytest.mark.parametrize("text", ["M", "0", "-5", "many", "nan", "0.5"])
def test_words_that_are_no_number_of_pixels(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stylize", "a.png", "--style", "b.png", "-o", "c.png", f"--max-pixels={text}"]) == 2
    assert "argument --max-pixels: expected a number of pixels, such as 200M" in capsys.readouterr().err


@pytest.mark.parametrize("large", ["photo.png", "style.png", "mask.png"])
def test_the_program_can_raise_the_limit_for_every_file(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, large: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "style.png", "mask.png"):
        side = 20_000 if name == large else 20  # longer than a side may be
        Image.new("RGB", (side, 2 if name == large else 20), "white").save(name)
    Path("photos").mkdir()
    Path("photos/photo.png").write_bytes(Path("photo.png").read_bytes())
    common = [
        "--style",
        "style.png",
        "--mask",
        "mask.png",
        "--weights",
        str(weights),
        "--device",
        "cpu",
        "--size",
        "64",
    ]
    for photo, out in (("photo.png", "out.png"), ("photos", "out")):
        if not (photo == "photos" and large == "photo.png"):  # a folder goes on and names it
            assert cli.main(["stylize", photo, "-o", out, *common]) == 2
            assert f"{large}' is 20000 x 2 pixels, more than the limit" in capsys.readouterr().err
        assert cli.main(["stylize", photo, "-o", out, *common, "--max-pixels", "100M"]) == 0
    assert image.probe("out.png")[0] in (64, 20)
    assert image.probe("out/photo.png") == image.probe("out.png")


def test_limits_of_stylize_file_are_for_styles_and_masks_too(weights: Path, tmp_path: Path) -> None:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    for name, side in (("photo.png", 20), ("style.png", 60), ("mask.png", 60)):
        Image.new("RGB", (side, 20), "white").save(tmp_path / name)
    photo, style, mask = (tmp_path / name for name in ("photo.png", "style.png", "mask.png"))
    for given in ({"style": style}, {"style": photo, "mask": mask}):
        with pytest.raises(ImageError, match="60 x 20 pixels, more than the limit of 1,000"):
            stylizer.stylize_file(photo, tmp_path / "out.png", **given, limits=Limits(pixels=1000))
    with pytest.raises(ImageError, match="60 x 20 pixels"):
        stylizer.encode_style(style, limits=Limits(pixels=1000))
    assert not (tmp_path / "out.png").exists()


# Reduced while it is decoded

TIGHT = Limits(pixels=40_000, side=250)


def large_jpeg(path: Path, mode: str = "RGB", **options: object) -> Image.Image:
    """480 x 320 pixels, more than is allowed here; upright it is higher than wide."""
    y, x = np.mgrid[:320, :480]
    waves = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 30), x * 255 / 480], axis=-1)
    original, exif = Image.fromarray(waves.astype(np.uint8)).convert(mode), Image.Exif()
    exif[0x0112] = 6
    original.save(path, quality=98, subsampling=0, exif=exif, **options)
    return original.convert("RGB").rotate(-90, expand=True)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(("side", "decoded"), [(240, (160, 240)), (100, (80, 120)), (60, (40, 60)), (7, (40, 60))])
def test_a_jpeg_that_will_be_reduced_anyway_is_decoded_smaller(
    tmp_path: Path, mode: str, side: int, decoded: tuple[int, int]
) -> None:
    upright = large_jpeg(tmp_path / "a.jpg", mode)
    with pytest.raises(ImageError, match="480 x 320 pixels, more than the limit"):
        image.load(tmp_path / "a.jpg", limits=TIGHT)
    found = image.load(tmp_path / "a.jpg", limits=Limits(TIGHT.pixels, TIGHT.side, reduced_to=side))
    assert found.size == decoded
    expected = np.asarray(upright.resize(decoded, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(found).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("kind", ["progressive", "png", "wanted too large", "claims too much"])
def test_what_cannot_be_decoded_smaller_is_refused_all_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "png" else "a.jpg")
    if kind == "png":
        Image.new("RGB", (480, 320)).save(path)
    else:
        large_jpeg(path, progressive=kind == "progressive")
    given = Limits(9_000 if kind == "claims too much" else TIGHT.pixels, 250)
    with pytest.raises(ImageError, match="480 x 320 pixels, more than the limit"):
        image.load(path, limits=Limits(given.pixels, given.side, reduced_to=300 if "wanted" in kind else 60))


def test_files_within_the_limits_are_decoded_in_full(tmp_path: Path) -> None:
    large_jpeg(tmp_path / "a.jpg")
    full = image.load(tmp_path / "a.jpg")
    assert image.load(tmp_path / "a.jpg", limits=Limits(reduced_to=30)).tobytes() == full.tobytes()


def test_size_lets_a_large_jpeg_be_painted(weights: Path, tmp_path: Path) -> None:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    (tmp_path / "photos").mkdir()
    large_jpeg(tmp_path / "photos" / "a.jpg")
    code, photo = stylizer.random_style(1), tmp_path / "photos" / "a.jpg"
    with pytest.raises(ImageError, match="more than the limit"):
        stylizer.stylize_file(photo, tmp_path / "out.png", code, limits=TIGHT)
    assert stylizer.stylize_file(photo, tmp_path / "out.png", code, limits=TIGHT, size=90) == (90, 60)
    for _ in range(2):  # it is known again
        report = stylize_folder(stylizer, tmp_path / "photos", tmp_path / "out", code, limits=TIGHT, size=90)
    assert (report.painted, report.kept, dict(report.failed)) == (0, 1, {})
    assert image.load(tmp_path / "out" / "a.jpg").size == (60, 90)


def test_a_style_is_not_made_smaller_by_the_photos_size(weights: Path, tmp_path: Path) -> None:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    large_jpeg(tmp_path / "style.jpg")
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    with pytest.raises(ImageError, match="480 x 320 pixels, more than the limit"):
        stylizer.stylize_file(
            tmp_path / "photo.png", tmp_path / "out.png", tmp_path / "style.jpg", limits=TIGHT, size=10
        )


def test_a_subclass_that_reads_styles_in_its_own_way_need_not_know_limits(weights: Path, tmp_path: Path) -> None:
    class Own(Stylizer):
        def encode_style(self, pictures: Any, *, seed: int | None = None) -> StyleCode:  # type: ignore[override]
            return super().encode_style(pictures, seed=seed)

    own = Own.from_pretrained(weights, device="cpu")
    for name, side in (("a.png", 20), ("b.png", 60)):
        Image.new("RGB", (side, 20), "gold").save(tmp_path / name)
    styles = [(tmp_path / "b.png", 2.0), (str(tmp_path / "a.png"), 1.0)]
    assert own.stylize_file(tmp_path / "a.png", tmp_path / "out.png", styles, limits=Limits(pixels=1200)) == (20, 20)
    with pytest.raises(ImageError, match=r"b\.png' is 60 x 20 pixels"):
        own.stylize_file(tmp_path / "a.png", tmp_path / "b2.png", styles, limits=Limits(pixels=1000))


@pytest.mark.parametrize("name", ["pixels", "side", "bytes", "reduced_to"])
@pytest.mark.parametrize("value", ["a", 0, -1, 2.5, True, float("nan")])
def test_limits_that_are_none(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^Limits: {name} must be a whole number, at least 1, got {value!r}$"):
        Limits(**{name: value})  # type: ignore[arg-type]
    if name != "reduced_to":
        with pytest.raises(InputError, match="got None"):
            Limits(**{name: None})  # type: ignore[arg-type]
