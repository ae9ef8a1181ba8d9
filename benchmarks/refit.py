"""Styles by name of existing weights, fitted anew as `agnlib train` fits them; all else stays as it is, bit for bit.

python benchmarks/refit.py --weights FOLDER --content PHOTOS --style STYLES --out REFITTED
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from _common import fail
from safetensors import safe_open

from agnlib.errors import AgnError, InputError
from agnlib.models import pretrained
from agnlib.training.data.pairs import PictureFolder
from agnlib.training.names.naming import name_styles

_CROP, _CARD = 216, "README.md"
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def refit(weights: str | Path, content: Path, style: Path, out: Path, steps: int | None = None) -> None:
    """Write the weights into `out` with a mapping for these pictures.

    Raises:
        InputError: a folder without pictures, or with other classes than the weights have.
        WeightsError: the weights cannot be loaded or written.
    """
    bundle = pretrained.load(weights)
    for model in (bundle.generator, bundle.extractor):
        model.eval().to(memory_format=torch.channels_last)
    styles = PictureFolder(style, _CROP)
    if styles.class_names != bundle.class_names:
        raise InputError(
            f"--style: {style} has the classes {_listed(styles.class_names)},"
            f" the weights {_listed(bundle.class_names)}; give the folder that they were trained on"
        )
    training = bundle.info.get("training", {})
    scale = training.get("trainer", {}).get("stroke_scale", 1)
    photos = PictureFolder(content, round(training["crop"] * scale) if "crop" in training else _CROP)
    name_styles(bundle.generator, bundle.extractor, photos, styles, steps=steps)
    models = {"generator": bundle.generator, "extractor": bundle.extractor, "discriminator": bundle.discriminator}
    kept = {role: model for role, model in models.items() if model is not None}
    pretrained.save(out, kept, name=bundle.name, info=bundle.info, dtype=_dtype(bundle.folder))
    card = bundle.folder / _CARD
    if card.is_file() and not (out / _CARD).exists():
        shutil.copyfile(card, out / _CARD)


def _dtype(folder: Path) -> torch.dtype:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return _DTYPES[file.get_slice("generator.mapping.weight").get_dtype()]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "(none)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the styles by name of existing weights anew.")
    add = parser.add_argument
    add("--weights", required=True, metavar="NAME|FOLDER")
    add("--content", type=Path, required=True, help="a folder of photographs, of which a dozen are painted")
    add("--style", type=Path, required=True, help="the folder with a folder for each class that they were trained on")
    add("--out", type=Path, required=True, metavar="FOLDER")
    add("--steps", type=int, help="of sharpening each class (default as agnlib train: 16)")
    add("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        refit(options.weights, options.content, options.style, options.out, options.steps)
    except AgnError as error:
        fail(str(error))
    print(f"weights in {options.out}")


if __name__ == "__main__":
    main()
