"""The shipped weights' recipes: every command in them is one that the programs take, and begins with what there is."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from agnlib.cli import main as cli

RECIPES = Path(__file__).resolve().parents[2] / "examples" / "recipes"
PROGRAMS = ("agnlib", "python", "git", "sed")


@pytest.fixture(params=sorted(RECIPES.glob("*.sh")), ids=lambda path: path.stem)
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> list[list[str]]:
    """What a recipe calls, one after another, with programs that only write down how they are called."""
    for name in PROGRAMS:
        (tmp_path / name).write_text(
            f'#!/bin/sh\nprintf "%s\\t" {name} "$@" >>"{tmp_path}/log"\necho >>"{tmp_path}/log"\n'
        )
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", request.param, "photos", "works", f"{tmp_path}/out"], env=environment, check=True)
    return [line.split("\t")[:-1] for line in (tmp_path / "log").read_text().splitlines()]


def test_the_programs_take_the_options(commands: list[list[str]]) -> None:
    parser, _ = cli._parser()
    for program, *arguments in commands:
        if program == "agnlib":
            assert parser.parse_args(arguments)
        elif program == "python" and arguments[0].startswith("examples/"):  # the others lie in the history
            text = (RECIPES.parents[1] / arguments[0]).read_text("utf-8")
            assert all(f'"{word}"' in text for word in arguments if word.startswith("--"))
    assert sum(program == "agnlib" for program, *_ in commands) > 3


def test_each_stage_begins_with_what_there_is(commands: list[list[str]]) -> None:
    made: set[str] = set()
    for program, *arguments in commands:
        options = dict(pairwise(arguments))
        if program == "git":
            made.add(arguments[2])
        begun = [options[name] for name in ("--init", "--weights", "--teacher") if name in options]
        if program == "python" and arguments[0].endswith("average.py"):
            begun += arguments[1:3]
        assert all(any(path.startswith(place) for place in made) for path in begun)
        made |= {options["--out"]} if "--out" in options else set()
    assert Path(options["--out"]).name in ("agn-small", "agn-fast")
