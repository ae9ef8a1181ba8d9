"""The program: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import agnlib
from agnlib.cli import main as cli
from agnlib.cli._style_argument import parse_style
from agnlib.errors import InputError, TrainingDivergedError
from agnlib.models import GeneratorConfig, pretrained
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer
from agnlib.training import TrainerConfig
from agnlib.training.run import assembly, finetune, train
from agnlib.training.run.train import TrainOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two photos, two styles and a broken photo."""
    for seed, name in enumerate(("one.jpg", "two.png", "style.png", "warm.png", "with:0.5")):
        pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, format="PNG" if name != "one.jpg" else "JPEG")
    whole = (tmp_path / "one.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) - 200])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def stylize(*arguments: object, weights: Path) -> int:
    return cli.main(["stylize", *map(str, arguments), "--weights", str(weights), "--device", "cpu"])


def test_one_photo_to_a_file(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stylize("one.jpg", "--style", "style.png", "-o", "out.png", weights=weights) == 0
    expected = Stylizer.from_pretrained(weights, device="cpu")("one.jpg", "style.png")
    np.testing.assert_array_equal(pixels(folder / "out.png"), np.asarray(expected))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"agnlib: out\.png: 30 x 20 pixels, \d+\.\d s\n", err)  # no progress bar for one


def test_quiet_says_nothing(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stylize("one.jpg", "--style", "style.png", "-o", "out.png", "--quiet", weights=weights) == 0
    assert stylize("one.jpg", "two.png", "--style", "style.png", "-o", "out/", "--quiet", weights=weights) == 0
    assert capsys.readouterr() == ("", "")


def test_every_option_arrives(folder: Path, weights: Path) -> None:
    options = ("--style", "style.png:1", "--style", "warm.png:3", "--strength", 0.5, "--size", 16, "--seed", 4)
    assert stylize("two.png", *options, "--threads", torch.get_num_threads(), "-o", "out.png", weights=weights) == 0
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    expected = stylizer("two.png", [("style.png", 1), ("warm.png", 3)], strength=0.5, size=16, seed=4)
    np.testing.assert_array_equal(pixels(folder / "out.png"), np.asarray(expected))


@pytest.mark.parametrize("output", ["made/", "made", "there"])
def test_several_photos_to_a_folder(
    folder: Path, weights: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "there").mkdir()
    (folder / "three.jfif").write_bytes((folder / "one.jpg").read_bytes())
    assert stylize("one.jpg", "two.png", "three.jfif", "--style", "style.png", "-o", output, weights=weights) == 0
    assert names(folder / output) == ["one.jpg", "three.png", "two.png"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err
    assert pixels(folder / output / "two.png").shape == (21, 30, 3)


def test_one_photo_to_a_folder(folder: Path, weights: Path) -> None:
    assert stylize("one.jpg", "--style", "style.png", "-o", "made/", weights=weights) == 0
    assert names(folder / "made") == ["one.jpg"]


def test_a_pattern_that_no_shell_expanded(folder: Path, weights: Path) -> None:
    (folder / "odd[1].png").write_bytes((folder / "two.png").read_bytes())
    assert stylize("t*.png", "odd[1].png", "--style", "style.png", "-o", "made/", weights=weights) == 0
    assert names(folder / "made") == ["odd[1].png", "two.png"]
    assert stylize(folder / "o*.jpg", "--style", "style.png", "-o", "made/", weights=weights) == 0
    assert names(folder / "made") == ["odd[1].png", "one.jpg", "two.png"]


@pytest.mark.parametrize("output", ["out.png", "made/"])
def test_a_random_style_can_be_had_again(
    folder: Path, weights: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("two.png", "--style", "random:2", "-o", "first.png", weights=weights) == 0
    found = re.search(r"a random style: --seed (\d+) gives it again", capsys.readouterr().err)
    assert found is not None
    assert stylize("two.png", "--style", "random", "--seed", found[1], "-o", output, weights=weights) == 0
    assert "random" not in capsys.readouterr().err
    again = folder / (output if output == "out.png" else "made/two.png")
    np.testing.assert_array_equal(pixels(again), pixels(folder / "first.png"))
    assert stylize("two.png", "--style", "random", "-o", "third.png", "--quiet", weights=weights) == 0
    assert capsys.readouterr().err == ""
    assert (pixels(folder / "third.png") != pixels(again)).any()


def test_one_broken_photo_does_not_stop_the_rest(
    folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("one.jpg", "cut.jpg", "two.png", "--style", "style.png", "-o", "out", weights=weights) == 1
    assert names(folder / "out") == ["one.jpg", "two.png"]
    errors = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if "error:" in line]
    assert "'cut.jpg' cannot be decoded" in errors[0]
    assert errors[-1] == "agnlib: error: 1 of 3 photos failed: 'cut.jpg'"


def test_a_photo_keeps_its_transparency(folder: Path, weights: Path) -> None:
    Image.new("RGBA", (9, 7), (200, 10, 10, 99)).save(folder / "clear.webp", lossless=True)
    assert stylize("clear.webp", "--style", "style.png", "-o", "out.png", weights=weights) == 0
    assert (pixels(folder / "out.png")[..., 3] == 99).all()


# PICTURE:WEIGHT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("style.png", ("style.png", 1.0)),
        ("style.png:2", ("style.png", 2.0)),
        ("style.png:.25", ("style.png", 0.25)),
        ("style.png:1e-3", ("style.png", 0.001)),
        ("with:0.5", ("with:0.5", 1.0)),
        ("with:0.5:2", ("with:0.5", 2.0)),
        ("C:\\pictures\\a.png", ("C:\\pictures\\a.png", 1.0)),
        ("a:b.png", ("a:b.png", 1.0)),
        ("style.png:", ("style.png:", 1.0)),
        (":3", (":3", 1.0)),
    ],
)
def test_weights_of_styles(folder: Path, text: str, expected: tuple[str, float]) -> None:
    assert parse_style(text) == expected


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1).filter(lambda name: "\0" not in name), st.floats(1e-6, 1e6))
def test_any_name_may_carry_a_weight(name: str, weight: float) -> None:
    assert parse_style(f"{name}:{weight!r}") == (name, weight)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_weights_that_make_no_sense(weight: str) -> None:
    with pytest.raises(InputError, match=r"weight of 'style\.png'.*above 0"):
        parse_style(f"style.png:{weight}")


# Mistakes: one line, exit code 2, nothing written

NO_NET = ("--perceptual", "none")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["paint"], ["paint", "stylize", "train", "doctor"]),
        (["stylize"], ["PHOTO", "--style", "agnlib stylize --help"]),
        (["stylize", "one.jpg", "-o", "out.png"], ["--style"]),
        (["stylize", "one.jpg", "--style", "style.png"], ["-o"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--strength", "2"], ["--strength", "'2'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--strength", "x"], ["--strength", "'x'"]),
        (["stylize", "one.jpg", "--stlye", "style.png", "-o", "out.png"], ["--stlye", "--style", "stylize --help"]),
        (
            ["stylize", "one.jpg", "--mask", "two.png", "--style", "style.png", "-o", "out.png"],
            ["--mask", "no --style"],
        ),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--tile", "0"], ["--tile", "whole", "'0'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--scale", "11"], ["--scale", "'11'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--color", "2"], ["--color", "'2'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--size", "0"], ["--size", "'0'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--size", "big"], ["--size", "'big'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--seed", "-1"], ["--seed", "'-1'"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--threads", "0"], ["--threads"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--device", "tpu"], ["tpu", "cuda:N"]),
        (["stylize", "one.jpg", "--style", "style.png:0", "-o", "out.png"], ["style.png", "above 0"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out.gif"], ["out.gif", ".png"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "out"], ["'out'", "suffix", "'out.jpg'", "'out/'"]),
        (["stylize", "*.heic", "--style", "style.png", "-o", "out/"], ["PHOTO|DIR", "'*.heic'", "no file matches"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", ""], ["-o", "empty"]),
        (["stylize", "", "--style", "style.png", "-o", "out"], ["PHOTO|DIR", "empty", "unset"]),
        (["stylize", "one.jpg", "", "--style", "style.png", "-o", "out/"], ["PHOTO|DIR", "empty"]),
        (["stylize", "--style", "style.png", "-o", "out", "--", ""], ["PHOTO|DIR", "empty"]),
        (["stylize", "one.jpg", "--style", "", "-o", "out.png"], ["--style", "empty"]),
        (["stylize", "one.jpg", "--style=", "-o", "out.png"], ["--style", "empty"]),
        (["stylize", "sub", "--style", "style.png", "-o", "out", "--report", ""], ["--report", "empty"]),
        (["stylize", "sub", "--style", "style.png", "-o", "out.png"], ["'out.png'", "name of a file", "'out.png/'"]),
        (["stylize", "sub", "--style", "style.png", "-o", "out.mp4"], ["'out.mp4'", "name of a file"]),
        (["train", "--content", "", "--style", "sub", "--out", "out"], ["--content", "empty"]),
        (["train", "--content", "sub", "--style", "sub", "--out", ""], ["--out", "empty"]),
        (["evaluate", "--content", "", "--style", "sub"], ["--content", "empty"]),
        (["stylize", "one.jpg", "two.png", "--style", "style.png", "-o", "out.png"], ["2 photos", "folder", "out.png"]),
        (["stylize", "one.jpg", "two.png", "--style", "style.png", "-o", "with:0.5"], ["with:0.5", "is a file"]),
        (["stylize", "one.jpg", "one.jpg", "--style", "style.png", "-o", "out/"], ["one.jpg", "both"]),
        (["stylize", "one.jpg", "sub/one.jpg", "--style", "style.png", "-o", "out/"], ["sub/one.jpg", "both"]),
        (["stylize", "one.jpg", "two.png", "--style", "style.png", "-o", "one.jpg/b"], ["'one.jpg/b'", "not a folder"]),
        (
            ["stylize", "one.jpg", "--style", "random", "--refine", "-o", "out.png"],
            ["--refine", "'random' is no picture"],
        ),
        (["stylize", "sub", "--style", "style.png", "--refine", "-o", "out"], ["--refine", "is a folder"]),
        (
            ["stylize", "one.jpg", "--style", "style.png", "--refine", "--method", "neighbors", "-o", "out.png"],
            ["--refine", "--method neighbors"],
        ),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "one.jpg"], ["one.jpg", "itself"]),
        (["stylize", "one.jpg", "--style", "style.png", "-o", "./style.png"], ["style.png", "itself"]),
        (["stylize", "one.jpg", "two.png", "--style", "style.png", "-o", "."], ["one.jpg", "itself"]),
        (["stylize", "one.jpg", "missing.jpg", "--style", "style.png", "-o", "out/"], ["missing.jpg", "not exist"]),
        (["train", "--content", "missing", "--style", ".", "--out", "out"], ["--content", "missing"]),
        (["train", "--content", ".", "--style", "one.jpg", "--out", "out"], ["--style", "one.jpg", "folder"]),
        (["train", "--content", ".", "--style", ".", "--out", "out", "--steps", "3", "--minutes", "1"], ["--minutes"]),
        (["train", "--content", ".", "--style", ".", "--out", "out", "--minutes", "0"], ["--minutes", "'0'"]),
        (["train", "--content", ".", "--style", ".", "--out", "out", "--workers", "-1"], ["--workers", "'-1'"]),
        (["train", "--content", ".", "--style", ".", "--out", "out", "--perceptual", "x"], ["vgg16", "'x'"]),
        (
            ["train", "--content", ".", "--style", ".", "--out", "out", "--perceptual", "vgg16+x"],
            ["'x'", "joined by +"],
        ),
        (["train", "--content", ".", "--style", ".", "--out", "out", "--perceptual", "none+vgg16"], ["'none'"]),
        (["train", "--content", "empty", "--style", "sub", "--out", "out", *NO_NET], ["empty", "no readable pictures"]),
        (["train", "--content", "sub", "--style", "empty", "--out", "out", *NO_NET], ["empty", "no readable pictures"]),
        (["train", "--content", "cut", "--style", "sub", "--out", "out", *NO_NET], ["cut", "can be decoded"]),
        (["train", "--content", "sub", "--style", "cut", "--out", "out", *NO_NET], ["cut", "can be decoded"]),
        (["train", "--content", "sub", "--style", "sub", "--out", "used"], ["--out used", "earlier run", "new folder"]),
        (["train", "--content", "sub", "--style", "sub", "--out", "one.jpg"], ["--out one.jpg", "is a file"]),
        (
            ["train", "--content", "sub", "--style", "sub", "--out", "one.jpg/out"],
            ["--out one.jpg/out", "another folder"],
        ),
        (["train", "--content", "sub", "--style", "sub", "--out", "out", "--init", "agn-tiny"], ["'agn-tiny'"]),
        (["train", "--content", "sub", "--style", "sub", "--out", "out", "--init", "sub"], ["sub has no config.json"]),
        (
            ["train", "--content", "sub", "--style", "sub", "--out", "out", "--size", "7", *NO_NET],
            ["--size 7", "8 pixels"],
        ),
        (["train", "--content", "sub", "--style", "sub", "--out", "out", "--device", "tpu"], ["tpu", "cuda:N"]),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    folder: Path, arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "one.jpg").write_bytes((folder / "one.jpg").read_bytes())
    (folder / "empty").mkdir()
    (folder / "cut").mkdir()
    (folder / "cut" / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes())
    (folder / "used").mkdir()
    (folder / "used" / "run.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("agnlib: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["stylize", "one.jpg", "--style", "style.png", "-o", "out.png", "--weights", str(weights)]
    assert cli.main([*arguments, "--device", "cuda"]) == 2
    assert "0 CUDA devices" in capsys.readouterr().err


def test_an_interruption_is_130(
    folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stylizer, "stylize_file", interrupt)
    assert stylize("one.jpg", "--style", "style.png", "-o", "out.png", weights=weights) == 130
    assert capsys.readouterr().err == "agnlib: interrupted\n"


# train and doctor


def test_train_hands_its_options_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    seen: list[object] = []
    monkeypatch.setattr(train, "run_training", seen.append)
    assert cli.main(["train", "--content", "sub", "--style", "sub", "--out", "out"]) == 0
    given_ = [
        "--init",
        "agn-small",
        "--minutes",
        "1.5",
        "--size",
        "96",
        "--batch",
        "2",
        "--seed",
        "7",
        "--device",
        "cpu",
    ]
    more = ["--perceptual", "none", "--threads", "2", "--workers", "1", "--resume", "auto", "--dry-run"]
    more += [
        "--adversarial",
        "0.25",
        "--accumulate",
        "3",
        "--checkpoint-every",
        "5",
        "--sample-every",
        "6",
        "--keep",
        "4",
    ]
    more += [
        "--keep-best",
        "generator/palette",
        "--stroke-scale",
        "2",
        "--style-weight",
        "3",
        "--learning-rate",
        "6e-4",
        *("--blocks", "0", "1", "3", "--channels", "4", "5", "6"),
    ]
    assert cli.main(["train", "--content", "sub", "--style", "sub", "--out", "out", *given_, *more]) == 0
    default, full = (vars(options) for options in seen)
    assert (default["content"], default["out"], default["init"]) == (Path("sub"), Path("out"), None)
    assert (default["stroke_scale"], default["style_weight"], default["learning_rate"]) == (1.75, None, None)
    assert (default["blocks"], default["channels"]) == (None, None)
    assert (default["steps"], default["minutes"], default["seed"], default["perceptual"]) == (None, None, 0, "vgg16")
    expected = {
        **{"content": Path("sub"), "style": Path("sub"), "out": Path("out"), "init": "agn-small", "steps": None},
        **{"minutes": 1.5, "size": 96, "batch": 2, "seed": 7, "perceptual": "none", "device": "cpu"},
        **{
            "threads": 2,
            "workers": 1,
            "resume": "auto",
            "dry_run": True,
            "adversarial": 0.25,
            "accumulate": 3,
            "checkpoint_every": 5,
        },
        **{"sample_every": 6, "keep": 4, "keep_best": "generator/palette", "augment": None, "ada": None},
        **{"stroke_scale": 2.0, "style_weight": 3.0, "learning_rate": 6e-4, "blocks": [0, 1, 3], "channels": [4, 5, 6]},
    }
    assert full == expected


@pytest.mark.parametrize("text", ["none", "vgg16", "efficientnet-lite0", "vgg16+efficientnet-lite0"])
def test_perceptual_networks_by_name(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainOptions] = []
    monkeypatch.setattr(train, "run_training", seen.append)
    assert cli.main(["train", "--content", ".", "--style", ".", "--out", "out", "--perceptual", text]) == 0
    assert [options.perceptual for options in seen] == [text]


def test_a_training_that_breaks_off_is_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def diverge(_: object) -> None:
        raise TrainingDivergedError("the generator's loss is NaN at step 3")

    monkeypatch.setattr(train, "run_training", diverge)
    assert cli.main(["train", "--content", ".", "--style", ".", "--out", "out"]) == 1


def test_doctor_names_what_matters(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "available", lambda: ["no-such-weights"])
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    for part in (agnlib.__version__, torch.__version__, "numpy", "pillow", "torchvision", "device", "threads"):
        assert part in out
    assert "weights no-such-weights" in out
    assert "cannot be loaded" in out


def test_doctor_is_content_with_good_weights(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "available", lambda: [str(weights)])
    assert cli.main(["doctor"]) == 0
    assert "license unknown" in capsys.readouterr().out


# Regions, control, and what the program says


def test_regions_by_masks_in_order(folder: Path, weights: Path) -> None:
    mask = np.tile(np.arange(30) < 15, (21, 1))
    Image.fromarray(mask).save(folder / "mask.png")
    given_ = ("--style", "style.png", "--mask", "mask.png", "--style", "warm.png:2", "--style", "one.jpg:1")
    assert stylize("two.png", *given_, "--tile", 16, "-o", "out.png", weights=weights) == 0
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    mixed = stylizer.encode_style([("warm.png", 2), ("one.jpg", 1)])
    expected = stylizer("two.png", [stylizer.encode_style("style.png"), mixed], mask=[mask], tile=16)
    np.testing.assert_array_equal(pixels(folder / "out.png"), np.asarray(expected))


def test_control_arrives(folder: Path, weights: Path) -> None:
    given_ = ("--color", 0.5, "--color-only", "--scale", 2, "--tile", "whole", "--metadata", "all")
    assert stylize("two.png", "--style", "style.png", *given_, "-o", "out.png", weights=weights) == 0
    expected = Stylizer.from_pretrained(weights, device="cpu")(
        "two.png", "style.png", color=0.5, color_only=True, scale=2, tile=None
    )
    np.testing.assert_array_equal(pixels(folder / "out.png"), np.asarray(expected))


def test_a_saved_style_is_used_again(folder: Path, weights: Path) -> None:
    first = ("--style", "style.png", "--style", "warm.png:3", "--save-style", "mix.safetensors")
    assert stylize("two.png", *first, "-o", "a.png", weights=weights) == 0
    assert stylize("two.png", "--style", "mix.safetensors", "-o", "b.png", weights=weights) == 0
    np.testing.assert_array_equal(pixels(folder / "a.png"), pixels(folder / "b.png"))


def test_a_refined_style_is_that_of_the_library(folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Stylizer.refine_style,
        "__kwdefaults__",
        {**(Stylizer.refine_style.__kwdefaults__ or {}), "steps": 2, "size": 16},
    )
    more = ("--refine", "--save-style", "refined.safetensors", "--no-recipe")
    assert stylize("one.jpg", "--style", "style.png", "-o", "refined.png", *more, weights=weights) == 0
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    code = stylizer.refine_style("style.png", content="one.jpg")
    assert torch.equal(StyleCode.load("refined.safetensors").vector, code.vector)
    stylizer.stylize_file("one.jpg", "library.png", code, recipe=False)
    assert (folder / "refined.png").read_bytes() == (folder / "library.png").read_bytes()
    assert stylize("cut.jpg", "one.jpg", "--style", "style.png", "-o", "out", *more, weights=weights) == 1
    assert torch.equal(StyleCode.load("refined.safetensors").vector, code.vector)  # by those that can be read


def test_a_mask_of_another_size_is_said_once(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (7, 5), 255).save(folder / "mask.png")
    given_ = ("--style", "style.png", "--mask", "mask.png", "--quiet", "-o", "out.png")
    assert stylize("two.png", *given_, weights=weights) == 0
    assert capsys.readouterr().err == (
        "agnlib: warning: mask 1 has 7 x 5 pixels, the picture 30 x 21; the mask is resized\n"
    )


def test_photos_that_all_fail_write_nothing(folder: Path, weights: Path) -> None:
    (folder / "text.jpg").write_text("a letter")
    assert stylize("cut.jpg", "text.jpg", "--style", "style.png", "-o", "out", weights=weights) == 2
    assert not (folder / "out").exists()
    assert stylize("text.jpg", "one.jpg", "--style", "style.png", "-o", "out", weights=weights) == 1
    assert names(folder / "out") == ["one.jpg"]


def test_folders_of_the_output_are_made_and_taken_back(folder: Path, weights: Path) -> None:
    (folder / "text.jpg").write_text("a letter")
    assert stylize("one.jpg", "--style", "style.png", "-o", "a/b/c.png", weights=weights) == 0
    assert stylize("one.jpg", "two.png", "--style", "style.png", "-o", "a/d/e", weights=weights) == 0
    assert stylize("one.jpg", "--style", "style.png", "-o", "f/g/", weights=weights) == 0
    assert stylize("text.jpg", "cut.jpg", "--style", "style.png", "-o", "h/i/", weights=weights) == 2
    assert (names(folder / "a" / "b"), names(folder / "f" / "g")) == (["c.png"], ["one.jpg"])
    assert names(folder / "a" / "d" / "e") == ["one.jpg", "two.png"]
    assert not (folder / "h").exists()


@pytest.mark.parametrize("command", ["stylize", "train", "finetune", "evaluate", "styles", "export", "demo", "doctor"])
def test_help_begins_with_an_example_that_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser, commands = cli._parser()
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    usage, empty, example = capsys.readouterr().out.splitlines()[:3]
    assert (usage.split()[:3], empty) == (["usage:", "agnlib", command], "")
    assert example.startswith(f"example: agnlib {command}")
    assert parser.parse_args(shlex.split(example)[2:])
    required = [each.dest for each in commands[command]._actions if each.required]
    assert all(f"--{name}" in usage for name in required if name not in ("photos", "output", "styles"))


def test_the_program_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 0
    assert "stylize" in capsys.readouterr().out


# The program as a process


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_module_is_the_program() -> None:
    done = python("-m", "agnlib", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"agnlib {agnlib.__version__}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes that break")
def test_who_reads_no_further_ends_it_without_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "agnlib", "styles"]
    done = subprocess.run(command, check=False, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


class Full(io.StringIO):
    """A file on a disk without room."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_printed_is_one_line(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_print_no_more", lambda: None)
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["styles", "--weights", str(weights)]) == 1
    assert capsys.readouterr().err == "agnlib: error: what is printed cannot be written: No space left on device\n"


def test_help_and_cheap_mistakes_import_no_torch() -> None:
    program = """
import sys
from agnlib.cli.main import main
for arguments in (["--help"], ["--version"], ["stylize", "--help"], ["train", "--help"]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code == 0
assert main(["stylize", "missing.jpg", "--style", "missing.png", "-o", "out.png"]) == 2
assert main(["train", "--content", ".", "--style", ".", "--out", "out", "--perceptual", "vgg16+x"]) == 2
assert main(["train", "--content", "missing", "--style", ".", "--out", "out", "--perceptual", "vgg16+vgg16"]) == 2
assert "torch" not in sys.modules
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "agnlib: error: 'missing.jpg' does not exist; check the name and the folder"
    assert "unknown 'x' in 'vgg16+x'" in lines[1]
    assert "'missing' does not exist" in lines[2]
    assert len(lines) == 3


def test_a_style_by_name(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target, seed in (("a.png", 3), ("b.png", 3), ("c.png", 4)):
        assert stylize("one.jpg", "--style", "random", "--seed", seed, "-o", target, weights=weights) == 0
    assert np.array_equal(pixels(folder / "a.png"), pixels(folder / "b.png"))
    assert not np.array_equal(pixels(folder / "a.png"), pixels(folder / "c.png"))
    assert stylize("one.jpg", "--style", "randon", "-o", "d.png", weights=weights) == 2
    assert "'randon' is neither a file nor a name that is known" in capsys.readouterr().err
    assert not (folder / "d.png").exists()


def test_what_the_help_of_train_calls_usual_is_what_a_run_takes() -> None:
    """What None stands for lies with the networks, which the command line does not import."""
    usual = {option.name: option.metadata.get("usual", "") for option in dataclasses.fields(TrainOptions)}
    trainer, generator = TrainerConfig(), GeneratorConfig(1, 1)
    first = {name: re.split(r",? (?:as|or)", text)[0].rstrip(",") for name, text in usual.items()}
    assert float(first["adversarial"]) == trainer.adversarial
    assert float(first["learning_rate"]) == trainer.lr_generator
    assert float(first["learning_rate"]) / 2 == trainer.lr_discriminator
    assert first["steps"] == f"{train._DEFAULT_STEPS:,}"
    assert (int(first["size"]), int(first["batch"])) == (assembly._DEFAULT_SIZE, assembly.DEFAULT_BATCH)
    assert [int(each) for each in first["blocks"].split()] == list(generator.blocks)
    assert [int(each) for each in first["channels"].split()] == list(generator.channels)


def test_finetune_says_its_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["finetune", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"side of the crops (default {finetune._USUAL['size']})" in said
    assert f"worked on at a time (default {finetune._USUAL['batch']})" in said
    assert "(default 5)" in said
    assert "(default agn-small)" in said
