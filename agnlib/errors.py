"""The errors that agnlib raises on purpose; each says what it got, what it expected and what to do."""

from __future__ import annotations

__all__ = [
    "AgnError",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "TrainingDivergedError",
    "WeightsError",
]


class AgnError(Exception):
    """Base of every error that agnlib raises on purpose."""


class InputError(AgnError, ValueError):
    """A value that the caller gave cannot be used."""


class ImageError(InputError):
    """A picture cannot be read, understood or written; the message names the file."""


class WeightsError(AgnError, RuntimeError):
    """A weights folder is unknown, incomplete, corrupt or does not fit its configuration."""


class MissingDependencyError(AgnError, ImportError):
    """An optional package is not installed; the message has the pip command."""


class TrainingDivergedError(AgnError, RuntimeError):
    """A loss or a gradient stopped being finite and training could not go on."""
