"""The reference of the command line, from the program's own parsers; a hook of conf.py.

A page of reference/ has a mark, which the commands with their options take the place of when the docs are built.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from agnlib.cli import main

_MARK = "<!-- commands -->"
_CODE = re.compile(r"`[^`]*`|(?<![\w-])--[a-z][a-z-]*")


def commands_read(app: Any, page: str, source: list[str]) -> None:
    """Put the commands into the page that has the mark."""
    if _MARK in source[0]:
        source[0] = source[0].replace(_MARK, "\n".join(_listing()))


def _listing() -> Iterator[str]:
    _, commands = main._parser()
    for name, parser in commands.items():
        yield from _command(name, parser)


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    example, _, says = str(parser.description).partition("\n\n")
    usage = parser.format_usage().removeprefix("usage: ").strip()
    yield from (f"## agnlib {name}", "", says, "", "```text", usage, f"# {example}", "```", "")
    yield from ("```{eval-rst}", f".. program:: agnlib {name}", "")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help and action.dest != "help"]
        if actions and group.title:
            yield from (f".. rubric:: {group.title.capitalize()}", "")
        for action in actions:
            yield from _option(action)
    yield from ("```", "")
    if parser.epilog:
        yield from ("```text", parser.epilog, "```", "")


def _option(action: argparse.Action) -> Iterator[str]:
    """As Sphinx's `option`; what is no option is named by its metavar."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    names = [f"{name} {value}".rstrip() for name in action.option_strings] or [value]
    more = " ..." if action.nargs in ("+", "*") else ""
    text = " ".join(str(action.help).split()).replace("%%", "%").replace("*", "\\*")
    text = _CODE.sub(lambda found: f"``{found[0].strip('`')}``", text)
    yield from (f".. option:: {', '.join(name + more for name in names)}", "", f"   {text}", "")
