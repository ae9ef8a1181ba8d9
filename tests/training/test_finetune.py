"""`agnlib finetune`: the pictures it takes, what it leaves, and its mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.models import pretrained

SHORT = ["--minutes", "0.01", "--size", "33", "--batch", "2", "--perceptual", "none"]


def finetune(folders: tuple[Path, Path], start: Path, *style: Path, more: Sequence[str] = ()) -> tuple[int, Path]:
    out = start.parent / "mine"
    named = ["--content", str(folders[0]), "--out", str(out), "--init", str(start)]
    return cli.main(["finetune", "--style", *map(str, style), *named, *SHORT, *more]), out


def test_two_pictures_become_weights_of_their_own(folders: tuple[Path, Path], start: Path) -> None:
    pictures = sorted((folders[1] / "oil").iterdir())[:2]
    code, out = finetune(folders, start, *pictures)
    assert code == 0
    facts = json.loads((out / "config.json").read_text())["info"]["training"]
    assert facts["steps"] > 0
    before, after = (pretrained.load(weights).generator.state_dict() for weights in (start, out))
    assert any(not np.allclose(before[key], after[key], atol=1e-3) for key in before if key in after)
    assert facts["style"] == ", ".join(path.name for path in pictures)
    assert facts["init"].startswith("start ")
    record = json.loads((out / "run.json").read_text())
    assert record["style"] == list(map(str, pictures))
    card = (out / "README.md").read_text()
    for line in (
        "learning rate | 0.0006",
        "augmentation | translation, cutout, flip",
        "ada | 0.6",
        "stroke scale | 1.75",
    ):
        assert f"| {line} |" in card
    stylizer = Stylizer.from_pretrained(out, device="cpu")
    assert stylizer(np.zeros((20, 30, 3), np.uint8), pictures[0]).shape == (20, 30, 3)
    assert stylizer(np.zeros((20, 30, 3), np.uint8), "random", seed=1).shape == (20, 30, 3)


def test_a_folder_keeps_its_classes(folders: tuple[Path, Path], start: Path) -> None:
    code, out = finetune(folders, start, folders[1])
    assert code == 0
    assert pretrained.load(out).class_names == ("ink", "oil")


def test_it_can_be_resumed(folders: tuple[Path, Path], start: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = next((folders[1] / "oil").iterdir())
    code, out = finetune(folders, start, picture)
    assert "\nstyle: 1 picture, 2 crops\n" in capsys.readouterr().out
    steps = json.loads((out / "config.json").read_text())["info"]["training"]["steps"]
    assert (code, finetune(folders, start, picture)[0]) == (0, 2)
    assert "go on with it by --resume auto" in capsys.readouterr().err
    code, out = finetune(folders, start, picture, more=["--resume", "auto"])
    assert code == 0
    assert f"resumed from {out / 'checkpoints'}" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["info"]["training"]["steps"] == steps


@pytest.mark.parametrize(("asked", "size", "batch"), [([], 208, 2), (["--size", "33", "--batch", "3"], 33, 3)])
def test_what_is_not_asked_for_is_what_suits_few_pictures(
    asked: list[str], size: int, batch: int, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr("agnlib.training.run.train.run_training", lambda options: given.append(vars(options)))
    named = ["--style", str(folders[1]), "--content", str(folders[0]), "--out", "mine"]
    assert cli.main(["finetune", *named, *asked]) == 0
    (options,) = given
    asked_for = [options[name] for name in ("size", "batch", "learning_rate", "ada")]
    assert asked_for == [size, batch, 6e-4, 0.6]


@pytest.mark.parametrize(
    ("style", "words"),
    [
        (["nowhere.png"], ["nowhere.png", "does not exist"]),
        (["oil/0.png", "oil"], ["'oil'", "is a folder among others"]),
        (["oil/0.png", "text.png"], ["text.png"]),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    folders: tuple[Path, Path],
    start: Path,
    style: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folders[1])
    Path("text.png").write_text("no picture")
    code, out = finetune(folders, start, *map(Path, style))
    assert code == 2
    assert not out.exists()
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    for word in words:
        assert word in said
