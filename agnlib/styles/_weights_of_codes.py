"""Which weights a style code belongs to: their hash, and the warning where it is used with others."""

from __future__ import annotations

import hashlib
import warnings
from weakref import WeakKeyDictionary

import torch

from agnlib.errors import InputError, StyleCodeWarning
from agnlib.models import StyleExtractor
from agnlib.models.pretrained import picklable
from agnlib.styles.code import StyleCode

__all__ = ["check_fits", "hash_of"]

_warned: WeakKeyDictionary[StyleCode, set[str]] = WeakKeyDictionary()  # with which weights


def hash_of(extractor: StyleExtractor) -> str:
    """SHA-256 of the tensors that make codes of pictures, by name.

    Their numbers count as float16 has them, so that weights have the same hash before and after they are stored so.
    """
    digest = hashlib.sha256()
    for name, value in sorted(picklable(extractor).state_dict().items()):
        numbers = value.detach().to("cpu", torch.float16 if value.is_floating_point() else torch.int64)
        digest.update(f"{name} {tuple(value.shape)};".encode())
        digest.update(numbers.numpy().astype("<f2" if value.is_floating_point() else "<i8").tobytes())
    return digest.hexdigest()


def check_fits(code: StyleCode, *, style_dim: int, weights: str, weights_hash: str) -> None:
    """Refuse a code of another width; warn, once for each code, of one that other weights have made.

    Raises:
        InputError: the code has another width.
    """
    if code.vector.numel() != style_dim:
        raise InputError(
            f"style: these weights need a code of {style_dim} numbers, got {code.vector.numel()}; "
            "encode the picture again with them"
        )
    if code.weights_hash in ("", weights_hash) or weights_hash in _warned.get(code, ()):
        return
    warnings.warn(
        f"style: the code of {code.source!r} was made with {code.weights or 'other weights'}, whose style extractor is"
        f" not that of {weights or 'these weights'}: it may paint another style; encode the picture again with"
        f" {weights or 'these weights'}",
        StyleCodeWarning,
        stacklevel=2,
    )
    _warned.setdefault(code, set()).add(weights_hash)  # now, so that it is refused each time where warnings are errors
