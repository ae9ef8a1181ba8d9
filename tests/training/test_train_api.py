"""`agnlib.training.train`: what Python can give to a training, the same as the command line does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import networks, train_arguments

from agnlib import Generator, Stylizer
from agnlib._train_options import TrainSettings
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.models import pretrained
from agnlib.training import AdversarialTrainer, Batch, TrainOptions, Weighted, finetune, train

SHORT: dict[str, Any] = {"steps": 2, "size": 24, "batch": 2, "perceptual": "none"}


def brightness(batch: Batch, fake: Tensor) -> Tensor:
    return fake.mean().square()


def tensors(folder: Path) -> dict[str, Tensor]:
    bundle = pretrained.load(folder)
    return {
        f"{role}.{k}": v for role in ("generator", "extractor") for k, v in getattr(bundle, role).state_dict().items()
    }


def test_it_is_the_command_line(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    arguments = train_arguments(folders, start, tmp_path / "by-command", "--steps", "2")
    assert cli.main(arguments) == 0
    record = json.loads((tmp_path / "by-command" / "run.json").read_text())
    given = {name: record[name] for name in ("size", "batch", "seed", "stroke_scale")} | {"perceptual": "none"}
    out = train(*folders, tmp_path / "by-python", init=str(start), steps=2, progress=False, **given)
    one, other = (tensors(folder) for folder in (tmp_path / "by-command", out))
    assert one.keys() == other.keys()
    assert all(map(torch.equal, one.values(), other.values()))
    facts = [json.loads((folder / "config.json").read_text())["info"] for folder in (tmp_path / "by-command", out)]
    for each in facts:
        del each["training"]["minutes"]
    assert facts[0] == facts[1]
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "by-command").iterdir()}


def test_the_keywords_are_the_options() -> None:
    keywords = get_type_hints(TrainSettings)
    options = {
        name: hint for name, hint in get_type_hints(TrainOptions).items() if name not in ("content", "style", "out")
    }
    assert keywords == options
    for name in options:
        assert f"\n        {name}: " in str(TrainOptions.__doc__)


def test_own_losses_trainer_callbacks_and_a_silent_run(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Doubled(AdversarialTrainer):
        def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
            return {name: 2 * value for name, value in super().generator_loss(batch, fake).items()}

    class Counting:
        def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
            assert isinstance(trainer, Doubled)
            logs["mine/count"] = 7.0

    given: dict[str, Any] = {**SHORT, "init": str(start), "callbacks": [Counting()], "trainer_class": Doubled}
    terms: Mapping[str, Any] = {"mine": brightness, "palette": Weighted(brightness, 3.0), "smoothness": None}
    out = train(*folders, tmp_path / "run", terms=terms, progress=False, **given)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    (line,) = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"generator/mine", "generator/palette", "mine/count"} <= line.keys()
    assert "generator/smoothness" not in line
    assert line["generator/palette"] == pytest.approx(3 * line["generator/mine"], abs=2e-5)
    assert Stylizer.from_pretrained(out).class_names == ("ink", "oil")
    with pytest.raises(InputError, match=r"^out .* holds an earlier run; go on with it by resume=\"auto\""):
        train(*folders, out, progress=False, **given)
    words = "Doubled, now it is trainer AdversarialTrainer; terms mine x 1, no smoothness, palette x 3"
    with pytest.raises(InputError, match=words):
        train(*folders, out, resume="auto", progress=False, **{**SHORT, "init": str(start)})
    with pytest.raises(InputError, match=r"palette x 3, now it is terms mine x 1, no smoothness, palette x 0\.5"):
        train(*folders, out, resume="auto", terms={**terms, "palette": Weighted(brightness, 0.5)}, **given)
    before = (out / "log.jsonl").read_text()
    assert train(*folders, out, resume="auto", terms=terms, progress=False, **given) == out
    assert (out / "log.jsonl").read_text() == before


def test_a_generator_of_ones_own_is_begun_with(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    own: Generator = networks(num_classes=2, seed=5)["generator"]
    before = own.state_dict()["enter.weight"].clone()
    given: dict[str, Any] = {**SHORT, "init": str(start), "learning_rate": 1e-9, "progress": False}
    out = train(*folders, tmp_path / "run", generator=own, **given)
    torch.testing.assert_close(
        pretrained.load(out).generator.state_dict()["enter.weight"], before, atol=1e-3, rtol=1e-2
    )
    with pytest.raises(InputError, match="num_classes"):
        train(*folders, tmp_path / "other", generator=networks(num_classes=5)["generator"], **given)
    fitting: Generator = networks(num_classes=2)["generator"]
    with pytest.raises(InputError, match="blocks"):
        train(*folders, tmp_path / "other", generator=fitting, blocks=(1, 1, 1), **given)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 3, "minutes": 1.0}, "expected one of the two"),
        ({"minutes": -1}, "minutes is -1"),
        ({"size": 2.5}, "size is 2.5"),
        ({"stroke_scale": 9}, "a scale from 1 to 8"),
        ({"perceptual": "vgg99"}, "vgg99"),
        ({"blocks": (1, 2)}, "blocks is"),
        ({"trainer_class": Generator}, "subclass of AdversarialTrainer"),
        ({"terms": [brightness]}, "terms"),
        ({"generator": "agn-small"}, "expected a Generator"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"stepz": 3}, "did you mean steps"),
        ({"lr": 3}, "lr is no option of a training; expected one of init, "),
        ({"callbacks": brightness}, "callbacks are a function; expected several"),
        (
            {"terms": {"pallete": None}, "perceptual": "none", "size": 24},
            "has no 'pallete' to take out; it has palette, ",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    folders: tuple[Path, Path], tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        train(*folders, tmp_path / "run", progress=False, **wrong)
    assert not (tmp_path / "run").exists()


def test_fine_tuning_takes_one_picture_and_says_it(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    picture = next((folders[1] / "oil").iterdir())
    out = finetune(
        folders[0],
        picture,
        tmp_path / "mine",
        init=str(start),
        minutes=0.01,
        size=24,
        perceptual="none",
        progress=False,
    )
    again = finetune(folders[0], [picture], tmp_path / "again", init=str(out), minutes=0.01, size=24, perceptual="none")
    facts = json.loads((again / "config.json").read_text())["info"]["training"]
    assert facts["style"] == picture.name
    assert facts["init"].startswith("mine ")
    assert [stage["crop"] for stage in facts["before"]] == [24]
    assert Stylizer.from_pretrained(again)(np.zeros((20, 30, 3), np.uint8), picture).shape == (20, 30, 3)


def test_naming_has_its_share_of_the_minutes(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, float]] = []

    class Noting(AdversarialTrainer):
        def on_step_end(self, logs: Mapping[str, float]) -> None:
            self.stop("noted")

    def limited(*_: object, minutes: float | None, **__: object) -> tuple[bool, float]:
        assert minutes is not None
        given.append(("training", minutes))
        return False, 0.0

    def noted(*_: object, seconds: float, **__: object) -> bool:
        given.append(("naming", seconds))
        return True

    monkeypatch.setattr("agnlib.training.run.naming.fit_class_styles", noted)
    monkeypatch.setattr("agnlib.training.trainer.reached", lambda step, steps, gone, minutes: limited(minutes=minutes))
    options: dict[str, Any] = {**SHORT, "init": str(start), "trainer_class": Noting, "progress": False}
    del options["steps"]
    train(*folders, tmp_path / "run", minutes=10, **options)
    assert (given[0], given[-1]) == (("training", 8.5), ("naming", pytest.approx(90)))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["minutes"] == 10
    train(*folders, tmp_path / "long", minutes=600, **options)
    assert given[-1] == ("naming", pytest.approx(240))


@pytest.mark.parametrize("classes", [True, False])
def test_a_finished_run_is_not_named_again(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: bool
) -> None:
    options: dict[str, Any] = {**SHORT, "init": str(start), "progress": False}
    folders = folders if classes else (folders[0], folders[1] / "oil")
    out = train(*folders, tmp_path / "run", **options)
    assert not (out / "checkpoints" / "styles.safetensors").exists()
    before = (out / "model.safetensors").read_bytes()
    monkeypatch.setattr("agnlib.training.run.naming.fit_class_styles", lambda *_, **__: pytest.fail("named again"))
    train(*folders, out, resume="auto", **options)
    assert (out / "model.safetensors").read_bytes() == before


class Own(Generator):
    """A generator of somebody else's."""


def test_weights_of_ones_own_class_are_gone_on_with(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain: Generator = networks(num_classes=2)["generator"]
    own = Own(**asdict(plain.config))
    first = train(*folders, tmp_path / "first", generator=own, init=str(start), **SHORT)
    assert "Stylizer.from_pretrained(" in capsys.readouterr().out
    again = pretrained.load(first, generator_class=Own).generator
    second = train(*folders, tmp_path / "second", generator=again, init=str(first), progress=False, **SHORT)
    assert type(pretrained.load(second, generator_class=Own).generator) is Own


def test_fine_tuning_by_steps_and_resumed_where_nothing_is_yet(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[TrainOptions] = []
    monkeypatch.setattr("agnlib.training.run.finetune.run_in_python", lambda options, parts: given.append(options))
    (tmp_path / "run").mkdir()
    for options in ({"steps": 3}, {"resume": "auto"}, {}):
        finetune(*folders, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert [(options.steps, options.minutes) for options in given] == [(3, None), (None, 5.0), (None, 5.0)]
    (tmp_path / "run" / "run.json").write_text('{"minutes": 7}')
    finetune(*folders, tmp_path / "run", resume="auto")
    assert given[-1].minutes is None


def test_weights_that_are_gone_when_it_ends_are_not_missed(
    folders: tuple[Path, Path], start: Path, tmp_path: Path
) -> None:
    class Removing:
        def on_fit_end(self, trainer: AdversarialTrainer) -> None:
            shutil.rmtree(start)

    out = train(*folders, tmp_path / "run", init=str(start), callbacks=[Removing()], progress=False, **SHORT)
    assert pretrained.load(out).info["training"]["init"].startswith("start ")


@pytest.mark.parametrize("given", [("", "b", "c"), ("a", "", "c"), ("a", "b", ""), ("a", None, "c"), ("a", 3, "c")])
@pytest.mark.parametrize("function", [train, finetune])
def test_no_path_is_not_the_current_folder(given: tuple[Any, ...], function: Any) -> None:
    with pytest.raises(InputError):
        function(*given)
