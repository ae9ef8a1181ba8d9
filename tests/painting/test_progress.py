"""How far a call is: one convention, and what is raised from it ends the work with nothing written."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agnlib._shared.progress import Told, watched
from agnlib.cli.main import main
from agnlib.errors import InputError
from agnlib.evaluation import Judge, Pair, evaluate
from agnlib.folder import stylize_folder
from agnlib.models import Generator, StyleExtractor
from agnlib.painting._painted_windows import Painting
from agnlib.stylizer import Stylizer

Call = Callable[..., object]


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0",)), device="cpu")


def picture(seed: int, height: int = 64, width: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, name in enumerate(("photo.png", "photos/a.png", "photos/b.jpg", "photos/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(number).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calls(stylizer: Stylizer) -> dict[str, Call]:
    """Each long call, with what it is told of."""
    photo, style = picture(8), picture(9)
    pairs = [Pair(Path("photo.png"), Path(f"photos/{name}")) for name in ("a.png", "b.jpg", "c.png")]
    near = {"method": "neighbors", "drawing": 1.0}
    return {
        "whole": lambda **told: stylizer(photo, style, **told),
        "tiles": lambda **told: stylizer(photo, style, tile=16, **told),
        "nothing to paint": lambda **told: stylizer(photo, style, strength=0, **told),
        "neighbors": lambda **told: stylizer(photo, style, tile=32, texture=0.5, **near, **told),
        "file": lambda **told: stylizer.stylize_file("photo.png", "out.png", style, tile=16, **told),
        "file at once": lambda **told: stylizer.stylize_file("photo.png", "out.webp", style, tile=16, **told),
        "neighbors' file": lambda **told: stylizer.stylize_file("photo.png", "out.png", style, **near, **told),
        "refine": lambda **told: stylizer.refine_style(style, content=photo, steps=3, **told),
        "refine by no step": lambda **told: stylizer.refine_style(style, content=photo, steps=0, **told),
        "folder": lambda **told: stylize_folder(stylizer, "photos", "out", style, **told),
        "evaluate": lambda **told: evaluate({}, pairs, Judge({}), pan=False, texture=False, **told),
    }


TOLD = {  # calls before the last
    "whole": 1,
    "tiles": 12,
    "nothing to paint": 0,
    "file": 12,
    "file at once": 12,
    "refine": 3,  # before its steps, after the first and the second
    "refine by no step": 1,
    "folder": 3,
    "evaluate": 3,
}
NAMES = [*TOLD, "neighbors", "neighbors' file"]


@pytest.mark.parametrize("name", NAMES)
def test_done_never_goes_back_and_is_the_total_once_at_the_end(name: str, stylizer: Stylizer, place: Path) -> None:
    seen: list[tuple[float, float]] = []
    calls(stylizer)[name](progress=lambda done, total: seen.append((done, total)))
    done = [each for each, _ in seen]
    assert done == sorted(done)
    assert len({total for _, total in seen}) == 1
    assert [each == total > 0 for each, total in seen] == [False] * (len(seen) - 1) + [True]
    if name in TOLD:
        assert len(seen) - 1 == TOLD[name]
    else:
        assert len(set(done)) > 10
    if name != "nothing to paint":
        assert done[0] == 0


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """What a caller raises."""


def stopping(number: int, error: BaseException) -> Callable[[float, float], None]:
    """Raises at the call of this number; -1 is the last."""
    counted = itertools.count()

    def told(done: float, total: float) -> None:
        if next(counted) == number or (number == -1 and done == total):
            raise error

    return told


ERRORS = [Enough(), TimeoutError("late"), OSError(28, "of the caller's"), ValueError("no"), KeyboardInterrupt()]
STOPS = [
    (name, number, error)
    for place, name in enumerate(NAMES)
    for number in (0, 2, -1)
    if number < TOLD.get(name, 10)
    for error in (ERRORS if name == "file" else ERRORS[place % 4 :][:1])
]


@pytest.mark.parametrize(("name", "number", "error"), STOPS)
def test_what_a_listener_raises_comes_out_and_nothing_is_half_written(
    name: str, number: int, error: BaseException, stylizer: Stylizer, place: Path
) -> None:
    Path("out").mkdir()
    Path("out.png").write_bytes(b"old")
    more = {"overwrite": True} if name in ("file", "neighbors' file", "file at once", "folder") else {}
    with pytest.raises(type(error)) as raised:
        calls(stylizer)[name](progress=stopping(number, error), **more)
    assert raised.value is error
    left = sorted(path.name for path in place.rglob("*") if path.is_file() and ".agnlib" not in path.parts)
    if name == "folder":
        assert not [each for each in left if each.endswith(".tmp")]
        for painted in Path("out").glob("*.[jp]*g"):
            with Image.open(painted) as opened:
                opened.load()
        assert stylize_folder(stylizer, "photos", "out", picture(9)).left == 0
    else:
        assert left == ["a.png", "b.jpg", "c.png", "out.png", "photo.png"]
        assert Path("out.png").read_bytes() == b"old"


def test_the_work_really_stops(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    painted, window = [], Painting.window
    monkeypatch.setattr(Painting, "window", lambda self, box: painted.append(box) or window(self, box))
    for number in range(12):
        painted.clear()
        with pytest.raises(Enough):
            stylizer(picture(8), picture(9), tile=16, progress=stopping(number, Enough()))
        assert len(painted) == number


def test_a_file_object_gets_nothing_of_what_was_stopped(stylizer: Stylizer) -> None:
    content, file = io.BytesIO(), io.BytesIO()
    picture(8).save(content, "png")
    for number in (0, 5, -1):
        with pytest.raises(Enough):
            stylizer.stylize_file(content, file, picture(9), format="png", tile=16, progress=stopping(number, Enough()))
        assert file.getvalue() == b""


def test_neighbors_tell_their_steps_beside_the_pictures(stylizer: Stylizer) -> None:
    steps: list[float] = []
    shares: list[float] = []
    options: Any = {"method": "neighbors", "drawing": 1.0}
    listeners: Any = {
        "on_step": lambda now: steps.append(now.done / now.total),
        "progress": lambda done, total: shares.append(done / total),
    }
    both = stylizer(picture(8), picture(9), **options, **listeners)
    assert both == stylizer(picture(8), picture(9), **options)
    assert shares == [0, *(each for each in steps if each < 1), 1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, 1, 0.5, "yes", np.True_])
def test_what_is_no_progress_is_refused_before_the_work(
    name: str, value: object, stylizer: Stylizer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generator, "forward", lambda *_, **__: pytest.fail("the work has begun"))
    with pytest.raises(
        InputError, match=r"^progress must be True, False or a function that takes \(done, total\), got"
    ):
        calls(stylizer)[name](progress=value)
    assert not list(place.glob("out*"))


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10))))
def test_whatever_is_reported_is_told_in_order(reports: list[tuple[float, float]]) -> None:
    seen: list[tuple[float, float]] = []
    told = Told(lambda done, total: seen.append((done, total)))
    for done, total in reports:
        told(done, total)
    told.end(11.0)
    assert seen == sorted(seen, key=lambda each: each[0])
    assert all(done < total for done, total in seen[:-1])
    assert seen[-1] == (11.0, 11.0)


def test_no_items_are_told_of_as_done() -> None:
    seen: list[tuple[float, float]] = []
    assert list(watched([], lambda done, total: seen.append((done, total)), "thing")) == []
    assert seen == [(1, 1)]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock by which each look at it takes this long."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(("step", "shown"), [(0.05, False), (1.5, True)])
def test_a_bar_appears_after_two_seconds(
    step: float, shown: bool, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.std.time", Clock(step))
    stylizer(picture(8), picture(9), tile=16, progress=True)
    assert ("%|" in screen.getvalue()) == shown
    stylizer(picture(8), picture(9), tile=16)
    assert ("%|" in screen.getvalue()) == shown


@pytest.mark.parametrize("more", [[], ["--quiet"], ["--refine"]])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_command_line_shows_a_bar_of_one_picture_on_a_terminal(
    more: list[str], terminal: bool, stylizer: Stylizer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.std.time", Clock(1.5))
    monkeypatch.setattr(Stylizer, "from_pretrained", lambda *_, **__: stylizer)
    assert main(["stylize", "photo.png", "--style", "photos/a.png", "-o", "out.png", "--tile", "16", *more]) == 0
    assert ("%|" in screen.getvalue()) == (terminal and more != ["--quiet"])
