"""Clips in a folder, and among files: painted last, by the same rules of resuming, overwriting and reporting."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy import picture, start_process

from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.folder import FolderReport, stylize_folder
from agnlib.folder._tree import NOTES
from agnlib.painting._frames import FramePainter
from agnlib.stylizer import Stylizer


def gif(path: Path, count: int = 4, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 18, 24, 3), dtype=np.uint8)
    first, *others = [Image.fromarray(each) for each in pixels]
    first.save(path, save_all=True, append_images=others, duration=50, loop=0)
    return path


def film(path: Path, count: int = 3) -> Path:
    av = pytest.importorskip("av", reason="films need PyAV, the extra video")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix != ".avi" else "mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(count):
            frame = np.full((24, 32, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path


def frames(path: Path) -> list[np.ndarray[Any, Any]]:
    found = []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs and two animations in a folder, and a style."""
    picture(tmp_path / "in" / "a.png", (30, 20), 0)
    picture(tmp_path / "in" / "sea" / "b.jpg", (24, 20), 1)
    gif(tmp_path / "in" / "c.gif")
    gif(tmp_path / "in" / "sea" / "d.gif", 3, seed=1)
    picture(tmp_path / "style.png", (20, 20), 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stylizer(weights: Path) -> Stylizer:
    return Stylizer.from_pretrained(weights, device="cpu")


def stylize(weights: Path, *given: object) -> int:
    return cli.main(["stylize", *map(str, given), "--style", "style.png", "--weights", str(weights), "--device", "cpu"])


def run(stylizer: Stylizer, place: Path, **options: Any) -> FolderReport:
    return stylize_folder(stylizer, place / "in", place / "out", str(place / "style.png"), **options)


def changed(out: Path) -> dict[str, int]:
    return {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns
        for path in sorted(out.rglob("*"))
        if path.is_file() and NOTES not in path.parts and path.suffix != ".json"
    }


def test_a_mixed_folder_is_painted_the_clips_as_by_themselves(stylizer: Stylizer, place: Path) -> None:
    told: list[str] = []
    report = run(stylizer, place, on_file=lambda name, error: told.append(name), smoothing=1.0)
    assert (report.summary(), report.found, report.failed) == ("4 painted", 4, {})
    assert told[2:] == ["c.gif", "sea/d.gif"]
    assert report.settings["smoothing"] == 1.0
    assert sorted(changed(place / "out")) == ["a.png", "c.gif", "sea/b.jpg", "sea/d.gif"]
    stylizer.stylize_video(place / "in" / "c.gif", place / "alone.gif", str(place / "style.png"), smoothing=1.0)
    assert (place / "out" / "c.gif").read_bytes() == (place / "alone.gif").read_bytes()


def test_the_same_call_keeps_what_is_there_and_paints_what_is_not(stylizer: Stylizer, place: Path) -> None:
    run(stylizer, place)
    before = changed(place / "out")
    assert run(stylizer, place).summary() == "4 kept"
    assert changed(place / "out") == before
    (place / "out" / "c.gif").unlink()
    whole = (place / "out" / "sea" / "d.gif").read_bytes()
    (place / "out" / "sea" / "d.gif").write_bytes(whole[: len(whole) // 3])  # damaged
    assert run(stylizer, place).summary() == "2 painted, 2 kept"
    assert (place / "out" / "sea" / "d.gif").read_bytes() == whole


def test_what_is_in_the_way_is_said_before_the_work(stylizer: Stylizer, place: Path) -> None:
    (place / "out").mkdir()
    gif(place / "out" / "c.gif", seed=9)
    with pytest.raises(InputError, match=r"c\.gif': agnlib did not write it"):
        run(stylizer, place)
    assert [path.name for path in (place / "out").iterdir()] == ["c.gif"]
    assert run(stylizer, place, overwrite=True).summary() == "4 painted"
    with pytest.raises(InputError, match=r"2 files are in the way: .*smoothing was 0\.5, is 1\.0"):
        run(stylizer, place, smoothing=1.0)
    with pytest.raises(InputError, match=r"2 files are in the way: .*quality was 95, is 80"):
        run(stylizer, place, quality=80)  # the photographs'
    assert run(stylizer, place, smoothing=1.0, overwrite=True).summary() == "2 painted, 2 kept"


def test_a_damaged_clip_is_named_and_does_not_stop_the_rest(stylizer: Stylizer, place: Path) -> None:
    (place / "in" / "c.gif").write_bytes(b"GIF89a and no more")
    report = run(stylizer, place)
    assert report.summary() == "3 painted, 1 failed"
    assert "cannot be" in report.failed["c.gif"]
    assert not (place / "out" / "c.gif").exists()
    assert run(stylizer, place).summary() == "3 kept, 1 failed"


def test_shards_share_photographs_and_clips_each(stylizer: Stylizer, place: Path) -> None:
    for number in (1, 2):
        report = run(stylizer, place, shard=(number, 2))
        kinds = sorted(Path(name).suffix == ".gif" for name in report.paintings)
        assert kinds == [False, True]
    assert run(stylizer, place).summary() == "4 kept"


def test_progress_goes_on_within_a_clip_and_may_end_the_work(stylizer: Stylizer, place: Path) -> None:
    told: list[float] = []
    run(stylizer, place, progress=lambda done, total: told.append(done / total))
    assert told == sorted(told)
    assert told[-1] == 1
    assert any(0.5 < share < 0.75 for share in told)

    def ending(done: float, total: float) -> None:
        if done > 2.3:
            raise KeyboardInterrupt

    (place / "out" / "c.gif").unlink()
    (place / "out" / "sea" / "d.gif").unlink()
    with pytest.raises(KeyboardInterrupt):
        run(stylizer, place, progress=ending)
    assert sorted(changed(place / "out")) == ["a.png", "sea/b.jpg"]
    assert not list((place / "out").rglob("*.tmp"))
    assert run(stylizer, place).summary() == "2 painted, 2 kept"


def test_clips_of_live_photos_are_left_out_by_their_names(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("IMG_1.JPG", "IMG_2.HEIC"):
        picture(place / "in" / "live.png", (20, 20), 3)
        (place / "in" / "live.png").rename(place / "in" / name)
    for name in ("IMG_1.MOV", "img_2.mov"):
        (place / "in" / name).write_bytes(b"never opened")
    (place / "in" / "IMG_2.HEIC").unlink()
    (place / "in" / "IMG_2.jpeg").write_bytes((place / "in" / "sea" / "b.jpg").read_bytes())
    assert stylize(weights, "in", "-o", "out") == 0
    assert (
        "left out: 2 clips, such as 'IMG_1.MOV': of a live photo, whose picture lies beside it; name the clip to paint"
        in capsys.readouterr().err
    )
    report = json.loads((place / "out" / "agnlib-report.json").read_text())
    assert set(report["skipped"]) == {"IMG_1.MOV", "img_2.mov"}
    assert report["painted"] == 6


def test_films_are_painted_and_what_is_not_written_becomes_mp4(weights: Path, place: Path) -> None:
    film(place / "in" / "e.mp4")
    film(place / "in" / "f.avi")
    assert stylize(weights, "in", "-o", "out") == 0
    assert {"e.mp4", "f.mp4"} < set(changed(place / "out"))
    before = changed(place / "out")
    assert stylize(weights, "in", "-o", "out") == 0
    assert changed(place / "out") == before


def test_without_pyav_films_are_left_out_with_the_pip_command(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "in" / "e.mp4").write_bytes(b"never opened")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert stylize(weights, "in", "-o", "out") == 0
    assert """left out: 1 clip, such as 'e.mp4': it needs PyAV; install it: pip install "agnlib[video]\"""" in (
        capsys.readouterr().err
    )


def test_by_neighbors_clips_are_left_out(stylizer: Stylizer, place: Path) -> None:
    from agnlib.folder._run import why_no_clips

    assert why_no_clips("neighbors", wanted=True) == "the method neighbors is for photographs"
    (place / "in" / "a.png").unlink()
    (place / "in" / "sea" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"no photographs .*2 clips, such as 'c\.gif': the method neighbors"):
        run(stylizer, place, method="neighbors")


# --- several files in one command -------------------------------------------------------------------------------------


def test_several_clips_and_photos_in_one_command(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bad.gif").write_bytes(b"GIF89a")
    assert stylize(weights, "in/a.png", "in/c.gif", "bad.gif", "in/sea/d.gif", "-o", "out", "--smoothing", "1") == 1
    said = capsys.readouterr().err
    assert "1 of 4 files failed: 'bad.gif'" in said
    assert sorted(changed(place / "out")) == ["a.png", "c.gif", "d.gif"]
    assert stylize(weights, "in/c.gif", "in/sea/d.gif", "-o", "out") == 2
    assert "2 files are there already" in capsys.readouterr().err
    assert stylize(weights, "in/*.gif", "in/sea/*.gif", "-o", "new/deep") == 0
    assert sorted(changed(place / "new" / "deep")) == ["c.gif", "d.gif"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["in/a.png", "in/c.gif", "-o", "out", "--method", "neighbors"], "--method: neighbors is for photographs"),
        (["in/c.gif", "in/sea/d.gif", "-o", "out", "--format", "png"], "--format: is for photographs"),
        (["in/c.gif", "in/sea/d.gif", "-o", "out", "--metadata", "all"], "--metadata: is for photographs"),
        (["in/c.gif", "in/sea/d.gif", "-o", "out", "--refine"], "--refine: needs a photograph"),
        (["in/c.gif", "gone.gif", "-o", "out"], "'gone.gif' does not exist"),
        (["in/c.gif", "-o", "newdir"], "'newdir' has no suffix; give a file such as 'newdir.mp4', or 'newdir/'"),
        (["in/a.png", "-o", "newdir"], "'newdir' has no suffix; give a file such as 'newdir.jpg', or 'newdir/'"),
        (["in/c.gif", "-o", "x.png"], "must end in .gif"),
        (["in", "-o", "out", "--smoothing", "61"], "expected seconds from 0"),
    ],
)
def test_mistakes_with_clips(
    weights: Path, place: Path, given: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert stylize(weights, *given) == 2
    assert words in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("target", ["new/deep/c.gif", "new/deep/", "new/c.webp"])
def test_folders_are_made_for_a_clip(weights: Path, place: Path, target: str) -> None:
    (place / "c.webp").mkdir()  # a folder of the target's own name elsewhere is in nobody's way
    assert stylize(weights, "in/c.gif", "-o", target) == 0
    assert (place / target / "c.gif" if target.endswith("/") else place / target).is_file()


def test_an_animated_webp_is_a_clip_unless_a_still_picture_is_asked_for(
    weights: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize(weights, "in/c.gif", "-o", "moving.webp") == 0
    assert stylize(weights, "moving.webp", "-o", "painted.webp") == 0
    assert "4 frames of 24 x 18 pixels" in capsys.readouterr().err
    assert len(frames(place / "painted.webp")) == 4
    assert stylize(weights, "moving.webp", "-o", "still.png") == 0
    assert "several frames; only the first is painted" in capsys.readouterr().err
    assert len(frames(place / "still.png")) == 1


# --- signals ----------------------------------------------------------------------------------------------------------


def slowly(arguments: list[str], log: Path) -> int:
    """The program, which takes its time with every frame."""
    from toy import program

    inner = FramePainter.__call__

    def painted(painter: FramePainter, *given: Any) -> Any:
        time.sleep(0.1)
        return inner(painter, *given)

    FramePainter.__call__ = painted  # type: ignore[method-assign]
    return program(arguments, log)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_within_a_clip_the_same_command_goes_on(weights: Path, place: Path, number: int) -> None:
    gif(place / "in" / "long.gif", 40, seed=5)
    given = ["stylize", "in", "-o", "out", "--style", "style.png", "--weights", str(weights), "--device", "cpu"]
    process = start_process(slowly, given, place / "log.txt")
    end = time.monotonic() + 120
    while not (place / "out" / "c.gif").exists() and time.monotonic() < end and process.is_alive():
        time.sleep(0.01)
    time.sleep(0.3)  # within the next
    os.kill(process.pid or 0, number)
    process.join(120)
    said = (place / "log.txt").read_text()
    assert process.exitcode == (128 + number if number == signal.SIGTERM else -number), said
    assert {"a.png", "c.gif", "sea/b.jpg"} <= set(changed(place / "out"))
    assert not (place / "out" / "sea" / "d.gif").exists()
    if number == signal.SIGTERM:
        assert not list((place / "out").rglob("*.tmp"))
        assert "stopped (SIGTERM) with 2 photographs and clips left; the same command goes on" in said
    before = changed(place / "out")
    assert cli.main(given) == 0
    after = changed(place / "out")
    assert set(after) == {"a.png", "c.gif", "long.gif", "sea/b.jpg", "sea/d.gif"}
    assert {name: after[name] for name in before if not name.endswith(".tmp")} == {
        name: when for name, when in before.items() if not name.endswith(".tmp")
    }
    assert not list((place / "out").rglob("*.tmp"))
