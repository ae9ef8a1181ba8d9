"""The mean of two runs' weights: between an earlier and a later stage of one training, style and drawing trade off.

    python examples/average.py stage-1 stage-2 --share 0.75 --out averaged

Only of weights that began as one does the mean paint: those of two separate trainings average to noise.
Paper: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from agnlib.errors import AgnError
from agnlib.models import pretrained


@torch.no_grad()
def mean(one: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """`other`, with so much of its own weights and the rest of `one`'s."""
    theirs = one.state_dict()
    for name, value in other.state_dict().items():
        if theirs[name].shape != value.shape:
            raise SystemExit(f"{name} has shape {tuple(theirs[name].shape)} and {tuple(value.shape)}: other networks")
        if value.is_floating_point():
            value.copy_(theirs[name].lerp(value, share))
    return other


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", metavar="NAME|FOLDER")
    parser.add_argument("other", metavar="NAME|FOLDER", help="the later stage; its discriminator and facts are kept")
    parser.add_argument("--share", type=float, default=0.5, help="of the other's weights, 0 to 1 (default 0.5)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    if not 0 <= options.share <= 1:
        parser.error(f"--share {options.share}: expected a number from 0 to 1")
    try:
        one, other = (pretrained.load(name) for name in (options.one, options.other))
        models = {
            name: mean(getattr(one, name), getattr(other, name), options.share) for name in ("generator", "extractor")
        }
        if other.discriminator is not None:
            models["discriminator"] = other.discriminator
        info = {**other.info, "averaged": {"share": options.share}}
        pretrained.save(options.out, models, name=options.out.name, info=info, dtype=torch.float16)
    except AgnError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
