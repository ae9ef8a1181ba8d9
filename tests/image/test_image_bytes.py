"""Pictures that are bytes or file objects: read as the file is, refused in words without a path, and written so."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from agnlib import image
from agnlib.errors import ImageError, InputError
from agnlib.image import Limits, Picture
from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer

COFFEE = Image.fromarray(data.coffee()).reduce(10)
DEEP = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3) * 30
FORMATS = ("png", "jpg", "webp", "tif", "bmp")


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0",)), device="cpu")


def files(folder: Path) -> dict[str, bytes]:
    """Pictures of all formats, depths and turns, by Pillow and by us."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in FORMATS:
        COFFEE.save(folder / f"plain.{suffix}")
    COFFEE.save(folder / "turned.jpg", exif=exif)
    COFFEE.convert("CMYK").save(folder / "cmyk.jpg")
    COFFEE.convert("P").save(folder / "palette.png", transparency=3)
    COFFEE.save(folder / "pages.tif", save_all=True, append_images=[COFFEE], compression="tiff_lzw")
    COFFEE.save(folder / "several.jpg", "MPO", save_all=True, append_images=[COFFEE])
    for suffix in ("png", "tif"):
        image.save(DEEP, folder / f"deep.{suffix}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def as_socket(content: bytes) -> Any:
    """The reading end of a connection, which cannot seek."""
    sender, receiver = socket.socketpair()

    def send() -> None:
        with sender:
            sender.sendall(content)

    threading.Thread(target=send).start()
    with receiver:
        return receiver.makefile("rb")


def as_spooled(content: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - closed with its last reference
    file.write(content)  # at its end, as after an upload
    return file


def as_zipped(content: bytes) -> Any:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a", content)
    return zipfile.ZipFile(held).open("a")


class OneByOne:
    """The least that a file object can be: some bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._rest.read(min(size, 7))


HELD: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "spooled": as_spooled,
    "socket": as_socket,
    "zipped": as_zipped,
    "gzip": lambda content: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content))),
    "one by one": OneByOne,
}


@pytest.mark.parametrize("kind", HELD)
def test_bytes_are_read_as_the_file_is(tmp_path: Path, kind: str) -> None:
    held = HELD[kind]
    for name, content in files(tmp_path).items():
        path = tmp_path / name
        assert image.load(held(content)) == image.load(path), name
        np.testing.assert_array_equal(image.read(held(content)), image.read(path), name)
        assert image.read(held(content)).dtype == (np.uint16 if name.startswith("deep") else np.uint8)
        assert image.probe(held(content)) == image.probe(path)
        assert image.kept_exif(held(content), "all") == image.kept_exif(path, "all")
        assert image.read_recipe(held(content)) is None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            taken, by_path = Picture.take(held(content)), Picture.take(path)
        assert torch.equal(taken.pixels, by_path.pixels)
        assert isinstance(taken.restore(taken.pixels), Image.Image)


def test_a_file_that_can_seek_is_read_from_its_beginning_and_left_where_it_was(tmp_path: Path) -> None:
    COFFEE.save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        file.seek(11)
        assert image.load(file) == image.load(file) == COFFEE
        assert (file.tell(), file.closed) == (11, False)


def test_no_more_is_read_than_the_limit() -> None:
    class Endless:
        count = 0

        def read(self, size: int, /) -> bytes:
            self.count += size
            return b"\xff" * size

    endless = Endless()
    with pytest.raises(ImageError, match=r"<file object> has more bytes than the limit of 3,000,000; .*Limits"):
        image.load(endless, limits=Limits(bytes=3_000_000))
    assert endless.count == 3_000_001
    with pytest.raises(ImageError, match="<bytes> has 101 bytes, more than the limit of 100"):
        image.load(bytes(101), limits=Limits(bytes=100))
    with pytest.raises(ImageError, match="<bytes> is 60 x 40 pixels, more than the limit of 1,000 pixels"):
        image.load(image.encode(COFFEE.resize((60, 40))), limits=Limits(pixels=1000))


async def _later(self: Any, size: int) -> bytes:
    return b""


class Broken(io.RawIOBase):
    """A stream that breaks off, or whose read is another's."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self, size: int = -1, /) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def closed() -> io.BytesIO:
    file = io.BytesIO(image.encode(COFFEE))
    file.close()
    return file


def not_readable() -> Any:
    return open(os.devnull, "wb")  # noqa: PTH123 - closed with its last reference


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "text": (lambda: io.StringIO("x"), r'<file object> is in text mode.*open\(path, "rb"\)'),
    "closed": (closed, "<file object> is closed; give it while it is open"),
    "empty": (io.BytesIO, r"<file object> is empty \(0 bytes\)"),
    "no bytes": (lambda: b"", r"<bytes> is empty \(0 bytes\)"),
    "truncated": (lambda: image.encode(COFFEE, "jpg")[:-300], "<bytes> cannot be decoded .* damaged or incomplete"),
    "no picture": (lambda: io.BytesIO(b"a letter"), "<file object> is not a picture that can be read"),
    "another kind": (lambda: b"GIF89a" + bytes(90), "<bytes> is not a picture .* got GIF"),
    "not readable": (not_readable, r"<file object> cannot be read \(.*read.*\)"),
    "reset": (lambda: Broken(ConnectionResetError(104, "reset")), r"cannot be read \(\[Errno 104\] reset\)"),
    "cut off": (lambda: Broken(EOFError("ended early")), r"cannot be read \(ended early\)"),
    "nothing yet": (lambda: Broken(None), r"its read\(\) gave NoneType, expected bytes"),
    "words": (lambda: Broken("words"), r"its read\(\) gave str, expected bytes"),
    "no size": (type("", (), {"read": lambda self: b""}), r"has no read\(size\) that gives bytes"),
    "asynchronous": (type("", (), {"read": _later}), r"read asynchronously; await its read\(\)"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read_is_refused_in_words(stylizer: Stylizer, kind: str) -> None:
    make, said = WRONG[kind]
    of_pixels = (image.load, image.read)
    for reading in of_pixels if kind == "truncated" else (*of_pixels, image.probe, image.read_recipe):
        with pytest.raises(InputError, match=f"^{said}" if said.startswith("<") else said):
            reading(make())
    calls: dict[str, Callable[[Any], Any]] = {
        "content": lambda value: stylizer(value, COFFEE),
        "style": lambda value: stylizer(COFFEE, value),
        "mask 1": lambda value: stylizer(COFFEE, COFFEE, mask=value),
    }
    for name, call in calls.items():
        with pytest.raises(InputError, match=f"^{name}: {said}" if said.startswith("<") else f"^{name}: .*{said}"):
            call(make())
    for call in (
        lambda value: stylizer.stylize_file(value, io.BytesIO(), COFFEE, format="png"),
        lambda value: stylizer.encode_style([(COFFEE, 1.0), (value, 2.0)]),
        lambda value: stylizer.refine_style(COFFEE, content=value, steps=0),
        lambda value: stylizer.refine_style(value, content=COFFEE, steps=0),
    ):
        with pytest.raises(InputError, match=said):
            call(make())


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_bytes_give_a_picture_or_our_error(suffix: str, data: st.DataObject) -> None:
    whole = bytearray(image.encode(COFFEE, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    del whole[data.draw(st.integers(0, len(whole))) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = loaded(io.BytesIO(whole))
    assert re.match("<file object> .+$" if isinstance(found, str) else "RGBA?$", getattr(found, "mode", found))


def loaded(file: io.BytesIO) -> Any:
    """The picture, or what is said of it."""
    try:
        return image.load(file)
    except ImageError as error:
        return str(error)


def test_no_message_has_the_path_of_a_temporary_file(stylizer: Stylizer) -> None:
    with tempfile.NamedTemporaryFile(prefix="secret") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + bytes(40))
        file.flush()
        for act in (image.load, lambda value: stylizer(value, COFFEE), lambda value: stylizer(COFFEE, value)):
            with pytest.raises(ImageError) as refused:
                act(file)
            assert "secret" not in str(refused.value)
            assert "<file object>" in str(refused.value)


def test_frames_left_out_are_said(stylizer: Stylizer, tmp_path: Path) -> None:
    pages = files(tmp_path)["pages.tif"]
    with pytest.warns(UserWarning, match=r"^content: <bytes> has several pages; only the first is read$") as said:
        stylizer(pages, COFFEE)
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match=r"^content: <file object> has several pages; only the first is painted$"):
        stylizer.stylize_file(io.BytesIO(pages), io.BytesIO(), COFFEE, format="png")


# What a stylizer takes


@pytest.mark.parametrize("kind", HELD)
def test_a_stylizer_takes_bytes_wherever_it_takes_a_path(stylizer: Stylizer, tmp_path: Path, kind: str) -> None:
    held, content = HELD[kind], image.encode(COFFEE)
    style = image.encode(COFFEE.transpose(Image.Transpose.ROTATE_90).convert("L"))
    mask = image.encode(Image.fromarray(np.tile(np.arange(COFFEE.width) % 256, (COFFEE.height, 1)).astype(np.uint8)))
    for name, each in (("photo.png", content), ("style.png", style), ("mask.png", mask)):
        (tmp_path / name).write_bytes(each)
    photo, drawn, where = (tmp_path / name for name in ("photo.png", "style.png", "mask.png"))
    painted = stylizer(held(content), held(style), mask=held(mask))
    assert isinstance(painted, Image.Image)
    assert painted == stylizer(photo, drawn, mask=where)
    code = stylizer.encode_style([(held(style), 2.0), (held(content), 1.0)])
    assert code.source == "0.667 bytes + 0.333 bytes"
    assert torch.equal(code.vector, stylizer.encode_style([(drawn, 2.0), (photo, 1.0)]).vector)
    refined = stylizer.refine_style(held(style), content=[held(content)], steps=1)
    assert torch.equal(refined.vector, stylizer.refine_style(drawn, content=[photo], steps=1).vector)
    stylizer.stylize_file(
        held(content), tmp_path / "by-bytes.png", held(style), mask=held(mask), limits=Limits(side=99)
    )
    stylizer.stylize_file(photo, tmp_path / "by-path.png", drawn, mask=where)
    np.testing.assert_array_equal(image.read(tmp_path / "by-bytes.png"), image.read(tmp_path / "by-path.png"))
    assert image.read_recipe(tmp_path / "by-bytes.png") == {
        **(image.read_recipe(tmp_path / "by-path.png") or {}),
        "style": ["bytes"],
    }


def test_neighbors_read_a_file_object_once_and_see_it_twice(stylizer: Stylizer) -> None:
    content, style = image.encode(COFFEE.resize((32, 32))), image.encode(COFFEE.resize((40, 40)).rotate(90))
    by_bytes = stylizer(content, [(style, 1.0)], method="neighbors", drawing=1.0)
    assert by_bytes == stylizer(as_socket(content), [(as_socket(style), 1.0)], method="neighbors", drawing=1.0)


def test_limits_are_for_bytes_too(stylizer: Stylizer) -> None:
    small, limits = image.encode(COFFEE.resize((20, 20))), Limits(side=30)
    large = image.encode(COFFEE)
    for content, style, mask in ((large, small, None), (small, large, None), (small, small, large)):
        with pytest.raises(ImageError, match="pixels, more than the limit of"):
            stylizer.stylize_file(content, io.BytesIO(), style, mask=mask, format="png", limits=limits)
    with pytest.raises(ImageError, match="more than the limit of"):
        stylizer.refine_style(small, content=large, limits=limits)
    with pytest.raises(ImageError, match="more than the limit of"):
        stylizer.encode_style(large, limits=limits)


# What is written


@pytest.mark.parametrize("suffix", [suffix.lstrip(".") for suffix in image.SUFFIXES])
def test_encoded_bytes_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    for pixels in (COFFEE, COFFEE.convert("RGBA"), DEEP):
        image.save(pixels, tmp_path / f"a.{suffix}", quality=80)
        written, file = (tmp_path / f"a.{suffix}").read_bytes(), io.BytesIO()
        image.save(pixels, file, format=suffix.upper(), quality=80)
        assert image.encode(pixels, suffix, quality=80) == image.encode(pixels, f".{suffix}", quality=80) == written
        assert file.getvalue() == written
        assert not file.closed
    with Image.open(io.BytesIO(image.encode(COFFEE, suffix))) as opened:
        assert opened.size == COFFEE.size


def test_a_painting_goes_into_a_file_object_as_into_a_file(stylizer: Stylizer, tmp_path: Path) -> None:
    image.save(DEEP, tmp_path / "deep.png")
    for suffix in FORMATS:
        file = io.BytesIO(b"before")
        file.seek(0, io.SEEK_END)
        size = stylizer.stylize_file(tmp_path / "deep.png", file, COFFEE, format=suffix, quality=90)
        stylizer.stylize_file(tmp_path / "deep.png", tmp_path / f"painted.{suffix}", COFFEE, quality=90)
        assert size == (20, 30)
        assert file.getvalue() == b"before" + (tmp_path / f"painted.{suffix}").read_bytes()
    assert image.read(file.getvalue()[6:]).dtype == np.uint8


class Raw(io.RawIOBase):
    """Takes some bytes at a time, up to so many."""

    def __init__(self, most: int) -> None:
        self.taken, self._most = b"", most

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = bytes(data)[: min(100, self._most - len(self.taken))]
        self.taken += part
        return len(part)


class Silent:
    """Says nothing of how much it took."""

    def write(self, data: bytes, /) -> None:
        self.taken = data


def test_file_objects_of_other_kinds_get_all_of_it() -> None:
    whole, raw, silent = image.encode(COFFEE), Raw(10**9), Silent()
    image.save(COFFEE, raw, format="png")
    image.save(COFFEE, silent, format="png")
    assert raw.taken == silent.taken == whole
    with pytest.raises(ImageError, match=r"<file object> cannot be written \(it takes no more\)"):
        image.save(COFFEE, Raw(500), format="png")


def not_writable() -> Any:
    return open(os.devnull, "rb")  # noqa: PTH123 - closed with its last reference


@pytest.mark.parametrize(
    ("target", "form", "said"),
    [
        (io.BytesIO, None, 'format of a file object must be one of "jpg", .*, got None'),
        (io.BytesIO, "gif", "format of a file object must be .* got 'gif'"),
        (io.BytesIO, 3, "format of a file object must be .* got 3"),
        (lambda: "a.png", "png", "format is for file objects, got 'png' for 'a.png', whose suffix says it"),
        (io.StringIO, "png", '<file object> is in text mode.*open it by open.path, "wb".'),
        (closed, "png", "<file object> is closed"),
        (not_writable, "png", "<file object> is not open for writing"),
        (lambda: b"a.png", None, "expected a path as text or pathlib.Path, got bytes"),
    ],
)
def test_targets_that_cannot_be_are_refused_before_the_work(
    stylizer: Stylizer, target: Callable[[], Any], form: Any, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Generator, "forward", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(InputError, match=f"^{said}"):
        image.save(COFFEE, target(), format=form)
    with pytest.raises(InputError, match=f"^{said}"):
        stylizer.stylize_file(COFFEE_PNG, target(), COFFEE, format=form)
    assert not list(tmp_path.iterdir())


COFFEE_PNG = image.encode(COFFEE)


def test_a_file_object_that_fails_is_said_and_what_fails_before_writes_nothing(stylizer: Stylizer) -> None:
    class Full:
        def write(self, data: bytes, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(ImageError, match=re.escape("<file object> cannot be written ([Errno 28] No space left")):
        image.save(COFFEE, Full(), format="jpg")
    file = io.BytesIO()
    with pytest.raises(ImageError, match="<file object> cannot be encoded as WEBP: it holds at most 16,383"):
        image.save(np.zeros((1, 20_000, 3), np.uint8), file, format="webp")

    def half() -> None:
        with image.writing(file, (40, 5, 3), np.uint8, format="png") as write:
            write(np.zeros((20, 5, 3), np.uint8))
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        half()
    assert file.getvalue() == b""
