"""What a caller may give: networks of any mode, precision and wrapping, terms, optimizers, limits, batches."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image
from torch import Tensor, nn
from toy import batches

from agnlib import Stylizer
from agnlib.errors import InputError
from agnlib.models import (
    Generator,
    StyleExtractor,
    pretrained,
)
from agnlib.styles.code import StyleCode
from agnlib.training import AdversarialTrainer, Batch, Weighted
from agnlib.training.objective.terms import PaletteTerm

PHOTO = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
PAINTING = Image.linear_gradient("L").resize((16, 16)).convert("RGB")


def networks(dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    return {role: network.to(dtype) for role, network in toy.networks().items()}


def trainer(given: Mapping[str, Any] | None = None, **options: Any) -> AdversarialTrainer:
    return toy.trainer(given=given or toy.networks(), **toy.AT_ONCE, **{"terms": {}, **options})


def stylizer(given: Mapping[str, Any] | None = None) -> Stylizer:
    given = given or toy.networks()
    return Stylizer(given["generator"], given["extractor"], device="cpu")


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


# -- networks ---------------------------------------------------------------------------------------------------------

ONCE = toy.networks()
PICKLED = pickle.dumps(ONCE)
WAYS: dict[str, Callable[[], Any]] = {
    "made": toy.networks,
    "unpickled": lambda: pickle.loads(PICKLED),
    "copied": lambda: copy.deepcopy(ONCE),
}


@pytest.mark.parametrize("way", WAYS)
def test_networks_of_inference_mode_learn(way: str) -> None:
    expected = trainer().fit(batches(0, 2), steps=2)
    with torch.inference_mode():
        given = WAYS[way]()
    assert all(p.is_inference() for p in given["generator"].parameters())
    assert trainer(given).fit(batches(0, 2), steps=2) == expected


def test_the_callers_autocast_changes_nothing() -> None:
    expected = trainer().fit(batches(0, 1), steps=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert trainer().fit(batches(0, 1), steps=1) == expected


@pytest.mark.parametrize("way", ["made", "unpickled", "copied"])
def test_a_stylizer_of_inference_mode_refines(way: str) -> None:
    whole = stylizer()
    expected = whole.refine_style(PAINTING, content=PHOTO, steps=1, size=16).vector
    with torch.inference_mode():
        found = {"made": stylizer, "unpickled": lambda: pickled(whole), "copied": lambda: copy.deepcopy(whole)}[way]()
    assert torch.equal(found.refine_style(PAINTING, content=PHOTO, steps=1, size=16).vector, expected)


def test_a_trainer_that_is_copied_in_inference_mode_goes_on() -> None:
    one = trainer()
    one.fit(batches(0, 1), steps=1)
    with torch.inference_mode():
        other = copy.deepcopy(one)
    assert other.fit(batches(0, 1), steps=2) == one.fit(batches(0, 1), steps=2)


def test_a_style_code_copied_in_inference_mode_is_ordinary() -> None:
    code = StyleCode(torch.ones(2), "ones")
    with torch.inference_mode():
        copies = copy.deepcopy(code), pickled(code)
    assert not any(each.vector.is_inference() for each in copies)


def test_a_trainer_made_in_inference_mode_trains_outside() -> None:
    with torch.inference_mode():
        subject = trainer()
    assert not any(p.is_inference() for p in subject.averaged_generator.parameters())
    assert subject.fit(batches(0, 2), steps=2) == trainer().fit(batches(0, 2), steps=2)


def test_the_encoder_of_a_term_made_in_inference_mode_is_looked_through() -> None:
    class Looks:
        def __init__(self) -> None:
            self.encoder = nn.Conv2d(3, 2, 3).requires_grad_(False)

        def __call__(self, batch: Batch, fake: Tensor) -> Tensor:
            return self.encoder(fake).square().mean()

    with torch.inference_mode():
        terms = {"looks": Looks()}
    assert "generator/looks" in trainer(terms=terms).fit(batches(0, 1), steps=1)


def test_parameters_that_two_layers_share_stay_shared() -> None:
    with torch.inference_mode():
        given = networks()
        given["discriminator"].scales[1] = given["discriminator"].scales[0]  # type: ignore[operator]
        given["discriminator"].label_projection[1].weight = given["discriminator"].label_projection[0].weight  # type: ignore[union-attr]
    subject = trainer(given).discriminator
    assert subject.label_projection[0].weight is subject.label_projection[1].weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_stylizer_paints_in_single_precision(dtype: torch.dtype) -> None:
    subject = stylizer(networks(dtype))
    assert {p.dtype for p in subject.generator.state_dict().values()} == {torch.float32}
    subject.refine_style(PAINTING, content=PHOTO, steps=1, size=16)
    subject.random_style(0)
    whole = np.asarray(stylizer()(PHOTO, PAINTING), dtype=float)
    assert np.abs(np.asarray(subject(PHOTO, PAINTING), dtype=float) - whole).max() <= 24  # by the weights' rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_in_half_precision_are_trained_in_single(dtype: torch.dtype) -> None:
    subject = trainer({**networks(dtype), "extractor": toy.networks()["extractor"]})
    logs = subject.fit(batches(0, 1, dtype=dtype), steps=1)
    assert {p.dtype for p in subject.generator.parameters()} == {torch.float32}
    assert all(map(math.isfinite, logs.values()))


def test_a_batch_comes_in_the_precision_of_the_networks() -> None:
    expected = trainer(networks(torch.float64)).fit(batches(0, 1, dtype=torch.float64), steps=1)
    assert trainer(networks(torch.float64)).fit(batches(0, 1), steps=1) == expected


def test_networks_of_two_precisions_are_refused() -> None:
    given = networks()
    given["generator"].double()
    with pytest.raises(
        InputError, match=r"precisions differ: generator torch\.float64, discriminator .*by \.float\(\)"
    ):
        trainer(given)


def weight_norm(network: nn.Module) -> None:
    for module in list(network.modules()):
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim == 4:
            nn.utils.parametrizations.weight_norm(module)


def test_a_stylizer_of_parametrized_networks_is_pickled() -> None:
    given = networks()
    weight_norm(given["generator"])
    subject = stylizer(given)
    twin = pickled(subject)
    assert twin(PHOTO, PAINTING).tobytes() == subject(PHOTO, PAINTING).tobytes()
    assert any(".parametrizations." in name for name in given["generator"].state_dict())  # the caller's stays as it is
    assert twin.generator.state_dict().keys() == networks()["generator"].state_dict().keys()


def test_what_compile_wrapped_is_taken_out() -> None:
    given = {role: torch.compile(network, backend="eager") for role, network in networks().items()}
    subject = stylizer(given)
    assert pickled(subject)(PHOTO, PAINTING).tobytes() == stylizer()(PHOTO, PAINTING).tobytes()


@pytest.mark.parametrize("role", ["generator", "extractor"])
def test_a_wrapped_network_is_refused_by_name(role: str, tmp_path: Path) -> None:
    given = networks()
    given[role] = nn.DataParallel(given[role])
    words = f"the {role} is a DataParallel without `config`; give the network itself"
    for use in (lambda: stylizer(given), lambda: trainer(given)):
        with pytest.raises(InputError, match=words):
            use()
    with pytest.raises(InputError, match=words):
        pretrained.save(tmp_path / "weights", {role: given[role]})
    assert not list(tmp_path.iterdir())


def test_networks_loaded_in_inference_mode_are_ordinary(weights: Path) -> None:
    with torch.inference_mode():
        found = pretrained.load(weights)
    assert not any(p.is_inference() for p in (*found.generator.parameters(), *found.extractor.buffers()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: {"generator": n["extractor"]}, "the generator is a StyleExtractor; give that as extractor"),
        (lambda n: {"extractor": n["generator"]}, "the extractor is a Generator; give that as generator"),
        (lambda n: {"generator": None}, "the generator is a NoneType without `config`; give the network itself"),
        (lambda n: {"extractor": "agn-small"}, "the extractor is a str without `config`"),
        (lambda n: {"generator": n["generator"].to("meta")}, "the generator is on the device meta, without numbers"),
    ],
)
def test_networks_that_are_none_are_named(change: Callable[..., Any], words: str, tmp_path: Path) -> None:
    given = networks()
    changed = change(given)
    for use in (stylizer, trainer, lambda all_: pretrained.save(tmp_path / "weights", changed)):
        with pytest.raises(InputError, match=words):
            use(given | changed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": torch.int8}, "dtype is torch.int8; expected a floating-point one"),
        ({"dtype": "float16"}, "dtype is 'float16'; expected a floating-point one"),
        ({"info": {"a": {1}}}, r"info has a set, \{1\}; expected what JSON can hold"),
        ({"models": []}, "models are a list; expected a dict of them by role"),
    ],
)
def test_what_cannot_be_saved_is_named(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"save: {words}"):
        pretrained.save(tmp_path / "weights", **{"models": {"generator": networks()["generator"]}, **options})
    assert not list(tmp_path.iterdir())


def test_info_of_numpys_numbers_is_saved(tmp_path: Path) -> None:
    models: dict[str, Any] = {"generator": networks()["generator"], "extractor": networks()["extractor"]}
    pretrained.save(tmp_path, models, info={"steps": np.int64(3)})
    assert pretrained.load(tmp_path).info == {"steps": 3}


def test_the_articles_generator_repaints_no_photos() -> None:
    with pytest.raises(InputError, match="the generator has style_dim None, the extractor 16; use models"):
        Stylizer(Generator.article(16), StyleExtractor(16), device="cpu")


# -- terms, optimizers, limits, batches -------------------------------------------------------------------------------


def darkness(batch: Batch, fake: Tensor) -> Tensor:
    return fake.mean()


def test_a_plain_callable_is_a_term_of_weight_1() -> None:
    expected = trainer(terms={"dark": Weighted(darkness, 1.0)}).fit(batches(0, 1), steps=1)
    assert trainer(terms={"dark": darkness}).fit(batches(0, 1), steps=1) == expected
    later = trainer()
    later.terms["dark"] = darkness  # type: ignore[assignment]
    assert later.fit(batches(0, 1), steps=1) == expected


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ([darkness], "terms are .*; expected a dict of names with callables"),
        ({1: darkness}, "terms are .*; expected a dict of names with callables"),
        ({"dark": 0.5}, r"the term 'dark' is 0\.5; expected a callable \(batch, fake\) -> scalar, no class"),
        ({"dark": PaletteTerm}, r"the term 'dark' is <class .*PaletteTerm'>; expected a callable .*, no class"),
        ({"dark": (darkness, 0.5)}, r"the term 'dark' is \(.*; expected a callable .*as Weighted\(callable, weight\)"),
    ],
)
def test_terms_that_are_none_are_named(terms: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        trainer(terms=terms)


class Silent:
    """Has no hook."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": {"warmup": 1}}, r"config is a dict; expected a TrainerConfig\(\.\.\.\)"),
        ({"device": "gpu"}, "device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ({"callbacks": toy.Recorder()}, "callbacks are a Recorder; expected several, such as a list"),
        ({"callbacks": "log"}, "callbacks are a str; expected several"),
        (
            {"callbacks": [toy.Recorder]},
            "callbacks: got the class Recorder; expected objects with some of",
        ),
        (
            {"callbacks": [Silent()]},
            r"callbacks: got <.*Silent .*; expected objects with some of",
        ),
    ],
)
def test_options_of_a_trainer_that_are_none_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        AdversarialTrainer(**networks(), **options)


def test_networks_that_are_frozen_as_a_whole_are_named() -> None:
    given = {role: network.requires_grad_(False) for role, network in networks().items()}
    with pytest.raises(InputError, match="every parameter of generator and extractor is frozen"):
        trainer(given)


@pytest.mark.parametrize("batches_given", [None, batches(0, 1)[0], "photos"])
def test_batches_that_are_not_several_are_named(batches_given: Any) -> None:
    with pytest.raises(InputError, match=r"fit: batches are a (NoneType|Batch|str); expected several"):
        trainer().fit(batches_given, steps=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g, d: g, "gave Adam; expected two optimizers, the generator's and the discriminator's"),
        (lambda g, d: (g, None), "gave Adam, NoneType; expected two optimizers"),
        (lambda g, d: None, "gave NoneType; expected two optimizers"),
        (lambda g, d: (g, g), "gave one optimizer twice; expected one for each turn"),
        (lambda g, d: (d, g), ": the first optimizer has parameters of the discriminator; expected first the optim"),
        (lambda g, d: (g, torch.optim.SGD(g.param_groups[0]["params"])), ": the second optimizer has parameters of g"),
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

    with pytest.raises(InputError, match=f"configure_optimizers ?{words}"):
        Own(**networks())


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
        trainer().fit(batches(0, 1), **limits)


def test_limits_of_a_fit_may_be_numpys() -> None:
    subject = trainer()
    subject.fit(batches(0, 3), steps=np.int64(2), minutes=np.float32(5))  # type: ignore[arg-type]
    assert subject.step == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2, 3, 16, 16), "the batches gave a Tensor; expected an agnlib.training.Batch of each"),
        (
            batches(0, 1, dtype=torch.uint8)[0],
            r"the batch's content has the shape \(2, 3, 16, 16\) of torch\.uint8; expected \(B, 3, H, W\), floats",
        ),
        (
            Batch(255 * torch.ones(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)),
            r"the batch's content has values from 255 to 255; expected floats in \[-1, 1\]: rescale them",
        ),
        (Batch(None, torch.rand(3, 8, 8)), r"the batch's style has the shape \(3, 8, 8\) of torch\.float32; expected"),
        (Batch(None, np.zeros((2, 3, 16, 16))), "the batch's style is a ndarray; expected a tensor"),  # type: ignore[arg-type]
    ],
)
def test_batches_that_are_none_are_named(given: Any, words: str) -> None:
    subject = trainer()
    with pytest.raises(InputError, match=f"fit: {words}"):
        subject.fit([given], steps=1)
    assert subject.between_steps
    subject.fit(batches(0, 1), steps=1)


@pytest.mark.parametrize(("painted", "words"), [(None, "NoneType"), (torch.zeros(3, 8, 8), r"\(3, 8, 8\)")])
def test_what_generate_gives_is_checked(painted: Any, words: str) -> None:
    class Own(AdversarialTrainer):
        def generate(self, batch: Batch) -> Tensor:
            return painted

    with pytest.raises(InputError, match=f"generate gave {words}; expected a tensor of pictures"):
        toy.trainer(Own, **toy.AT_ONCE).fit(batches(0, 1), steps=1)
