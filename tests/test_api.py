"""The public API changes on purpose or not at all."""

from __future__ import annotations

import difflib
import inspect

from api_snapshot import FILE, public_modules, snapshot


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
