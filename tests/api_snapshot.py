"""What other people's code may rely on, as text: public names, signatures, config fields, state-dict keys.

    python tests/api_snapshot.py --write   # after an addition, in the same commit

A line that goes away or changes needs a deprecation first (`agnlib/_shared/deprecation.py`); test_api.py compares.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import agnlib

FILE = Path(__file__).parent / "data" / "api.txt"


def public_modules() -> list[ModuleType]:
    """Every importable module without an underscore in its path that says what it exports."""
    names = [module.name for module in pkgutil.walk_packages(agnlib.__path__, "agnlib.")]
    clean = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
    modules = [agnlib, *(importlib.import_module(name) for name in clean if "kernels" not in name)]
    return [module for module in modules if hasattr(module, "__all__")]


def snapshot() -> str:
    """One fact a line, sorted."""
    lines: set[str] = set()
    for module in public_modules():
        for name in module.__all__:
            lines |= set(_facts(f"{module.__name__}.{name}", getattr(module, name)))
    return "\n".join([*sorted(lines), *_state_keys()]) + "\n"


def _facts(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {path}{_signature(value)}"
        if dataclasses.is_dataclass(value):
            yield from (
                f"field {path}.{field.name}: {field.type} = {_default(field)}" for field in dataclasses.fields(value)
            )
        private = [
            base for base in value.__mro__[1:] if base.__module__.startswith("agnlib.") and "._" in base.__module__
        ]
        for name, member in [entry for each in (value, *private) for entry in vars(each).items()]:
            if not name.startswith("_") or name == "__call__":
                yield from _member(f"{path}.{name}", member)
    elif callable(value):
        yield f"def {path}{_signature(value)}"
    else:
        yield f"name {path}: {type(value).__name__}"


def _member(path: str, member: Any) -> Iterator[str]:
    function = getattr(member, "__func__", member)
    if isinstance(member, property) or hasattr(member, "func"):
        yield f"property {path}"
    elif inspect.isfunction(function):
        yield f"def {path}{_signature(function)}"


def _signature(value: Any) -> str:
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(?)"
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return "required" if field.default_factory is dataclasses.MISSING else "made anew"


def _state_keys() -> Iterator[str]:
    """Names of the weights of each network, as saved files have them."""
    for name in ("Generator", "Discriminator", "StyleExtractor"):
        model = getattr(agnlib, name)()
        yield from (f"weights {name}: {key}" for key in sorted(model.state_dict()))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(__doc__)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(snapshot(), "utf-8")
