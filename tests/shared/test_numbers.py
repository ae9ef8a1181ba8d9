"""Numbers that callers give, Python's or NumPy's: what is kept of them, and what is said where they are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from PIL import Image
from torch import nn

from agnlib import Stylizer
from agnlib.errors import InputError
from agnlib.models import (
    ArticleDiscriminatorConfig,
    ArticleGeneratorConfig,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    StyleExtractorConfig,
)
from agnlib.neighbors import Plan
from agnlib.painting._effect import Effect
from agnlib.training import PairData, PictureFolder, TrainerConfig, Weighted, loader
from agnlib.training.callbacks import LogScalars, SaveCheckpoints, SaveSamples
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.transforms import RandomStyle, Recolor, RotateToCover

PHOTO = Image.radial_gradient("L").resize((24, 16)).convert("RGB")


WIDE = {"style_dim": np.int64(16)}
OPTIONS: list[tuple[type[Any], dict[str, Any]]] = [
    (TrainerConfig, {"lr_generator": np.float32(1e-4), "warmup": np.int64(3), "betas": (np.float64(0.1), 0.9)}),
    (TrainerConfig, {"seed": np.int32(3), "compile": np.bool_(True), "betas": [0.5, 0.9]}),
    (GeneratorConfig, {"latent_dim": np.int64(8), "channels": np.array([4, 4, 8]).tolist(), **WIDE}),
    (GeneratorConfig, {"channels": tuple(np.array([4, 4, 8])), "canvas_slope": np.float32(1)}),
    (DiscriminatorConfig, {"num_classes": np.uint8(2), **WIDE}),
    (StyleExtractorConfig, {"hidden": np.int16(8), "variational": np.bool_(False), **WIDE}),
    (ArticleGeneratorConfig, {"widths": (np.int64(4),), "output_gain": np.float64(0.1)}),
    (ArticleDiscriminatorConfig, {"hidden": (np.int64(4), 8)}),
    (Weighted, {"term": len, "weight": np.float32(0.5), "ramp": np.int64(2)}),
    (Plan, {"drawing": np.float32(0.5)}),
    (Effect, {"strength": np.float16(0.5), "tile": np.int64(64)}),
]


@pytest.mark.parametrize(("kind", "given"), OPTIONS)
def test_numbers_of_numpy_become_pythons(kind: type[Any], given: dict[str, Any]) -> None:
    for value in dataclasses.asdict(kind(**given)).values():
        each = value if isinstance(value, tuple) else (value,)
        assert not any(isinstance(one, np.generic) for one in each)
        assert not isinstance(value, list)


def test_a_network_made_by_numpys_numbers_is_saved(tmp_path: Path) -> None:
    options: dict[str, Any] = {name: np.array(value) for name, value in toy.TINY.items() if name != "image_size"}
    Generator(np.int64(8), np.int64(16), **{k: tuple(v) for k, v in options.items()}).save_pretrained(tmp_path)  # type: ignore[arg-type]
    assert Generator.from_pretrained(tmp_path).config.channels == toy.TINY["channels"]


def test_transforms_and_refining_take_numpys_numbers() -> None:
    networks = toy.networks()
    subject = Stylizer(networks["generator"], networks["extractor"], device="cpu")
    style = RandomStyle(p=np.float32(1), strength=np.float64(0.5), size=np.int64(16), stylizer=subject)  # type: ignore[arg-type]
    assert style.recipe(np.int64(3)) == style.recipe(3)  # type: ignore[arg-type]
    assert RotateToCover(np.int64(8), margin=np.int64(1)).size == (8, 8)  # type: ignore[arg-type]
    Recolor(tuple(np.array([1, 2, 3])), "white")  # type: ignore[arg-type]
    subject.refine_style(PHOTO, content=PHOTO, steps=np.int64(0), drawing=np.float32(1), size=np.int32(16))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (TrainerConfig, {"betas": 5}, "betas is 5; expected several values in a tuple or list"),
        (TrainerConfig, {"augment": "flip"}, "augment is 'flip'; expected several values"),
        (TrainerConfig, {"ada_target": "a"}, "ada_target is 'a'; expected a mean sign between -1 and 1, or None"),
        (TrainerConfig, {"seed": 2**70}, "seed is 1180591620717411303424; expected a whole number"),
        (TrainerConfig, {"compile": "yes"}, "compile is 'yes'; expected True or False"),
        (TrainerConfig, {"loss": ["hinge"]}, r"loss is \['hinge'\]; expected one of logistic"),
        (TrainerConfig, {"warmup": np.float32(3)}, "warmup is 3.0; expected a number of steps"),
        (GeneratorConfig, {"latent_dim": "8"}, "latent_dim is '8'; expected a whole number, at least 1"),
        (GeneratorConfig, {"channels": 8}, "channels is 8; expected several values"),
        (GeneratorConfig, {"image_size": 16.5}, "image_size is 16.5; expected a whole number"),
        (DiscriminatorConfig, {"num_classes": 1.5}, "num_classes is 1.5; expected at least 1, or None"),
        (StyleExtractorConfig, {"hidden": None}, "hidden is None; expected a whole number"),
        (ArticleDiscriminatorConfig, {"hidden": 4}, "hidden is 4; expected several values"),
        (Weighted, {"term": "a", "weight": 1.0}, "term is 'a'; expected a callable"),
        (Weighted, {"term": len, "weight": 1.0, "ramp": 0.5}, "ramp is 0.5; expected a number of steps"),
    ],
)
def test_an_option_of_a_wrong_kind_is_named(kind: type[Any], given: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=f"{kind.__name__}: {expected}"):
        kind(**given)


Folders = tuple[PictureFolder, PictureFolder]


@pytest.fixture
def pictures(folders: tuple[Path, Path]) -> Folders:
    return PictureFolder(folders[0], 24), PictureFolder(folders[1], 24)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda p: PictureFolder(p[0].folder, 0), "PictureFolder: size is 0; expected a whole number, at least 1"),
        (lambda p: PictureFolder(p[0].folder, "a"), "PictureFolder: size is 'a'; expected a whole number"),
        (lambda p: PictureFolder(p[0].folder, 24, variants=3), "variants is 3; expected the least and largest number"),
        (lambda p: PairData(*p, batch=1.5), r"PairData: batch is 1\.5; expected a whole number, at least 1"),
        (lambda p: PairData(*p, seed="a"), "PairData: seed is 'a'; expected a whole number"),
        (lambda p: PairData(p[0].folder, p[1]), "PairData: content is a .*Path; expected a PictureFolder"),
        (lambda p: loader(PairData(*p), workers=-1), "loader: workers is -1; expected a whole number, at least 0"),
        (lambda p: loader(PairData(*p), start=-1), "loader: start is -1; expected a whole number, at least 0"),
        (lambda p: loader(p[0]), r"loader: got a PictureFolder; expected PairData\(content, style\)"),
        (lambda p: LogScalars("log.jsonl", every=0), "LogScalars: every is 0; expected a whole number, at least 1"),
        (
            lambda p: SaveCheckpoints("a", keep=0.5),
            r"SaveCheckpoints: keep is 0\.5; expected a whole number",
        ),
        (lambda p: SaveSamples("a", toy.batches(0, 1)[0], every=0), "SaveSamples: every is 0; expected a whole number"),
        (lambda p: ExponentialMovingAverage(nn.Linear(1, 1), "a"), "EMA decay is 'a'; expected a number in"),
        (lambda p: Effect(preserve_color="yes"), "preserve_color must be True or False, got 'yes'"),
    ],
)
def test_arguments_that_are_none_are_named(use: Callable[[Folders], object], words: str, pictures: Folders) -> None:
    with pytest.raises(InputError, match=words):
        use(pictures)


def test_callbacks_take_paths_as_text(tmp_path: Path) -> None:
    batch = toy.batches(0, 1)[0]
    log, checkpoints, samples = (str(tmp_path / name) for name in ("log.jsonl", "checkpoints", "samples"))
    callbacks = [LogScalars(log), SaveCheckpoints(checkpoints), SaveSamples(samples, batch)]
    toy.trainer(callbacks=callbacks, **toy.AT_ONCE).fit([batch], steps=1)
    assert {path.name for path in tmp_path.iterdir()} >= {"log.jsonl", "checkpoints", "samples"}
