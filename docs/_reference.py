"""The reference's last page, and what autodoc's signatures need; hooks of conf.py.

Packages have pages of their own. What is public in a module and in none of these pages is listed here from the modules
themselves, so that no public name can be forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import agnlib

_PAGES = Path(__file__).parent / "reference"
_MARK = "<!-- modules -->"
_DATA = {
    "agnlib.evaluation.BASELINES": "Row -> painter: the photograph itself, and the reference itself.",
    "agnlib.evaluation.COLUMNS": "What is measured, in the order of the table.",
    "agnlib.image.DEFAULT_LIMITS": "The limits that files are read with where no others are given.",
    "agnlib.image.SUFFIXES": "Suffixes of the picture formats that are written.",
    "agnlib.metrics.lpips_heads": "The weights of LPIPS heads for the taps that `content_distance` uses.",
    "agnlib.models.encoders.VGG16_FILE_VARIABLE": "The environment variable that names a file of VGG16's weights.",
    "agnlib.models.pretrained.FORMAT_VERSION": "Of the saved models that this version writes.",
    "agnlib.styles.code.CODE_SUFFIX": "Of the files that `StyleCode.save` writes.",
    "agnlib.training.data.augment.AUGMENTATIONS": "What pictures can be augmented by, by name.",
    "agnlib.training.config.LOSSES": "The adversarial losses by name, and the article's rates that suit each.",
    "agnlib.training.objective.recipe.PERCEPTUAL": "The names of the perceptual encoders.",
    "agnlib.video.SUFFIXES": "Suffixes of the clips that are read.",
    "agnlib.video.TARGET_SUFFIXES": "Suffixes of the clips that are written.",
}
_TYPES = (  # types.md has them
    *("PictureFile", "PictureLike", "Term", "Painter", "Pictures", "Listener", "OnFile"),
    *("OneStyle", "MixedStyle", "Style", "StyleLike", "PaintingOptions", "TrainSettings", "FinetuneSettings"),
)
_WITHOUT_SIGNATURE = ("agnlib.image.Picture", "agnlib.image.picture.Picture")  # made by `take`


def public_modules() -> list[ModuleType]:
    """Every module without an underscore in its path that says what it exports."""
    names = [module.name for module in pkgutil.walk_packages(agnlib.__path__, "agnlib.")]
    clean = [name for name in names if "kernels" not in name and not any(p.startswith("_") for p in name.split("."))]
    return [module for module in map(importlib.import_module, clean) if hasattr(module, "__all__")]


def builder_inited(app: Any) -> None:
    """Show the signature of `Stylizer.__call__` itself, with options and defaults, in place of its overloads."""
    analyzer = ModuleAnalyzer.for_module("agnlib.stylizer")
    analyzer.analyze()
    analyzer.overloads.clear()


def modules_read(app: Any, page: str, source: list[str]) -> None:
    """Put the listing into the page that has the mark."""
    source[0] = source[0].replace(_MARK, "\n".join(_listing()))


def _listing() -> Iterator[str]:
    paged = {f"agnlib.{path.stem}" for path in _PAGES.glob("*.md")}
    modules = sorted(public_modules(), key=lambda module: (module.__name__ not in paged, module.__name__))
    shown: set[int] = set()
    for module in modules:
        entries = []
        for name in module.__all__:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            is_object = inspect.isclass(value) or callable(value)
            known = inspect.ismodule(value) or name in _TYPES or (is_object and id(value) in shown)
            if is_object:
                shown.add(id(value))
            if not known and not (is_object and module.__name__ in paged) and _is_home(path):
                entries += _entry(path, value)
        if entries:
            yield from (f"## {module.__name__}", "", inspect.cleandoc(module.__doc__ or ""), "", "```{eval-rst}")
            yield from (*entries, "```", "")


def _is_home(path: str) -> bool:
    """Whether data of that name are listed there, and not where they were imported from."""
    name = path.rpartition(".")[2]
    homes = [known for known in _DATA if known.rpartition(".")[2] == name]
    return not homes or path in homes


def _entry(path: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {path}", ""]
    if callable(value):
        return [f".. autofunction:: {path}", ""]
    return [f".. py:data:: {path}", "", f"   {_DATA[path]}", ""]


def signature(  # noqa: PLR0917 - Sphinx calls it
    app: Any, what: str, name: str, obj: Any, options: Any, given: str | None, returned: str | None
) -> Any:
    """Autodoc's hook: defaults that are made by a function are no Python, and hide the types beside them."""
    if name in _WITHOUT_SIGNATURE:
        return "", None
    return (given.replace("<factory>", "...") if given else given), returned
