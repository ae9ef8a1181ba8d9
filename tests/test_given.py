"""What a caller may give: networks of any mode, precision and wrapping, NumPy's numbers, terms, optimizers, limits."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image
from torch import Tensor, nn

from agnlib import Stylizer
from agnlib.errors import InputError
from agnlib.models import (
    ArticleDiscriminatorConfig,
    ArticleGeneratorConfig,
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    StyleExtractor,
    StyleExtractorConfig,
    pretrained,
)
from agnlib.neighbors import Plan
from agnlib.painting._painting import Effect
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.transforms import RandomStyle, Recolor, RotateToCover

PHOTO = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
PAINTING = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
Trained = tuple[Generator, Discriminator, StyleExtractor]


def networks() -> Trained:
    torch.manual_seed(0)
    extractor = StyleExtractor(16, hidden=16, taps=("block0",))
    return Generator(8, 16, **toy.TINY), Discriminator(style_dim=16, channels=(4, 8)), extractor


def batch(dtype: torch.dtype = torch.float32) -> Batch:
    photo = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(dtype)
    return Batch(photo, photo.flip(0).clone())


def trainer(given: Trained | None = None, **options: Any) -> AdversarialTrainer:
    config = TrainerConfig(warmup=0, identity=0.0, adversarial_ramp=0)
    return AdversarialTrainer(*(given or networks()), config=config, **options)


def stylizer(given: Trained | None = None) -> Stylizer:
    generator, _, extractor = given or networks()
    return Stylizer(generator, extractor, device="cpu")


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# -- networks ---------------------------------------------------------------------------------------------------------

ONCE = networks()
PICKLED = pickle.dumps(ONCE)
WAYS: dict[str, Callable[[], Any]] = {
    "made": networks,
    "unpickled": lambda: pickle.loads(PICKLED),
    "copied": lambda: copy.deepcopy(ONCE),
}


@pytest.mark.parametrize("way", WAYS)
def test_networks_of_inference_mode_learn(way: str) -> None:
    expected = trainer().fit([batch()] * 2, steps=2)
    with torch.inference_mode():
        given = WAYS[way]()
    assert all(p.is_inference() for p in given[0].parameters())
    assert trainer(given).fit([batch()] * 2, steps=2) == expected


@pytest.mark.parametrize("way", ["made", "unpickled", "copied"])
def test_a_stylizer_of_inference_mode_refines(way: str) -> None:
    whole = stylizer()
    expected = whole.refine_style(PAINTING, PHOTO, steps=1, size=16).vector
    with torch.inference_mode():
        found = {"made": stylizer, "unpickled": lambda: pickled(whole), "copied": lambda: copy.deepcopy(whole)}[way]()
    assert torch.equal(found.refine_style(PAINTING, PHOTO, steps=1, size=16).vector, expected)


def test_a_trainer_that_is_copied_in_inference_mode_goes_on() -> None:
    one = trainer()
    one.fit([batch()], steps=1)
    with torch.inference_mode():
        other = copy.deepcopy(one)
    assert other.fit([batch()], steps=2) == one.fit([batch()], steps=2)


def test_a_trainer_made_in_inference_mode_trains_outside() -> None:
    with torch.inference_mode():
        subject = trainer()
    assert subject.fit([batch()] * 2, steps=2) == trainer().fit([batch()] * 2, steps=2)


def test_the_encoder_of_a_term_made_in_inference_mode_is_looked_through() -> None:
    class Looks:
        def __init__(self) -> None:
            self.encoder = nn.Conv2d(3, 2, 3).requires_grad_(False)

        def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
            return self.encoder(fake).square().mean()

    with torch.inference_mode():
        terms = {"looks": Looks()}
    assert "generator/looks" in trainer(terms=terms).fit([batch()], steps=1)


def test_parameters_that_two_layers_share_stay_shared() -> None:
    with torch.inference_mode():
        given = networks()
        given[1].scales[1] = given[1].scales[0]  # type: ignore[operator]
        given[1].label_projection[1].weight = given[1].label_projection[0].weight  # type: ignore[union-attr]
    subject = trainer(given).discriminator
    assert subject.label_projection[0].weight is subject.label_projection[1].weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_stylizer_paints_in_single_precision(dtype: torch.dtype) -> None:
    given = networks()
    for network in given:
        network.to(dtype)
    subject = stylizer(given)
    assert {p.dtype for p in subject.generator.state_dict().values()} == {torch.float32}
    subject.refine_style(PAINTING, PHOTO, steps=1, size=16)
    subject.random_style(0)
    whole = np.asarray(stylizer()(PHOTO, PAINTING), dtype=float)
    assert np.abs(np.asarray(subject(PHOTO, PAINTING), dtype=float) - whole).max() <= 24  # by the weights' rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_in_half_precision_are_trained_in_single(dtype: torch.dtype) -> None:
    given = networks()
    for network in given[:2]:
        network.to(dtype)
    subject = trainer(given)
    logs = subject.fit([batch(dtype)], steps=1)
    assert {p.dtype for p in subject.generator.parameters()} == {torch.float32}
    assert all(map(math.isfinite, logs.values()))


def test_a_batch_comes_in_the_precision_of_the_networks() -> None:
    given = networks()
    for network in given:
        network.double()
    expected = trainer(given).fit([batch(torch.float64)], steps=1)
    given = networks()
    for network in given:
        network.double()
    assert trainer(given).fit([batch()], steps=1) == expected


def test_networks_of_two_precisions_are_refused() -> None:
    given = networks()
    given[0].double()
    with pytest.raises(
        InputError, match=r"precisions differ: generator torch\.float64, discriminator .*by \.float\(\)"
    ):
        trainer(given)


def weight_norm(network: nn.Module) -> None:
    for module in list(network.modules()):
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim == 4:
            nn.utils.parametrizations.weight_norm(module)


def test_a_stylizer_of_parametrised_networks_is_pickled() -> None:
    given = networks()
    weight_norm(given[0])
    subject = stylizer(given)
    twin = pickled(subject)
    assert twin(PHOTO, PAINTING).tobytes() == subject(PHOTO, PAINTING).tobytes()
    assert any(".parametrizations." in name for name in given[0].state_dict())  # the caller's stays as it is
    assert twin.generator.state_dict().keys() == networks()[0].state_dict().keys()


def test_what_compile_wrapped_is_taken_out() -> None:
    given: Any = [torch.compile(network, backend="eager") for network in networks()]
    subject = stylizer(given)
    assert pickled(subject)(PHOTO, PAINTING).tobytes() == stylizer()(PHOTO, PAINTING).tobytes()


@pytest.mark.parametrize("role", ["generator", "extractor"])
def test_a_wrapped_network_is_refused_by_name(role: str, tmp_path: Path) -> None:
    given: Any = dict(zip(("generator", "discriminator", "extractor"), networks(), strict=True))
    given[role] = nn.DataParallel(given[role])
    words = f"the {role} is a DataParallel without `config`; give the network itself"
    for use in (lambda: stylizer(tuple(given.values())), lambda: trainer(tuple(given.values()))):
        with pytest.raises(InputError, match=words):
            use()
    with pytest.raises(InputError, match=words):
        pretrained.save(tmp_path / "weights", {role: given[role]})
    assert not list(tmp_path.iterdir())


def test_the_articles_generator_repaints_no_photos() -> None:
    with pytest.raises(InputError, match="the generator has style_dim None, the extractor 16; use models"):
        Stylizer(Generator.article(16), StyleExtractor(16), device="cpu")


# -- numbers ----------------------------------------------------------------------------------------------------------

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
    subject = stylizer()
    style = RandomStyle(p=np.float32(1), strength=np.float64(0.5), size=np.int64(16), stylizer=subject)  # type: ignore[arg-type]
    assert style.recipe(np.int64(3)) == style.recipe(3)  # type: ignore[arg-type]
    assert RotateToCover(np.int64(8), margin=np.int64(1)).size == (8, 8)  # type: ignore[arg-type]
    Recolor(tuple(np.array([1, 2, 3])), "white")  # type: ignore[arg-type]
    subject.refine_style(PAINTING, PHOTO, steps=np.int64(0), drawing=np.float32(1), size=np.int32(16))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (TrainerConfig, {"betas": 5}, "betas is 5; expected several values in a tuple or list"),
        (TrainerConfig, {"augment": "flip"}, "augment is 'flip'; expected several values"),
        (TrainerConfig, {"ada_target": "a"}, "ada_target is 'a'; expected a mean sign between -1 and 1, or None"),
        (TrainerConfig, {"seed": 2**70}, "seed is 1180591620717411303424; expected a whole number"),
        (TrainerConfig, {"compile": "yes"}, "compile is 'yes'; expected True or False"),
        (TrainerConfig, {"loss": 3}, "loss is 3; expected one of logistic"),
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


# -- terms, optimizers, limits, batches -------------------------------------------------------------------------------


def darkness(batch: Batch, fake: Tensor) -> Tensor:
    return fake.mean()


def test_a_plain_callable_is_a_term_of_weight_1() -> None:
    expected = trainer(terms={"dark": Weighted(darkness, 1.0)}).fit([batch()], steps=1)
    assert trainer(terms={"dark": darkness}).fit([batch()], steps=1) == expected
    later = trainer()
    later.terms["dark"] = darkness  # type: ignore[assignment]
    assert later.fit([batch()], steps=1) == expected


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ([darkness], "terms are .*; expected a dict of names with callables"),
        ({1: darkness}, "terms are .*; expected a dict of names with callables"),
        ({"dark": 0.5}, r"the term 'dark' is 0\.5; expected a callable \(batch, fake\) -> scalar, or Weighted"),
        ({"dark": (darkness, 0.5)}, r"the term 'dark' is \(.*; expected a callable .*or Weighted\(callable, weight\)"),
    ],
)
def test_terms_that_are_none_are_named(terms: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        trainer(terms=terms)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g, d: g, "gave Adam; expected two optimizers, the generator's and the discriminator's"),
        (lambda g, d: (g, None), "gave Adam, NoneType; expected two optimizers"),
        (lambda g, d: None, "gave NoneType; expected two optimizers"),
        (lambda g, d: ({"optimizer": g}, d), "gave dict, Adam; expected two optimizers"),
        (
            lambda g, d: (torch.optim.LBFGS(g.param_groups[0]["params"]), d),
            "gave LBFGS, whose step asks for a closure .*; expected optimizers that step by one gradient",
        ),
    ],
)
def test_optimizers_that_cannot_be_used_are_named(change: Callable[..., Any], words: str) -> None:
    class Own(AdversarialTrainer):
        def configure_optimizers(self) -> Any:
            return change(*super().configure_optimizers())

    with pytest.raises(InputError, match=f"configure_optimizers {words}"):
        Own(*networks())


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "got neither steps nor minutes"),
        ({"minutes": math.nan}, "minutes is nan; expected a number from 0"),
        ({"minutes": -1}, "minutes is -1; expected a number from 0"),
        ({"minutes": "5"}, "minutes is '5'; expected a number from 0"),
        ({"steps": 1.5}, r"steps is 1\.5; expected a whole number from 0"),
        ({"steps": -1}, "steps is -1; expected a whole number from 0"),
        ({"steps": True}, "steps is True; expected a whole number from 0"),
        ({"steps": 1, "minutes": math.nan}, "minutes is nan"),
    ],
)
def test_limits_of_a_fit_that_are_none_are_named(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"fit: {words}"):
        trainer().fit([batch()], **limits)


def test_limits_of_a_fit_may_be_numpys() -> None:
    subject = trainer()
    subject.fit([batch()] * 3, steps=np.int64(2), minutes=np.float32(5))  # type: ignore[arg-type]
    assert subject.step == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2, 3, 16, 16), "the batches gave a Tensor; expected an agnlib.training.Batch of each"),
        (batch(torch.uint8), r"the batch's content is torch\.uint8; expected floats in \[-1, 1\]"),
        (Batch(None, np.zeros((2, 3, 16, 16))), "the batch's style is a ndarray; expected a tensor"),  # type: ignore[arg-type]
    ],
)
def test_batches_that_are_none_are_named(given: Any, words: str) -> None:
    subject = trainer()
    with pytest.raises(InputError, match=f"fit: {words}"):
        subject.fit([given], steps=1)
    assert subject.between_steps
    subject.fit([batch()], steps=1)
