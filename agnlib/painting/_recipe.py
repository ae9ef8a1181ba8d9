"""What a painting was made with, in words that its file can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PureWindowsPath
from typing import Any

from agnlib import __version__
from agnlib._shared.numbers import own_number
from agnlib.painting._effect import Effect
from agnlib.styles._names import named_source, without_folders
from agnlib.styles._reader import listed, weighted
from agnlib.styles.code import StyleCode
from agnlib.styles.picture_style import PictureStyle

__all__ = ["recipe_of", "style_names"]

_LONGEST = 500  # characters of a style's name


def recipe_of(
    weights: str | None, styles: Sequence[Any], effect: Effect, *, drawing: float | None = None, **more: Any
) -> dict[str, Any]:
    """The options of a painting that are not as they begin, by the names that `Stylizer` has for them.

    Args:
        weights: their name, if they have one.
        styles: of each region.
        effect: how much of them.
        drawing: of neural neighbors; None for the network alone.
        more: other options; those that are None are left out.

    Example:
        >>> recipe_of("agn-small", ["paintings/auvers.jpg"], Effect(strength=0.5), seed=3, size=None)
        {'agnlib': '0.1.0', 'weights': 'agn-small', 'style': ['auvers.jpg'], 'strength': 0.5, 'seed': 3}
    """
    usual = asdict(Effect())
    chosen = {name: value for name, value in asdict(effect).items() if value != usual[name] and name != "tile"}
    method: Mapping[str, Any] = {} if drawing is None else {"method": "neighbors", "drawing": drawing}
    options = {name: _plain(value) for name, value in {**method, **chosen, **more}.items() if value is not None}
    return {"agnlib": __version__, "weights": weights, "style": style_names(styles), **options}


def style_names(styles: Sequence[Any]) -> list[str]:
    """What each region's style is called: the names of files without their folders, and weights."""
    return [_named(style)[:_LONGEST] for style in styles]


def _plain(value: Any) -> Any:
    """As JSON has it: 2 and 2.0 are one number."""
    value = own_number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _named(style: Any) -> str:
    pairs = [weighted(entry) for entry in listed(style)]
    names = [
        (without_folders(each.source) or "code")
        if isinstance(each, (StyleCode, PictureStyle))
        else _base(named_source(each))
        for each, _ in pairs
    ]
    if len(pairs) == 1:
        return names[0]
    return " + ".join(f"{weight:g} {name}" for name, (_, weight) in zip(names, pairs, strict=True))


def _base(name: str) -> str:
    """The name of a file without its folders, of whatever system: where it lies is nobody's business."""
    return PureWindowsPath(name).name
