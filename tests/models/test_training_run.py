"""Checkpoints and folders of a training as weights: its averaged networks paint, or it is said why they cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy import make_folders, make_start, picture, trainer

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.errors import WeightsError
from agnlib.models import Discriminator, Generator, pretrained
from agnlib.training.run.train import TrainOptions, run_training
from agnlib.training.safety.checkpoint import checkpoints_in


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with two checkpoints, begun with small weights and grown."""
    place = tmp_path_factory.mktemp("run")
    more = {"steps": 4, "size": 16, "batch": 2, "perceptual": "none", "checkpoint_every": 2}
    init = str(make_start(place / "start"))
    return run_training(TrainOptions(*make_folders(place), place / "run", init=init, blocks=(1, 1, 2), **more))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that has no weights yet: of a killed process, or one that is still at work."""
    shutil.copytree(finished, tmp_path / "run")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    return tmp_path / "run"


def state(bundle: pretrained.Bundle) -> dict[str, torch.Tensor]:
    """The tensors that training changes; the mapping is fitted after it."""
    models = {"generator": bundle.generator, "extractor": bundle.extractor}
    found = {f"{role}.{key}": value for role, model in models.items() for key, value in model.state_dict().items()}
    return {key: value for key, value in found.items() if not key.startswith("generator.mapping.")}


@pytest.mark.parametrize("what", ["run", "checkpoints", "checkpoint"])
def test_a_run_without_weights_paints_by_its_newest_average(finished: Path, run: Path, what: str) -> None:
    place = {"run": run, "checkpoints": run / "checkpoints", "checkpoint": checkpoints_in(run / "checkpoints")[-1]}
    there, ended = pretrained.load(place[what]), pretrained.load(finished)
    assert there.generator.config == ended.generator.config
    assert there.extractor.config == ended.extractor.config
    for key, value in state(ended).items():
        assert torch.equal(state(there)[key].half().float(), value), key
    assert (there.name, there.version, there.class_names, there.discriminator) == ("run", "step 4", (), None)


def test_a_checkpoint_of_a_run_with_weights_is_that_step(finished: Path) -> None:
    early, late = (pretrained.load(path) for path in checkpoints_in(finished / "checkpoints"))
    assert (early.version, late.version) == ("step 2", "step 4")
    assert any(not torch.equal(value, state(late)[key]) for key, value in state(early).items())
    assert pretrained.load(finished).class_names == ("ink", "oil")


def test_the_command_line_takes_them(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "photo.png", (30, 20), 1)
    for number, place in enumerate((run, run / "checkpoints" / "step-00000002.safetensors")):
        given = ["photo.png", "--style", "photo.png", "--weights", str(place), "--device", "cpu", "-o", f"{number}.png"]
        assert cli.main(["stylize", *given]) == 0
        expected = Stylizer.from_pretrained(place, "cpu")("photo.png", "photo.png")
        assert Image.open(f"{number}.png").tobytes() == expected.tobytes()


def test_a_run_from_nothing_has_the_options_of_its_weights(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "dot.png", (8, 8), 0)
    picture(tmp_path / "art" / "one.png", (50, 40), 1)
    sizes = {"blocks": (0, 0, 1), "channels": (4, 4, 8)}
    more = {"steps": 1, "size": 16, "batch": 1, "perceptual": "none", **sizes}
    out = run_training(TrainOptions(tmp_path / "photos", tmp_path / "art", tmp_path / "run", **more))
    ended = pretrained.load(out)
    (out / "config.json").unlink()
    there = pretrained.load(out)
    assert there.generator.config == ended.generator.config
    assert there.extractor.config == ended.extractor.config


def test_a_damaged_checkpoint_is_passed_over(run: Path) -> None:
    newest = checkpoints_in(run / "checkpoints")[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    with pytest.raises(WeightsError, match=r"step-00000004.*SHA-256 differs"):
        pretrained.load(newest)
    with pytest.warns(UserWarning, match="passed over: .*step-00000004"):
        assert pretrained.load(run).version == "step 2"
    newest.write_bytes(data[:-100])
    with pytest.raises(WeightsError, match="not a whole checkpoint of agnlib train"):
        pretrained.load(newest)


def test_what_cannot_paint_is_said(run: Path, tmp_path: Path) -> None:
    record = run / "run.json"
    text = record.read_text()
    record.write_text(json.dumps(json.loads(text) | {"parts": {"generator": "mine.Painter"}}))
    with pytest.raises(WeightsError, match=r"a generator of its own, mine\.Painter.*Ctrl-C"):
        pretrained.load(run)
    record.write_text("{")
    with pytest.raises(WeightsError, match=r"run\.json cannot be read"):
        pretrained.load(run)
    record.write_text(json.dumps(json.loads(text) | {"init": str(tmp_path / "gone")}))
    with pytest.raises(WeightsError, match=r"unknown weights .*gone"):
        pretrained.load(run)
    record.write_text(json.dumps(json.loads(text) | {"blocks": [1, 1, 3]}))
    with pytest.raises(WeightsError, match=r"step-00000004\.safetensors does not fit the generator of its run"):
        pretrained.load(run / "checkpoints" / "step-00000004.safetensors")
    record.write_text(text)
    with pytest.raises(WeightsError, match="expected a discriminator"):
        Discriminator.from_pretrained(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(WeightsError, match=r"a run of agnlib train without weights yet.*first checkpoint"):
        pretrained.load(run)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1)).save_pretrained(tmp_path / "weights")
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(WeightsError, match=f"{name} is one of the files of weights; give their folder"):
            pretrained.load(tmp_path / "weights" / name)
    trainer().save_checkpoint(tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match=r"not known without the run\.json or config\.json of its run"):
        pretrained.load(tmp_path / "alone.safetensors")
    picture(tmp_path / "photo.png", (8, 8), 0)
    with pytest.raises(WeightsError, match=r"photo\.png is not a whole checkpoint"):
        pretrained.load(tmp_path / "photo.png")
