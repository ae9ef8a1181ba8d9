"""What the demo page does when it is asked for a painting."""

from __future__ import annotations

import base64
import html
import io
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from agnlib import image
from agnlib._paths import is_folder
from agnlib.errors import AgnError, InputError
from agnlib.image import reduced_size
from agnlib.painting._painting import Effect
from agnlib.painting._photo import Photo
from agnlib.painting._whole import rows

if TYPE_CHECKING:
    from agnlib.styles.code import StyleCode
    from agnlib.stylizer import Stylizer

__all__ = ["BY_CHANCE", "BY_NAME", "BY_PICTURE", "KEPT_SECONDS", "Studio", "Wish", "data_url"]

BY_PICTURE, BY_NAME, BY_CHANCE = "a picture", "a name", "chance"
KEPT_SECONDS = 3600  # uploads and paintings
_PREVIEW_SIDE = 1600  # pixels of what is shown; what is downloaded has the photo's own size
_LONGEST_SECONDS = 600  # of one painting: the others wait for it
_THUMBNAIL_SIDE = 112

Told = Callable[[float], None]


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

    @property
    def is_whole(self) -> bool:
        """Whether there is something to paint, and something to paint it by."""
        needed = {BY_PICTURE: self.picture, BY_NAME: self.name}.get(self.way, self.way)
        return self.photo is not None and needed is not None

    @property
    def drawn(self) -> int | None:
        """The seed, where it matters."""
        return None if self.way == BY_PICTURE else int(self.seed or 0)

    @property
    def effect(self) -> Effect:
        """How much of the style."""
        return Effect(strength=self.strength, texture=self.texture, color=self.color, scale=self.scale)

    def recipe(self, weights: str | None) -> str:
        """The command that paints the same.

        Example:
            >>> Wish("/tmp/a b.jpg", BY_NAME, None, "ukiyo-e", 3, 0.7, 1, 1, 1).recipe("agn-small")
            "agnlib stylize 'a b.jpg' --style ukiyo-e --seed 3 --strength 0.7 -o 'a b-painted.png'"
        """
        style = {BY_PICTURE: _local(self.picture), BY_NAME: self.name or ""}.get(self.way, "random")
        words = ["agnlib", "stylize", _local(self.photo), "--style", style]
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
    """Paints what the page asks for."""

    stylizer: Stylizer
    folder: Path

    def painted(self, wish: Wish, told: Told = lambda share: None) -> tuple[Path, str, str]:
        """The file, before and after as a piece of a page, and a line about it.

        Raises:
            AgnError: something is missing, or cannot be painted.
        """
        style = self._style(wish)
        started = time.perf_counter()

        def telling(share: float) -> None:
            told(share)
            if time.perf_counter() - started > _LONGEST_SECONDS:
                raise InputError(f"this takes longer than {_LONGEST_SECONDS // 60} minutes; give a smaller photo")

        self._forget_old()
        target = Path(tempfile.mkdtemp(dir=self.folder)) / _painted_name(wish.photo)
        height, width = self._paint(wish, target, style, telling)
        seconds = time.perf_counter() - started
        return target, _comparison(wish, target), f"{width} x {height} pixels in {seconds:.1f} s"

    def thumbnails(self, photo: Path) -> tuple[dict[str, str], dict[str, str]]:
        """A small photo in every style by name, and by the first seeds, as addresses that hold the picture."""
        with Image.open(photo) as opened:
            small = opened.convert("RGB")
        small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
        paint = self.stylizer
        names = {name: data_url(paint(small, name, seed=1)) for name in paint.class_names}
        return names, {str(seed): data_url(paint(small, "random", seed=seed)) for seed in range(1, 9) if names}

    def _style(self, wish: Wish) -> StyleCode:
        if wish.photo is None:
            raise InputError("drop a photo first")
        if wish.way == BY_PICTURE:
            if wish.picture is None:
                raise InputError("drop a style picture first")
            return self.stylizer.encode_style(wish.picture)
        if wish.way == BY_NAME and wish.name not in self.stylizer.class_names:
            raise InputError("choose a name first")
        return self.stylizer.random_style(wish.drawn, wish.name if wish.way == BY_NAME else None)

    def _paint(self, wish: Wish, target: Path, style: StyleCode, told: Told) -> tuple[int, int]:
        """As `Stylizer.stylize_file`, telling how far it is."""
        assert wish.photo is not None
        photo = Photo.open(wish.photo, target)
        painting = self.stylizer._painting(photo.picture, style, wish.effect, mask=None, seed=wish.drawn, size=None)
        painted = rows(painting, told)
        with image.writing(target, painted.shape, painted.kind) as write:
            for part in painted.parts:
                write(part)
        return painted.shape[:2]

    def _forget_old(self) -> None:
        """Remove paintings that nobody will ask for any more."""
        for each in self.folder.iterdir():
            if is_folder(each) and time.time() - each.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)


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
    style = {BY_PICTURE: _local(wish.picture), BY_NAME: f"{wish.name}, seed {wish.drawn}"}
    return _COMPARISON.format(
        width=after.width,
        height=after.height,
        before=data_url(before, quality=90),
        after=data_url(after, quality=92),
        before_text=html.escape(f"{name}, the photo"),
        after_text=html.escape(f"{name}, painted in the style of {style.get(wish.way, f'chance, seed {wish.drawn}')}"),
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
