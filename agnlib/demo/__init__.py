"""A page to play with: choose a photo and a style, see before and after. Needs the extra `demo` (Gradio).

The page asks nothing of any other machine: no fonts, no scripts, no usage statistics.
"""

from __future__ import annotations

import html
import os
import random
import signal
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._optional import require
from agnlib.demo._door import Door, Uploads
from agnlib.demo._look import SCROLL_TO_RESULT, WELCOME, said, sheet, wrong
from agnlib.demo._studio import BY_CHANCE, BY_NAME, BY_PICTURE, KEPT_SECONDS, Studio, Wish, blamed
from agnlib.errors import AgnError, InputError
from agnlib.image import DEFAULT_LIMITS

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["page", "serve"]

_EXAMPLES = Path(__file__).parent / "assets"
_PHOTOS = {"coffee": "Coffee", "astronaut": "Astronaut", "mountain": "Mountain", "castle": "Castle"}
_STYLES = {"auvers": "van Gogh", "poppies": "Hokusai", "summertime": "Cassatt", "composition": "Kandinsky"}
_WAITING = 16  # visitors' wishes at once; further ones are told to try again
_CONNECTIONS = 200
_FOLDER_BYTES = 4 * 2**30  # of uploads and paintings together
_FONTS = ["system-ui", "sans-serif"]  # of the system; a theme's own would come from another host


def page(stylizer: Stylizer, folder: str | Path) -> Any:
    """The page, a `gradio.Blocks` that may be mounted in another app, or launched.

    Its functions open nothing but what was uploaded to the page, wherever it is mounted. Who may ask for the page, from
    which site, how much is uploaded and where fonts come from is up to the app around it: `serve` shows how.

    Args:
        stylizer: paints.
        folder: an existing folder for what is painted; its owner empties it.

    Raises:
        MissingDependencyError: Gradio is not installed.
        InputError: called inside other `gradio.Blocks`.

    Example:
        >>> from agnlib import Stylizer
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     blocks = page(Stylizer.from_pretrained(), folder)  # doctest: +SKIP
    """
    gr = require("gradio", extra="demo", purpose="the demo page")
    examples = {name: _EXAMPLES / f"{name}.jpg" for name in (*_PHOTOS, *_STYLES)}
    uploads, studio = Uploads(gr, examples.values()), Studio(stylizer, Path(folder))
    blocks = uploads.page(
        analytics_enabled=False, title="agnlib", fill_width=True, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    )
    with blocks:
        _Layout(gr, uploads, studio, examples).build()
    # Otherwise requests may go past the queue, and paint all at once.
    return blocks.queue(max_size=_WAITING, api_open=False)


@dataclass(frozen=True)
class _Layout:
    """The page's parts, and what happens when they are used."""

    gr: Any
    uploads: Uploads
    studio: Studio
    examples: dict[str, Path]

    def build(self) -> None:
        """Into the blocks that are open."""
        gr = self.gr
        names, seeds = self.studio.thumbnails(self.examples["castle"])
        thumbnails: dict[str, dict[str, str]] = {"name": names, "seeds": seeds}
        gr.HTML(sheet(thumbnails), padding=False, elem_id="agn-sheet")
        gr.Markdown("# A photo in the style of a picture", elem_id="agn-title")
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="choice"):
                photo, photo_cards = self._drop("Photo", "photo", _PHOTOS)
                way, picture, picture_cards, name, seed = self._style(list(names), list(seeds))
                paint = gr.Button("Paint", variant="primary", elem_id="paint")
            with gr.Column(elem_id="view"):
                result = gr.HTML(WELCOME, elem_id="result", padding=False)
                note = gr.HTML(said("Nothing is painted yet."), elem_id="note", js_on_load=_SPOKEN, padding=False)
                download = gr.DownloadButton("Download the full size", interactive=False, elem_id="download")
                recipe = gr.Textbox(
                    label="The same on the command line", interactive=False, buttons=["copy"], elem_id="recipe", lines=2
                )
            with gr.Column(elem_id="fine"):
                sliders = self._sliders()
        wishes = [photo, way, picture, name, seed, *sliders]
        outputs = [result, note, download, recipe]
        once = {"concurrency_limit": 1, "concurrency_id": "paint", "show_progress_on": note}
        asked = {"inputs": wishes, "outputs": outputs, "trigger_mode": "always_last", **once}
        paint.click(self._painter(always=True), **asked, js=SCROLL_TO_RESULT, api_name="paint")
        changes = [each.change for each in (photo, picture, way, name, seed)]
        changes += [slider.release for slider in sliders]
        gr.on(changes, self._painter(always=False), **asked, api_name="repaint")
        # What follows needs no queue: it takes no time.
        for place, cards in ((photo, photo_cards), (picture, picture_cards)):
            place.upload(_checked, place, [place, note], api_name=f"check_{place.elem_id}", **_AT_ONCE)
            for title, card in cards.items():
                card.click(_giving(self.examples[title]), None, place, api_name=title, **_AT_ONCE)

    def _drop(self, label: str, name: str, titles: dict[str, str]) -> tuple[Any, dict[str, Any]]:
        """A place to drop a picture, and examples to click on."""
        place = self.uploads.image(label=label, height=150, elem_id=name)
        with self.gr.Row(elem_classes="agn-cards"):
            options = {"size": "sm", "min_width": 0}
            cards = {
                title: self.gr.Button(text, icon=self.examples[title], elem_id=f"card-{title}", **options)
                for title, text in titles.items()
            }
        return place, cards

    def _style(self, names: list[str], seeds: list[str]) -> tuple[Any, ...]:
        """Where the style comes from: a picture, a name or chance."""
        gr = self.gr
        ways = [BY_PICTURE, BY_NAME, BY_CHANCE] if names else [BY_PICTURE]
        way = gr.Radio(ways, value=BY_PICTURE, label="Style from", elem_id="way")
        with gr.Column() as by_picture:
            picture, cards = self._drop("Style picture", "style", _STYLES)
        with gr.Column(visible=False) as by_name:
            name = gr.Radio(names, label="Name", elem_id="name", elem_classes="agn-choices")
        with gr.Column(visible=False) as by_chance:
            seeds_shown = gr.Radio(seeds, label="Some of them", elem_id="seeds", elem_classes="agn-choices")
        with gr.Column(visible=False) as drawn:
            seed = gr.Number(1, label="Seed", info="Each number draws another style.", precision=0, elem_id="seed")
            dice = gr.Button("Draw another", elem_id="dice")
        way.change(_visible(gr), way, [by_picture, by_name, by_chance, drawn], api_name="way", **_AT_ONCE)
        dice.click(lambda: random.randrange(2**31), None, seed, api_name="draw", **_AT_ONCE)
        seeds_shown.input(lambda shown: int(shown or 0), seeds_shown, seed, api_name="pick", **_AT_ONCE)
        return way, picture, cards, name, seed

    def _sliders(self) -> list[Any]:
        """Strength, texture, colour and scale, in the order of a `Wish`."""
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
        color = gr.Slider(0, 1, 1, step=0.05, label="Colour", info="0 keeps the photo's colours.", elem_id="color")
        return [strength, texture, color, scale]

    def _painter(self, *, always: bool) -> Callable[..., Any]:
        """Paints, or, unless `always`, does nothing as long as there is nothing to paint."""
        shown_by_gradio = self.gr.Progress()  # which looks for such a parameter, beside those of a `Wish`

        def paint(  # noqa: PLR0917
            photo: Any, way: Any, picture: Any, name: Any, seed: Any, strength: Any, texture: Any, color: Any,
            scale: Any, progress: Any = shown_by_gradio,
        ) -> Any:  # fmt: skip
            wish = Wish(photo, way, picture, name, seed, strength, texture, color, scale)
            return self._painted(wish, progress) if always or wish.is_whole else (self.gr.skip(),) * 4

        return paint

    def _painted(self, wish: Wish, progress: Callable[..., Any]) -> Any:
        """Before and after, a line about it, the file, the recipe; a mistake is a line, and leaves what is shown."""
        gr = self.gr
        progress(0, desc="Painting")
        try:
            target, shown, line = self.studio.painted(wish, lambda share: progress(share, desc="Painting"))
        except AgnError as error:
            return gr.skip(), wrong(html.escape(blamed(error))), gr.skip(), gr.skip()
        file = gr.update(value=str(target), interactive=True)
        return shown, said(line), file, wish.recipe(self.studio.stylizer.name)


_AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# A line that changes is read out.
_SPOKEN = "element.setAttribute('role', 'status'); element.setAttribute('aria-live', 'polite');"


def _visible(gr: Any) -> Callable[[str], tuple[Any, Any, Any, Any]]:
    """What is asked for, by where the style comes from."""
    return lambda way: (
        gr.update(visible=way == BY_PICTURE),
        gr.update(visible=way == BY_NAME),
        gr.update(visible=way == BY_CHANCE),
        gr.update(visible=way != BY_PICTURE),
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


def serve(
    stylizer: Stylizer,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    browser: bool = False,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the page until the process is interrupted. One picture is painted at a time; the others wait.

    Args:
        stylizer: paints.
        host: where to listen; the default lets only this machine in. There are no passwords.
        port: 0 takes a free one.
        browser: open the page in the user's browser.
        ready: called with the page's address when it can be opened.

    Raises:
        MissingDependencyError: Gradio is not installed.
        InputError: host and port cannot be listened on.

    Example:
        >>> from agnlib import Stylizer
        >>> serve(Stylizer.from_pretrained(), host="nowhere.invalid")  # doctest: +SKIP
    """
    require("gradio", extra="demo", purpose="the demo page")
    import uvicorn

    listening = _listening(host, port)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}"
    with (
        _ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="agnlib-demo-") as folder,
        listening,
        _app(stylizer, host, Path(folder).resolve()) as app,
    ):
        options: dict[str, Any] = {"limit_concurrency": _CONNECTIONS, "timeout_graceful_shutdown": 2}
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **options))
        announce = threading.Thread(target=_announce, args=(server, url, browser, ready), daemon=True)
        announce.start()
        server.run(sockets=[listening])


@contextmanager
def _app(stylizer: Stylizer, host: str, folder: Path) -> Iterator[Any]:
    """The page behind its door; all that it keeps lies in the folder."""
    gr = require("gradio", extra="demo", purpose="the demo page")
    import fastapi

    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # read when the page is made, and when something is uploaded
    try:
        theme = gr.themes.Soft(font=_FONTS, font_mono=["monospace"])
        options = {"theme": theme, "footer_links": [], "run_history": False, "ssr_mode": False, "mcp_server": False}
        limit = DEFAULT_LIMITS.bytes
        app = gr.mount_gradio_app(
            fastapi.FastAPI(openapi_url=None), page(stylizer, _made(folder / "painted")), path="", show_error=False,
            max_file_size=limit, **options,
        )  # fmt: skip
        yield Door(app, host, folder, upload=limit, quota=_FOLDER_BYTES)
    finally:
        if before is None:
            os.environ.pop("GRADIO_TEMP_DIR", None)
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program as it ends others, but only once the folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _announce(server: Any, url: str, browser: bool, ready: Callable[[str], None]) -> None:
    while not server.started:
        time.sleep(0.05)
    ready(url)
    if browser:
        webbrowser.open(url)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, ValueError) as error:  # the last one where it can be no name of a host
        reason = getattr(error, "strerror", None) or str(error)
        said = f"cannot listen on {host}, port {port} ({reason}); choose another with --host or --port"
        raise InputError(said) from error
