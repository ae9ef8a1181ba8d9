"""What the demo page lets in: pictures that were uploaded to it, and requests of its own visitors; nothing else.

Gradio takes the name of a file from whoever sends a request, copies that file into its cache and hands it on. Its own
check of such names is left out as long as the page is mounted in another app. Here every value of every request is
looked at before Gradio sees it: by `Blocks.preprocess_data`, which all ways to call a function of the page go through.
"""

from __future__ import annotations

import ipaddress
import logging
import mimetypes
import re
import socket
from abc import ABCMeta
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["AccessGuard", "Uploads"]

_log = logging.getLogger(__name__)  # Python shows its warnings on stderr, where nobody has decided otherwise

_Message = MutableMapping[str, Any]
_App = Callable[[Any, Any, Any], Awaitable[None]]

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; base-uri 'self'; "
    "frame-ancestors 'none'"
)
_FILE = "/gradio_api/file="
# All that the page asks for. Gradio has more: a proxy, a recorder of screens, runs kept elsewhere, links to sessions.
_PATHS = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt|(assets|static)/.*)?"
    r"|/gradio_api/(info/?|app_id/?|theme\.css|startup-events|upload|upload_progress|queue/(join|data|status)|cancel"
    r"|reset/?|heartbeat/[^/]+|(call|run|api)/.*|file=.*)"
)
_NO_VALUE = "a control has no value, or none that it can have; set it, or reload the page"
_LONGEST_LINE = 300  # characters of what a stranger's request makes us say
_ASKED_BYTES = 2**20  # of a request that uploads nothing
_FORM_BYTES = 2**16  # around a file that is uploaded


class Uploads:
    """The files that a page may open: what was uploaded to it, and its own examples.

    Args:
        gr: Gradio.
        examples: pictures that the page offers.
    """

    def __init__(self, gr: Any, examples: Iterable[Path]) -> None:
        self._gr, self._examples = gr, {str(each) for each in examples}
        self._uploaded: set[str] = set()
        self._shown: set[str] = set()  # copies of examples in Gradio's cache

    def page(self, **options: Any) -> Any:
        """`gradio.Blocks` whose functions are given numbers, text, and files that may be opened."""
        gr, base = self._gr, self._gr.Blocks

        async def preprocess_data(blocks: Any, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
            try:
                given = [self._admitted(value) for value in inputs]
                return await base.preprocess_data(blocks, block_fn, given, *args, **kwargs)
            except gr.Error as error:  # ours, or Gradio's of a value outside a control's range
                raise self._told(error.message) from error
            except (TypeError, ValueError) as error:  # Gradio's, without words for a visitor
                raise self._told(_NO_VALUE) from error

        def render(blocks: Any) -> Any:
            if gr.context.Context.root_block is not None:
                raise _nested()
            return base.render(blocks)

        if gr.context.Context.root_block is not None:
            raise _nested()
        guarded = {"preprocess_data": preprocess_data, "render": render}
        page = type(base)("Blocks", (base,), guarded)(**options)
        self._uploaded = page.upload_file_set
        return page

    def image(self, **options: Any) -> Any:
        """`gradio.Image` that gives its file's name as it is: Gradio would decode it at once, whatever its size."""
        base = self._gr.Image

        async def moved_later(image: Any, path: Any) -> Any:
            return self._noted(path, await base.async_move_resource_to_block_cache(image, self._known(path)))

        def moved(image: Any, path: Any) -> Any:
            return self._noted(path, base.move_resource_to_block_cache(image, self._known(path)))

        def preprocess(image: Any, payload: Any) -> str | None:
            return None if payload is None else self._opened(payload.path)

        own = {
            "__module__": base.__module__,
            "async_move_resource_to_block_cache": moved_later,
            "move_resource_to_block_cache": moved,
            "preprocess": preprocess,
        }
        # Gradio's own metaclass would write a stub beside Gradio's files.
        image: Any = ABCMeta.__new__(type(base), "Image", (base,), own)
        return image(type="filepath", sources=["upload", "clipboard"], buttons=[], **options)

    def _admitted(self, value: Any) -> Any:
        """A value as it may go on to Gradio; of a file nothing but its name."""
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            name = value.get("orig_name")
            meta = {"_type": "gradio.FileData"}
            return {
                "path": self._opened(value["path"]),
                "orig_name": name if isinstance(name, str) else None,
                "meta": meta,
            }
        raise self._refusal()

    def _opened(self, path: str) -> str:
        known = path in self._uploaded or path in self._shown
        # Gradio serves a drawing (SVG) that it was once shown to everybody, with its scripts.
        if not known or Path(path).is_symlink() or mimetypes.guess_type(path)[0] == "image/svg+xml":
            raise self._refusal()
        return path

    def _known(self, path: Any) -> str:
        return str(path) if str(path) in self._examples else self._opened(str(path))

    def _noted(self, path: Any, copy: Any) -> Any:
        if str(path) in self._examples:
            self._shown.add(str(copy))
        return copy

    def _refusal(self) -> Exception:
        return self._error("this is no picture that was uploaded to this page; upload it first")

    def _told(self, message: str) -> Exception:
        """What the visitor is told; a line of it for the terminal, in place of a traceback."""
        words = " ".join(message.split())[:_LONGEST_LINE]
        _log.warning("a request was refused: %s", "".join(each if each.isprintable() else "?" for each in words))
        return self._error(message)

    def _error(self, message: str) -> Exception:
        error: Exception = self._gr.Error(message, print_exception=False)
        return error


def _nested() -> Exception:
    from agnlib.errors import InputError

    return InputError(
        "the page cannot be part of other gradio.Blocks, which do not keep its visitors to their own uploads;"
        " mount it beside them: gradio.mount_gradio_app(app, page(...), path=...)"
    )


class AccessGuard:
    """In front of the whole app: what comes from another site, asks for something else or is too large is refused.

    Args:
        app: what is behind it.
        host: where it listens.
        folder: of uploads and paintings, the only files that are served.
        upload: bytes of one upload.
        quota: bytes in the folder, beyond which nothing more is taken.
    """

    def __init__(self, app: _App, host: str, folder: Path, *, upload: int, quota: int) -> None:
        self._app, self._names, self._folder = app, _names(host), folder.resolve()
        self._upload, self._quota = upload + _FORM_BYTES, quota

    async def __call__(self, scope: Any, receive: Any, send: Callable[[_Message], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # a web socket: closed by the server
        refusal = self._refusal(scope)
        if refusal is None:
            return await self._app(scope, receive, _with_headers(send, _headers(scope["path"])))
        from starlette.responses import PlainTextResponse

        code, reason = refusal
        return await PlainTextResponse(reason, code, {"connection": "close"})(scope, receive, send)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        """Status and reason; None for what may go on."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_ours(headers.get("host", "")):
            return 400, "this page does not go by that name; open it at the address that agnlib demo says"
        if _is_foreign(scope, headers):
            return 403, "a page of another site asked for this"
        if not _PATHS.fullmatch(scope["path"]) or not self._is_served(scope["path"]):
            return 404, "not found"
        return self._too_large(scope, headers)

    def _is_ours(self, host: str) -> bool:
        """A name of this machine, or a bare address where the page is open to others: no site can have either."""
        name = urlsplit(f"//{host}").hostname or ""
        if name in self._names:
            return True
        return "*" in self._names and _is_address(name)

    def _is_served(self, path: str) -> bool:
        if not path.startswith(_FILE):
            return True
        try:
            return Path(path.removeprefix(_FILE)).resolve().is_relative_to(self._folder)
        except (OSError, ValueError):
            return False

    def _too_large(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        if scope["method"] in ("GET", "HEAD"):
            return None
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not re.fullmatch("[0-9]{1,18}", length):
            return 411, "say how long the request is"
        uploads = scope["path"] == "/gradio_api/upload"
        limit = self._upload if uploads else _ASKED_BYTES
        if int(length) > limit:
            return 413, f"{length} bytes are more than the limit of {limit}"
        if uploads and int(length) + _bytes_in(self._folder) > self._quota:
            return 507, "too many pictures lie here; they are removed once they are an hour old"
        return None


def _is_foreign(scope: Any, headers: dict[str, str]) -> bool:
    """Whether a page of another site asks. Opening the page by a link is no such thing."""
    site = headers.get("sec-fetch-site")
    if site is None:  # an old browser, no browser, or one that is not asked over TLS from another machine
        origin = headers.get("origin")
        return origin is not None and urlsplit(origin).netloc != headers.get("host")
    opened = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET" and scope["path"] == "/"
    return site not in ("same-origin", "none") and not opened


def _names(host: str) -> set[str]:
    """Names that the page may be asked for by; with "*" any address too."""
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if is_loopback(host):
        return names
    own = socket.gethostname().lower()
    return names | {"*", own, f"{own}.local", socket.getfqdn().lower()}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bytes_in(folder: Path) -> int:
    total = 0
    for each in folder.rglob("*"):
        try:
            total += each.lstat().st_size
        except FileNotFoundError:  # removed meanwhile
            continue
    return total


def _headers(path: str) -> list[tuple[bytes, bytes]]:
    policy = "sandbox; default-src 'none'" if path.startswith(_FILE) else _POLICY
    return [
        (b"content-security-policy", policy.encode()),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    ]


def _with_headers(
    send: Callable[[_Message], Awaitable[None]], headers: list[tuple[bytes, bytes]]
) -> Callable[[_Message], Awaitable[None]]:
    async def sending(message: _Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        await send(message)

    return sending
