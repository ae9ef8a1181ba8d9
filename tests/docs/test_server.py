"""The service of docs/howto/server.md, asked as clients ask: bytes in, bytes out, a time-out that stops the work."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import test_docs_code
from PIL import Image
from test_docs_code import CHECKOUT, blocks

from agnlib.painting._painted_windows import Painting

desk = test_docs_code.desk


class Service:
    """What the page makes, on a free port."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.server = names["ThreadingHTTPServer"](("127.0.0.1", 0), names["Paintings"])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, body: bytes | Iterable[bytes], **headers: str) -> tuple[int, str, bytes]:
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.server.server_port}", body, headers), timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.fixture
def service(desk: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Service]:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(CHECKOUT / "docs" / "howto" / "server.md"):
        exec(compile(block.code, f"server.md:{block.line}", "exec"), names)
        if "Paintings" in names:
            break
    made = Service(names)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_photo_comes_back_painted_and_what_is_none_is_said_without_a_path(service: Service, desk: Path) -> None:
    photo = (desk / "photo.jpg").read_bytes()
    status, kind, body = service.post(photo)
    assert (status, kind) == (200, "image/png")
    painted = service.names["stylizer"](photo, service.names["style"])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), np.asarray(painted))
    status, kind, body = service.post(photo[:-200])
    assert (status, kind) == (400, "text/plain; charset=utf-8")
    assert body.startswith(b"content: <bytes> cannot be decoded")
    assert service.post(b"a letter")[0] == 400
    assert service.post(b"")[2].startswith(b"content: <bytes> is empty")
    service.names["LIMITS"] = service.names["Limits"](side=20)
    assert b"more than the limit" in service.post(photo)[2]


def test_a_time_out_is_504_and_stops_the_work(
    service: Service,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo, painted = (desk / "photo.jpg").read_bytes(), []
    window, cut = Painting.window, Painting.boxes
    monkeypatch.setattr(Painting, "window", lambda self, box: painted.append(box) or window(self, box))
    monkeypatch.setattr(Painting, "boxes", lambda self, tile: cut(self, 32))

    service.names["time"] = SimpleNamespace(monotonic=itertools.count().__next__)  # a second from look to look
    for _ in range(5):  # more than there is room for: each gives its room back
        painted.clear()
        service.names["SECONDS"] = 3.5
        status, _, body = service.post(photo)
        assert status == 504
        assert body == b"not done within 3.5 s; 33% was painted"
        assert len(painted) == 3  # of 9, and none comes later: the thread that answered is the one that painted
    painted.clear()
    service.names["SECONDS"] = 100.0
    assert service.post(photo)[0] == 200
    assert len(painted) == 9


def test_a_picture_that_is_finished_is_given_however_late(service: Service, desk: Path) -> None:
    service.names["time"] = SimpleNamespace(monotonic=itertools.count().__next__)
    service.names["SECONDS"] = 1.5  # in time at the start, and late once the only tile is painted
    assert service.post((desk / "photo.jpg").read_bytes())[0] == 200
    service.names["SECONDS"] = 0.5
    status, _, body = service.post((desk / "photo.jpg").read_bytes())
    assert (status, body) == (504, b"not done within 0.5 s; 0% was painted")


def test_what_is_too_large_or_has_no_length_is_answered_though_it_is_still_being_sent(
    service: Service, desk: Path
) -> None:
    photo = (desk / "photo.jpg").read_bytes()
    limit = service.names["LIMITS"].bytes
    status, kind, body = service.post(bytes(limit + 2**20))
    assert (status, kind) == (413, "text/plain; charset=utf-8")
    assert body == f"{limit + 2**20} bytes are more than the limit of {limit}".encode()
    status, _, body = service.post(iter([bytes(2**20)] * 8))  # in chunks
    assert (status, body) == (411, b"say by Content-Length how many bytes the photo has")
    assert service.post(photo, **{"Content-Length": "lots"})[0] == 411
    assert service.post(photo, **{"Content-Length": "9" * 5000})[0] == 411
    assert service.post(photo, **{"Transfer-Encoding": "chunked", "Content-Length": str(len(photo))})[0] == 411
    service.names["LIMITS"] = service.names["Limits"](bytes=len(photo))
    assert service.post(photo)[0] == 200
    assert service.post(photo + b" ")[0] == 413


def test_one_request_too_many_is_503(service: Service, desk: Path) -> None:
    for _ in range(4):
        assert service.names["ROOM"].acquire(blocking=False)
    assert service.post((desk / "photo.jpg").read_bytes())[0] == 503
    service.names["ROOM"].release()
    assert service.post((desk / "photo.jpg").read_bytes())[0] == 200
