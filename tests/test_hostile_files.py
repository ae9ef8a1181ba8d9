"""Files made to break a reader: whatever they hold, a picture comes out or one of our errors, in one line."""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile

import agnlib
from agnlib import image
from agnlib.errors import AgnError, ImageError
from agnlib.image import _icc_16_bits, _tiff_samples
from agnlib.image._format_writers import PngEncoder, TiffEncoder
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB"),
    "BMP": ("1", "L", "P", "RGB"),
}
# Numbers that lengths, counts and offsets go wrong at.
EVIL = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """A small whole file of each format in each mode, with everything along that a file may carry."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 5
    exif[ExifTags.Base.Artist] = "somebody"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (1.0, 2.0, 3.0)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    files = []
    for name in FORMATS:
        for mode in MODES[name]:
            color = Image.fromarray(pixels)
            if mode == "F":
                picture = Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
            elif mode == "I;16":
                picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            else:
                picture = color.convert("L").convert(mode) if mode == "LA" else color.convert(mode)
            extra = [{}, {"exif": exif}] if name != "BMP" else [{}]
            if name in ("JPEG", "PNG", "TIFF") and mode == "RGB":
                extra.append({"icc_profile": _icc_16_bits.srgb_profile().replace(b"\0s\0R\0G\0B", b"\0t\0e\0s\0t")})
            if name == "TIFF" and mode == "RGB":
                extra += [{"compression": kind} for kind in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate")]
            if name == "JPEG":
                extra.append({"progressive": True})
            for options in extra:
                file = io.BytesIO()
                picture.save(file, name, **options)
                files.append(file.getvalue())
    for suffix in ("png", "tif"):
        deep = io.BytesIO()
        encoder = PngEncoder if suffix == "png" else TiffEncoder
        writer = encoder(deep, (9, 13, 3), np.dtype(np.uint16), _icc_16_bits.srgb_profile(), exif)
        writer.write(pixels.astype(np.uint16) * 257)
        writer.close()
        files.append(deep.getvalue())
    return [*files, *ours(pixels, files)]


def ours(pixels: np.ndarray, files: list[bytes]) -> list[bytes]:
    """What agnlib decodes in its own way: planes of 16 bits, colors by a PNG's chunks, a JPEG without its end."""
    planes = np.moveaxis(pixels.astype("<u2") * 257, -1, 0)
    size = planes[0].nbytes
    tags = {256: (13,), 257: (9,), 258: (16, 16, 16), 259: (1,), 262: (2,), 274: (6,), 277: (3,), 278: (9,), 284: (2,)}
    strips = {273: (8, 8 + size, 8 + 2 * size), 279: (size, size, size)}
    jpegs, pngs = ([file for file in files if file.startswith(start)] for start in (b"\xff\xd8", b"\x89PNG"))
    by_chunks = [
        png[:33] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) + png[33:]
        for png in (pngs[0], pngs[-1])
        for name, body in ((b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 60_000)))
    ]
    return [_tiff_samples._file(b"II", tags | strips, planes.tobytes()), *by_chunks, *(jpeg[:-2] for jpeg in jpegs[:3])]


WHOLE = seeds()


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def set_number(data: bytearray, rng: random.Random) -> None:
    layout = rng.choice(("<H", ">H", "<I", ">I", "B"))
    size = struct.calcsize(layout)
    if len(data) > size:
        # headers are at the beginning
        place = rng.randrange(min(len(data) - size, rng.choice((64, 256, 10**9))) or 1)
        struct.pack_into(layout, data, place, rng.choice(EVIL) & (256**size - 1))


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 40)]


def repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randint(1, 60)] * rng.randint(1, 4)


def splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(WHOLE)
    place = rng.randrange(len(data))
    data[place:] = other[min(place, len(other) - 1) :]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    set_number,
    set_number,
    cut,
    drop,
    repeat,
    splice,
)


def mutated(number: int) -> bytes:
    """Mutant `number`: the same bytes each time."""
    rng = random.Random(number)
    data = bytearray(WHOLE[number % len(WHOLE)])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    # a PNG's checksums stop most mutants at once; mend them, so that what is behind is tried too
    return with_checksums(bytes(data)) if data[:4] == b"\x89PNG" and rng.random() < 0.8 else bytes(data)


def with_checksums(data: bytes) -> bytes:
    mended, place = bytearray(data), 8
    while place + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, place)
        end = place + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)


LIMITS = image.Limits(pixels=10**6, side=4000)  # so that a mutant that claims to be large costs little


def check(path: Path) -> bool:
    """Whether a picture came out; any error that is not ours goes through."""
    refused = []
    for reading in (image.load, image.read, image.probe, partial(image.kept_exif, metadata="all")):
        try:
            reading(path, limits=LIMITS)
        except ImageError as error:
            refused.append(str(error))
    assert all("\n" not in text and repr(str(path)) in text for text in refused)
    return not refused


def try_mutants(numbers: range, folder: Path) -> int:
    path, pictures = folder / "mutant.png", 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in numbers:
            path.write_bytes(mutated(number) or b"x")
            try:
                pictures += check(path)
            except Exception as error:
                raise AssertionError(f"mutant {number}: {type(error).__name__}: {error}") from error
    return pictures


def test_hundreds_of_mutants_give_pictures_or_our_errors(tmp_path: Path) -> None:
    pictures = try_mutants(range(600), tmp_path)
    assert 50 < pictures < 550  # neither so broken nor so whole that nothing is tried


@pytest.mark.slow
def test_thousands_of_mutants_give_pictures_or_our_errors(tmp_path: Path) -> None:
    try_mutants(range(600, 6000), tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WHOLE), st.binary(max_size=80), st.integers(0, 10**6), st.booleans())
def test_any_bytes_anywhere(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, piece: bytes, place: int, over: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    place %= len(whole)
    path.write_bytes(whole[:place] + piece + whole[place + len(piece) * over :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(path)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*", b"BM"]),
    st.binary(),
)
def test_a_signature_and_noise(tmp_path_factory: pytest.TempPathFactory, start: bytes, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "a.jpg"
    path.write_bytes(start + noise or b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(path)


# Bombs


def claiming(width: int, height: int, size: int) -> bytes:
    """A PNG of about `size` bytes that claims so many pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(100)) + os.urandom(size)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (head, body, b"IEND")
    )


def test_a_small_file_that_claims_a_huge_picture_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(claiming(50_000, 50_000, 2**20))
    warm = tmp_path / "warm.png"
    Image.new("RGB", (4, 4)).save(warm)
    image.read(warm)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for reading in (image.load, image.read, image.probe):
        durations = []
        for _ in range(5):
            started = time.process_time()  # this process's own time: what else the machine does is no matter
            with pytest.raises(ImageError, match=r"bomb\.png.*pixels.*reduce"):
                reading(path)
            durations.append(time.process_time() - started)
        assert min(durations) < 0.05
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (
        2**20 if sys.platform == "darwin" else 1024
    )
    assert grown < 20


def test_metadata_that_unpacks_to_much_is_an_error_or_ignored(tmp_path: Path) -> None:
    many = b"k\0\0" + zlib.compress(bytes(200 * 2**20))
    whole = image_bytes("PNG")
    chunk = b"zTXt" + many
    bomb = whole[:33] + struct.pack(">I", len(many)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]
    (tmp_path / "a.png").write_bytes(bomb)
    check(tmp_path / "a.png")


def image_bytes(name: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), "teal").save(file, name)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        b"\xc5\xd0\xd3\xc6" + bytes(60),
        b"GIF89a" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%PDF-1.4\n",
        b"P6 4 4 255 " + bytes(48),
        b"\0\0\1\0\1\0" + bytes(60),
        b"\x93NUMPY",
    ],
)
def test_other_formats_under_a_pictures_name_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for reading in (image.load, image.read, image.probe):
        with pytest.raises(ImageError, match=r"a\.png.*not a picture"):
            reading(tmp_path / "a.png")


def test_pillows_settings_stay_as_they_are(tmp_path: Path) -> None:
    def pillow() -> tuple[object, ...]:
        return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK, Image.preinit

    before, shown = pillow(), list(warnings.filters)
    try_mutants(range(40), tmp_path)
    assert pillow() == before
    assert list(warnings.filters) == shown


# Behind the stylizer


def test_hostile_files_never_bring_a_stylizer_down(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(8, 8, 16), blocks=(0, 1, 1))
    stylizer = Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0",)), device="cpu")
    style = stylizer.encode_style(np.zeros((9, 9, 3), np.uint8))
    source, target = tmp_path / "photo", tmp_path / "out.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(0, 600, 8):
            source.write_bytes(mutated(number) or b"x")
            target.unlink(missing_ok=True)
            try:
                stylizer.stylize_file(source, target, style, limits=LIMITS)
            except AgnError:
                assert not target.exists()
            else:
                assert image.probe(target)
    assert {path.name for path in tmp_path.iterdir()} <= {"photo", "out.png"}
    assert stylizer(np.zeros((9, 9, 3), np.uint8), style).shape == (9, 9, 3)


def test_a_hostile_file_costs_the_program_one_line(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(claiming(50_000, 50_000, 1000))
    done = subprocess.run(
        [sys.executable, "-m", "agnlib", "stylize", "bomb.png", "--style", "bomb.png", "-o", "out.png"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("agnlib: error: 'bomb.png'")
