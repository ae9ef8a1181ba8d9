"""The gallery's pictures, drawn by the build from the shipped weights: the same weights give the same pictures.

    python docs/_gallery.py   # as the build does, into docs/_generated

They are drawn again when the weights, the reference pictures or this file have changed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "_generated"
EXAMPLES = HERE.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import make_grid  # noqa: E402

from agnlib import Stylizer  # noqa: E402
from agnlib.models import pretrained  # noqa: E402

SIDE = 256  # pixels of a picture's longer side
CLASSES = ("fauvism", "old-masters", "pointillism", "ukiyo-e")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STAMP = "drawn-from.txt"

Row = list[Image.Image | None]


def grid(stylizer: Stylizer, side: int) -> Image.Image:
    """All photographs in all references' styles."""
    return make_grid.grid(stylizer, side)


def random_styles(stylizer: Stylizer, side: int) -> Image.Image:
    """One photograph in the styles of the seeds 0 to 7."""
    photo = _photo("castle", side)
    painted: Row = [stylizer(photo, stylizer.random_style(seed)) for seed in range(8)]
    return make_grid.lay_out([painted[:4], painted[4:]])


def named_styles(stylizer: Stylizer, side: int) -> Image.Image:
    """Two photographs, each in one style of four classes."""
    names = [name for name in CLASSES if name in stylizer.class_names]
    styles = [stylizer.random_style(1, name) for name in names]
    photos = [_photo(name, side) for name in ("mountain", "chelsea")]
    return make_grid.lay_out([[photo, *(stylizer(photo, style) for style in styles)] for photo in photos])


def interpolation(stylizer: Stylizer, side: int) -> Image.Image:
    """From one reference's style to another's in five steps, the references at the ends."""
    names, photo = ("auvers", "spring"), _photo("city", side)
    one, other = (stylizer.encode_style(_path(name)) for name in names)
    first, last = (_photo(name, side) for name in names)
    return make_grid.lay_out([[first, *(stylizer(photo, one.lerp(other, t)) for t in STRENGTHS), last]])


def strengths(stylizer: Stylizer, side: int) -> Image.Image:
    """One photograph from strength 0 to 1."""
    photo, style = _photo("astronaut", side), stylizer.encode_style(_path("poppies"))
    return make_grid.lay_out([[stylizer(photo, style, strength=strength) for strength in STRENGTHS]])


@torch.inference_mode()
def from_nothing(stylizer: Stylizer, side: int) -> Image.Image:
    """Pictures without a photograph: the latents of the seeds 0 to 15, each in the random style of its seed."""
    generator, painted = stylizer.generator, []
    for seed in range(16):
        z = torch.randn(1, generator.config.latent_dim, generator=torch.Generator().manual_seed(seed))
        pixels = generator(z, stylizer.random_style(seed).vector[None], size=(side, side))[0]
        bytes_ = (pixels.clamp(-1, 1) + 1).mul(127.5).round().byte()
        painted.append(Image.fromarray(bytes_.permute(1, 2, 0).numpy()))
    return make_grid.lay_out([list(painted[row : row + 4]) for row in range(0, 16, 4)])


PICTURES: dict[str, Callable[[Stylizer, int], Image.Image]] = {
    "grid": grid,
    "random": random_styles,
    "named": named_styles,
    "interpolation": interpolation,
    "nothing": from_nothing,
    "strength": strengths,
}


def draw(folder: Path, stylizer: Stylizer, side: int, weights: str) -> bool:
    """Draw what is not there yet or was drawn from something else; whether there was anything to do."""
    stamp, file = f"{weights} {side} {_sources()}", folder / STAMP
    there = all((folder / f"{name}.jpg").is_file() for name in PICTURES)
    if there and file.is_file() and file.read_text("utf-8") == stamp:
        return False
    file.unlink(missing_ok=True)
    for name, picture in PICTURES.items():
        make_grid.save(picture(stylizer, side), folder / f"{name}.jpg", most_bytes=500_000)
    file.write_text(stamp, "utf-8")
    return True


def builder_inited(app: Any) -> None:
    """Sphinx's hook."""
    weights = (pretrained.find("agn-small") / "config.json").read_bytes()  # it has the hash of the tensors
    draw(FOLDER, Stylizer.from_pretrained("agn-small", device="cpu"), SIDE, _hash([weights]))


def _sources() -> str:
    pictures = sorted((EXAMPLES / "images").glob("*.jpg"))
    return _hash(file.read_bytes() for file in (Path(__file__), Path(make_grid.__file__), *pictures))


def _hash(contents: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for content in contents:
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


def _path(name: str) -> Path:
    return make_grid.IMAGES / f"{name}.jpg"


def _photo(name: str, side: int) -> Image.Image:
    image = Image.open(_path(name)).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


if __name__ == "__main__":
    builder_inited(None)
