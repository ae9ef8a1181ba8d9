"""The demo page's functions against the library's own results."""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
import shutil
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from agnlib import Stylizer, demo
from agnlib.cli.main import main
from agnlib.demo._css import growing, so_far
from agnlib.demo._jobs import StoppedError, Work
from agnlib.demo._service import Now, Studio, Wish, blamed
from agnlib.errors import AgnError, InputError, MissingDependencyError
from agnlib.styles import works

IMAGES = Path(__file__).resolve().parents[2] / "examples" / "images"
FULL = {"strength": 1.0, "texture": 1.0, "color": 1.0, "scale": 1.0}


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer.from_pretrained(device="cpu")


@pytest.fixture
def studio(stylizer: Stylizer, tmp_path: Path) -> Studio:
    return Studio(stylizer, tmp_path)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbors paint small pictures in few steps."""
    monkeypatch.setattr("agnlib.demo._service._NEIGHBORS_SIDE", 48)
    monkeypatch.setattr("agnlib.neighbors._coarse_to_fine._STEPS", 2)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.fromarray(data.coffee()).resize((90, 60)).save(tmp_path / "my photo.png")
    return str(tmp_path / "my photo.png")


def wish(photo: str | None, way: str, picture: str | None = None, name: str | None = None, **other: Any) -> Wish:
    return Wish(photo, way, picture, name, **{"seed": 0, **FULL, **other})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def resized(path: Path, size: tuple[int, int]) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.resize(size), dtype=float)


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stylizer: Stylizer
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[demo\]"'):
        demo.serve(stylizer)
    assert main(["demo"]) == 2
    assert "agnlib[demo]" in capsys.readouterr().err


def test_the_page_paints_what_the_library_paints(studio: Studio, photo: str, stylizer: Stylizer) -> None:
    wishes = {"strength": 0.7, "texture": 0.9, "color": 0.5, "scale": 1.5}
    painted, _, line = studio.painted(wish(photo, "a picture", str(IMAGES / "auvers.jpg"), **wishes))
    expected = stylizer(photo, str(IMAGES / "auvers.jpg"), **wishes)
    np.testing.assert_array_equal(pixels(painted), np.asarray(expected))
    assert painted.name == "my photo-painted.png"
    assert line.startswith("90 x 60 pixels")


def test_strength_0_leaves_the_photo(studio: Studio, photo: str) -> None:
    painted, _, _ = studio.painted(wish(photo, "chance", seed=5, strength=0.0))
    np.testing.assert_array_equal(pixels(painted), pixels(Path(photo)))


def test_before_and_after_are_the_photo_and_its_painting(studio: Studio, photo: str) -> None:
    painted, shown, _ = studio.painted(wish(photo, "a name", name="ukiyo-e", seed=3))
    after, before = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=float)
        for text in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown)
    )
    assert abs(after - pixels(painted)).mean() < 6 < abs(after - before).mean()
    assert abs(before - pixels(Path(photo))).mean() < 6
    assert 'alt="my photo.png, painted in the style of ukiyo-e, seed 3"' in shown
    assert "aspect-ratio: 90 / 60" in shown


def test_names_of_files_are_text_and_nothing_else(studio: Studio, photo: str, tmp_path: Path) -> None:
    odd = tmp_path / '"><script>x'
    shutil.copy(photo, odd)
    _, shown, _ = studio.painted(wish(str(odd), "chance"))
    assert "<script" not in shown
    assert "&quot;&gt;&lt;script&gt;x, the photo" in shown


@pytest.mark.parametrize(
    "given",
    [
        ("a picture", "auvers.jpg", None, {"scale": 1.5, "color": 0.25}),
        ("a name", None, "ukiyo-e", {"seed": 3, "strength": 0.7}),
        ("chance", None, None, {"seed": 12345, "texture": 0.6}),
        ("a name", None, "wave", {"seed": 3, "strength": 0.8}),
        ("a name", None, "wave", {"method": "neighbors", "drawing": 0.8}),
        ("chance", None, None, {"seed": 7, "method": "neighbors"}),
    ],
    ids=str,
)
@pytest.mark.usefixtures("brief")
def test_the_recipe_paints_the_same(
    studio: Studio, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[Any, ...]
) -> None:
    way, picture, name, other = given
    asked = wish(photo, way, picture and str(IMAGES / picture), name, **other)
    painted, _, _ = studio.painted(asked)
    shutil.copy(IMAGES / "auvers.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    command = shlex.split(asked.recipe(studio.stylizer.name))
    assert command[0] == "agnlib"
    assert main(command[1:]) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "my photo-painted.png"), pixels(painted))


def test_the_recipe_of_a_name_that_looks_like_an_option(photo: str) -> None:
    words = shlex.split(wish("/x/-rf.png", "a picture", "/x/--out.jpg").recipe("agn-fast"))
    assert words == (
        ["agnlib", "stylize", "./-rf.png", "--style", "./--out.jpg", "--weights", "agn-fast", "-o", "rf-painted.png"]
    )


def test_the_recipe_of_neighbors_names_the_method_its_drawing_and_the_size() -> None:
    words = "--style wave --method neighbors --drawing 0.25 --size 640 -o a-painted.png"
    asked = wish("/x/a.jpg", "a name", name="wave", seed=3, method="neighbors", drawing=0.25)
    assert asked.recipe("agn-small") == f"agnlib stylize a.jpg {words}"


def test_a_seed_gives_the_same_picture_and_another_seed_another(studio: Studio, photo: str) -> None:
    def painted(way: str, seed: int) -> np.ndarray:
        return pixels(studio.painted(wish(photo, way, name="ukiyo-e", seed=seed))[0])

    for way in ("a name", "chance"):
        np.testing.assert_array_equal(painted(way, 3), painted(way, 3))
        assert (painted(way, 3) != painted(way, 4)).any()


def test_progress_is_told_in_parts_of_the_area(studio: Studio, tmp_path: Path) -> None:
    Image.fromarray(data.coffee()).resize((1500, 1000)).save(tmp_path / "large.png")
    told: list[Now] = []
    studio.painted(wish(str(tmp_path / "large.png"), "chance", scale=0.95), told.append)
    # two tiles, which begin at multiples of the generator's stride
    assert [now.share for now in told] == [0.0, pytest.approx(752 / 1500), 1.0]


@pytest.mark.usefixtures("brief")
def test_neighbors_tell_of_a_picture_that_grows(studio: Studio, photo: str) -> None:
    told: list[Now] = []
    painted, shown, line = studio.painted(wish(photo, "a name", name="wave", method="neighbors"), told.append)
    assert [now.share for now in told] == [pytest.approx(share) for share in (0.5, 1)]
    assert all(now.picture is not None and now.picture.size == (48, 32) for now in told)
    assert line.startswith("48 x 32 pixels in ")
    assert line.endswith("; for it the photo's longer side was reduced to 48 pixels")
    assert pixels(painted).shape == (32, 48, 3)
    assert 'alt="my photo.png, painted in the style of wave"' in shown


def test_what_grows_is_a_picture_and_a_share() -> None:
    now = Now(0.62, torch.full((1, 3, 20, 30), 1.01))
    shown = growing(now)
    with Image.open(io.BytesIO(base64.b64decode(re.findall(r"base64,([^\"]+)", shown)[0]))) as picture:
        assert (picture.size, picture.getpixel((3, 3))) == ((30, 20), (255, 255, 255))
    assert 'value="0.620" aria-label="Painted"' in shown
    assert "62%" in shown
    assert [so_far(each) for each in (None, Now(0.2), now, Now(1))] == (
        ["<p>Painting.</p>", "<p>Painting.</p>", "<p>Half is painted.</p>", "<p>Three quarters are painted.</p>"]
    )
    assert "<img" not in growing(Now(0.5)) + growing(None)


@pytest.mark.parametrize("method", ["network", "neighbors"])
@pytest.mark.usefixtures("brief")
def test_a_painting_that_takes_too_long_is_given_up(
    studio: Studio, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("agnlib.demo._service._LONGEST_SECONDS", -60)
    with pytest.raises(InputError, match="give a smaller photo"):
        studio.painted(wish(photo, "chance", method=method))
    assert not [each for each in tmp_path.glob("*/*") if each.is_file()]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, "chance"), "drop a photo first"),
        (("photo", "a picture"), "drop a style picture first"),
        (("photo", "a name"), "choose a name first"),
        (("photo", "chance", None, None, -1), "seed must be a whole number"),
        (("text", "chance"), "'text.png' is not a picture"),
        (("bomb", "chance"), "'bomb.png' is 12000 x 12000 pixels, more than the limit"),
        (
            ("photo", "a name", None, "fauvism", 1, "neighbors"),
            "no picture comes with agnlib by that name or of that class",
        ),
        (("text", "a name", None, "wave", 1, "neighbors"), "'text.png' is not a picture"),
    ],
)
def test_a_mistake_is_a_line(studio: Studio, photo: str, tmp_path: Path, given: tuple[Any, ...], expected: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    files = {"photo": photo, "text": str(tmp_path / "text.png"), "bomb": str(tmp_path / "bomb.png"), None: None}
    other = dict(zip(("seed", "method"), given[4:], strict=False))
    with pytest.raises(AgnError) as error:
        studio.painted(wish(files[given[0]], *given[1:4], **other))
    assert expected in blamed(error.value)
    assert str(tmp_path) not in blamed(error.value)
    assert not list(tmp_path.glob("*/*.png"))


def test_nothing_is_asked_for_before_there_is_something_to_paint() -> None:
    assert [wish("a", way).is_whole for way in ("a picture", "a name", "chance")] == [False, False, True]
    assert [wish("a", way, "b", "c").is_whole for way in ("a picture", "a name", "chance")] == [True] * 3
    assert not wish(None, "chance").is_whole


def test_old_paintings_are_removed(studio: Studio, photo: str, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    os.utime(old, (0, 0))
    studio.painted(wish(photo, "chance", seed=5))
    assert not old.exists()


def test_thumbnails_are_small_paintings(studio: Studio) -> None:
    names, seeds = studio.thumbnails(IMAGES / "castle.jpg")
    assert tuple(names) == (*works.available(), *studio.stylizer.class_names)
    assert list(seeds) == [str(seed) for seed in range(1, 9)]
    assert len({*names.values(), *seeds.values()}) == len(names) + len(seeds)
    assert max(map(len, [*names.values(), *seeds.values()])) < 10_000
    assert names["fauvism"] != seeds["1"]
    with Image.open(urllib.request.urlopen(names["wave"])) as opened:
        shown = np.asarray(opened, dtype=float)
    apart = {name: abs(shown - resized(work.path, opened.size)).mean() for name, work in works.available().items()}
    assert min(apart, key=lambda name: apart[name]) == "wave"
    assert apart["wave"] < 10


def test_a_port_that_is_taken_says_so(stylizer: Stylizer, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(InputError, match="choose another with --host or --port"):
        demo.serve(stylizer, port=taken.getsockname()[1])
    assert main(["demo", "--port", "70000"]) == 2
    assert "from 0 to 65535" in capsys.readouterr().err


# Work that takes a while


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agnlib.demo._jobs._EVERY", 0.01)


def endless(begun: threading.Event, ended: threading.Event) -> Callable[[Callable[[int], None]], None]:
    """Work that ends only by what it is told."""

    def work(tell: Callable[[int], None]) -> None:
        try:
            for count in range(sys.maxsize):
                tell(count)
                begun.set()
                time.sleep(0.001)
        finally:
            ended.set()

    return work


@pytest.mark.usefixtures("quickly")
def test_work_shows_what_it_told_last_and_gives_its_result() -> None:
    go = threading.Event()

    def work(tell: Callable[[str], None]) -> int:
        tell("one")
        tell("two")
        assert go.wait(10)
        return 3

    with Work(work) as going:
        shown = iter(going)
        assert next(each for each in shown if each) == "two"
        go.set()
        list(shown)
        assert going.result() == 3


@pytest.mark.usefixtures("quickly")
def test_work_raises_what_it_raised() -> None:
    def work(tell: Callable[[str], None]) -> None:
        raise InputError("give another")

    with Work(work) as going:
        assert list(going) == []
        with pytest.raises(InputError, match="give another"):
            going.result()


@pytest.mark.parametrize("way", ["stop", "leave"])
@pytest.mark.usefixtures("quickly")
def test_work_that_is_stopped_or_left_ends(way: str) -> None:
    begun, ended = threading.Event(), threading.Event()
    with Work(endless(begun, ended)) as going:
        assert begun.wait(10)
        if way == "stop":
            going.stop()
            assert list(going) == []
            with pytest.raises(StoppedError):
                going.result()
    assert ended.wait(10)
