"""The parts of benchmarks/robustness.py that decide what its numbers mean."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from agnlib.transforms import RandomStyleBatch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import robustness
finally:
    sys.path.remove(str(BENCHMARKS))

COUNTS = {"dark": 9, "light": 12}


@pytest.fixture
def plan(tmp_path: Path, start: Path) -> Any:
    """Two classes that brightness tells apart, and small untrained weights."""
    dice = np.random.default_rng(0)
    for domain in ("photo", "art_painting"):
        for place, (name, count) in enumerate(COUNTS.items()):
            folder = tmp_path / domain / name
            folder.mkdir(parents=True)
            for index in range(count):
                noise = dice.integers(0, 100, (32, 32, 3)) + 150 * place
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{index:02}.png")
    paintings = tmp_path / "art_painting" / "light"
    return robustness.Plan(tmp_path, str(start), paintings, tmp_path / "cache", epochs=1, copies=2, batch=4)


def photos(plan: Any) -> Any:
    return robustness.split(robustness.read(plan.data / "photo"))[0]


def batches(plan: Any, copies: Any, policy: Any, seed: int = 0) -> list[Tensor]:
    samples = robustness.Samples(photos(plan), copies, policy, seed)
    return [images for _ in range(2) for images, _ in samples.epoch(plan.batch)]


def test_every_fifth_picture_of_a_class_is_held_out(plan: Any) -> None:
    whole = robustness.read(plan.data / "photo")
    kept, held_out = robustness.split(whole)
    assert whole.labels.bincount().tolist() == list(COUNTS.values())
    assert held_out.labels.bincount().tolist() == [1, 2]
    assert torch.equal(held_out.images, whole.images[[4, 9 + 4, 9 + 9]])
    assert len(kept.labels) + len(held_out.labels) == sum(COUNTS.values())


def test_rows_of_a_seed_share_order_crops_and_flips(plan: Any) -> None:
    plain = batches(plan, None, robustness.Policy())
    unpainted = photos(plan).images.expand(3, -1, -1, -1, -1).numpy()
    for ours, same in zip(plain, batches(plan, unpainted, robustness.Policy("random")), strict=True):
        assert torch.equal(ours, same)
    assert not torch.equal(plain[0], batches(plan, None, robustness.Policy(jitter=True))[0])
    assert not torch.equal(plain[0], batches(plan, None, robustness.Policy(), seed=1)[0])


def test_samples_are_painted_as_often_as_asked(plan: Any) -> None:
    originals = photos(plan)
    marks = [torch.full_like(originals.images, value) for value in (11, 22)]
    samples = robustness.Samples(originals, torch.stack(marks).numpy(), robustness.Policy("random", p=0.6), 0)
    drawn = [samples._picture(0) for _ in range(400)]
    shares = [sum(torch.equal(each, wanted[0]) for each in drawn) / 400 for wanted in (originals.images, *marks)]
    assert sum(shares) == 1
    assert shares == pytest.approx([0.4, 0.3, 0.3], abs=0.08)


def test_copies_are_random_style_s_own_and_kept(plan: Any) -> None:
    copies = robustness.painted(plan, "random", None, 3)
    torch.manual_seed(3)
    paint = RandomStyleBatch(p=1, weights=plan.weights)
    parts = photos(plan).images.split(robustness.PAINTED_AT_ONCE)
    assert np.array_equal(copies[0], torch.cat([paint(part) for part in parts]).numpy())
    assert not np.array_equal(copies[0], copies[1])
    (file,) = plan.cache.iterdir()
    written = file.stat().st_mtime_ns
    assert np.array_equal(robustness.painted(plan, "random", None, 3), copies)
    assert file.stat().st_mtime_ns == written
    assert not np.array_equal(robustness.painted(plan, "random", None, 4), copies)
    assert not np.array_equal(robustness.painted(plan, "random", 48, 3), copies)
    assert len(robustness.painted(replace(plan, copies=1), "paintings", None, 3)) == 1


def test_a_training_learns_and_repeats_itself(plan: Any) -> None:
    longer = replace(plan, epochs=4)
    first, again = (robustness.run(longer, robustness.Policy(), 0) for _ in range(2))
    assert first["photo"] == first["art"] == 1.0
    assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_difference_is_seed_by_seed() -> None:
    plain = [{"photo": 0.8, "art": art} for art in (0.30, 0.35)]
    better = [{"photo": 0.7, "art": art} for art in (0.34, 0.41)]
    worse = [{"photo": 0.7, "art": art} for art in (0.35, 0.33)]
    plain_name, jitter = robustness.RIVALS
    table = robustness.table({plain_name: plain, jitter: worse, "better": better})
    head, _, first, _, last = ([cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines())
    assert head[3:] == [f"beyond {plain_name}", f"beyond {jitter}"]
    assert first == ["80.0", "32.5", "30.0, 35.0", "", "-1.5 ± 4.9, in 1 of 2"]
    assert last == ["70.0", "37.5", "34.0, 41.0", "+5.0 ± 1.4, in 2 of 2", "+3.5 ± 6.4, in 1 of 2"]


def test_no_row_uses_a_seed_that_something_was_chosen_with() -> None:
    assert robustness.fresh_seeds(5) == [0, 1, 2, 5, 6]


def command(monkeypatch: pytest.MonkeyPatch, *given: object) -> None:
    monkeypatch.setattr(sys, "argv", ["robustness.py", *map(str, given)])
    robustness.main()


def test_command_prints_a_row_for_each_policy(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = ["--data", plan.data, "--paintings", plan.paintings, "--cache", plan.cache, "--weights", plan.weights]
    sizes = ["--epochs", 1, "--batch", 4, "--copies", 1, "--seeds", 2, "--workers", 1]
    command(monkeypatch, *folders, *sizes, "--out", tmp_path / "out.json")
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert list(written["rows"]) == list(robustness.POLICIES)
    assert all(len(runs) == 2 and 0 <= runs[0]["art"] <= 1 for runs in written["rows"].values())
    assert all(f"| {name} " in printed for name in robustness.POLICIES)
    assert str(tmp_path) not in printed + json.dumps(written)


def test_command_says_which_folder_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(monkeypatch, "--data", tmp_path)
    assert "photo" in capsys.readouterr().err
