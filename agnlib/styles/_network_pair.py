"""What a `Stylizer` is made of: a generator and a style extractor on a device, and what is known about them."""

from __future__ import annotations

import copy
import os
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import nn
from typing_extensions import Self

from agnlib._shared.gradients import ordinary
from agnlib.engines._protocol import Engine
from agnlib.engines._registry import choose, device_for, make_engine
from agnlib.errors import InputError
from agnlib.models import Generator, StyleExtractor
from agnlib.models.pretrained import bundle_of, picklable, plain, save
from agnlib.styles._weights_of_codes import hash_of

__all__ = ["NetworkPair"]

Network = TypeVar("Network", bound=nn.Module)


class NetworkPair:
    """Two networks that belong together; what they are, `Stylizer` says."""

    def __init__(
        self,
        generator: Generator,
        extractor: StyleExtractor,
        *,
        device: str | torch.device = "auto",
        engine: str = "torch",
        precision: str = "auto",
    ) -> None:
        generator, extractor = plain(generator, "generator", "Stylizer"), plain(extractor, "extractor", "Stylizer")
        wanted, given = (getattr(network.config, "style_dim", None) for network in (generator, extractor))
        if wanted is None or wanted != given:
            raise InputError(f"the generator has style_dim {wanted}, the extractor {given}; use models made together")
        self.name: str | None = None
        self.license = "unknown"
        self.class_names: tuple[str, ...] = ()
        self.version = ""
        self._info: dict[str, Any] = {}
        self.device, self.engine, self.precision = device_for(engine, device), engine, precision
        choose(engine, precision, self.device)
        self.generator, self.extractor = _ready(generator, self.device), _ready(extractor, self.device)
        self._engine: Engine | None = make_engine(engine, precision, self.generator, self.device)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = "agn-small",
        device: str | torch.device = "auto",
        *,
        engine: str = "torch",
        precision: str = "auto",
        generator_class: type[Generator] | None = None,
        extractor_class: type[StyleExtractor] | None = None,
    ) -> Self:
        """Load weights by name (offline: they come with the package) or from a folder.

        Args:
            name_or_path: a name that `agnlib.models.pretrained.available()` lists, a folder with `config.json` and
                `model.safetensors`, a checkpoint or the folder of a training run, or `hf://OWNER/NAME@COMMIT` on the
                Hugging Face Hub (extra `hub`).
            device: see the class.
            engine: see the class.
            precision: see the class.
            generator_class: of the generator, where a subclass was saved: no class that a folder names is imported.
            extractor_class: of the extractor, likewise.

        Raises:
            WeightsError: unknown name, files that are incomplete, damaged or do not fit together, or a network of a
                class that was not given.
            InputError: see the class; or a class that is none of that kind.
            MissingDependencyError: see the class.
        """
        resolved = device_for(engine, device)
        choose(engine, precision, resolved)
        bundle = bundle_of(name_or_path, {Generator: generator_class, StyleExtractor: extractor_class})
        options: dict[str, Any] = {} if precision == "auto" else {"precision": precision}  # a subclass may know none
        stylizer = cls(bundle.generator, bundle.extractor, device=resolved, engine=engine, **options)
        stylizer.name, stylizer.license, stylizer.version = bundle.name, bundle.license, bundle.version
        stylizer.class_names = bundle.class_names
        stylizer._info = dict(bundle.info)
        return stylizer

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, name: str | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Write both networks as `config.json` and `model.safetensors`, which `from_pretrained` reads.

        License, class names and what else the weights' folder said of them are kept; a discriminator beside them, which
        a `Stylizer` does not have, is not. A subclass of a network is saved with the import path of its class, for
        people to read.

        Args:
            folder: made if need be; weights that are there are replaced.
            name: what the weights are called; None for the name they have, else the folder's.
            dtype: of the stored tensors.

        Raises:
            WeightsError: a weight is not finite, a network has parts that none of its options has, or the folder cannot
                be written.
            InputError: a dtype without fractions, or a name that is no text.

        Example:
            >>> import tempfile
            >>> from agnlib import Generator, StyleExtractor, Stylizer
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     stylizer.save_pretrained(folder, name="mine")
            ...     Stylizer.from_pretrained(folder, "cpu")
            Stylizer('mine', style_dim=16, device='cpu')
        """
        if name is not None and not isinstance(name, str):
            raise InputError(f"save_pretrained: name is {name!r}; expected a text, or None")
        models = {"generator": self.generator, "extractor": self.extractor}
        info = {**self._info, "class_names": list(self.class_names), "license": self.license}
        save(folder, models, name=name or self.name, info=info, dtype=dtype)

    def to(self, device: str | torch.device) -> Self:
        """The same on another device: a new one with copies of the networks, or this one where it is there already.

        This one stays as it is, so that threads which share it are not disturbed: write
        `stylizer = stylizer.to("cuda")`.

        Args:
            device: see the class.

        Raises:
            InputError: a device that is unknown or not there, or that the engine does not run on.

        Example:
            >>> from agnlib import Generator, StyleExtractor, Stylizer
            >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
            >>> stylizer.to("cpu") is stylizer
            True
        """
        resolved = device_for(self.engine, device)
        if resolved == self.device:
            return self
        moved = copy.copy(self)
        moved.device = resolved
        moved.generator = _ready(copy.deepcopy(picklable(self.generator)), resolved)
        moved.extractor = _ready(copy.deepcopy(picklable(self.extractor)), resolved)
        moved._engine = make_engine(self.engine, self.precision, moved.generator, resolved)
        return moved

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the style extractor's tensors, which style codes keep; computed once, when it is first needed.

        Networks that are trained on afterwards need a `Stylizer` of their own.
        """
        return hash_of(self.extractor)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "generator": picklable(self.generator), "extractor": picklable(self.extractor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for network in (self.generator, self.extractor):
            ordinary(network)

    def __repr__(self) -> str:
        dim = self.generator.config.style_dim
        return f"Stylizer({self.name or 'weights given'!r}, style_dim={dim}, device={str(self.device)!r})"


def _ready(model: Network, device: torch.device) -> Network:
    with torch.inference_mode(False):  # so that it may be trained later
        return model.to(device, torch.float32).to(memory_format=torch.channels_last).eval()
