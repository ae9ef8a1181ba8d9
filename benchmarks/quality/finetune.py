"""One painting in minutes: weights as shipped, with a refined style code, and fine-tuned, judged on photos of neither.

    python benchmarks/quality/finetune.py --reference examples/images/auvers.jpg --minutes 5 --picture finetune.jpg

`agnlib finetune` sees the reference and the training photographs; `Stylizer.refine_style` the reference and one of the
photographs that are judged, as a user would have it. Judged by the columns of quality.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from agnlib import Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.evaluation import Painter
from agnlib.training.run.finetune import finetune
from benchmarks._common import CHECKOUT, SHARED, fail, header, write_json

SCALE = 0.75  # of the contact sheet
SHOWN = ("castle", "mountain", "chelsea")


def painters(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Painter], dict[str, float]]:
    """The rows, and the seconds that each took beforehand."""
    shipped = Stylizer.from_pretrained(options.init, device="cpu")
    first, _ = _pairs(options)[0].open()
    begun = time.perf_counter()
    code = shipped.refine_style(options.reference, content=first)
    refining = time.perf_counter() - begun
    begun = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        kept = {"init": options.init, "minutes": options.minutes, "threads": options.threads}
        finetune(options.data / "train" / "content", options.reference, folder, perceptual=options.net, **kept)
    tuning = time.perf_counter() - begun
    tuned = Stylizer.from_pretrained(folder, device="cpu")
    rows: dict[str, Painter] = {
        options.init: shipped,
        "refined code": lambda photo, reference: shipped(photo, code),
        "fine-tuned": tuned,
    }
    return rows, {"refined code": refining, "fine-tuned": tuning}


def _pairs(options: argparse.Namespace) -> list[evaluation.Pair]:
    dev = options.data / "dev"
    dealt = evaluation.choose_pairs(dev / "content", dev / "style", options.photos)
    return [evaluation.Pair(pair.photo, options.reference) for pair in dealt]


def sheet(reference: Path, rows: Mapping[str, Painter]) -> Image.Image:
    """Photographs that the project may show and what was made of them, a line each."""
    pairs = [evaluation.Pair(CHECKOUT / "examples" / "images" / f"{name}.jpg", reference) for name in SHOWN]
    whole = evaluation.contact_sheet(pairs, rows)
    size = round(whole.width * SCALE), round(whole.height * SCALE)
    return whole.resize(size, Image.Resampling.LANCZOS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="FILE")
    add("--init", default="agn-small", metavar="NAME|FOLDER")
    add("--minutes", type=float, default=5)
    add("--photos", type=int, default=20, help="how many are judged (default 20)")
    add("--net", default="vgg16", help="as --perceptual of agnlib finetune (default vgg16, as there)")
    add("--data", type=Path, default=SHARED / "data", help="a folder with train/ and dev/")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors")
    add("--threads", type=int, default=2)
    add("--picture", type=Path, metavar="FILE")
    add("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("AGNLIB_VGG16", str(options.vgg))
    try:
        judge, _ = evaluation.installed_judge(options.vgg)
        with tempfile.TemporaryDirectory() as folder:
            rows, seconds = painters(options, Path(folder) / "tuned")
            pairs = _pairs(options)
            scores = evaluation.evaluate(rows, pairs, judge, progress=True)
            summary = evaluation.summarize(scores)
            picture = sheet(options.reference, rows) if options.picture else None
    except AgnError as error:
        fail(str(error))
    took = ", ".join(f"{row} {value:.0f} s" for row, value in seconds.items())
    print(
        f"{len(pairs)} photographs, one reference. Beforehand: {took}.\n\n{evaluation.table(summary, intervals=False)}"
    )
    if picture:
        picture.save(options.picture, quality=88)
    if options.out:
        settings = {"minutes": options.minutes, "reference": options.reference.name, "seconds": seconds}
        write_json(options.out, header(**settings) | {"summary": summary})


if __name__ == "__main__":
    main()
