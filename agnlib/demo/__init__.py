"""A page to play with: choose a photo and a style, see before and after. Needs the extra `demo` (Gradio).

The page asks nothing of any other machine: no fonts, no scripts, no usage statistics.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnlib._shared.optional import require
from agnlib.demo._layout import EXAMPLES, Layout
from agnlib.demo._security import AccessGuard, Uploads
from agnlib.demo._service import KEPT_SECONDS, Studio
from agnlib.errors import InputError
from agnlib.image import DEFAULT_LIMITS

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["page", "serve"]

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
    uploads, studio = Uploads(gr, EXAMPLES.values()), Studio(stylizer, Path(folder))
    blocks = uploads.page(
        analytics_enabled=False, title="agnlib", fill_width=True, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    )
    with blocks:
        Layout(gr, uploads, studio).build()
    # Otherwise requests may go past the queue, and paint all at once.
    return blocks.queue(max_size=_WAITING, api_open=False)


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
        with _quiet_while(lambda: server.should_exit):
            server.run(sockets=[listening])


@contextmanager
def _app(stylizer: Stylizer, host: str, folder: Path) -> Iterator[Any]:
    """The page behind its guard; all that it keeps lies in the folder."""
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
        yield AccessGuard(app, host, folder, upload=limit, quota=_FOLDER_BYTES)
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


@contextmanager
def _quiet_while(ending: Callable[[], bool]) -> Iterator[None]:
    """Visitors who are still there when the program ends are no errors, which uvicorn takes them for."""

    def matters(_: logging.LogRecord) -> bool:
        return not ending()

    log = logging.getLogger("uvicorn.error")
    log.addFilter(matters)
    try:
        yield
    finally:
        log.removeFilter(matters)


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
