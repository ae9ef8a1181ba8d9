"""`agnlib evaluate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib._shared.paths import is_there, real, refuse_taken
from agnlib.cli._messages import say
from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.evaluation import Judge, Pair
    from agnlib.stylizer import Stylizer

__all__ = ["run"]

_RANDOM_STYLES = 10  # of a photograph


def run(arguments: argparse.Namespace) -> int:
    """Print the table; write scores and contact sheet where they are asked for.

    Raises:
        AgnError: folders without pictures, unknown weights, or a place that cannot be written to. Said before the work.
    """
    from agnlib import evaluation, image
    from agnlib._shared.atomic import write_bytes
    from agnlib.stylizer import Stylizer

    if arguments.out:
        if arguments.out.suffix != ".json":
            raise InputError(f"argument --out: {str(arguments.out)!r} is no name for a JSON file; end it in .json")
        image.check_place(arguments.out)
    if arguments.grid:
        image.check_output(arguments.grid)
        for folder in (arguments.content, arguments.style):
            if is_there(arguments.grid) and real(folder) in real(arguments.grid).parents:
                raise InputError(
                    f"argument --grid: {str(arguments.grid)!r} is a file in {str(folder)!r} itself; choose another name"
                )
    refuse_taken([place for place in (arguments.out, arguments.grid) if place], overwrite=arguments.overwrite)
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    pairs = evaluation.choose_pairs(arguments.content, arguments.style, arguments.pairs, seed=arguments.seed)
    if len(pairs) < arguments.pairs:
        say(f"{len(pairs)} pairs in place of {arguments.pairs}: there are no more of two different pictures")
    stylizers: dict[str, Stylizer] = {}
    for weights in arguments.weights:
        title = weights if Path(weights).name in stylizers else Path(weights).name
        stylizers[title] = Stylizer.from_pretrained(weights, device=arguments.device)
    judge, notes = evaluation.installed_judge()
    for note in notes:
        say(note)
    scores = evaluation.evaluate(stylizers, pairs, judge, progress=True)
    summary = evaluation.summarize(scores)
    print(f"{len(pairs)} pairs; in brackets 95% bootstrap intervals\n\n{evaluation.table(summary)}")
    varied = _varied(arguments, stylizers, pairs, judge)
    if arguments.out:
        named = [{"photo": pair.photo.name, "reference": pair.reference.name} for pair in pairs]
        found = {"seed": arguments.seed, "summary": summary, "pairs": named, "scores": scores, "random styles": varied}
        write_bytes(arguments.out, _encoded(found))
    if arguments.grid:
        image.save(evaluation.contact_sheet(pairs[:8], stylizers), arguments.grid)
    return 0


def _encoded(found: Mapping[str, Any]) -> bytes:
    """As JSON; the bytes of a name that is no UTF-8 as escapes, as JSON has them."""
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _varied(
    arguments: argparse.Namespace, stylizers: Mapping[str, Stylizer], pairs: Sequence[Pair], judge: Judge
) -> dict[str, Any]:
    """The table of random styles, printed; what stands in it."""
    from agnlib import evaluation

    photos = list(dict.fromkeys(pair.photo for pair in pairs))[: arguments.random_styles]
    if not photos:
        return {}
    enough = _RANDOM_STYLES * len(photos)
    dealt = evaluation.choose_pairs(arguments.content, arguments.style, enough, seed=arguments.seed)
    different = list(dict.fromkeys(pair.reference for pair in dealt))
    count = min(_RANDOM_STYLES, len(different))
    if count < 2:
        say("random styles are not judged: they need two references or more")
        return {}
    scores = evaluation.random_styles(
        stylizers, photos, different, judge, count=count, seed=arguments.seed, progress=True
    )
    summary = evaluation.variety(scores)
    print(f"\n{len(photos)} photographs, each in {count} random and {count} real styles\n")
    print(evaluation.variety_table(summary))
    return {"summary": summary, "photos": [photo.name for photo in photos], "scores": scores}
