"""Adversarial image style transfer for PyTorch. `import agnlib` loads nothing until a class or module is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnlib import cli as cli
    from agnlib import demo as demo
    from agnlib import engines as engines
    from agnlib import errors as errors
    from agnlib import evaluation as evaluation
    from agnlib import folder as folder
    from agnlib import image as image
    from agnlib import layers as layers
    from agnlib import losses as losses
    from agnlib import memory as memory
    from agnlib import metrics as metrics
    from agnlib import models as models
    from agnlib import neighbors as neighbors
    from agnlib import ops as ops
    from agnlib import painting as painting
    from agnlib import styles as styles
    from agnlib import stylizer as stylizer
    from agnlib import testing as testing
    from agnlib import tiling as tiling
    from agnlib import training as training
    from agnlib import transforms as transforms
    from agnlib import video as video
    from agnlib import web as web
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
_MODULES = frozenset(
    [
        "cli",
        "demo",
        "engines",
        "errors",
        "evaluation",
        "folder",
        "image",
        "layers",
        "losses",
        "memory",
        "metrics",
        "models",
        "neighbors",
        "ops",
        "painting",
        "styles",
        "stylizer",
        "testing",
        "tiling",
        "training",
        "transforms",
        "video",
        "web",
    ]
)

if not TYPE_CHECKING:  # to a type checker, a name that is wrong shall be wrong

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"agnlib.{name}")  # which becomes an attribute by that
        if name not in _HOMES:
            raise AttributeError(f"module 'agnlib' has no attribute {name!r}; it has {', '.join(__dir__())}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
