"""`agnlib evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from agnlib._cli_messages import say
from agnlib.errors import InputError

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Print the table; write scores and contact sheet where they are asked for.

    Raises:
        AgnError: folders without pictures, unknown weights, or a place that cannot be written to. Said before the work.
    """
    from agnlib import evaluation, image
    from agnlib._atomic import write_bytes
    from agnlib.stylizer import Stylizer

    if arguments.out:
        if arguments.out.suffix != ".json":
            raise InputError(f"argument --out: {str(arguments.out)!r} is no name for a JSON file; end it in .json")
        image.check_place(arguments.out)
    if arguments.grid:
        image.check_output(arguments.grid)
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    pairs = evaluation.choose_pairs(arguments.photos, arguments.styles, arguments.pairs, seed=arguments.seed)
    painters: dict[str, evaluation.Painter] = {}
    for weights in arguments.weights:
        title = weights if Path(weights).name in painters else Path(weights).name
        painters[title] = Stylizer.from_pretrained(weights, device=arguments.device)
    judge, notes = evaluation.installed_judge()
    for note in notes:
        say(note)
    scores = evaluation.evaluate(painters, pairs, judge, progress=True)
    summary = evaluation.summarise(scores)
    print(f"{len(pairs)} pairs; in brackets 95% bootstrap intervals\n\n{evaluation.table(summary)}")
    if arguments.out:
        named = [{"photo": pair.photo.name, "reference": pair.reference.name} for pair in pairs]
        found = {"seed": arguments.seed, "summary": summary, "pairs": named, "scores": scores}
        write_bytes(arguments.out, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    if arguments.grid:
        image.save(evaluation.contact_sheet(pairs[:8], painters), arguments.grid)
    return 0
