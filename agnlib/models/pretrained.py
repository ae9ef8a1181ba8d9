"""Weights in folders: `config.json` beside `model.safetensors`, strict, checked, never pickled.

One folder holds one model or several that belong together (generator, extractor, discriminator). `config.json` names
each with its options and has the SHA-256 of the tensors' file, so a torn or mixed pair is noticed.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from agnlib._shared.gradients import ordinary
from agnlib._shared.numbers import own_number
from agnlib._shared.paths import is_file, text_of
from agnlib.errors import InputError, WeightsError
from agnlib.models._saved_class import chosen, path_of, written_by
from agnlib.models._training_run import find, read
from agnlib.models._weights_folder import FORMAT_VERSION, available, short, write

if TYPE_CHECKING:
    from agnlib.models.discriminator import Discriminator
    from agnlib.models.generator import Generator
    from agnlib.models.style_extractor import StyleExtractor

__all__ = ["FORMAT_VERSION", "Bundle", "PretrainedModel", "available", "find", "load", "save"]

_ROLES = {"Generator": "generator", "Discriminator": "discriminator", "StyleExtractor": "extractor"}
_CONFIG, _TENSORS = "config.json", "model.safetensors"

Model = TypeVar("Model", bound="PretrainedModel")
Module = TypeVar("Module", bound=nn.Module)


class PretrainedModel(nn.Module):
    """A network whose options are a frozen dataclass and whose weights travel in a folder."""

    config_class: ClassVar[type[Any]]
    config: Any

    @property
    def role(self) -> str:
        """The name under which the weights stand in a folder."""
        return role_of(type(self))

    def save_pretrained(self, folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, which is made if need be.

        Raises:
            WeightsError: the weights are not finite, or the folder cannot be written.
        """
        save(folder, {self.role: self}, dtype=dtype)

    @classmethod
    def from_pretrained(cls: type[Model], name_or_folder: str | os.PathLike[str]) -> Model:
        """The model of this kind by what `load` takes, in float32 and eval mode.

        It is of the class that this is called on, whatever class was saved.

        Raises:
            WeightsError: the name is unknown, or the folder incomplete, corrupt or without this kind of model.
        """
        folder = find(name_or_folder)
        config, tensors = read(folder)
        return _build(cls, folder, config, tensors)


@dataclass(frozen=True)
class Bundle:
    """Models that were trained together, and what is known about them."""

    name: str
    folder: Path
    generator: Generator
    extractor: StyleExtractor
    discriminator: Discriminator | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def version(self) -> str:
        """What tells weights of one name apart, as `info` says it; else the beginning of the hash of their tensors."""
        return str(self.info.get("version", self.sha256[:8]))

    @property
    def license(self) -> str:
        """The license of the weights, "unknown" where the folder does not say."""
        return str(self.info.get("license", "unknown"))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the style classes that the weights know, in the order of their labels."""
        return tuple(self.info.get("class_names", ()))


def load(
    name_or_folder: str | os.PathLike[str],
    *,
    generator_class: type[Generator] | None = None,
    extractor_class: type[StyleExtractor] | None = None,
    discriminator_class: type[Discriminator] | None = None,
) -> Bundle:
    """Generator and extractor (and the discriminator where it is there), in float32 and in eval mode.

    Nothing that a folder names is imported: a network of a class that is not agnlib's own needs its class here.

    Args:
        name_or_folder: a name that `available()` lists, a folder, or `hf://OWNER/NAME@COMMIT`; or of a training under
            way the folder or a checkpoint, of which the averaged networks are taken, without a discriminator.
        generator_class: of the generator, where a subclass was saved; it is made from the options in the folder.
        extractor_class: of the extractor, likewise.
        discriminator_class: of the discriminator, likewise.

    Raises:
        WeightsError: the name is unknown, or the folder is incomplete, corrupt or does not fit its configuration; or a
            network is of a class that was not given.
        InputError: what was given is no class of that kind.

    Example:
        >>> load("agn-small").generator.config.style_dim  # doctest: +SKIP
        128
    """
    from agnlib.models.discriminator import Discriminator
    from agnlib.models.generator import Generator
    from agnlib.models.style_extractor import StyleExtractor

    return bundle_of(
        name_or_folder,
        {Generator: generator_class, StyleExtractor: extractor_class, Discriminator: discriminator_class},
    )


def bundle_of(name_or_folder: str | os.PathLike[str], classes: Mapping[type[PretrainedModel], Any]) -> Bundle:
    """See `load`; networks of these kinds alone, each with the class that was given for it."""
    folder = find(name_or_folder)
    config, tensors = read(folder)
    models = config["models"]
    roles = {role_of(base): (base, given) for base, given in classes.items()}
    made: dict[str, Any] = {
        role: chosen(given, base, role, folder, models)
        for role, (base, given) in roles.items()
        if role in models or role != "discriminator"
    }
    return Bundle(
        name=str(config.get("name", folder.name)),
        folder=folder,
        info=config.get("info", {}),
        sha256=str(config.get("sha256", "")),
        **{role: _build(cls, folder, config, tensors) for role, cls in made.items()},
    )


def save(
    folder: str | os.PathLike[str],
    models: Mapping[str, PretrainedModel],
    *,
    name: str | None = None,
    info: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write models that belong together into one folder.

    Args:
        folder: made if need be.
        models: by role: "generator", "extractor", "discriminator".
        name: what the weights are called; the folder's name if None.
        info: anything JSON can hold: "license", "class_names", "version", how they were trained.
        dtype: of the stored tensors.

    Raises:
        InputError: a model is wrapped, by `DataParallel` for one (what `torch.compile` wrapped is taken out), or has
            another role; a dtype without fractions; `info` that JSON cannot hold.
        WeightsError: a weight is not finite, a model has parts that no model of its options has, or the folder cannot
            be written.
    """
    if not text_of(folder, "save"):  # which would be the current folder
        raise WeightsError("the name of the folder for the weights is empty; give a folder")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(f"save: dtype is {dtype!r}; expected a floating-point one, such as torch.float16")
    if not isinstance(models, Mapping):
        raise InputError(f"save: models are a {type(models).__name__}; expected a dict of them by role")
    folder = Path(folder)
    models = {role: plain(model, role, "save") for role, model in models.items()}
    tensors = {f"{role}.{key}": value for role, m in models.items() for key, value in loadable_state(m).items()}
    tensors = {key: _stored(key, value, dtype) for key, value in tensors.items()}
    config = {
        "name": name or folder.name,
        "models": {role: _describe(model) for role, model in models.items()},
        "info": json.loads(json.dumps(dict(info or {}), default=_for_json)),
    }
    write(folder, config, tensors)


def role_of(cls: type[PretrainedModel]) -> str:
    """The role of a class, inherited by subclasses: the first of its bases that agnlib knows."""
    return next((_ROLES[base.__name__] for base in cls.__mro__ if base.__name__ in _ROLES), cls.__name__.lower())


def uncompiled(model: Module) -> Module:
    """What `torch.compile` wrapped, else the model itself."""
    return cast("Module", getattr(model, "_orig_mod", model))


def plain(model: Module, role: str, who: str) -> Module:
    """The network itself, of what `torch.compile` may have wrapped; its tensors are ordinary ones.

    Raises:
        InputError: it is wrapped by something else, or no network.
    """
    found = uncompiled(model)
    kind = type(found).__name__
    if not isinstance(found, nn.Module) or not hasattr(found, "config"):
        raise InputError(
            f"{who}: the {role} is a {kind} without `config`; give the network itself, not one that is wrapped"
        )
    if isinstance(found, PretrainedModel) and role_of(type(found)) in _ROLES.values() and found.role != role:
        raise InputError(f"{who}: the {role} is a {kind}; give that as {found.role}")
    if any(value.is_meta for value in found.state_dict().values()):
        raise InputError(f"{who}: the {role} is on the device meta, without numbers; load it on another one first")
    return ordinary(found)


def picklable(model: Module) -> Module:
    """The network, or its copy with plain weights where they are parametrized (`weight_norm` and the like).

    Those cannot be pickled.
    """
    if not any(parametrize.is_parametrized(module) for module in model.modules()):
        return model
    twin = copy.deepcopy(model)
    for module in list(twin.modules()):
        if not parametrize.is_parametrized(module):
            continue
        # not by `remove_parametrizations`: it takes the property off the class, which the original has as well
        values = {name: getattr(module, name).detach() for name in cast("nn.ModuleDict", module.parametrizations)}
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
        module._load_state_dict_pre_hooks.clear()  # weight_norm's, which is local to it
    return twin


def loadable_state(model: PretrainedModel) -> dict[str, Tensor]:
    """The tensors of a model under the names that `from_pretrained` looks for.

    Parametrized ones (`weight_norm` and the like) as what they are computed to be.

    Raises:
        WeightsError: its parts are not those of a new model of its options, so it could not be loaded again.
    """
    state = dict(model.state_dict())
    plain = _unparametrized(model, state)
    expected: set[str] = set()
    for cls in type(model).__mro__:
        if not issubclass(cls, PretrainedModel) or cls is PretrainedModel:
            continue
        expected = _names_of(cls, model.config) or expected
        for found in (state, plain):
            if found.keys() == expected:
                return found
    others = ", ".join(sorted(plain.keys() ^ expected)[:3])
    raise WeightsError(
        f"the {model.role} has other parts than a {type(model).__name__} of its options ({others}), so its weights"
        " could not be loaded again; make a subclass whose __init__ adds them"
    )


def _unparametrized(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {key: value for key, value in state.items() if ".parametrizations." not in f".{key}"}
    for name, module in model.named_modules():
        for tensor in getattr(module, "parametrizations", ()):
            found[f"{name}.{tensor}".lstrip(".")] = getattr(module, tensor)
    return found


def _names_of(cls: type[PretrainedModel], config: Any) -> set[str] | None:
    """The names of the tensors of a new model of a class; None where it is not made from these options alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # "meta" would import torch's compiler
            return set(cls(**dataclasses.asdict(config)).state_dict())
    except TypeError:  # an __init__ with arguments of its own
        return None


def _for_json(value: Any) -> Any:
    number = own_number(value)
    if number is value:
        raise InputError(f"save: info has a {type(value).__name__}, {value!r}; expected what JSON can hold")
    return number


def _describe(model: PretrainedModel) -> dict[str, Any]:
    return {"class": path_of(type(model)), "config": dataclasses.asdict(model.config)}


def _stored(key: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    stored = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
    if stored.is_floating_point() and not torch.isfinite(stored).all():
        raise WeightsError(f"the weight {key} is not finite in {dtype}; expected finite numbers: nothing was written")
    return stored


def _build(cls: type[Model], folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model:
    role = role_of(cls)
    if role not in config["models"]:
        raise WeightsError(f"{folder} holds {', '.join(config['models']) or 'nothing'}; expected a {role}")
    # tensors of the usual kind, whatever the caller has as defaults and mode: they may be trained later
    with torch.inference_mode(False), torch.device("cpu"):
        return _built(cls, role, folder, config, tensors)


# the generator's layers that older weights do not have: with zeros they do nothing
_ADDED = ("adapter.", "noise_eighth.by_style.", "noise_quarter.by_style.")


def _built(
    cls: type[Model], role: str, folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Model:
    try:
        described = config["models"][role]
        _check_plausible(described["config"], tensors)
        model = written_by(cls, described.get("class"))(**described["config"]).float()
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise WeightsError(
            f"{_file(folder, _CONFIG)}: the options of the {role} do not fit ({short(error)})"
        ) from error
    state = {key.removeprefix(f"{role}."): value for key, value in tensors.items() if key.startswith(f"{role}.")}
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{_file(folder, _TENSORS)}: {role}.{key} is not finite; get the weights again")
    for key, value in model.state_dict().items():
        if role == "generator" and key not in state and key.startswith(_ADDED):
            state[key] = torch.zeros_like(value)
    try:
        model.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        )
    except RuntimeError as error:
        fits = f"does not fit the {role} of its {_CONFIG if is_file(folder / _CONFIG) else 'run'}"
        raise WeightsError(f"{_file(folder, _TENSORS)} {fits}: {short(error)}") from error
    return model.eval()


def _file(place: Path, name: str) -> Path:
    """One of the files of weights; of a training what was given."""
    return place / name if is_file(place / _CONFIG) else place


def _check_plausible(options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse widths and counts far beyond the stored tensors: networks of that size could take any time and memory."""
    most = max([1024, *(side for tensor in tensors.values() for side in tensor.shape)])
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        if len(values) > 64 or any(isinstance(each, int) and abs(each) > most for each in values):
            raise ValueError(f"{name} is too large for the stored tensors")
