"""The class of a saved network: how a folder names it, and which one is made again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from agnlib.errors import InputError, WeightsError

__all__ = ["chosen", "path_of", "written_by"]

Model = TypeVar("Model", bound=nn.Module)


def path_of(cls: type[nn.Module]) -> str:
    """A class of agnlib by its name, another one as `module:Class`; for people to read, and never imported."""
    return cls.__name__ if cls.__module__.startswith("agnlib.") else f"{cls.__module__}:{cls.__qualname__}"


def chosen(given: Any, base: type[Model], role: str, folder: Path, models: Mapping[str, Any]) -> type[Model]:
    """The class that was given for a network; without one the network must be of agnlib's own.

    Raises:
        InputError: what was given is no class of that kind.
        WeightsError: none was given, and the network is of a class of somebody else's.
    """
    if given is None:
        described = models.get(role)
        path = described.get("class") if isinstance(described, dict) else None
        if isinstance(path, str) and ":" in path:
            raise WeightsError(
                f"{folder}: the {role} is a {path}, and agnlib imports no classes that a folder names; import it"
                f" yourself and give it as {role}_class"
            )
        return base
    if not (isinstance(given, type) and issubclass(given, base)):
        raise InputError(f"{role}_class is {given!r}; expected a subclass of {base.__name__}")
    return given


def written_by(cls: type[Model], name: object) -> type[Model]:
    """The article's class of that name where it is a kind of `cls`, for its weights are no others'; else `cls`."""
    from agnlib.models import article

    found = getattr(article, name) if isinstance(name, str) and name in article.__all__ else cls
    return found if issubclass(found, cls) else cls
