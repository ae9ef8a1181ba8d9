"""The import of optional packages: present, or one typed error with the pip command."""

from __future__ import annotations

import importlib
from types import ModuleType

from agnlib.errors import MissingDependencyError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingDependencyError` naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a torchvision built for another torch fails with RuntimeError, not ImportError
        package = module.split(".", maxsplit=1)[0]
        wanted = f"agnlib[{extra}]" if extra else package
        raise MissingDependencyError(
            f"{purpose} needs the package {package!r}, which could not be imported ({error});"
            f' install it: pip install "{wanted}"'
        ) from error
