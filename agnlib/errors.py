"""The errors and warnings of agnlib's own; each says what it got, what it expected and what to do."""

from __future__ import annotations

__all__ = [
    "AgnError",
    "BackendError",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "StyleCodeWarning",
    "TooLargeError",
    "TrainingDivergedError",
    "TrainingError",
    "VideoError",
    "WeightsError",
]


class AgnError(Exception):
    """Base of every error that agnlib raises on purpose."""


class BackendError(AgnError, RuntimeError):
    """A backend was asked for by name and cannot run; the message has the reasons."""


class InputError(AgnError, ValueError):
    """A value that the caller gave cannot be used."""


class ImageError(InputError):
    """A picture cannot be read, understood or written; the message names the file."""


class TooLargeError(ImageError):
    """A picture has more pixels, a longer side or more bytes than its `agnlib.image.Limits`; a server's 413."""


class VideoError(InputError):
    """A clip cannot be read, understood or written; the message names the file."""


class WeightsError(AgnError, RuntimeError):
    """A weights folder is unknown, incomplete, corrupt or does not fit its configuration."""


class MissingDependencyError(AgnError, ImportError):
    """An optional package is not installed; the message has the pip command."""


class TrainingError(AgnError, RuntimeError):
    """A training that had begun could not go on, or its result could not be written; what was saved before is whole."""


class TrainingDivergedError(TrainingError):
    """A loss or a gradient stopped being finite and training could not go on."""


class StyleCodeWarning(UserWarning):
    """A style code is used with other weights than those it was made with, so it may stand for another style."""
