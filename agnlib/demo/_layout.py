"""What is on the demo page, and what happens when it is used."""

from __future__ import annotations

import html
import random
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agnlib import image
from agnlib.demo._css import SCROLL_TO_RESULT, TO_PAINT, WELCOME, growing, said, sheet, so_far, wrong
from agnlib.demo._jobs import StoppedError, Work
from agnlib.demo._security import Uploads
from agnlib.demo._service import (
    BY_CHANCE,
    BY_NAME,
    BY_PICTURE,
    DRAWING,
    NEIGHBORS,
    NETWORK,
    Now,
    Studio,
    Wish,
    blamed,
    is_drawn,
)
from agnlib.errors import AgnError
from agnlib.styles import works

__all__ = ["EXAMPLES", "Layout"]

_PHOTOS = {"coffee": "Coffee", "astronaut": "Astronaut", "mountain": "Mountain", "castle": "Castle"}
_STYLES = {"auvers": "van Gogh", "poppies": "Hokusai", "summertime": "Cassatt", "composition": "Kandinsky"}
_ASSETS = Path(__file__).parent / "assets"
EXAMPLES = {
    **{name: _ASSETS / f"{name}.jpg" for name in _PHOTOS},
    **{name: works.available()[name].path for name in _STYLES},
}
_METHODS = [("the network: at once", NETWORK), ("in the picture's own strokes: about half a minute", NEIGHBORS)]
_PRESS = "Press Paint: it takes about half a minute."
_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# A line that changes is read out.
_SPOKEN = "element.setAttribute('role', 'status'); element.setAttribute('aria-live', 'polite');"


@dataclass(frozen=True)
class _View:
    """Where a painting is seen, growing and finished."""

    result: Any
    note: Any
    download: Any
    recipe: Any
    growing: Any
    stop: Any
    running: Any

    @property
    def parts(self) -> list[Any]:
        return list(vars(self).values())


@dataclass(frozen=True)
class Layout:
    """The page's parts, and what happens when they are used."""

    gr: Any
    uploads: Uploads
    studio: Studio
    _works: dict[str, Work[Now]] = field(default_factory=dict)  # by a name that only the visitor's session has

    def build(self) -> None:
        """Into the blocks that are open."""
        gr = self.gr
        names, seeds = self.studio.thumbnails(EXAMPLES["castle"])
        thumbnails: dict[str, dict[str, str]] = {"name": names, "seeds": seeds}
        gr.HTML(sheet(thumbnails), padding=False, elem_id="agn-sheet")
        gr.Markdown("# A photo in the style of a picture", elem_id="agn-title")
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="choice"):
                photo, photo_cards = self._drop("Photo", "photo", _PHOTOS)
                way, picture, picture_cards, name, seed = self._style(list(names), list(seeds))
                method, drawing = self._method()
                paint = gr.Button("Paint", variant="primary", elem_id="paint")
            with gr.Column(elem_id="view"):
                view = self._view()
            with gr.Column(elem_id="fine"):
                sliders = self._sliders()
        wishes = [photo, way, picture, name, seed, *sliders, method, drawing]
        once = {"concurrency_limit": 1, "concurrency_id": "paint", "show_progress_on": view.note}
        asked = {"inputs": wishes, "outputs": view.parts, **once}
        paint.click(self._painter(view, always=True), **asked, js=SCROLL_TO_RESULT, api_name="paint")
        changes = [each.change for each in (photo, picture, way, name, seed, method)]
        changes += [slider.release for slider in (*sliders, drawing)]
        again = {**asked, "trigger_mode": "always_last", "api_name": "repaint"}
        gr.on(changes, self._painter(view, always=False), **again)
        # What follows needs no queue: it takes no time.
        view.stop.click(self._stopped, view.running, None, js=TO_PAINT, api_visibility="private", **_AT_ONCE)
        for place, cards in ((photo, photo_cards), (picture, picture_cards)):
            place.upload(_checked, place, [place, view.note], api_name=f"check_{place.elem_id}", **_AT_ONCE)
            for title, card in cards.items():
                card.click(_giving(EXAMPLES[title]), None, place, api_name=title, **_AT_ONCE)

    def _view(self) -> _View:
        gr = self.gr
        return _View(
            growing=gr.HTML("", elem_id="growing", padding=False),
            result=gr.HTML(WELCOME, elem_id="result", padding=False),
            note=gr.HTML(said("Nothing is painted yet."), elem_id="note", js_on_load=_SPOKEN, padding=False),
            stop=gr.Button("Stop", variant="stop", visible=False, elem_id="stop"),
            download=gr.DownloadButton("Download the painting", interactive=False, elem_id="download"),
            recipe=gr.Textbox(
                label="The same on the command line", interactive=False, buttons=["copy"], elem_id="recipe", lines=2
            ),
            running=gr.State(None),
        )

    def _drop(self, label: str, name: str, titles: dict[str, str]) -> tuple[Any, dict[str, Any]]:
        """A place to drop a picture, and examples to click on."""
        place = self.uploads.image(label=label, height=150, elem_id=name)
        with self.gr.Row(elem_classes="agn-cards"):
            options = {"size": "sm", "min_width": 0}
            cards = {
                title: self.gr.Button(text, icon=EXAMPLES[title], elem_id=f"card-{title}", **options)
                for title, text in titles.items()
            }
        return place, cards

    def _style(self, names: list[str], seeds: list[str]) -> tuple[Any, ...]:
        """Where the style comes from: a picture, a name or chance."""
        gr = self.gr
        ways = [BY_PICTURE, BY_NAME, BY_CHANCE] if seeds else [BY_PICTURE, BY_NAME]
        way = gr.Radio(ways, value=BY_PICTURE, label="Style from", elem_id="way")
        with gr.Column() as by_picture:
            picture, cards = self._drop("Style picture", "style", _STYLES)
        with gr.Column(visible=False) as by_name:
            name = gr.Radio(
                [(_titled(each), each) for each in names],
                label="Name",
                info="Works of art by their makers, then classes of the network.",
                elem_id="name",
                elem_classes="agn-choices",
            )
        with gr.Column(visible=False) as by_chance:
            seeds_shown = gr.Radio(seeds, label="Some of them", elem_id="seeds", elem_classes="agn-choices")
        with gr.Column(visible=False) as drawn:
            seed = gr.Number(1, label="Seed", info="Each number draws another style.", precision=0, elem_id="seed")
            dice = gr.Button("Draw another", elem_id="dice")
        shown = [by_picture, by_name, by_chance, drawn]
        gr.on([way.change, name.change], _visible(gr), [way, name], shown, api_name="way", **_AT_ONCE)
        dice.click(lambda: random.randrange(2**31), None, seed, api_name="draw", **_AT_ONCE)
        seeds_shown.input(lambda shown: int(shown or 0), seeds_shown, seed, api_name="pick", **_AT_ONCE)
        return way, picture, cards, name, seed

    def _method(self) -> tuple[Any, Any]:
        """How it is painted, and what only neighbors ask for."""
        gr = self.gr
        method = gr.Radio(_METHODS, value=NETWORK, label="Painted by", elem_id="method")
        drawing = gr.Slider(
            0, 1, DRAWING, step=0.05, label="Drawing", info="1 keeps the photo's; at 0 it dissolves into the style's.",
            elem_id="drawing", visible=False,
        )  # fmt: skip
        method.change(
            lambda chosen: gr.update(visible=chosen == NEIGHBORS), method, drawing, api_name="method", **_AT_ONCE
        )
        return method, drawing

    def _sliders(self) -> list[Any]:
        """Strength, texture, color and scale, in the order of a `Wish`."""
        gr = self.gr
        strength = gr.Slider(
            0, 1, 1, step=0.05, label="Strength", info="0 is the photo, 1 the style in full.", elem_id="strength"
        )
        scale = gr.Slider(
            0.5, 4, 1, step=0.25, label="Stroke size", info="2: strokes twice as broad, and less detail.",
            elem_id="scale",
        )  # fmt: skip
        texture = gr.Slider(
            0, 1, 1, step=0.05, label="Texture", info="Brushwork and light: 0 keeps the photo's.", elem_id="texture"
        )
        color = gr.Slider(0, 1, 1, step=0.05, label="Color", info="0 keeps the photo's colors.", elem_id="color")
        return [strength, texture, color, scale]

    def _painter(self, view: _View, *, always: bool) -> Callable[..., Iterator[dict[Any, Any]]]:
        """Paints; unless `always`, only what there is, and what takes no time."""

        def paint(*given: Any) -> Iterator[dict[Any, Any]]:
            wish = Wish(*given)
            if always or (wish.is_whole and wish.method == NETWORK):
                yield from self._painting(wish, view)
            elif wish.is_whole:
                yield {view.note: said(_PRESS)}
            else:
                yield {view.note: self.gr.skip()}

        return paint

    def _painting(self, wish: Wish, view: _View) -> Iterator[dict[Any, Any]]:
        """How it grows, and at last before and after, a line about it, the file, the recipe.

        A mistake, or a stop, is a line and leaves what is shown. Gradio closes this when the visitor is gone.
        """
        gr, name = self.gr, secrets.token_hex()
        with Work[Now](lambda tell: self.studio.painted(wish, tell)) as work:
            self._works[name] = work
            try:
                for now in work:
                    going = {view.stop: gr.update(visible=True), view.running: name}
                    yield {view.growing: growing(now), view.note: so_far(now), **going}
                target, shown, line = work.result()
                file = gr.update(value=str(target), interactive=True)
                recipe = wish.recipe(self.studio.stylizer.name)
                ended = {view.result: shown, view.note: said(line), view.download: file, view.recipe: recipe}
            except StoppedError:
                ended = {view.note: said("Stopped: nothing is changed.")}
            except AgnError as error:
                ended = {view.note: wrong(html.escape(blamed(error)))}
            finally:
                del self._works[name]
        yield {**ended, view.growing: "", view.stop: gr.update(visible=False), view.running: None}

    def _stopped(self, name: str | None) -> None:
        """The painting itself then says so."""
        work = self._works.get(name or "")
        if work is not None:
            work.stop()


def _titled(name: str) -> str:
    """A work's name above its artist's surname."""
    work = works.available().get(name)
    if work is None:
        return name
    surname = re.search(r"((van )?\w+)( the \w+)? \(", work.artist)
    return f"{name}\n{surname[1]}" if surname else name


def _visible(gr: Any) -> Callable[[str, str | None], tuple[Any, Any, Any, Any]]:
    """What is asked for, by where the style comes from."""
    return lambda way, name: (
        gr.update(visible=way == BY_PICTURE),
        gr.update(visible=way == BY_NAME),
        gr.update(visible=way == BY_CHANCE),
        gr.update(visible=is_drawn(way, name) and (way == BY_CHANCE or name is not None)),
    )


def _giving(example: Path) -> Callable[[], str]:
    return lambda: str(example)


def _checked(path: str | None) -> tuple[str | None, str]:
    """An upload and no line; of what is no picture a line and nothing else."""
    try:
        if path is not None:
            image.probe(path)
    except AgnError as error:
        return None, wrong(html.escape(blamed(error)))
    return path, said("Ready.")
