"""What `--perceptual` may say; apart from the networks, so that the command line is checked without torch."""

from __future__ import annotations

from agnlib.errors import InputError

__all__ = ["PERCEPTUAL", "parse_perceptual"]

PERCEPTUAL = ("vgg16", "efficientnet-lite0")


def parse_perceptual(text: str) -> tuple[str, ...]:
    """The encoders named, each once; of "none" none.

    Raises:
        InputError: an unknown name.

    Example:
        >>> parse_perceptual("vgg16+efficientnet-lite0")
        ('vgg16', 'efficientnet-lite0')
        >>> parse_perceptual("none")
        ()
    """
    if text == "none":
        return ()
    names = tuple(dict.fromkeys(text.split("+")))
    unknown = [name for name in names if name not in PERCEPTUAL]
    if unknown:
        expected = ", ".join(("none", *PERCEPTUAL))
        raise InputError(f"unknown {unknown[0]!r} in {text!r}; expected {expected}, or several networks joined by +")
    return names
