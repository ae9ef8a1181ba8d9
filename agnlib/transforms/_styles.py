"""The styles that a transform draws from: random ones, classes that the weights know, pictures and codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from agnlib._shared.paths import exists, is_folder, why_not
from agnlib.errors import InputError
from agnlib.image import PictureLike
from agnlib.styles._names import as_known
from agnlib.styles._reader import STYLE_SIDE
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer

__all__ = ["Draw", "StyleLike", "Styles"]

StyleLike: TypeAlias = "PictureLike | StyleCode"


@dataclass(frozen=True)
class _Random:
    """Any style, or any of a class."""

    label: int | None = None


@dataclass(frozen=True)
class Draw:
    """What decides a style: its place in the list, from 0 to below 1, and the generator for what is random about it."""

    place: float
    rng: torch.Generator


class Styles:
    """Styles to draw from, pictures turned into codes when they are first drawn.

    Args:
        given: None for any; or a class name, folder, picture or code, or a list of these.
        class_names: of the weights; asked for only where a name is given.

    Raises:
        InputError: a name that is none and no path, an empty list, or a folder without pictures.
    """

    def __init__(
        self, given: StyleLike | Sequence[StyleLike] | None, class_names: Callable[[], tuple[str, ...]]
    ) -> None:
        several = isinstance(given, Sequence) and not isinstance(given, str)
        listed: Sequence[Any] = given if several else [given]  # type: ignore[assignment]
        self._entries: list[Any] = (
            [_Random()] if given is None else [entry for each in listed for entry in _entries(each, class_names)]
        )
        if not self._entries:
            raise InputError("styles: expected at least one, got an empty list; None draws random ones")

    def codes(self, draws: Sequence[Draw], stylizer: Stylizer) -> Tensor:
        """`(len(draws), style_dim)`, on the stylizer's device."""
        chosen = [min(int(draw.place * len(self._entries)), len(self._entries) - 1) for draw in draws]
        rows: list[Tensor | None] = [None] * len(draws)
        for label in dict.fromkeys(self._entries[i] for i in chosen if isinstance(self._entries[i], _Random)):
            members = [row for row, i in enumerate(chosen) if self._entries[i] == label]
            for row, code in zip(members, _sampled(stylizer, label, [draws[row] for row in members]), strict=True):
                rows[row] = code
        return torch.stack(
            [self._encoded(i, stylizer) if row is None else row for row, i in zip(rows, chosen, strict=True)]
        )

    def encode(self, stylizer: Stylizer) -> None:
        """Turn every picture into its code now."""
        for index, entry in enumerate(self._entries):
            if not isinstance(entry, _Random):
                self._encoded(index, stylizer)

    def _encoded(self, index: int, stylizer: Stylizer) -> Tensor:
        entry = self._entries[index]
        if not isinstance(entry, StyleCode):
            entry = self._entries[index] = stylizer.encode_style(entry)
        wanted = stylizer.generator.config.style_dim
        if entry.vector.numel() != wanted:
            raise InputError(
                f"styles: the weights need codes of {wanted} numbers, got {entry.vector.numel()}; encode the picture"
                " again with them"
            )
        return stylizer._styles.vector(entry)[0]


@torch.no_grad()
def _sampled(stylizer: Stylizer, kind: _Random, draws: Sequence[Draw]) -> Tensor:
    generator = stylizer.generator
    latents = [
        torch.randn(generator.config.latent_dim, generator=draw.rng, device="cpu", dtype=torch.float32)
        for draw in draws
    ]
    z = torch.stack(latents).to(stylizer.device)
    label = None if kind.label is None else torch.full((len(z),), kind.label, device=z.device, dtype=torch.int64)
    return generator.sample_style(z, label)


def _entries(given: Any, class_names: Callable[[], tuple[str, ...]]) -> Sequence[Any]:
    if isinstance(given, str):
        names = class_names()
        name = as_known(given, names)
        if name in names:
            return [_Random(names.index(name))]
        if not exists(given):
            known = f"the classes of the weights are {', '.join(names)}" if names else "the weights name no classes"
            raise InputError(f"styles: {given!r} is neither a class nor a path: {known}")
    if isinstance(given, (str, os.PathLike)):
        return _below(Path(given))
    if given is None or isinstance(given, (int, float)):
        raise InputError(f"styles: expected class names, folders, pictures or StyleCodes, got {given!r}")
    return [given]


def _below(path: Path) -> Sequence[Path]:
    """The pictures of a folder, or the one that the path names."""
    if is_folder(path):
        from agnlib.training import PictureFolder

        return PictureFolder(path, STYLE_SIDE, classes=False).paths
    if not exists(path):
        raise InputError(f"styles: {os.fspath(path)!r} {why_not(path, 'a picture')}; give a folder or a picture")
    return [path]
