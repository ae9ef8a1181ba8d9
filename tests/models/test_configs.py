"""Options of the networks and of training: one default, one limit, one description of each, said alike wherever."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agnlib
from agnlib import models
from agnlib.errors import InputError
from agnlib.training import TrainerConfig

NETWORKS = [
    models.Generator,
    models.Discriminator,
    models.StyleExtractor,
    models.ArticleGenerator,
    models.ArticleDiscriminator,
]
CONFIGS = [*(network.config_class for network in NETWORKS), TrainerConfig]


def described(config: type[Any]) -> dict[str, str]:
    """What the docstring says of each argument."""
    args = inspect.getdoc(config).split("Args:\n")[1].split("\n\n")[0]  # type: ignore[union-attr]
    entries = re.split(r"^    (?=\w+: )", args, flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in (entry.split(":", 1) for entry in entries)}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_described_in_order(config: type[Any]) -> None:
    assert list(described(config)) == [field.name for field in dataclasses.fields(config)]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_limits_are_those_that_are_checked(config: type[Any]) -> None:
    texts = described(config)
    kind = re.fullmatch(r"Article(\w+)Config", config.__name__)
    ranges = getattr(importlib.import_module(config.__module__), f"_{kind[1].upper()}_RANGES" if kind else "_RANGES")
    for names, expected, _ in ranges:
        for name in names:
            assert expected.lower() in texts[name].lower(), (name, expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_constructor_takes_the_fields_with_their_defaults(network: type[Any]) -> None:
    parameters = list(inspect.signature(network).parameters.values())
    fields = dataclasses.fields(network.config_class)
    assert {each.name: each.default for each in parameters} == {each.name: each.default for each in fields}
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters)


OTHER: dict[str, dict[str, Any]] = {
    "Generator": {
        "latent_dim": 7, "style_dim": 12, "num_classes": 2, "image_size": 32, "channels": [4, 6, 8],
        "blocks": [0, 1, 1], "kernel": 3, "expansion": 1, "margin": 16, "canvas_slope": 1.5,
    },
    "Discriminator": {"num_classes": 4, "style_dim": 12, "channels": [4, 8], "scales": 1},
    "StyleExtractor": {
        "style_dim": 12, "variational": True, "hidden": 16, "variant": 1, "taps": ["block0"], "frozen_trunk": False,
    },
    "ArticleGenerator": {
        "image_size": 16, "channels": 1, "latent_dim": 8, "num_classes": 3, "map_channels": 2, "widths": [4],
        "kernel": 5, "output_gain": 0.1,
    },
    "ArticleDiscriminator": {
        "image_size": 16, "channels": 1, "num_classes": 3, "features": "conv", "hidden": [4, 8], "widths": [4],
        "kernel": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_every_option_arrives_in_the_config(network: type[Any]) -> None:
    options = OTHER[network.__name__]
    assert all(options[each.name] != each.default for each in dataclasses.fields(network.config_class))
    assert network(**options).config == network.config_class(**options)


@given(st.sampled_from(NETWORKS), st.text("abcdefgh_", min_size=1))
def test_an_option_that_is_none_is_refused(network: type[Any], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        network(**{name: 1})


@pytest.mark.parametrize("network", NETWORKS)
def test_values_outside_the_range_name_the_option(network: type[Any]) -> None:
    for name in ("channels", "widths"):
        if name in inspect.signature(network).parameters:
            with pytest.raises(InputError, match=f"{name} is -1; expected"):
                network(**{name: -1})


def test_the_classes_are_public() -> None:
    for network in NETWORKS[:3]:
        assert getattr(agnlib, network.__name__) is network
