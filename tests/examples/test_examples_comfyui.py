"""`examples/comfyui`: the node, called as ComfyUI calls nodes, with its tensors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agnlib import Stylizer
from agnlib.models import Generator, StyleExtractor
from agnlib.styles import works

FILE = Path(__file__).resolve().parents[2] / "examples" / "comfyui" / "agnlib_stylize.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """Loaded as ComfyUI loads a file of `custom_nodes`: by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location("custom_nodes_agnlib_stylize", FILE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    return Stylizer(
        Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1)),
        StyleExtractor(16, hidden=8, taps=("block0",)),
        device="cpu",
    )


class Interrupted(Exception):  # noqa: N818 - as ComfyUI's
    """The button to cancel was pressed."""


class ComfyUI:
    """What of ComfyUI a node meets: types of inputs and their ranges, defaults, and how it is called."""

    kinds: dict[str, type] = {"IMAGE": Tensor, "MASK": Tensor, "FLOAT": float, "INT": int}  # noqa: RUF012

    def __init__(self, module: ModuleType) -> None:
        ((self.name, self.node),) = module.NODE_CLASS_MAPPINGS.items()
        assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == {self.name}

    def run(self, **given: Any) -> tuple[Any, ...]:
        inputs = self.node.INPUT_TYPES()
        assert set(inputs) <= {"required", "optional", "hidden"}
        known = {**inputs["required"], **inputs.get("optional", {})}
        filled = {name: self._default(known[name]) for name in inputs["required"] if name not in given} | given
        for name, value in filled.items():
            self._check(known[name], value)
        with torch.inference_mode():
            results = getattr(self.node(), self.node.FUNCTION)(**filled)
        assert isinstance(results, tuple)
        assert len(results) == len(self.node.RETURN_TYPES) == len(self.node.RETURN_NAMES)
        for kind, result in zip(self.node.RETURN_TYPES, results, strict=True):
            assert isinstance(result, self.kinds[kind])
        return results

    @staticmethod
    def _default(spec: tuple[Any, ...]) -> Any:
        options = spec[1] if len(spec) > 1 else {}
        return options["default"] if "default" in options else spec[0][0]

    def _check(self, spec: tuple[Any, ...], value: Any) -> None:
        kind, options = spec[0], spec[1] if len(spec) > 1 else {}
        if isinstance(kind, list):
            assert value in kind
            return
        assert isinstance(value, self.kinds[kind])
        if kind in ("FLOAT", "INT"):
            assert options["min"] <= value <= options["max"]


@pytest.fixture
def comfy(module: ModuleType, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> ComfyUI:
    monkeypatch.setattr(module, "stylizer", lambda weights: stylizer)
    return ComfyUI(module)


def images(batch: int, channels: int = 3) -> Tensor:
    return torch.rand(batch, 20, 33, channels, generator=torch.Generator().manual_seed(batch))


def expected(stylizer: Stylizer, image: Tensor, style: Any, **options: Any) -> Tensor:
    painted: Tensor = stylizer(image.permute(0, 3, 1, 2), style, **options)
    return painted.permute(0, 2, 3, 1)


@pytest.mark.parametrize(("batch", "channels"), [(1, 3), (2, 3), (1, 4)])
def test_images_come_out_as_they_came_in(comfy: ComfyUI, stylizer: Stylizer, batch: int, channels: int) -> None:
    image = images(batch, channels)
    (painted,) = comfy.run(image=image, strength=0.6)
    assert painted.shape == image.shape
    assert painted.dtype == torch.float32
    assert painted.is_contiguous()
    assert 0 <= painted.min() <= painted.max() <= 1
    torch.testing.assert_close(painted, expected(stylizer, image, "wave", strength=0.6))


def test_a_batch_of_style_images_is_mixed(comfy: ComfyUI, stylizer: Stylizer) -> None:
    image, style = images(1), torch.rand(2, 30, 25, 3)
    (painted,) = comfy.run(image=image, style_image=style)
    mixed = [each.permute(2, 0, 1) for each in style]
    torch.testing.assert_close(painted, expected(stylizer, image, mixed))
    assert not torch.allclose(painted, comfy.run(image=image)[0])


def test_a_seed_varies_a_style_by_chance_and_without_one_it_is_fixed(comfy: ComfyUI, stylizer: Stylizer) -> None:
    image = images(1)
    first, second = (comfy.run(image=image, style_name="random", seed=seed)[0] for seed in (1, 2))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first, expected(stylizer, image, "random", seed=1))


def test_a_mask_says_where_for_all_images_or_for_each(comfy: ComfyUI) -> None:
    image = images(2)
    mask = torch.zeros(1, 20, 33)
    mask[:, :, :10] = 1
    (painted,) = comfy.run(image=image, mask=mask)
    torch.testing.assert_close(painted[:, :, 10:], image[:, :, 10:])
    assert (painted[:, :, :10] - image[:, :, :10]).abs().mean() > 0.01
    each = torch.cat([mask, torch.zeros(1, 20, 33)])
    (painted,) = comfy.run(image=image, mask=each)
    torch.testing.assert_close(painted[1], image[1])
    assert (painted[0] - image[0]).abs().mean() > 0.01
    with pytest.raises(ValueError, match="got 3 for 2 images"):
        comfy.run(image=image, mask=torch.zeros(3, 20, 33))


def test_values_a_little_outside_are_taken(comfy: ComfyUI, stylizer: Stylizer) -> None:
    image = images(1) * 1.1 - 0.05
    (painted,) = comfy.run(image=image)
    torch.testing.assert_close(painted, expected(stylizer, image.clamp(0, 1), "wave"))


def test_the_bar_moves_and_the_button_cancels(comfy: ComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    bar = SimpleNamespace(update_absolute=lambda value, total: shown.append(value))
    pressed = [False]

    def interrupt() -> None:
        if pressed[0]:
            raise Interrupted

    stubs: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": lambda total: bar},
        "comfy.model_management": {"throw_exception_if_processing_interrupted": interrupt},
    }
    for name, contents in stubs.items():
        stub = ModuleType(name)
        stub.__dict__.update(contents, __path__=[])
        monkeypatch.setitem(sys.modules, name, stub)
    comfy.run(image=images(1))
    assert shown == sorted(shown)
    assert shown[-1] == 1000
    pressed[0] = True
    with pytest.raises(Interrupted):
        comfy.run(image=images(1))


def test_neighbors_paint_too(comfy: ComfyUI) -> None:
    image = torch.rand(1, 48, 40, 3)
    (painted,) = comfy.run(image=image, method="neighbors", style_image=torch.rand(1, 40, 40, 3))
    assert painted.shape == image.shape
    assert (painted - image).abs().mean() > 0.01


def test_with_the_shipped_weights_every_name_is_a_style(module: ModuleType) -> None:
    names = ComfyUI(module).node.INPUT_TYPES()["required"]["style_name"][0]
    assert set(works.available()) < set(names)
    painter = module.stylizer("agn-small")
    assert set(names) - set(works.available()) == {*painter.class_names, "random"}
    (painted,) = ComfyUI(module).run(image=images(1), style_name="ukiyo-e")
    assert np.isfinite(painted.numpy()).all()
