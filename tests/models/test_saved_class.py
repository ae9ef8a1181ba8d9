"""Networks of somebody else's class: saved with its name, made again only of a class that is given."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from agnlib import Discriminator, Generator, StyleExtractor, Stylizer
from agnlib.errors import InputError, WeightsError
from agnlib.models import ArticleGenerator, pretrained

TINY: dict[str, Any] = {"channels": (4, 4, 8), "blocks": (0, 0, 1)}
CLASSES = {"generator": "Painter", "extractor": "Reader", "discriminator": "Critic"}


class Painter(Generator):
    def make_block(self, channels: int) -> nn.Module:
        return super().make_block(channels)


class Reader(StyleExtractor):
    def encode(self, statistics: torch.Tensor) -> torch.Tensor:
        return -super().encode(statistics)


class Critic(Discriminator):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = {"generator": Painter(8, 16, **TINY), "extractor": Reader(16), "discriminator": Critic(style_dim=16)}
    pretrained.save(tmp_path, models, info={"license": "CC0-1.0", "class_names": ["ink", "oil"], "version": "7"})
    return tmp_path


def given() -> dict[str, Any]:
    return {f"{role}_class": globals()[name] for role, name in CLASSES.items()}


def test_the_folder_names_the_class(folder: Path) -> None:
    stored = json.loads((folder / "config.json").read_text())["models"]
    assert {role: each["class"] for role, each in stored.items()} == {
        role: f"{__name__}:{name}" for role, name in CLASSES.items()
    }
    Generator(8, 16, **TINY).save_pretrained(folder / "own")
    assert json.loads((folder / "own" / "config.json").read_text())["models"]["generator"]["class"] == "Generator"


@pytest.mark.parametrize("role", CLASSES)
def test_without_its_class_a_network_is_not_made(folder: Path, role: str) -> None:
    classes = {key: value for key, value in given().items() if key != f"{role}_class"}
    with pytest.raises(WeightsError, match=rf"the {role} is a .*:{CLASSES[role]}.* give it as {role}_class"):
        pretrained.load(folder, **classes)


def test_with_their_classes_they_are(folder: Path) -> None:
    bundle = pretrained.load(folder, **given())
    assert (type(bundle.generator), type(bundle.extractor)) == (Painter, Reader)
    assert type(bundle.discriminator) is Critic
    stylizer = Stylizer.from_pretrained(folder, "cpu", generator_class=Painter, extractor_class=Reader)
    assert (type(stylizer.generator), type(stylizer.extractor)) == (Painter, Reader)
    assert type(Painter.from_pretrained(folder)) is Painter


def test_a_stylizer_does_not_ask_for_the_discriminator(folder: Path) -> None:
    models = {"generator": Painter(8, 16, **TINY), "extractor": StyleExtractor(16)}
    pretrained.save(folder, {**models, "discriminator": Critic(style_dim=16)})
    assert type(Stylizer.from_pretrained(folder, "cpu", generator_class=Painter).generator) is Painter


def test_nothing_that_a_folder_names_is_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(folder))
    stored = json.loads((folder / "config.json").read_text())
    for name in ("trap:Generator", "trap:", "os:system", ":", "trap.Generator"):
        stored["models"]["generator"]["class"] = name
        (folder / "config.json").write_text(json.dumps(stored))
        if ":" in name:
            with pytest.raises(WeightsError, match="generator_class"):
                pretrained.load(folder)
        pretrained.load(folder, **given())
    assert "trap" not in sys.modules


@pytest.mark.parametrize("wrong", [Discriminator, "Painter", Painter(8, 16, **TINY), int, ()])
def test_what_is_no_such_class_is_refused(folder: Path, wrong: Any) -> None:
    for load in (pretrained.load, Stylizer.from_pretrained):
        with pytest.raises(InputError, match=r"(?s)generator_class is .*; expected a subclass of Generator"):
            load(folder, generator_class=wrong)


def test_our_own_subclasses_need_no_class(tmp_path: Path) -> None:
    ArticleGenerator(image_size=16).save_pretrained(tmp_path)
    assert type(Generator.from_pretrained(tmp_path)) is ArticleGenerator


# -- a Stylizer's own -------------------------------------------------------------------------------------------------


def test_what_is_known_of_the_weights_is_kept(folder: Path) -> None:
    stylizer = Stylizer.from_pretrained(folder, "cpu", generator_class=Painter, extractor_class=Reader)
    assert (stylizer.license, stylizer.class_names, stylizer.version) == ("CC0-1.0", ("ink", "oil"), "7")
    stylizer.save_pretrained(folder / "again", dtype=torch.float16)
    again = Stylizer.from_pretrained(folder / "again", "cpu", generator_class=Painter, extractor_class=Reader)
    assert (again.name, again.license, again.class_names, again.version) == (
        stylizer.name, "CC0-1.0", ("ink", "oil"), "7",
    )  # fmt: skip
    stylizer.save_pretrained(folder / "named", name="mine")
    assert pretrained.load(folder / "named", **given()).name == "mine"
    with pytest.raises(InputError, match="name is 3"):
        stylizer.save_pretrained(folder / "bad", name=3)  # type: ignore[arg-type]
    assert not (folder / "bad").exists()


def test_weights_without_a_version_have_that_of_their_tensors(tmp_path: Path) -> None:
    versions = set()
    for seed in (0, 1, 1):
        torch.manual_seed(seed)
        models = {"generator": Generator(8, 16, **TINY), "extractor": StyleExtractor(16)}
        pretrained.save(tmp_path, models)
        stored = json.loads((tmp_path / "config.json").read_text())
        bundle = pretrained.load(tmp_path)
        assert bundle.version == stored["sha256"][:8] == Stylizer.from_pretrained(tmp_path, "cpu").version
        versions.add(bundle.version)
    assert len(versions) == 2
    assert Stylizer(models["generator"], models["extractor"], device="cpu").version == ""


def test_to_gives_copies_on_the_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the device "cuda" standing for a CPU here, since one cannot be had."""
    stylizer = Stylizer(Generator(8, 16, **TINY), StyleExtractor(16), device="cpu")
    stylizer.class_names = ("ink",)
    assert stylizer.to("cpu") is stylizer
    before = stylizer.weights_hash
    monkeypatch.setattr("agnlib.styles._network_pair.device_for", lambda engine, device: torch.device("cpu", 0))
    moved = stylizer.to("cuda")
    assert moved is not stylizer
    assert (type(moved), moved.device, moved.class_names) == (Stylizer, torch.device("cpu", 0), ("ink",))
    assert stylizer.device == torch.device("cpu")
    for old, new in ((stylizer.generator, moved.generator), (stylizer.extractor, moved.extractor)):
        assert old is not new
        assert all(map(torch.equal, old.state_dict().values(), new.state_dict().values()))
    with torch.no_grad():
        next(moved.extractor.parameters()).zero_()
    assert Stylizer(stylizer.generator, stylizer.extractor, device="cpu").weights_hash == before


@pytest.mark.parametrize("device", ["tpu", "cuda:99", 3.5, None])
def test_a_device_that_is_none_is_refused(device: Any) -> None:
    stylizer = Stylizer(Generator(8, 16, **TINY), StyleExtractor(16), device="cpu")
    with pytest.raises(InputError, match="device"):
        stylizer.to(device)
