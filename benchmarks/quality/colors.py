"""Do colors follow the photo? Ten skies, ten faces and ten still lifes in four works' styles.

    python benchmarks/quality/colors.py --weights agn-small --pictures painted --out colors.json

What is painted is kept in --pictures, and not painted again. The same of another commit, painted by this script in a
checkout of it with --paint-only, stands beside it with --beside TITLE=FOLDER.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from agnlib import Stylizer, metrics
from agnlib.styles import works
from benchmarks._common import SHARED, fail, header, markdown_table, write_json

WORKS = ("auvers", "wave", "piano", "composition")
SUBJECTS = {
    "skies": "bsds500_01355 bsds500_01432 sunhays80_01683 ph_budgie_0006 ph_deb_0074 ph_elemh_0017 ph_elemh_0037"
    " ph_elemh_0048 ph_pop_0006 ph_solus_0012",
    "faces": "bsds500_01061 bsds500_01287 bsds500_01450 bsds500_01472 flickr8k_subset_01879 flickr8k_subset_01980"
    " flickr8k_subset_02132 imagenet_samples_00825 ph_azure_0050 ph_azure_0053",
    "still lifes": "imagenet_samples_00919 imagenet_samples_00856 imagenet_samples_00532 bsds500_01203 ph_azure_0032"
    " ph_bakery_0023 ph_bakery_0028 ph_deb_0037 ph_elemh_0025 ph_elemh_0060",
}
WIDTH = 1024  # of the photographs, px
GRAY = 10.0  # chroma: below, a color has no hue to be kept
CAPTION = (
    f"{len(WORKS)} works' styles, photographs {WIDTH} px wide; medians over pictures, in brackets the worst."
    " edge shift: along the borders, colors beside those that the same color of the photo has further in, CIE Lab; the"
    " same a sixth further inside, where nothing is. repetition: likeness to itself elsewhere, 0.2 to 0.4 by chance."
    " drift: how colors wander where the photo has one, in what they wander within the reference. With preserve_color:"
    " hue moved, and how far chroma is from the photo's in proportion to lightness."
)
Rows = dict[str, dict[str, list[float]]]


def photographs(data: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Kind, name, picture."""
    for kind, names in SUBJECTS.items():
        for name in names.split():
            found = [*(data / "photos").glob(f"{name}.*"), *(data / "dev" / "content").glob(f"{name}.*")]
            photo = Image.open(found[0] if found else fail(f"no photograph {name} in {data.name}")).convert("RGB")
            yield kind, name, photo.resize((WIDTH, round(WIDTH * photo.height / photo.width)), Image.Resampling.LANCZOS)


def paint(stylizer: Stylizer, data: Path, folder: Path) -> None:
    """All pictures that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, name, photo in photographs(data):
        for work in WORKS:
            for ending, options in (("", {}), (" kept", {"preserve_color": True})):
                file = folder / f"{name} {work}{ending}.png"
                if not file.is_file():
                    stylizer(photo, work, **options).save(file)  # type: ignore[arg-type]


def judged(data: Path, folder: Path) -> Rows:
    """By kind of photograph and metric, a value for each picture."""
    references = {work: _tensor(Image.open(works.available()[work].path)) for work in WORKS}
    rows: Rows = {kind: {} for kind in SUBJECTS}
    for kind, name, picture in photographs(data):
        photo = _tensor(picture)
        for work in WORKS:
            painted, kept = (_tensor(Image.open(folder / f"{name} {work}{end}.png")) for end in ("", " kept"))
            for metric, value in _measured(painted, kept, photo, references[work]).items():
                rows[kind].setdefault(metric, []).append(value)
    return rows


def _measured(painted: Tensor, kept: Tensor, photo: Tensor, reference: Tensor) -> dict[str, float]:
    inset = min(photo.shape[2:]) // 6
    inner = [each[..., inset:-inset, inset:-inset] for each in (painted, photo)]
    hue, chroma = _kept(kept, photo)
    return {
        "edge shift": metrics.edge_shift(painted, photo).item(),
        "inside": metrics.edge_shift(*inner).item(),
        "repetition": metrics.repetition(painted, photo).item(),
        "drift": metrics.color_drift(painted, photo, reference).item(),
        "hue moved": hue,
        "chroma off": chroma,
    }


def _kept(painted: Tensor, photo: Tensor) -> tuple[float, float]:
    """Degrees by which hues have moved, and by how much chroma is not in proportion to lightness, means over pixels."""
    (light, *ab), (light0, *ab0) = (metrics.rgb_to_lab(each)[0] for each in (painted, photo))
    (chroma, hue), (chroma0, hue0) = ((torch.hypot(*each), torch.atan2(*each[::-1])) for each in (ab, ab0))
    seen = (chroma0 > GRAY) & (light > GRAY) & (light0 > GRAY)
    moved = torch.rad2deg((hue - hue0 + torch.pi).remainder(2 * torch.pi) - torch.pi).abs()
    ratio = ((chroma / light) / (chroma0 / light0).clamp_min(1e-6))[seen].clamp_min(1e-3)
    return moved[seen & (chroma > GRAY)].mean().item(), ratio.log().abs().mean().exp().item() - 1


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1


def table(sets: Mapping[str, Rows]) -> str:
    """A line for each kind of photograph and set of pictures."""
    names = list(next(iter(next(iter(sets.values())).values())))
    lines = [
        [kind, title, *(_cell(rows[kind][name]) for name in names)] for kind in SUBJECTS for title, rows in sets.items()
    ]
    return markdown_table(["photographs", "painted by", *names], lines)


def _cell(values: Sequence[float]) -> str:
    return f"{np.nanmedian(values):.2f} ({np.nanmax(values):.2f})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Do colors follow the photo, and do they have edges and repeats?")
    add = parser.add_argument
    add("--weights", default="agn-small", metavar="NAME|FOLDER", help="of ours (default agn-small)")
    add("--pictures", type=Path, required=True, metavar="DIR", help="what is painted, and is not painted again")
    add("--beside", action="append", default=[], metavar="TITLE=DIR", help="what another commit painted")
    add("--paint-only", action="store_true", help="judge nothing")
    add("--data", type=Path, default=SHARED / "data", help="a folder with dev/ and photos/")
    add("--out", type=Path, metavar="FILE.json", help="all values")
    add("--threads", type=int, default=2, help="of torch (default 2)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    stylizer = Stylizer.from_pretrained(options.weights, device="cpu")
    paint(stylizer, options.data, options.pictures)
    if options.paint_only:
        return
    others = dict(each.split("=", 1) for each in options.beside)
    sets = {title: judged(options.data, Path(folder)) for title, folder in others.items()}
    sets[Path(options.weights).name] = judged(options.data, options.pictures)
    print(f"{CAPTION}\n\n{table(sets)}")
    if options.out:
        write_json(options.out, header(works=WORKS, width=WIDTH, threads=options.threads) | {"values": sets})


if __name__ == "__main__":
    main()
