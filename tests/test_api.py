"""The public API changes on purpose or not at all."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from pathlib import Path

from api_snapshot import FILE, public_modules, snapshot

from agnlib import Generator, StyleExtractor, Stylizer


def test_public_names_signatures_fields_and_weights_are_those_of_the_snapshot() -> None:
    before, now = FILE.read_text("utf-8").splitlines(), snapshot().splitlines()
    changes = [
        line for line in difflib.unified_diff(before, now, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")
    ]
    gone = [line for line in changes if line.startswith("-")]
    assert not gone, "gone or changed; deprecate first, see agnlib/_shared/deprecation.py:\n" + "\n".join(changes)
    assert not changes, "new; run python tests/api_snapshot.py --write and commit it along:\n" + "\n".join(changes)


def test_every_public_name_is_documented_where_it_is_exported() -> None:
    for module in public_modules():
        assert module.__doc__, module.__name__
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                assert value.__doc__, f"{module.__name__}.{name}"


def test_the_attributes_of_a_stylizer_are_in_its_help() -> None:
    stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
    said = inspect.cleandoc(Stylizer.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^    (\w+):", said, re.MULTILINE)) == {name for name in vars(stylizer) if name[0] != "_"}


def test_the_types_page_names_what_can_be_imported() -> None:
    page = Path(__file__).resolve().parents[1] / "docs" / "reference" / "types.md"
    named = re.findall(r"py:type:: ([\w.]+)\.(\w+)$", page.read_text("utf-8"), re.MULTILINE)
    assert len(named) > 10
    for module, name in named:
        assert name in vars(importlib.import_module(module)), f"{module}.{name}"
    for name in ("Listener", "MixedStyle", "OneStyle", "PaintingOptions", "Style"):
        assert ("agnlib.stylizer", name) in named
