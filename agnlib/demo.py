"""A page to play with: drop a photo, choose a style, see before and after. Needs the extra `demo` (Gradio).

The page asks nothing of any other machine: no fonts, no scripts, no usage statistics.
"""

from __future__ import annotations

import ipaddress
import random
import re
import shutil
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib import image
from agnlib._optional import require
from agnlib.errors import AgnError, InputError
from agnlib.image import DEFAULT_LIMITS, reduced_size

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["page", "serve"]

_PREVIEW_SIDE = 1600  # pixels of what is shown; what is downloaded has the photo's own size
_KEPT_SECONDS = 3600  # uploads and paintings
_BY_PICTURE, _BY_NAME, _BY_CHANCE = "a picture", "a name", "chance"
_FONTS = ["system-ui", "sans-serif"]  # of the system; a theme's own would come from another host
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)
_CSS = "footer {display: none !important} .gradio-container {max-width: 1320px !important; margin: auto !important}"

_Message = MutableMapping[str, Any]


def page(stylizer: Stylizer, folder: str | Path) -> Any:
    """The page, a `gradio.Blocks` that may be put inside another app.

    Args:
        stylizer: paints.
        folder: an existing folder for what is painted; its owner empties it.

    Raises:
        MissingDependencyError: Gradio is not installed.

    Example:
        >>> from agnlib import Stylizer
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     blocks = page(Stylizer.from_pretrained(), folder)  # doctest: +SKIP
    """
    gr = require("gradio", extra="demo", purpose="the demo page")
    studio = _Studio(stylizer, Path(folder))
    ways = [_BY_PICTURE, _BY_NAME, _BY_CHANCE] if stylizer.class_names else [_BY_PICTURE]
    with gr.Blocks(
        analytics_enabled=False, title="agnlib", fill_width=True, delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS)
    ) as blocks:
        gr.Markdown("## agnlib: a photo in the style of a picture")
        with gr.Row():
            with gr.Column(scale=2, min_width=340):
                photo = _drop(gr, "Photo", height=170, elem_id="photo")
                way = gr.Radio(ways, value=_BY_PICTURE, label="Style from", elem_id="way")
                with gr.Column() as by_picture:
                    picture = _drop(gr, "Style picture", height=170, elem_id="style")
                name = gr.Dropdown(list(stylizer.class_names), label="Name", visible=False, elem_id="name")
                with gr.Row(visible=False) as chance:
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
                    dice = gr.Button("🎲 Another", elem_id="dice")
                paint = gr.Button("Paint", variant="primary", elem_id="paint")
                with gr.Row():
                    strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", min_width=140, elem_id="strength")
                    scale = gr.Slider(0.5, 4, 1, step=0.25, label="Stroke size", min_width=140, elem_id="scale")
                with gr.Row():
                    color = gr.Slider(0, 1, 1, step=0.05, label="Colour", min_width=140, elem_id="color")
                    texture = gr.Slider(0, 1, 1, step=0.05, label="Texture", min_width=140, elem_id="texture")
            with gr.Column(scale=4, min_width=480):
                both = gr.ImageSlider(
                    label="Before and after", type="filepath", height=620, max_height=620, elem_id="result", buttons=[]
                )
                note = gr.Markdown("Drop a photo and a style picture, then press Paint.", elem_id="note")
                download = gr.DownloadButton("Download the full size", interactive=False, elem_id="download")
        wishes = [photo, way, picture, name, seed, strength, texture, color, scale]
        results = [both, download, note]
        way.change(_choices(gr), way, [by_picture, name, chance], show_progress="hidden")
        painted = {"inputs": wishes, "outputs": results, "concurrency_limit": 1, "concurrency_id": "paint"}
        paint.click(studio.painted, **painted)
        dice.click(lambda: random.randrange(2**31), None, seed).then(studio.repainted, **painted)
        for slider in (strength, texture, color, scale):
            slider.release(studio.repainted, **painted)
    return blocks


def _choices(gr: Any) -> Callable[[str], tuple[Any, Any, Any]]:
    """What is asked for, by where the style comes from."""
    return lambda way: (
        gr.update(visible=way == _BY_PICTURE),
        gr.update(visible=way == _BY_NAME),
        gr.update(visible=way != _BY_PICTURE),
    )


def _drop(gr: Any, label: str, **options: Any) -> Any:
    """A place to drop a picture. Gradio would decode it at once, whatever its size; this gives the file's name.

    It must not be updated by an event: Gradio then makes another one, which decodes.
    """
    place = gr.Image(label=label, type="filepath", sources=["upload", "clipboard"], buttons=[], **options)
    place.preprocess = lambda payload: None if payload is None else payload.path
    return place


@dataclass(frozen=True)
class _Studio:
    """Paints what the page asks for."""

    stylizer: Stylizer
    folder: Path

    def repainted(self, photo: str | None, way: str, picture: str | None, *wishes: Any) -> tuple[Any, ...]:
        """As `painted`; nothing happens as long as there is nothing to paint."""
        gr = require("gradio", extra="demo", purpose="the demo page")
        if photo is None or (way == _BY_PICTURE and picture is None):
            return gr.skip(), gr.skip(), gr.skip()
        return self.painted(photo, way, picture, *wishes)

    def painted(self, photo: str | None, way: str, picture: str | None, *wishes: Any) -> tuple[Any, ...]:
        """Before and after, the file to download, and a line about it; a mistake becomes a message on the page.

        `wishes` are name, seed, strength, texture, color and scale.
        """
        name, seed, strength, texture, color, scale = wishes
        gr = require("gradio", extra="demo", purpose="the demo page")
        try:
            if photo is None:
                raise InputError("drop a photo first")
            style = self._style(way, picture, name, seed)
            target = Path(tempfile.mkdtemp(dir=self.folder)) / f"{Path(photo).stem[:60]}-painted.png"
            started = time.perf_counter()
            height, width = self.stylizer.stylize_file(
                photo, target, style, strength=strength, texture=texture, color=color, scale=scale
            )
            seconds = time.perf_counter() - started
            shown = (_preview(photo, target.with_name("before.jpg")), _preview(target, target.with_name("after.jpg")))
        except AgnError as error:
            raise gr.Error(_blamed(str(error)), print_exception=False) from error
        self._forget_old()
        return shown, gr.update(value=str(target), interactive=True), f"{width} x {height} pixels in {seconds:.1f} s"

    def _style(self, way: str, picture: str | None, name: str | None, seed: float | None) -> Any:
        if way == _BY_PICTURE:
            if picture is None:
                raise InputError("drop a style picture first")
            return self.stylizer.encode_style(picture)
        if way == _BY_NAME and not name:
            raise InputError("choose a name first")
        return self.stylizer.random_style(int(seed or 0), name if way == _BY_NAME else None)

    def _forget_old(self) -> None:
        """Remove paintings that nobody will ask for any more."""
        for each in self.folder.iterdir():
            if each.is_dir() and time.time() - each.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)


def _preview(source: str | Path, target: Path) -> str:
    """A picture small enough for a browser."""
    whole = image.load(source)
    height, width = reduced_size((whole.height, whole.width), longer=_PREVIEW_SIDE)
    image.save(whole.resize((width, height)), target, quality=92)
    return str(target)


def _blamed(message: str) -> str:
    """A message about a file without the folder that the upload lies in."""
    return re.sub("'([^']+)'", lambda found: f"'{Path(found[1]).name}'", message)


class _SameHost:
    """Has browsers refuse whatever the page would load from elsewhere."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[_Message], Awaitable[None]]) -> None:
        async def sending(message: _Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message = {**message, "headers": [*message.get("headers", []), policy]}
            await send(message)

        await self._app(scope, receive, sending)


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
    gr = require("gradio", extra="demo", purpose="the demo page")
    import fastapi
    import uvicorn

    listening = _listening(host, port)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="agnlib-demo-") as folder, listening:
        app = fastapi.FastAPI(openapi_url=None)
        theme = gr.themes.Soft(font=_FONTS, font_mono=["monospace"])
        options = {"theme": theme, "css": _CSS, "footer_links": [], "ssr_mode": False}
        app = gr.mount_gradio_app(
            app, page(stylizer, folder), path="", max_file_size=DEFAULT_LIMITS.bytes, show_error=False, **options
        )
        app.add_middleware(_SameHost)
        if _is_loopback(host):  # a page elsewhere cannot point its own name at this machine
            from starlette.middleware.trustedhost import TrustedHostMiddleware

            app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", host])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        announce = threading.Thread(target=_announce, args=(server, url, browser, ready), daemon=True)
        announce.start()
        server.run(sockets=[listening])


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
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host}, port {port} ({reason}); choose another with --port") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
