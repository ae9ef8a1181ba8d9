"""What the demo page does when it is asked for a painting."""

from __future__ import annotations

import base64
import html
import io
import re
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image
from torch import Tensor

from agnlib import image
from agnlib._shared.paths import is_folder
from agnlib.errors import AgnError, InputError
from agnlib.image import DEFAULT_LIMITS, reduced_size
from agnlib.neighbors import Plan, Progress
from agnlib.painting._effect import Effect
from agnlib.painting._neighbor_painter import NeighborPainter
from agnlib.painting._photo import Photo
from agnlib.painting._rendering import rows
from agnlib.styles import works
from agnlib.styles._names import ANY
from agnlib.styles._reader import pictured

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = [
    "BY_CHANCE",
    "BY_NAME",
    "BY_PICTURE",
    "DRAWING",
    "KEPT_SECONDS",
    "NEIGHBORS",
    "NETWORK",
    "Now",
    "Studio",
    "Wish",
    "blamed",
    "data_url",
    "is_drawn",
]

BY_PICTURE, BY_NAME, BY_CHANCE = "a picture", "a name", "chance"
NETWORK, NEIGHBORS = "network", "neighbors"
DRAWING = Plan().drawing
_NEIGHBORS_SIDE = 640  # pixels of the longer side that neighbors paint: half a minute of work
KEPT_SECONDS = 3600  # uploads and paintings
_PREVIEW_SIDE = 1600  # pixels of what is shown; what is downloaded has the photo's own size
_LONGEST_SECONDS = 600  # of one painting: the others wait for it
_THUMBNAIL_SIDE = 112


@dataclass(frozen=True)
class Now:
    """How far a painting is.

    Attributes:
        share: of the work that is done, up to 1.
        pixels: `(1, 3, h, w)` in about [-1, 1], the picture as it is now; None where there is none before the end.
    """

    share: float
    pixels: Tensor | None = None

    @property
    def picture(self) -> Image.Image | None:
        """To be shown."""
        if self.pixels is None:
            return None
        values = self.pixels[0].add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)
        return Image.fromarray(values.permute(1, 2, 0).numpy())


Told = Callable[[Now], None]


@dataclass(frozen=True)
class Wish:
    """What a visitor asks for, in the order of the page's inputs."""

    photo: str | None
    way: str
    picture: str | None
    name: str | None
    seed: float | None
    strength: float
    texture: float
    color: float
    scale: float
    method: str = NETWORK
    drawing: float = DRAWING

    @property
    def is_whole(self) -> bool:
        """Whether there is something to paint, and something to paint it by."""
        return self.photo is not None and self.style is not None

    @property
    def drawn(self) -> int | None:
        """The seed, where it matters."""
        return int(self.seed or 0) if is_drawn(self.way, self.name) else None

    @property
    def style(self) -> str | None:
        """A file or a name."""
        return {BY_PICTURE: self.picture, BY_NAME: self.name}.get(self.way, ANY)

    @property
    def size(self) -> int | None:
        """Pixels that the longer side of the photo is reduced to."""
        return _NEIGHBORS_SIDE if self.method == NEIGHBORS else None

    @property
    def effect(self) -> Effect:
        """How much of the style."""
        scale: float | Literal["auto"] = "auto" if self.scale == 1 else self.scale
        return Effect(strength=self.strength, texture=self.texture, color=self.color, scale=scale)

    def recipe(self, weights: str | None) -> str:
        """The command that paints the same.

        Example:
            >>> Wish("/tmp/a b.jpg", BY_NAME, None, "ukiyo-e", 3, 0.7, 1, 1, 1).recipe("agn-small")
            "agnlib stylize 'a b.jpg' --style ukiyo-e --seed 3 --strength 0.7 -o 'a b-painted.png'"
        """
        style = _local(self.picture) if self.way == BY_PICTURE else self.style or ""
        words = ["agnlib", "stylize", _local(self.photo), "--style", style]
        if self.method == NEIGHBORS:
            words += ["--method", NEIGHBORS, "--drawing", f"{self.drawing:g}", "--size", str(self.size)]
        if self.drawn is not None:
            words += ["--seed", str(self.drawn)]
        for option in ("strength", "texture", "color", "scale"):
            value = getattr(self, option)
            words += [] if value == 1 else [f"--{option}", f"{value:g}"]
        if weights != "agn-small":
            words += ["--weights", weights or "FOLDER"]
        return shlex.join([*words, "-o", _painted_name(self.photo)])


@dataclass(frozen=True)
class Studio:
    """Paints what the page asks for, one picture at a time."""

    stylizer: Stylizer
    folder: Path
    _free: threading.Lock = field(default_factory=threading.Lock)

    def painted(self, wish: Wish, told: Told = lambda now: None) -> tuple[Path, str, str]:
        """The file, before and after as a piece of a page, and a line about it.

        Raises:
            AgnError: something is missing, or cannot be painted.
        """
        self._check(wish)
        with self._free:  # of a painting that was stopped, whose last step takes a moment
            return self._painted(wish, told)

    def _painted(self, wish: Wish, told: Told) -> tuple[Path, str, str]:
        started = time.perf_counter()

        def telling(now: Now) -> None:
            told(now)
            if time.perf_counter() - started > _LONGEST_SECONDS:
                raise InputError(f"this takes longer than {_LONGEST_SECONDS // 60} minutes; give a smaller photo")

        self._forget_old()
        target = Path(tempfile.mkdtemp(dir=self.folder)) / _painted_name(wish.photo)
        size, reduced = self._paint(wish, target, telling)
        line = f"{size[1]} x {size[0]} pixels in {time.perf_counter() - started:.1f} s"
        if reduced:
            line += f"; for it the photo's longer side was reduced to {wish.size} pixels"
        return target, _comparison(wish, target), line

    def thumbnails(self, photo: Path) -> tuple[dict[str, str], dict[str, str]]:
        """For styles by name the work, or the photo in the class; and the photo by the first seeds.

        Both are addresses that hold a small picture.
        """
        small, paint = _thumbnail(photo), self.stylizer
        of_works = {name: data_url(_thumbnail(work.path)) for name, work in works.available().items()}
        classes = {name: data_url(paint(small, name, seed=1)) for name in paint.class_names}
        seeds = {str(seed): data_url(paint(small, ANY, seed=seed)) for seed in range(1, 9) if classes}
        return {**of_works, **classes}, seeds

    def _check(self, wish: Wish) -> None:
        if wish.photo is None:
            raise InputError("drop a photo first")
        if wish.way == BY_PICTURE and wish.picture is None:
            raise InputError("drop a style picture first")
        if wish.way == BY_NAME and wish.name not in (*works.available(), *self.stylizer.class_names):
            raise InputError("choose a name first")

    def _paint(self, wish: Wish, target: Path, told: Told) -> tuple[tuple[int, int], bool]:
        """As `Stylizer.stylize_file`, telling how far it is: the painting's size, and whether the photo was reduced."""
        assert wish.photo is not None
        by_neighbors = wish.method == NEIGHBORS
        style: Any = pictured(wish.style, wish.drawn) if by_neighbors else wish.style
        painter = self._painter(wish, style, told) if by_neighbors else None
        photo = Photo.open(wish.photo, target, limits=replace(DEFAULT_LIMITS, reduced_to=wish.size))
        options: dict[str, Any] = {"mask": None, "seed": wish.drawn, "size": wish.size, "painter": painter}
        painting = self.stylizer._painting(photo.picture, style, wish.effect, **options)
        painted = rows(painting) if by_neighbors else rows(painting, lambda done, total: told(Now(done / total)))
        with image.writing(target, painted.shape, painted.kind) as write:
            for part in painted.parts:
                write(part)
        return painted.shape[:2], painted.shape[:2] != photo.picture.size

    def _painter(self, wish: Wish, style: Any, told: Told) -> NeighborPainter | None:
        def on_step(now: Progress) -> None:
            told(Now(now.done / now.total, now.picture))

        return NeighborPainter.chosen(NEIGHBORS, [style], self.stylizer.device, drawing=wish.drawing, on_step=on_step)

    def _forget_old(self) -> None:
        """Remove paintings that nobody will ask for any more."""
        for each in self.folder.iterdir():
            if is_folder(each) and time.time() - each.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)


def is_drawn(way: str, name: str | None) -> bool:
    """Whether a seed decides which style it is: a picture and a work of art are what they are."""
    return way == BY_CHANCE or (way == BY_NAME and name not in works.available())


def _thumbnail(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        small = opened.convert("RGB")
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    return small


def _local(path: str | None) -> str:
    """A file as its owner would name it, never as an option."""
    name = Path(path or "PICTURE").name
    return f"./{name}" if name.startswith("-") else name


def _painted_name(photo: str | None) -> str:
    return f"{Path(_local(photo)).stem[:60].lstrip('-') or 'photo'}-painted.png"


def blamed(error: AgnError) -> str:
    """A message about a file without the folder that the upload lies in."""
    return re.sub("'([^']+)'", lambda found: f"'{Path(found[1]).name}'", str(error))


_COMPARISON = """\
<figure class="agn-compare" style="--cut: 50%; aspect-ratio: {width} / {height}; --ratio: calc({width} / {height})">
<img class="agn-after" src="{after}" alt="{after_text}">
<img class="agn-before" src="{before}" alt="{before_text}">
<span class="agn-tag agn-left" aria-hidden="true">before</span>
<span class="agn-tag agn-right" aria-hidden="true">after</span>
<input type="range" min="0" max="100" value="50" aria-label="How much of the photo is shown, from the left, in per cent"
 oninput="this.parentNode.style.setProperty('--cut', this.value + '%')">
</figure>"""


def _comparison(wish: Wish, target: Path) -> str:
    """Both pictures on top of each other, with a handle that mouse, finger and arrow keys move."""
    before, after = _preview(str(wish.photo)), _preview(target)
    name = _local(wish.photo)
    style = _local(wish.picture) if wish.way == BY_PICTURE else wish.name if wish.way == BY_NAME else BY_CHANCE
    style = f"{style}" if wish.drawn is None else f"{style}, seed {wish.drawn}"
    return _COMPARISON.format(
        width=after.width,
        height=after.height,
        before=data_url(before, quality=90),
        after=data_url(after, quality=92),
        before_text=html.escape(f"{name}, the photo"),
        after_text=html.escape(f"{name}, painted in the style of {style}"),
    )


def _preview(source: str | Path) -> Image.Image:
    """A picture small enough for a browser."""
    whole = image.load(source)
    height, width = reduced_size((whole.height, whole.width), longer=_PREVIEW_SIDE)
    return whole.resize((width, height))


def data_url(picture: Image.Image, quality: int = 80) -> str:
    """A picture as an address that holds it, so that no file lies about."""
    held, solid = io.BytesIO(), Image.new("RGB", picture.size, "white")
    solid.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    solid.save(held, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
