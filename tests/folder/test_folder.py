"""Folders: the same tree comes out, nothing is lost, nothing of others is touched, whatever is in the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy import in_new_process

from agnlib.errors import ImageError, InputError
from agnlib.folder import FolderReport, stylize_folder
from agnlib.folder._manifest import Manifest
from agnlib.folder._tree import NOTES, make_plan, output_name
from agnlib.models import Generator, StyleExtractor
from agnlib.painting import _rendering
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer


def tiny_stylizer() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(style_dim=16, hidden=16, taps=("block0",)), device="cpu")


STYLIZER = tiny_stylizer()
STYLE = StyleCode(torch.linspace(-1, 1, 16), "drawn")
TREE = ("one.jpg", "two.png", "sea/three.png", "sea/deep/four.webp", "hills/five.tif")


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A tree of small photographs, and of files that are none."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(TREE):
        photo(folder / name, seed, (8 + seed, 9))
    (folder / "notes.txt").write_text("no photograph")
    (folder / "empty").mkdir()
    photo(folder / ".hidden" / "no.png")
    (folder / "._one.jpg").write_bytes(b"what some systems put beside a file")
    return folder


def run(photos: Path, out: Path, **options: Any) -> FolderReport:
    return stylize_folder(STYLIZER, photos, out, STYLE, **options)


def paintings(out: Path) -> list[str]:
    found = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".json")
    return sorted(path.relative_to(out).as_posix() for path in found if NOTES not in path.parts)


def times(out: Path) -> dict[str, int]:
    return {name: (out / name).stat().st_mtime_ns for name in paintings(out)}


def lines(out: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted((out / NOTES).glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_bytes().splitlines()]
    return found


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def killed(out: Path, *, after: int) -> None:
    """As if the process had been killed with so many paintings noted as done: the last line is torn."""
    (path,) = (out / NOTES).glob("*.jsonl")
    kept, done = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        if b'"done"' in line:
            done += 1
            if done > after:
                kept.append(line[: len(line) // 2])
                break
        kept.append(line)
    path.write_bytes(b"".join(kept))


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_the_tree_is_mirrored(photos: Path, tmp_path: Path) -> None:
    report = run(photos, tmp_path / "out")
    assert paintings(tmp_path / "out") == sorted(TREE)
    assert (report.found, report.chosen, report.painted, report.kept, report.left) == (5, 5, 5, 0, 0)
    assert (report.failed, report.skipped, report.stopped) == ({}, {}, None)
    for name in TREE:
        with Image.open(photos / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert (after.size, after.format) == (before.size, before.format)
    assert not (tmp_path / "out" / "empty").exists()


def test_each_painting_is_what_the_stylizer_paints(photos: Path, tmp_path: Path) -> None:
    mask = np.tile(np.arange(7) < 4, (5, 1))
    Image.fromarray(mask).save(tmp_path / "mask.png")
    other = StyleCode(torch.linspace(1, -1, 16), "drawn")
    options = {"strength": 0.7, "texture": 0.8, "scale": 1.5, "seed": 3, "size": 10, "mask": [tmp_path / "mask.png"]}
    options["overwrite"] = True
    with pytest.warns(UserWarning, match="masks are resized to each") as said:
        stylize_folder(STYLIZER, photos, tmp_path / "out", [STYLE, other], suffix=".png", **options)  # type: ignore[arg-type]
    assert len(said) == 1
    for name in TREE:
        with pytest.warns(UserWarning, match="is resized"):
            STYLIZER.stylize_file(photos / name, tmp_path / "alone.png", [STYLE, other], **options)  # type: ignore[arg-type]
        painted = (tmp_path / "out" / name).with_suffix(".png")
        assert painted.read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_large_pictures_in_tiles(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "large.png", size=(90, 70))
    run(tmp_path / "photos", tmp_path / "out", tile=16)
    STYLIZER.stylize_file(tmp_path / "photos" / "large.png", tmp_path / "alone.png", STYLE, tile=16)
    assert (tmp_path / "out" / "large.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("a.jpg", None, "a.jpg"),
        ("a.JPEG", None, "a.JPEG"),
        ("b/a.jfif", None, "b/a.png"),
        ("b.png/a.v2.tif", ".webp", "b.png/a.v2.webp"),
    ],
)
def test_names_of_paintings(name: str, suffix: str | None, expected: str) -> None:
    assert output_name(name, suffix) == expected


def test_the_report(photos: Path, tmp_path: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "one.jpg").read_bytes()[:-200])
    seen: list[tuple[str, str | None]] = []
    report = run(photos, tmp_path / "out", strength=0.5, on_file=lambda name, error: seen.append((name, error)))
    found = json.loads((tmp_path / "out" / "agnlib-report.json").read_bytes())
    assert found["painted"] == report.painted == 5
    assert found["failed"] == report.failed == {"cut.jpg": dict(seen)["cut.jpg"]}
    assert "it is damaged" in found["failed"]["cut.jpg"]
    assert sorted(name for name, _ in seen) == sorted((*TREE, "cut.jpg"))
    assert [error for name, error in seen if name != "cut.jpg"] == [None] * 5
    assert (found["source"], found["target"], found["shard"]) == (str(photos), str(tmp_path / "out"), [1, 1])
    assert (found["settings"]["strength"], found["settings"]["metadata"]) == (0.5, "none")
    assert found["seconds"] > 0
    again = run(photos, tmp_path / "out", strength=0.5, report=tmp_path / "mine.json")
    assert again.summary() == "5 kept, 1 failed"
    assert json.loads((tmp_path / "mine.json").read_bytes())["kept"] == 5


def test_a_report_replaces_nothing_but_reports(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(InputError, match=r"mine\.json.* and no report"):
        run(photos, tmp_path / "out", report=tmp_path / "mine.json")
    with pytest.raises(ImageError, match=r"folder of the report"):
        run(photos, tmp_path / "out", report=tmp_path / "missing" / "mine.json")
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert not (tmp_path / "out").exists()


def test_broken_files_do_not_stop_the_rest(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "two.png").read_bytes()
    broken = {
        "broken/cut.png": whole[: len(whole) // 2],
        "broken/empty.jpg": b"",
        "broken/text.bmp": b"a letter",
        "broken/huge.png": whole[:16] + (50_000).to_bytes(4, "big") * 2 + whole[24:],
    }
    (photos / "broken").mkdir()
    for name, data in broken.items():
        (photos / name).write_bytes(data)
    report = run(photos, tmp_path / "out")
    assert sorted(report.failed) == sorted(broken)
    assert all(name.rpartition("/")[2] in error for name, error in report.failed.items())
    assert paintings(tmp_path / "out") == sorted(TREE)
    assert not (tmp_path / "out" / "broken").exists()


def test_a_program_error_in_one_picture_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = _rendering.rows

    def rows(painting: Any) -> Any:
        if painting.size[1] == 9:  # only two.png
            raise RuntimeError("the device is gone")
        return inner(painting)

    monkeypatch.setattr(_rendering, "rows", rows)
    report = run(photos, tmp_path / "out")
    assert report.failed == {"two.png": "RuntimeError: the device is gone"}
    assert report.painted == 4


# -- shards ------------------------------------------------------------------------------------------------------------


def test_shards_are_disjoint_and_complete(photos: Path, tmp_path: Path) -> None:
    reports = [run(photos, tmp_path / "out", shard=(number, 3)) for number in (2, 1, 3)]
    assert [report.painted for report in reports] == [2, 2, 1]
    assert paintings(tmp_path / "out") == sorted(TREE)
    painted = [entry["painting"] for entry in lines(tmp_path / "out") if entry["line"] == "done"]
    assert sorted(painted) == sorted(TREE)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == [
        f"agnlib-report-{number}-of-3.json" for number in (1, 2, 3)
    ]
    before = times(tmp_path / "out")
    assert run(photos, tmp_path / "out").kept == 5  # whichever shards painted them
    assert times(tmp_path / "out") == before


def test_more_shards_than_photographs(photos: Path, tmp_path: Path) -> None:
    report = run(photos, tmp_path / "out", shard=(7, 9))
    assert (report.found, report.chosen, report.summary()) == (5, 0, "nothing to do")


NAMES = st.from_regex(r"[a-c]{1,2}(/[d-f]{1,2}){0,2}", fullmatch=True)


@settings(max_examples=20)
@given(st.sets(NAMES, min_size=1, max_size=12), st.integers(1, 5))
def test_any_tree_in_any_number_of_shards(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], count: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").touch()
    plans = [make_plan(folder, folder.with_name(f"{folder.name}-out"), shard=(i, count)) for i in range(1, count + 1)]
    shards = [[job.name for job in plan.jobs] for plan in plans]
    assert sorted(name for shard in shards for name in shard) == sorted(f"{name}.png" for name in names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert all(plan.found == len(names) for plan in plans)
    shutil.rmtree(folder)


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0), (-1, -1)])
def test_shards_that_make_no_sense(photos: Path, tmp_path: Path, shard: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="from 1 to n"):
        run(photos, tmp_path / "out", shard=shard)


def test_one_process_at_a_time_on_a_shard(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Manifest(make_plan(photos, out, shard=(1, 2)), {}):
        with pytest.raises(InputError, match="another agnlib is at work on shard 1/2"):
            run(photos, out, shard=(1, 2))
        leftover = out / ".agnlib-0123.tmp"
        leftover.touch()
        assert run(photos, out, shard=(2, 2)).painted == 2
        assert leftover.exists()  # it might be the other shard's
    assert run(photos, out, shard=(1, 2)).painted == 3
    assert not leftover.exists()


# -- going on ----------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    report = run(photos, tmp_path / "out")
    assert report.summary() == "5 kept"
    run(photos, tmp_path / "out", overwrite=True, tile=64)  # tiles change nothing
    after = snapshot(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {
        str(tmp_path / "out" / "agnlib-report.json"),
        str(tmp_path / "out" / NOTES / "manifest-1-of-1.jsonl"),
    }


def test_what_is_missing_or_damaged_is_painted_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    whole, before = snapshot(out / "sea"), times(out)
    (out / "one.jpg").unlink()
    shutil.rmtree(out / "hills")
    damaged = out / "sea" / "three.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    report = run(photos, out)
    assert report.summary() == "3 painted, 2 kept"
    assert snapshot(out / "sea") == whole
    after = times(out)
    assert {name for name in TREE if after[name] == before[name]} == {"two.png", "sea/deep/four.webp"}


def test_a_header_that_was_damaged_in_place(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    path = tmp_path / "out" / "two.png"
    whole = path.read_bytes()
    path.write_bytes(b"\0" * 32 + whole[32:])
    assert run(photos, tmp_path / "out").painted == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("after", range(5))
def test_killed_with_a_torn_line(photos: Path, tmp_path: Path, after: int) -> None:
    out = tmp_path / "out"
    run(photos, out)
    before = times(out)
    killed(out, after=after)
    (out / "sea" / ".agnlib-0123.tmp").touch()
    missing = sorted(TREE)[-1]
    if after < 4:
        (out / missing).unlink()
    report = run(photos, out)
    assert (report.painted, report.kept) == ((1, 4) if after < 4 else (0, 5))
    assert {name: when for name, when in times(out).items() if before[name] != when}.keys() <= {missing}
    assert not list(out.rglob("*.tmp"))
    assert run(photos, out).kept == 5


def test_every_place_where_a_line_can_tear(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    (path,) = (out / NOTES).glob("*.jsonl")
    whole, before = path.read_bytes(), times(out)
    last = whole.rindex(b'{"line": "done"')
    for end in range(last, len(whole), 7):
        path.write_bytes(whole[:end])
        assert run(photos, out).kept == 5, whole[last:end]
        assert times(out) == before


def test_lines_that_mean_nothing_are_passed_over(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    (path,) = (out / NOTES).glob("*.jsonl")
    strange = (b"\xff\0", b"[]", b"7", b'{"line": "done"}', b'{"line": "done", "painting": [], "size": 3}', b"[" * 9999)
    path.write_bytes(b"\n".join([*strange, *path.read_bytes().splitlines(), *strange]))
    assert run(photos, out).kept == 5


def test_what_appears_after_a_clean_end_is_somebody_elses(photos: Path, tmp_path: Path) -> None:
    """A photograph failed, and its place is taken by a picture of the same size before the next run."""
    (photos / "one.jpg").write_bytes(b"broken")
    out = tmp_path / "out"
    assert run(photos, out).painted == 4
    photo(photos / "one.jpg", size=(8, 9))
    photo(out / "one.jpg", 99, (8, 9))
    with pytest.raises(InputError, match=r"one\.jpg': agnlib did not write it"):
        run(photos, out)


def test_overwriting_that_was_killed_leaves_the_rest_unpainted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be overwritten but was not is not taken for a painting, though it has the right size."""
    out = tmp_path / "out"
    shutil.copytree(photos, out)
    monkeypatch.setattr(Manifest, "__exit__", lambda self, *_: self._close())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_after(4, OSError(errno.ENOSPC, "No space left on device")))
        report = run(photos, out, overwrite=True)
    replaced = [name for name in TREE if (out / name).read_bytes() != (photos / name).read_bytes()]
    assert report.painted < len(replaced) < 5  # the one that could not be made to last is there all the same
    assert report.stopped == "No space left on device"
    with pytest.raises(InputError, match="agnlib did not write it"):
        run(photos, out)
    again = run(photos, out, overwrite=True)
    assert (again.painted, again.kept) == (5 - len(replaced), len(replaced))
    for name in TREE:
        assert (out / name).read_bytes() != (photos / name).read_bytes()


# -- what is in the way ------------------------------------------------------------------------------------------------


def test_files_of_others_are_not_replaced(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    photo(out / "sea" / "three.png", 50)
    before = snapshot(out)
    with pytest.raises(InputError, match=r"1 file is in the way: .*three\.png': agnlib did not write it\. .*overwrite"):
        run(photos, out)
    assert snapshot(out) == before
    assert run(photos, out, overwrite=True).painted == 5
    assert snapshot(out)[str(out / "sea" / "three.png")] != before[str(out / "sea" / "three.png")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strength": 0.5}, "strength was 1.0, is 0.5"),
        ({"metadata": "all", "seed": 1}, "metadata was none, is all, seed was None, is 1"),
        ({"mask": np.ones((4, 4))}, "other masks"),
    ],
)
def test_other_settings_are_refused(photos: Path, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    out = tmp_path / "out"
    run(photos, out)
    before = snapshot(out)
    with pytest.raises(InputError, match=rf"5 files are in the way: .*other settings: {said}.*; and 2 more"):
        run(photos, out, **changed)
    assert snapshot(out) == before


def test_other_styles_and_weights_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    with pytest.raises(InputError, match="other style"):
        stylize_folder(STYLIZER, photos, out, StyleCode(-STYLE.vector, "drawn"))
    nearly = StyleCode(STYLE.vector + 1e-5, "on another processor")
    assert stylize_folder(STYLIZER, photos, out, nearly).kept == 5
    torch.manual_seed(1)
    other = Stylizer(Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1)), STYLIZER.extractor, device="cpu")
    with pytest.raises(InputError, match="other weights"):
        stylize_folder(other, photos, out, STYLE)
    assert stylize_folder(other, photos, out, STYLE, overwrite=True).painted == 5
    assert stylize_folder(other, photos, out, STYLE).kept == 5


def test_photographs_and_paintings_that_changed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    photo(photos / "two.png", 77)
    with pytest.raises(InputError, match=r"two\.png': its photograph has changed since"):
        run(photos, out)
    photo(out / "one.jpg", 78, (30, 30))  # retouched by hand
    with pytest.raises(InputError, match=r"one\.jpg': it was changed since"):
        run(photos, out)
    assert run(photos, out, overwrite=True).summary() == "2 painted, 3 kept"


@pytest.mark.parametrize(
    ("names", "suffix", "said"),
    [
        (("a.jpg", "a.png"), ".png", r"'a\.jpg' and 'a\.png' would both be written to 'a\.png'"),
        (("a.jpg", "A.JPG"), None, r"'A\.JPG' and 'a\.jpg' would both"),
        (("Sea/a.jpg", "sea/A.jpg"), None, r"would both"),
        (("e\u0301.jpg", "\u00e9.jpg"), None, r"would both"),
        (("a.jpg", "a.png/b.jpg"), ".png", r"'a\.jpg' would be written to 'a\.png', which must be a folder"),
    ],
)
def test_collisions_are_found_before_work(
    tmp_path: Path, names: tuple[str, ...], suffix: str | None, said: str
) -> None:
    for name in names:
        photo(tmp_path / "photos" / name)
    if len(list((tmp_path / "photos").rglob("*.*"))) < len(names):
        pytest.skip("needs a file system that tells such names apart")
    for shard in ((1, 1), (2, 2)):  # every shard finds them
        with pytest.raises(InputError, match=said):
            run(tmp_path / "photos", tmp_path / "out", suffix=suffix, shard=shard)
    assert not (tmp_path / "out").exists()


def test_folders_and_files_in_the_way(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder" / "one.jpg").mkdir(parents=True)
    with pytest.raises(InputError, match=r"one\.jpg' is a folder"):
        run(photos, tmp_path / "folder", overwrite=True)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "sea").touch()
    with pytest.raises(ImageError, match=r"sea' is a file, expected a folder"):
        run(photos, tmp_path / "file", overwrite=True)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("missing", "out", "'.*missing' does not exist"),
        ("photos/one.jpg", "out", "is not a folder"),
        ("photos/empty", "out", "no photographs in"),
        ("photos", "photos", "lie in the output folder"),
        ("photos", "photos/../photos/", "lie in the output folder"),
        ("photos", ".", "lie in the output folder"),
        ("photos", "photos/one.jpg", "is a file, expected a folder"),
        ("photos", "photos/one.jpg/b", "cannot be made, .*one.jpg' is not a folder"),
        ("photos", "out.PNG", "has the name of a file"),
        ("photos", "out.mov", "has the name of a file"),
    ],
)
def test_folders_that_cannot_be(photos: Path, source: str, target: str, said: str) -> None:
    before = snapshot(photos.parent)
    with pytest.raises(InputError, match=said):
        run(photos.parent / source, photos.parent / target)
    assert snapshot(photos.parent) == before


def test_an_empty_name_is_not_the_current_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    before = snapshot(photos.parent)
    for source, target in (("", str(photos.parent / "out")), (str(photos), "")):
        with pytest.raises(InputError, match=r"(name|photographs) is empty; give a folder"):
            run(source, target)  # type: ignore[arg-type]
    assert snapshot(photos.parent) == before


def test_a_folder_may_have_the_name_of_a_file_if_it_is_said_to_be_one(photos: Path) -> None:
    run(photos, f"{photos.parent}/out.png/")  # type: ignore[arg-type]
    assert list((photos.parent / "out.png").glob("*.jpg"))
    assert run(photos, photos.parent / "out.png").painted == 0  # goes on


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": 2}, "strength"),
        ({"size": 0}, "at least 1"),
        ({"seed": -1}, "seed"),
        ({"metadata": "some"}, "metadata"),
        ({"quality": 0}, "quality"),
        ({"suffix": ".gif"}, "suffix must be one of"),
        ({"mask": []}, "empty list"),
        ({"mask": [np.ones((4, 4))] * 3}, "3 masks for 1 styles"),
    ],
)
def test_bad_arguments_begin_nothing(photos: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_paintings_never_become_photographs(photos: Path) -> None:
    first, second = photos / "painted", photos / "sea" / "again"
    assert run(photos, first).painted == 5
    assert run(photos, first).kept == 5
    report = run(photos, second)
    assert report.painted == 5
    assert report.skipped == {"painted": "paintings by agnlib"}
    assert run(photos, first).skipped == {"painted": "paintings by agnlib", "sea/again": "paintings by agnlib"}
    assert run(first, photos.parent / "twice").painted == 5  # a folder that is asked for by name


# -- links -------------------------------------------------------------------------------------------------------------

links = pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")


@links
def test_links_do_not_lead_out_and_loops_end(photos: Path, tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere" / "secret.png")
    (photos / "inside.png").symlink_to(Path("sea") / "three.png")
    (photos / "outside.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (photos / "folder").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (photos / "sea" / "loop").symlink_to("..", target_is_directory=True)
    (photos / "self.png").symlink_to("self.png")
    (photos / "nothing.png").symlink_to("no-such.png")
    os.mkfifo(photos / "pipe.png")
    report = run(photos, tmp_path / "out")
    assert paintings(tmp_path / "out") == sorted((*TREE, "inside.png"))
    assert not (tmp_path / "out" / "inside.png").is_symlink()
    assert report.failed == {}
    assert report.skipped == {
        "outside.png": "a link out of the folder",
        "folder": "a link to a folder",
        "sea/loop": "a link to a folder",
        "self.png": "not a regular file",
        "nothing.png": "not a regular file",
        "pipe.png": "not a regular file",
    }


@links
def test_the_folders_themselves_may_be_links(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "in").symlink_to(photos)
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert run(tmp_path / "in", tmp_path / "out").painted == 5
    assert paintings(tmp_path / "real") == sorted(TREE)


@links
def test_nothing_is_written_through_links(photos: Path, tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    photo(elsewhere / "one.jpg", 60)
    before = snapshot(elsewhere)
    out.mkdir()
    (out / "sea").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InputError, match="leads out of the output folder"):
        run(photos, out, overwrite=True)
    (out / "sea").unlink()
    (out / "one.jpg").symlink_to(elsewhere / "one.jpg")
    (out / "two.png").symlink_to(elsewhere / "no-such.png")
    with pytest.raises(InputError, match="2 files are in the way"):
        run(photos, out)
    assert run(photos, out, overwrite=True).painted == 5
    assert not (out / "one.jpg").is_symlink()
    assert not (out / "two.png").is_symlink()
    assert snapshot(elsewhere) == before


@links
def test_notes_that_lead_elsewhere(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NOTES).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        run(photos, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


@links
def test_a_link_that_comes_in_the_way_meanwhile(photos: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def plant(name: str, _: str | None) -> None:
        if not os.path.lexists(out / "sea"):
            (out / "sea").symlink_to(elsewhere)
            photo(out / "two.png", 61)

    report = run(photos, out, on_file=plant)  # hills/five.tif comes first
    assert not list(elsewhere.iterdir())
    assert {"sea/three.png", "sea/deep/four.webp"} <= report.failed.keys()
    assert "leads out of the output folder" in report.failed["sea/three.png"]
    assert "written by somebody else" in report.failed["two.png"]


# -- disks -------------------------------------------------------------------------------------------------------------


def fail_after(calls: int, error: OSError) -> Callable[..., None]:
    """A stand-in for a system call that does nothing so many times and fails from then on."""
    left = iter(range(calls))

    def call(*_: object) -> None:
        if next(left, None) is None:
            raise error

    return call


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("calls", [0, 1, 2, 3, 6])
def test_a_full_disk_stops_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, code: int
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_after(calls, OSError(code, os.strerror(code))))
        if calls == 0:  # not even the notes can be written
            with pytest.raises(ImageError, match=os.strerror(code)):
                run(photos, out)
        else:
            report = run(photos, out)
            assert report.stopped == os.strerror(code)
            assert report.painted < 5
            assert report.painted + report.left + sum(name in TREE for name in report.failed) == 5
            assert any(os.strerror(code) in error for error in report.failed.values())
            assert str(out / "agnlib-report.json") in report.failed
    for name in paintings(out):
        Image.open(out / name).load()
    assert not list(out.rglob("*.tmp"))
    finished = run(photos, out)
    assert finished.painted + finished.kept == 5


def test_notes_that_cannot_be_completed(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes half a line and no more: the paintings are there, and the next run knows them."""
    out, inner = tmp_path / "out", os.write

    def write(descriptor: int, data: bytes) -> int:
        if b'"done"' in data and len(data) > 40:
            return inner(descriptor, data[:40])
        if b'"begun"' in data:
            return inner(descriptor, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        report = run(photos, out)
    assert report.stopped == "No space left on device"
    there = times(out)
    assert there
    again = run(photos, out)
    assert again.kept == len(there)
    assert {name: times(out)[name] for name in there} == there


def paint_as_nobody(photos: Path, out: Path, *, wholly: bool) -> int:
    if os.geteuid() == 0:  # whom no permission stops
        os.setegid(65534)
        (os.setuid if wholly else os.seteuid)(65534)
    try:
        run(photos, out)
    except ImageError as error:
        return 10 if "read-only" in str(error) or "Permission denied" in str(error) else 11
    return 12


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("wholly", [True, False])
def test_an_output_folder_that_may_only_be_read(photos: Path, tmp_path: Path, wholly: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o555)
    out.chmod(0o555)
    try:
        assert in_new_process(_as_nobody, photos, out, wholly) == 10
        assert in_new_process(_as_nobody, photos, out / "new", wholly) == 10
    finally:
        out.chmod(0o755)
    assert not list(out.iterdir())


def _as_nobody(photos: Path, out: Path, wholly: bool) -> int:
    return paint_as_nobody(photos, out, wholly=wholly)


def test_an_interruption_leaves_a_report_and_goes_on(photos: Path, tmp_path: Path) -> None:
    seen: Iterator[int] = iter(range(2))

    def interrupt(*_: object) -> None:
        if next(seen, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", on_file=interrupt)
    found = json.loads((tmp_path / "out" / "agnlib-report.json").read_bytes())
    assert found["stopped"] == "KeyboardInterrupt"
    assert found["painted"] == 3
    there = times(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert run(photos, tmp_path / "out").kept == len(there)
    assert {name: times(tmp_path / "out")[name] for name in there} == there
