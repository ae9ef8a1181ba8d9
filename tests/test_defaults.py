"""Nothing inside depends on torch's default dtype, default device or gradient mode: results are the same in any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from PIL import Image
from torch import Tensor

from agnlib import Stylizer
from agnlib.metrics import colorfulness, hue_entropy, palette_distance, style_distance
from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.training.objective.terms import PaletteTerm, PatchNCETerm, SlicedStyleTerm, guided_smoothness_term
from agnlib.transforms import RandomStyle, RotateToCover

SOURCES = sorted((Path(__file__).resolve().parent.parent / "agnlib").rglob("*.py"))
DTYPES = [torch.float64, torch.bfloat16, torch.float16]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    models = toy.networks(num_classes=2, canvas_slope=1.0)
    pretrained.save(folder, models, info={"class_names": ["ink", "oil"]})
    return folder


def photo() -> Image.Image:
    return Image.radial_gradient("L").resize((40, 24)).convert("RGB")


def painting() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L").resize((32, 32)).rotate(90 * turn) for turn in range(3)])


def tensors(picture: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).to("cpu", torch.float32)
    return pixels.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2) / 127.5 - 1


def painted(weights: Path) -> list[Any]:
    """What the public doors give: pictures as bytes, codes, and a step's losses."""
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    torch.manual_seed(3)
    return [
        stylizer(photo(), painting()).tobytes(),
        stylizer(photo(), "ink", seed=2, tile=16).tobytes(),
        stylizer(photo(), "random").tobytes(),
        stylizer.encode_style([(painting(), 1.0), (photo(), 0.5)]).vector,
        stylizer.refine_style(painting(), content=photo(), steps=2, size=24).vector,
        RandomStyle(p=1.0, weights=str(weights), size=24)(photo()).tobytes(),
        RotateToCover(30)(photo()).tobytes(),
    ]


def trained(weights: Path) -> list[Any]:
    torch.manual_seed(0)
    bundle = pretrained.load(weights)
    assert bundle.discriminator is not None
    style, content = tensors(painting()), tensors(photo().resize((32, 32)))
    batch = Batch(torch.cat([content, content.flip(3)]), torch.cat([style, style.flip(3)]), step=1)
    terms = {
        "palette": PaletteTerm(),
        "nce": PatchNCETerm(bundle.generator.content_features, "quarter"),
        "sliced": SlicedStyleTerm(bundle.generator.content_features, ["quarter"], 4),
        "smooth": guided_smoothness_term,
    }
    config = TrainerConfig(warmup=0, adversarial_ramp=0, identity=0.0, augment=("translation", "cutout", "color"))
    weighted = {name: Weighted(term, 0.1) for name, term in terms.items()}
    networks = bundle.generator, bundle.discriminator, bundle.extractor
    return list(AdversarialTrainer(*networks, terms=weighted, config=config).fit([batch, batch], steps=2).values())


def measured(weights: Path) -> list[Any]:
    first, second = tensors(painting()), tensors(photo().resize((32, 32)))
    encoder = pretrained.load(weights).extractor.trunk
    one, other = (first + 1) / 2, (second + 1) / 2
    distances = palette_distance(first, second), style_distance(first, second, encoder)
    return [*distances, colorfulness(one), hue_entropy(other)]


def assert_alike(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, Tensor):
            assert (one.dtype, one.device) == (other.dtype, other.device)
            assert torch.equal(one, other)
        else:
            assert one == other


@pytest.mark.parametrize("run", [painted, trained, measured])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_default_dtype_does_not_matter(weights: Path, run: Any, dtype: torch.dtype) -> None:
    expected = run(weights)
    with default_dtype(dtype):
        assert_alike(run(weights), expected)


@pytest.mark.parametrize("run", [painted, trained, measured])
def test_the_default_device_does_not_matter(weights: Path, run: Any) -> None:
    """The device "meta" stands in for a GPU: what is made there by mistake has no numbers."""
    expected = run(weights)
    with torch.device("meta"):
        assert_alike(run(weights), expected)


def test_a_network_made_on_another_device_is_there_as_a_whole() -> None:
    with torch.device("meta"):
        networks = Generator(8, 16, **toy.TINY), Discriminator(), StyleExtractor()
    for network in networks:
        assert {value.device.type for value in (*network.parameters(), *network.buffers())} == {"meta"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_are_in_single_precision(dtype: torch.dtype) -> None:
    with default_dtype(dtype):
        article = Generator.article(8, num_classes=2), Discriminator.article(8)
        networks = Generator(8, 16, **toy.TINY), Discriminator(), StyleExtractor(), *article
    for network in networks:
        assert {v.dtype for v in network.state_dict().values() if v.is_floating_point()} == {torch.float32}


def test_an_export_is_the_same(weights: Path, tmp_path: Path) -> None:
    stylizer = Stylizer.from_pretrained(weights, device="cpu")
    with default_dtype(torch.float64), torch.inference_mode():
        stylizer.export(tmp_path / "a.pt2")
    program = torch.export.load(tmp_path / "a.pt2").module()
    image, code = (tensors(photo()) + 1) / 2, stylizer.encode_style(painting()).vector[None]
    found = program(image, code)
    with torch.no_grad():
        expected = (stylizer.generator(None, code, content=image * 2 - 1) + 1) / 2
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_learns_sets_its_own_mode(weights: Path, mode: Any) -> None:
    expected = [*trained(weights), *painted(weights)]
    with mode():
        found = [*trained(weights), *painted(weights)]
        loaded = Stylizer.from_pretrained(weights, device="cpu")
    assert_alike(found, expected)
    outside = loaded.refine_style(painting(), content=photo(), steps=2, size=24)
    assert torch.equal(outside.vector, expected[-3])


# -- the sources ------------------------------------------------------------------------------------------------------

FLOATS = {"randn", "rand", "zeros", "ones", "empty", "full", "eye", "linspace", "tensor", "as_tensor", "fftfreq"}
OTHERS = {"arange", "randint", "randperm", "triu_indices", "tril_indices"}
LAYERS = {"Linear", "Conv2d", "ConvTranspose2d", "Embedding", "BatchNorm2d"}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call, bool]]:
    """Each call of `torch.name` or `nn.Name`, and whether it is in an `__init__`, where parameters are made."""
    made = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name == "__init__" for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if ast.unparse(node.func.value) in ("torch", "torch.fft", "nn"):
            yield node.func.attr, node, id(node) in made


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_tensors_are_made_with_a_device_and_a_dtype(path: Path) -> None:
    for name, call, in_init in calls(ast.parse(path.read_text("utf-8"))):
        given = {keyword.arg for keyword in call.keywords}
        where = f"{path.name}:{call.lineno} {ast.unparse(call)}"
        if name in FLOATS | OTHERS and (not in_init or "generator" in given):
            assert "device" in given, where
        if name in FLOATS | LAYERS:
            assert "dtype" in given, where
