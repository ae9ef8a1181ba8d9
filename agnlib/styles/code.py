"""`StyleCode`: a style as a vector that knows where it came from."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agnlib.errors import InputError, StyleCodeWarning
from agnlib.image import DEFAULT_LIMITS, Limits, PictureFile, write_file
from agnlib.image._targets import BinaryWriter
from agnlib.styles._names import CODE_FORMAT, CODE_SUFFIX
from agnlib.styles._stored import stored

__all__ = ["CODE_SUFFIX", "StyleCode"]

_REMEDY = "give a file that StyleCode.save wrote"


@dataclass(frozen=True, eq=False)
class StyleCode:
    """The style of one or more pictures as a vector.

    Codes interpolate (`lerp`), mix (`mix`) and travel as files (`save`, `load`). A code fits the weights that made it;
    with others a `Stylizer` warns, by `agnlib.errors.StyleCodeWarning`, or refuses it where its width differs.

    Args:
        vector: `(style_dim,)`, finite; kept as a float32 copy on the CPU.
        source: where the code came from, for people to read.
        weights: name of the weights that made it, for people to read; "" for unknown.
        weights_hash: of their style extractor, `Stylizer.weights_hash`; "" for unknown, which is not compared.

    Raises:
        InputError: the vector is no tensor of this shape, empty or not finite.

    Example:
        >>> code = StyleCode(torch.tensor([1.0, 3.0]), "two numbers")
        >>> code.lerp(StyleCode(torch.zeros(2), "nothing"), 0.25).vector
        tensor([0.7500, 2.2500])
    """

    vector: Tensor
    source: str = ""
    weights: str = ""
    weights_hash: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.vector, Tensor) or self.vector.ndim != 1 or self.vector.numel() == 0:
            got = tuple(self.vector.shape) if isinstance(self.vector, Tensor) else type(self.vector).__name__
            raise InputError(f"a style code is a tensor of shape (style_dim,), got {got}; take one row of a batch")
        with torch.inference_mode(False):
            vector = self.vector.detach().to("cpu", torch.float32, copy=True)
        if not bool(vector.isfinite().all()):
            raise InputError("a style code must be finite, got NaN or infinity; check the picture or the weights")
        object.__setattr__(self, "vector", vector)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # what is unpickled or copied inside inference_mode is no ordinary tensor

    def __repr__(self) -> str:
        return f"StyleCode(style_dim={self.vector.numel()}, source={self.source!r})"

    def lerp(self, other: StyleCode, amount: float) -> StyleCode:
        """The code at `amount` of the way to `other`: 0 is this code, 1 the other, beyond exaggerates.

        Raises:
            InputError: `other` is no code, the codes differ in length, or `amount` is not finite.

        Example:
            >>> StyleCode(torch.zeros(1), "a").lerp(StyleCode(torch.ones(1), "b"), 0.5).source
            'a -> b at 0.5'
        """
        if not math.isfinite(amount):
            raise InputError(f"amount must be a finite number, got {amount}")
        _check_same_length([self, other])
        vector = torch.lerp(self.vector, other.vector, float(amount))
        return StyleCode(vector, f"{self.source} -> {other.source} at {amount:g}", *_common_weights([self, other]))

    @staticmethod
    def mix(weighted: Iterable[tuple[StyleCode, float]]) -> StyleCode:
        """The weighted mean of codes; weights count relative to their sum.

        Raises:
            InputError: no codes, something else, codes that differ in length, a weight that is negative or not finite,
                or all zero.

        Example:
            >>> low, high = StyleCode(torch.zeros(1), "low"), StyleCode(torch.ones(1), "high")
            >>> StyleCode.mix([(low, 1), (high, 3)]).vector
            tensor([0.7500])
        """
        pairs = list(weighted)
        if not pairs:
            raise InputError("mix needs at least one (code, weight), got none")
        for _, weight in pairs:
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"a weight must be a finite number, at least 0, got {weight}")
        total = sum(weight for _, weight in pairs)
        if not 0 < total < math.inf:
            raise InputError(f"the weights must have a positive, finite sum, got {total}; raise one of them")
        codes = [code for code, _ in pairs]
        _check_same_length(codes)
        shares = torch.tensor([weight / total for _, weight in pairs], dtype=torch.float64, device="cpu")
        vector = (shares[:, None] * torch.stack([code.vector for code in codes]).double()).sum(dim=0)
        source = codes[0].source
        if len(pairs) > 1:
            source = " + ".join(
                f"{share:.3g} {code.source}" for code, share in zip(codes, shares.tolist(), strict=True)
            )
        return StyleCode(vector, source, *_common_weights(codes))

    def save(self, path: str | os.PathLike[str] | BinaryWriter) -> None:
        """Write the code as one safetensors file, whole or not at all.

        Args:
            path: or a binary file object, such as `io.BytesIO()`.

        Raises:
            InputError: the file cannot be written there.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     StyleCode(torch.ones(3), "ones").save(f"{folder}/ones.safetensors")
            ...     StyleCode.load(f"{folder}/ones.safetensors")
            StyleCode(style_dim=3, source='ones')
        """
        from safetensors.torch import save

        about = {"source": self.source, "weights": self.weights, "weights_hash": self.weights_hash}
        about = {"format": CODE_FORMAT, "style_dim": str(self.vector.numel()), **about}
        metadata = {key: text.encode("utf-8", "backslashreplace").decode() for key, text in about.items()}  # file names
        write_file(path, save({"style": self.vector}, metadata=metadata))

    @classmethod
    def load(cls, path: PictureFile, *, limits: Limits = DEFAULT_LIMITS) -> StyleCode:
        """Read a code that `save` wrote.

        Args:
            path: of the file, or its bytes, or a binary file object.
            limits: of a file object no more than `limits.bytes` are read.

        Raises:
            InputError: the file is missing, damaged or no style code.

        Example:
            >>> import io
            >>> file = io.BytesIO()
            >>> StyleCode(torch.ones(3), "ones").save(file)
            >>> StyleCode.load(file.getvalue())
            StyleCode(style_dim=3, source='ones')
            >>> StyleCode.load("missing.safetensors")
            Traceback (most recent call last):
            ...
            agnlib.errors.InputError: 'missing.safetensors' does not exist; give a file that StyleCode.save wrote
        """
        file = stored(path, "style code", CODE_FORMAT, _REMEDY, limits)
        if "style" not in file.tensors:
            raise InputError(f"{file.name} has no tensor 'style'; {_REMEDY}")
        about = (file.notes.get(key, "") for key in ("source", "weights", "weights_hash"))
        try:
            return cls(file.tensors["style"], *about)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from error


def _check_same_length(codes: list[StyleCode]) -> None:
    for code in codes:
        if not isinstance(code, StyleCode):
            raise InputError(f"expected a StyleCode, got {code!r}; make one of a picture by Stylizer.encode_style")
    lengths = {code.vector.numel() for code in codes}
    if len(lengths) > 1:
        raise InputError(f"style codes must come from the same weights, got the lengths {sorted(lengths)}")


def _common_weights(codes: Sequence[StyleCode]) -> tuple[str, str]:
    """Name and hash of the weights that made codes; nothing where one of them does not say, or they differ."""
    known = {code.weights_hash: code.weights for code in codes}
    if len(known.keys() - {""}) > 1:
        sources = ", ".join(f"{code.source!r} ({code.weights or 'unnamed'})" for code in codes)
        warnings.warn(
            f"style: codes of different weights are mixed: {sources}; encode the pictures again with one and the same",
            StyleCodeWarning,
            stacklevel=3,
        )
    return next(iter((name, digest) for digest, name in known.items())) if len(known) == 1 else ("", "")
