"""The demo page served, and asked as a program asks that knows Gradio's routes."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agnlib import Stylizer, demo
from agnlib.demo._service import Now, Wish

META = {"_type": "gradio.FileData"}


class Page:
    """A page that is served."""

    def __init__(self, address: str, cache: Path) -> None:
        self.address, self.cache = address, cache
        self.config = json.loads(self.get("/config"))

    def get(self, path: str, **headers: str) -> bytes:
        return self._asked(path, None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return json.loads(self._asked(path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}))

    def upload(self, name: str, content: bytes, **headers: str) -> str:
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x", **headers}
        body = head.encode() + content + b"\r\n--x--\r\n"
        return str(json.loads(self._asked("/gradio_api/upload", body, kind))[0])

    def _asked(self, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(self.address + path, body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def called(self, number: int, values: list[Any]) -> dict[str, Any]:
        """What the function of this number says to values, by the page's own route: the queue."""
        session = self.joined(number, values)
        with self.stream(session) as messages:
            said = [each for each in messages if each.get("msg") in ("process_generating", "process_completed")]
        return {**said[0], "success": all(each["success"] for each in said)} if said[0]["success"] else said[-1]

    def joined(self, number: int, values: list[Any], session: str | None = None) -> str:
        """The session that waits for the answer."""
        session = session or f"s{time.monotonic_ns()}"
        self.post("/gradio_api/queue/join", {"data": values, "fn_index": number, "session_hash": session})
        return session

    @contextmanager
    def stream(self, session: str) -> Iterator[Iterator[dict[str, Any]]]:
        """What a session is told, as it is told."""
        with urllib.request.urlopen(
            f"{self.address}/gradio_api/queue/data?session_hash={session}", timeout=60
        ) as lines:
            yield (json.loads(line.decode().removeprefix("data:")) for line in lines if line.strip())

    def named(self, name: str, values: list[Any]) -> str:
        """What the named endpoint answers, as events."""
        event = self.post(f"/gradio_api/call/{name}", {"data": values})["event_id"]
        return self.get(f"/gradio_api/call/{name}/{event}").decode()

    def functions(self) -> dict[int, dict[str, Any]]:
        return {each["id"]: each for each in self.config["dependencies"] if each["backend_fn"]}

    def number(self, name: str) -> int:
        return next(number for number, each in self.functions().items() if each["api_name"] == name)

    def values(self, function: dict[str, Any]) -> list[Any]:
        """Values that the function takes, if with nothing to paint."""
        components = {each["id"]: each for each in self.config["components"]}
        return [components[each]["props"].get("value") for each in function["inputs"]]


@contextmanager
def running(app: Any) -> Iterator[str]:
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def served(stylizer: Stylizer, cache: Path) -> Iterator[str]:
    """As `agnlib demo` does it."""
    with demo._app(stylizer, "127.0.0.1", cache) as app, running(app) as address:
        yield address


@contextmanager
def mounted(stylizer: Stylizer, cache: Path) -> Iterator[str]:
    """In an app of somebody else, below a path."""
    import fastapi
    import gradio

    (cache / "painted").mkdir()
    app = gradio.mount_gradio_app(fastapi.FastAPI(), demo.page(stylizer, cache / "painted"), path="/some/where")
    with running(app) as address:
        yield f"{address}/some/where"


@contextmanager
def launched(stylizer: Stylizer, cache: Path) -> Iterator[str]:
    """By Gradio."""
    (cache / "painted").mkdir()
    page = demo.page(stylizer, cache / "painted")
    page.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield page.local_url.rstrip("/")
    page.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "png")
    return held.getvalue()


class Endless:
    """A painting that goes on until it is stopped."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        patch.setattr("agnlib.demo._service.Studio._painted", self._painted)
        patch.setattr("agnlib.demo._jobs._EVERY", 0.05)

    def _painted(self, wish: Wish, told: Any) -> Any:
        self.begun.release()
        try:
            while True:
                told(Now(0.5))
                time.sleep(0.01)
        finally:
            self.ended.release()
