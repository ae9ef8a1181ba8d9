"""Adversarial image style transfer for PyTorch. `import agnlib` loads nothing until a class is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnlib.models.discriminator import Discriminator
    from agnlib.models.generator import Generator
    from agnlib.models.style_extractor import StyleExtractor
    from agnlib.stylizer import Stylizer
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["AdversarialTrainer", "Discriminator", "Generator", "StyleExtractor", "Stylizer", "__version__"]

__version__ = "0.1.0"

_HOMES = {
    "AdversarialTrainer": "agnlib.training.trainer",
    "Discriminator": "agnlib.models.discriminator",
    "Generator": "agnlib.models.generator",
    "StyleExtractor": "agnlib.models.style_extractor",
    "Stylizer": "agnlib.stylizer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'agnlib' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
