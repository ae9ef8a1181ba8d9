"""Files of every format that was ever released load, and mean what they meant; see tests/data/formats/make.py."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from agnlib.errors import WeightsError
from agnlib.models import pretrained
from agnlib.models.pretrained import FORMAT_VERSION as WEIGHTS_VERSION
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer
from agnlib.training import Batch
from agnlib.training.safety.checkpoint import FORMAT_VERSION as CHECKPOINT_VERSION

FORMATS = Path(__file__).resolve().parent / "data" / "formats"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_formats", FORMATS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_file_of_each_format() -> None:
    assert [path.name for path in sorted(FORMATS.glob("weights-*"))] == [
        f"weights-{version}" for version in range(1, WEIGHTS_VERSION + 1)
    ]
    assert (FORMATS / f"checkpoint-{CHECKPOINT_VERSION}.safetensors").is_file()


@pytest.mark.parametrize("folder", sorted(FORMATS.glob("weights-*")), ids=lambda folder: folder.name)
def test_weights_load_and_paint_what_they_painted(folder: Path, make: ModuleType) -> None:
    bundle = pretrained.load(folder)
    assert bundle.class_names == ("day", "night")
    assert bundle.discriminator is not None
    photos = make.pictures(4)
    with torch.no_grad():
        painted = bundle.generator(None, bundle.extractor(photos[2:3]), content=photos[:1])
    # Rounding on other machines; in the style of another of the four pictures it is 6e-3 away.
    torch.testing.assert_close(painted, load_file(FORMATS / "painted.safetensors")["painted"], rtol=0, atol=1e-4)
    assert Stylizer.from_pretrained(folder, device="cpu").class_names == ("day", "night")


@pytest.mark.parametrize("file", sorted(FORMATS.glob("style-*")), ids=lambda file: file.name)
def test_style_codes_load(file: Path, make: ModuleType) -> None:
    code = StyleCode.load(file)
    assert code.source == "a formula"
    with torch.no_grad():
        vector = pretrained.load(FORMATS / "weights-1").extractor(make.pictures(4)[2:3])[0]
    torch.testing.assert_close(code.vector, vector, rtol=0, atol=1e-4)  # rounding on other machines


def test_a_checkpoint_of_this_format_goes_on(make: ModuleType) -> None:
    trainer = make.trainer()
    trainer.load_checkpoint(FORMATS / f"checkpoint-{CHECKPOINT_VERSION}.safetensors")
    assert trainer.step == 2
    saved = load_file(FORMATS / f"checkpoint-{CHECKPOINT_VERSION}.safetensors")
    assert all(
        torch.equal(value, saved[f"networks.generator.{key}"]) for key, value in trainer.generator.state_dict().items()
    )
    content, style = make.pictures(4).chunk(2)
    logs = trainer.fit([Batch(content, style, torch.tensor([0, 1]), step=step) for step in (2, 3)], steps=4)
    assert trainer.step == 4
    assert torch.tensor(list(logs.values())).isfinite().all()


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    shutil.copytree(FORMATS / "weights-1", folder)
    config = folder / "config.json"
    text = config.read_text("utf-8")
    config.write_text(text.replace('"format_version": 1', '"format_version": 99'), "utf-8")
    with pytest.raises(WeightsError, match=r"has format version 99; .* upgrade agnlib"):
        pretrained.load(folder)
