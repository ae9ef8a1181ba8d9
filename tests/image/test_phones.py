"""A folder as a phone leaves it: what becomes of each kind of file, and that its colors come out right."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from toy import picture

from agnlib import image
from agnlib.cli import main as cli
from agnlib.errors import ImageError
from agnlib.image._suffixes import READ_SUFFIXES, left_out
from agnlib.stylizer import Stylizer

pytest.importorskip("pillow_heif", reason="a phone's pictures are made by pillow-heif, the extra heif")
if not features.check("avif"):
    pytest.skip("this Pillow has no AVIF", allow_module_level=True)

import phones

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "phones.md"
IN_OTHER_COLORS = ("IMG_0003.HEIC", "IMG_0011.AVIF", "IMG_0012.JPG")
PICTURES = [name for name in phones.KINDS if not name.endswith((".MOV", ".DNG"))]
quietly = pytest.mark.filterwarnings("ignore:a gain map")


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phone")
    phones.make(folder)
    return folder


def difference(found: Image.Image | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.abs(np.asarray(found)[..., :3].astype(int) - np.asarray(phones.scene(size)))


@quietly
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_comes_out_upright_in_its_colors(phone: Path, name: str) -> None:
    for given in (phone / name, (phone / name).read_bytes()):
        found = image.load(given)
        assert found.size == ((256, 48) if name == "IMG_0009.JPG" else phones.SIZE)
        visible = np.asarray(found.convert("RGBA"))[..., 3] == 255
        assert visible.all() == (name != "IMG_0010.PNG")
        assert difference(found, found.size)[visible].mean() < 1.5
        assert image.probe(given) in ((64, 48), (48, 64), (256, 48))


@pytest.mark.parametrize("name", IN_OTHER_COLORS)
def test_without_what_it_says_of_them_the_colors_would_be_others(phone: Path, name: str) -> None:
    with Image.open(phone / name) if name[-4:] != "HEIC" else phones_heif(phone / name) as opened:
        assert difference(opened.convert("RGB"), phones.SIZE).mean() > 5


def phones_heif(path: Path) -> Image.Image:
    import pillow_heif

    return pillow_heif.HeifImageFile(path)


def test_ten_bits_are_kept_where_there_is_room(phone: Path, weights: Path, tmp_path: Path) -> None:
    deep = image.read(phone / "IMG_0002.HEIC")
    assert deep.dtype == np.uint16
    assert deep.shape == (48, 64, 3)
    expected = np.asarray(phones.scene()).astype(float) * 257
    assert np.abs(deep - expected).mean() < 257 * 1.5
    assert len(np.unique(deep)) > 256
    assert image.read(phone / "IMG_0002.HEIC", deep=False).dtype == np.uint8
    stylizer = Stylizer.from_pretrained(weights, "cpu")
    stylizer.stylize_file(phone / "IMG_0002.HEIC", tmp_path / "a.png", stylizer.random_style(1), strength=0.0)
    np.testing.assert_array_equal(image.read(tmp_path / "a.png"), deep)


def test_a_gain_map_is_left_out_and_said_in_the_same_words_for_each(phone: Path, weights: Path) -> None:
    stylizer = Stylizer.from_pretrained(weights, "cpu")
    code = stylizer.random_style(1)
    for name in PICTURES:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            stylizer(phone / name, code)
        expected = name in ("IMG_0001.HEIC", "IMG_0005.JPG")
        assert [str(each.message)[:10] for each in said] == ["a gain map"] * expected, name


def test_the_program_paints_the_folder_and_says_once_what_it_left_out(
    phone: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["-o", str(tmp_path / "out"), "--style", str(phone / "IMG_0010.PNG"), "--metadata", "no-gps"]
    assert cli.main(["stylize", str(phone), *given, "--weights", str(weights), "--device", "cpu"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert said == [
        "agnlib: warning: a gain map, by which some screens show a photo brighter, is left out; the picture itself is"
        " read",
        "agnlib: left out: 1 clip, such as 'IMG_0008.MOV': of a live photo, whose picture lies beside it; name the"
        " clip to paint it",
        "agnlib: left out: 1 .dng, of kinds that are not read; convert them to JPEG or PNG",
    ]
    report = json.loads((tmp_path / "out" / "agnlib-report.json").read_text())
    assert (report["painted"], report["failed"], sorted(report["skipped"])) == (
        len(PICTURES),
        {},
        ["IMG_0008.MOV", "IMG_0013.DNG"],
    )
    assert {name for name in report["paintings"] if name.endswith(".png")} == {"IMG_0011.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="the table is of names as they are here")
def test_the_page_has_the_table_that_painting_them_gives() -> None:
    assert phones.table() in PAGE.read_text("utf-8"), "python tests/phones.py --table prints it"


def test_high_dynamic_range_is_refused(phone: Path, tmp_path: Path) -> None:
    data = (phone / "IMG_0011.AVIF").read_bytes()
    place = data.index(b"colrnclx") + 10
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        (tmp_path / "a.avif").write_bytes(data[:place] + bytes([0, transfer]) + data[place + 2 :])
        with pytest.raises(ImageError, match=rf"a\.avif' is of high dynamic range \({name}\), which is not read"):
            image.load(tmp_path / "a.avif")


def test_damaged_ones_are_said_in_a_line(phone: Path, tmp_path: Path) -> None:
    for name in ("IMG_0003.HEIC", "IMG_0011.AVIF"):
        data = (phone / name).read_bytes()
        for count in (30, 200, len(data) // 2, len(data) - 40):
            (tmp_path / name).write_bytes(data[:count])
            with pytest.raises(ImageError) as caught:
                image.load(tmp_path / name)
            assert "\n" not in str(caught.value)
            assert name in str(caught.value)


def test_heic_without_the_extra_names_the_pip_command(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r'IMG_0001\.HEIC\' is HEIC; to read it, pip install "agnlib\[heif\]"'):
        image.load(phone / "IMG_0001.HEIC")
    with pytest.raises(ImageError, match=r'<bytes> is HEIC; to read it, pip install "agnlib\[heif\]"'):
        image.load((phone / "IMG_0001.HEIC").read_bytes())


def test_a_folder_without_the_extra_names_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from agnlib.image import _suffixes

    assert ".heic" in READ_SUFFIXES
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = _suffixes._readable()
    assert ".heic" not in without
    assert ".avif" not in without
    monkeypatch.setattr(_suffixes, "_UNREAD", [*_suffixes._UNREAD, *_suffixes.HEIF_SUFFIXES])
    assert left_out(["a.heic", "b.HEIC"]) == (
        '2 .heic, of kinds that are not read; convert them to JPEG or PNG; or for HEIC: pip install "agnlib[heif]"'
    )


def test_heic_is_a_style_too(phone: Path, weights: Path, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (30, 20), 0)
    given = ["--style", str(phone / "IMG_0008.HEIC"), "-o", str(tmp_path / "b.png"), "--weights", str(weights)]
    assert cli.main(["stylize", str(tmp_path / "a.png"), *given]) == 0
