"""The demo page lets nothing in but what was uploaded to it, asked by its own visitors, wherever it is mounted."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import META, Endless, Page, launched, mounted, png, served
from PIL import Image

from agnlib import Stylizer, demo
from agnlib.demo._security import AccessGuard
from agnlib.errors import InputError

gradio = pytest.importorskip("gradio", reason="the extra `demo` is not installed")


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module", params=[served, mounted, launched], ids=lambda way: way.__name__)
def page(
    request: pytest.FixtureRequest, stylizer: Stylizer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        with request.param(stylizer, cache) as address:
            yield Page(address, cache)


@pytest.fixture
def photo() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_uploads_are_painted(page: Page, photo: np.ndarray[Any, Any]) -> None:
    file = {"path": page.upload("mine.png", png(photo)), "meta": META, "url": "http://127.0.0.1:1/", "size": 3}
    answer = page.called(page.number("paint"), [file, "chance", None, None, 5, 0, 1, 1, 1, "network", 0.5])
    assert answer["success"]
    path = answer["output"]["data"][2]["value"]["path"]
    with Image.open(io.BytesIO(page.get(f"/gradio_api/file={path}"))) as painted:
        np.testing.assert_array_equal(np.asarray(painted), photo)


def test_no_seed_picked_is_the_first(page: Page) -> None:
    answer = page.called(page.number("pick"), [None])
    assert (answer["success"], answer["output"]["data"]) == (True, [0])


STRENGTH, SCALE = 5, 8  # among the values of "paint"
NO_VALUES = [
    (STRENGTH, None, "a control has no value, or none that it can have; set it, or reload the page"),
    (SCALE, "broad", "a control has no value, or none that it can have; set it, or reload the page"),
    (STRENGTH, 7, "greater than maximum value 1"),
    (1, "a\nb\x1b[2J", "is not in the list of choices"),
    (3, 5, "is not in the list of choices"),
    (SCALE, [1], "this is no picture that was uploaded to this page; upload it first"),
]


@pytest.mark.parametrize(("place", "value", "words"), NO_VALUES, ids=str)
def test_a_value_that_no_control_can_have_is_said(
    page: Page, place: int, value: Any, words: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """To the visitor in words, in the terminal in one line."""
    values = page.values(page.functions()[page.number("paint")])
    values[place] = value
    answer = page.called(page.number("paint"), values)
    assert not answer["success"]
    assert words in answer["output"]["error"]
    said = [record.getMessage() for record in caplog.records if record.name == "agnlib.demo._security"]
    assert len(said) == 1
    assert said[0].startswith("a request was refused: ")
    assert said[0].isprintable()
    assert "Traceback" not in "".join(capfd.readouterr())


def test_nobody_paints_past_the_queue(page: Page) -> None:
    for name in ("paint", "repaint"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            page.post(f"/gradio_api/run/{name}", {"data": page.values(page.functions()[page.number(name)])})
    assert [each["api_name"] for each in page.functions().values() if each["queue"]] == ["paint", "repaint"]


def values_of(page: Page) -> list[Any]:
    file = {"path": page.upload("mine.png", png(np.zeros((8, 8, 3), np.uint8))), "meta": META}
    return [file, "chance", None, None, 5, 1, 1, 1, 1, "neighbors", 0.5]


def test_a_painting_is_stopped_by_its_visitor_alone(door: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    work, stop = Endless(monkeypatch), stop_of(door)
    session = door.joined(door.number("paint"), values_of(door))
    with door.stream(session) as messages:
        assert next(each for each in messages if each["msg"] == "process_generating")["success"]
        door.called(stop, [None])  # in another session
        assert not work.ended.acquire(timeout=0.3)
        door.joined(stop, [None], session)
        assert work.ended.acquire(timeout=10)
        said = [json.dumps(each) for each in messages]
    assert any("Stopped: nothing is changed." in each for each in said)


def test_the_work_for_a_visitor_who_leaves_ends(door: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Endless(monkeypatch)
    for _ in range(2):  # the second is painted since the first one ended
        with door.stream(door.joined(door.number("paint"), values_of(door))) as messages:
            assert next(each for each in messages if each["msg"] == "process_generating")["success"]
            assert work.begun.acquire(timeout=10)
        assert work.ended.acquire(timeout=30)


def stop_of(page: Page) -> int:
    button = next(each["id"] for each in page.config["components"] if each["props"].get("elem_id") == "stop")
    functions = page.functions()
    return next(number for number, each in functions.items() if [button, "click"] in map(list, each["targets"]))


def files(folder: Path) -> set[Path]:
    return {each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()}


def asked(cache: Path, secret: Path) -> Iterator[Any]:
    """Values that name a file which nobody uploaded, or a place elsewhere."""
    (cache / "link.png").symlink_to(secret)
    (cache / "dots").mkdir()
    paths = [secret, cache / "dots" / ".." / ".." / secret.name, cache / "link.png", secret.with_suffix(".txt")]
    yield from ({"path": str(path), "meta": META} for path in paths)
    yield {"path": str(secret.with_suffix(".svg")), "meta": META, "is_stream": True}
    yield {"path": "http://192.0.2.1/a.png", "meta": META}
    yield {"path": "", "url": "http://127.0.0.1:9/a.png", "meta": META}
    yield [{"a": {"path": str(secret), "meta": META}}]
    yield {"value": {"path": str(secret), "meta": META}, "path": str(secret)}
    yield {"path": str(secret)}


def test_no_endpoint_opens_what_was_not_uploaded(
    page: Page, photo: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[str] = []
    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", went.append)
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(photo))
    secret.with_suffix(".txt").write_text("secret")
    secret.with_suffix(".svg").write_text("<svg/>")
    before = files(page.cache)
    hostile = list(asked(page.cache, secret))
    functions = page.functions()
    assert {"paint", "repaint", "check_photo", "check_style"} <= {each["api_name"] for each in functions.values()}
    paint = page.number("paint")
    for number, function in functions.items():
        values = page.values(function)
        for place in range(len(values)):
            for value in hostile if number == paint and place in (0, 3, 5) else hostile[:1]:
                answer = page.called(number, [*values[:place], value, *values[place + 1 :]])
                assert not answer["success"], (function["api_name"], place, value)
                assert "uploaded to this page" in answer["output"]["error"]
    for name in json.loads(page.get("/gradio_api/info"))["named_endpoints"]:
        values = page.values(functions[page.number(name.strip("/"))])
        if values:
            assert "event: error" in page.named(name.strip("/"), [hostile[0], *values[1:]])
            for route in ("run", "api"):  # past the queue, which is closed for what takes time
                with pytest.raises(urllib.error.HTTPError, match=r"404|500"):
                    page.post(f"/gradio_api/{route}{name}", {"data": [hostile[0], *values[1:]]})
    for each in ("png", "txt", "svg"):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            page.get(f"/gradio_api/file={secret.with_suffix('.' + each)}")
    with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
        page.get(f"/gradio_api/file={page.cache}/link.png")
    assert files(page.cache) == before
    assert went == []


@pytest.fixture(scope="module")
def door(stylizer: Stylizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """As `agnlib demo` does it, on one machine alone."""
    cache = tmp_path_factory.mktemp("door")
    with served(stylizer, cache) as address:
        yield Page(address, cache)


OTHERS = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:8000"},  # another program of this machine
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
]


@pytest.mark.parametrize("headers", OTHERS, ids=str)
def test_pages_of_other_sites_may_ask_for_nothing(door: Page, headers: dict[str, str]) -> None:
    before = files(door.cache)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        door.upload("a.png", b"x", **headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        door.post("/gradio_api/call/draw", {"data": []}, **headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        door.get("/config", **headers)
    assert files(door.cache) == before


def test_the_page_itself_and_links_to_it_may(door: Page) -> None:
    assert "event_id" in door.post("/gradio_api/call/draw", {"data": []}, Origin=door.address)
    # through a server in front, which has a name of its own
    door.get("/config", **{"Sec-Fetch-Site": "same-origin", "Origin": "https://painting.example"})
    assert b"<html" in door.get("/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://127.0.0.1:9/a.png",
        "/gradio_api/file=https://example.org/a.png",
        "/gradio_api/proxy=http://127.0.0.1:9/a.png",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/file=.gradio/cached_examples/a.png",
        "/gradio_api/deep_link?session_hash=a",
        "/gradio_api/runs",
        "/gradio_api/run-history/buckets",
        "/gradio_api/dev/reload",
        "/gradio_api/token",
        "/monitoring",
        "/docs",
        "/static/../../../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/%2fetc%2fpasswd",
    ],
)
def test_only_what_the_page_needs_is_answered(door: Page, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
        door.get(path)


@pytest.mark.parametrize("path", ["component_server", "process_recording", "vibe-edit", "stream/a", "login"])
def test_nothing_else_is_taken(door: Page, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        door.post(f"/gradio_api/{path}", {})


def status_of(door: Page, head: str) -> str:
    """The first line of the answer to a request whose body never comes."""
    where = urllib.parse.urlsplit(door.address)
    with socket.create_connection((where.hostname, where.port), timeout=30) as line:
        line.sendall(f"{head}\r\nHost: {where.netloc}\r\n\r\n".encode())
        return line.makefile("rb").readline().decode().strip()


def test_a_request_is_refused_by_its_length_before_it_is_read(door: Page) -> None:
    upload = "POST /gradio_api/upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    assert status_of(door, upload + "Content-Length: 300000000").split()[1] == "413"
    assert status_of(door, upload + "Transfer-Encoding: chunked").split()[1] == "411"
    assert status_of(door, "POST /gradio_api/queue/join HTTP/1.1\r\nContent-Length: 2000000").split()[1] == "413"
    assert status_of(door, "POST /gradio_api/queue/join HTTP/1.1").split()[1] == "411"


def answer_of(app: AccessGuard, path: str, method: str = "GET", **headers: str) -> int:
    """The status that an app gives to a request without a body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app({"type": "http", "method": method, "path": path, "headers": given}, receive, send))
    return int(sent[0]["status"])


async def welcome(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_full_folder_takes_no_more(tmp_path: Path) -> None:
    app = AccessGuard(welcome, "127.0.0.1", tmp_path, upload=1000, quota=1500)
    asked = {"host": "localhost", "content_length": "900"}
    assert answer_of(app, "/gradio_api/upload", "POST", **asked) == 200
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "upload.png").write_bytes(bytes(601))
    assert answer_of(app, "/gradio_api/upload", "POST", **asked) == 507
    assert answer_of(app, "/gradio_api/queue/join", "POST", **asked) == 200


NAMES = ["localhost:7860", "127.0.0.1", "[::1]:7860", "192.168.7.9:7860", "pc.example", "evil.example", "", "a b"]


@pytest.mark.parametrize(
    ("host", "welcomed"),
    [
        ("127.0.0.1", {"localhost:7860", "127.0.0.1", "[::1]:7860"}),
        ("localhost", {"localhost:7860", "127.0.0.1", "[::1]:7860"}),
        ("0.0.0.0", {"localhost:7860", "127.0.0.1", "[::1]:7860", "192.168.7.9:7860"}),
        ("pc.example", {"localhost:7860", "127.0.0.1", "[::1]:7860", "192.168.7.9:7860", "pc.example"}),
    ],
)
def test_a_site_cannot_point_its_own_name_at_the_page(tmp_path: Path, host: str, welcomed: set[str]) -> None:
    app = AccessGuard(welcome, host, tmp_path, upload=1000, quota=1500)
    assert {name for name in NAMES if answer_of(app, "/", host=name) == 200} == welcomed
    assert answer_of(app, "/") == 400
    own = AccessGuard(welcome, "0.0.0.0", tmp_path, upload=1000, quota=1500)
    assert answer_of(own, "/", host=f"{socket.gethostname()}:7860") == 200


def test_files_are_served_without_scripts(door: Page) -> None:
    path = door.upload("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    with urllib.request.urlopen(f"{door.address}/gradio_api/file={path}") as answer:
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    values = [{"path": path, "meta": META}, "chance", None, None, 5, 0, 1, 1, 1, "network", 0.5]
    assert not door.called(door.number("paint"), values)["success"]  # Gradio would serve it for ever, as it is


def test_only_the_page_that_is_served_keeps_its_uploads_there(stylizer: Stylizer, tmp_path: Path) -> None:
    before = os.environ.get("GRADIO_TEMP_DIR")
    with served(stylizer, tmp_path) as address:
        assert Path(Page(address, tmp_path).upload("a.png", b"x")).is_relative_to(tmp_path)
    assert os.environ.get("GRADIO_TEMP_DIR") == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_program_ends(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "agnlib", "demo", "--port", "0", "--no-browser", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "the page is at" in line)
        page = Page(said.split("the page is at ")[1].split(";")[0], tmp_path)
        assert Path(page.upload("a.png", b"x")).is_relative_to(tmp_path)
        assert list(tmp_path.glob("agnlib-demo-*/*/a.png"))
        with urllib.request.urlopen(f"{page.address}/gradio_api/heartbeat/abc"):  # a visitor who stays
            process.send_signal(number)
            process.wait(timeout=60)
        assert "Traceback" not in process.stderr.read()
    assert list(tmp_path.glob("agnlib-demo-*")) == []


def test_a_page_inside_another_is_refused(stylizer: Stylizer, tmp_path: Path) -> None:
    inner = demo.page(stylizer, tmp_path)
    with gradio.Blocks(), pytest.raises(InputError, match="mount it beside them"):
        demo.page(stylizer, tmp_path)
    with gradio.Blocks(), pytest.raises(InputError, match="mount it beside them"):
        inner.render()


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..b", "no host", "a\0b", "nowhere.invalid", "-"], ids=ascii)
def test_a_host_that_cannot_be_one_is_one_line(stylizer: Stylizer, host: str) -> None:
    with pytest.raises(InputError, match=r"^cannot listen on .*, port 0 \(.+\); choose another with --host or --port$"):
        demo.serve(stylizer, host=host, port=0)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_one_is_one_line(stylizer: Stylizer, port: int) -> None:
    with pytest.raises(InputError, match=rf"^cannot listen on 127\.0\.0\.1, port {port} "):
        demo.serve(stylizer, port=port)


def test_open_to_others_the_page_knows_its_own_visitors(stylizer: Stylizer, tmp_path: Path) -> None:
    """As `agnlib demo --host 0.0.0.0` serves it: by address, without TLS, where browsers say no `Sec-Fetch-Site`."""
    with demo._app(stylizer, "0.0.0.0", tmp_path) as app:
        app._app = welcome
        own, other = "192.168.7.9:7860", "192.168.7.9:8000"
        assert answer_of(app, "/config", host=own) == 200
        assert answer_of(app, "/config", host=own, origin=f"http://{own}") == 200
        for origin in (f"http://{other}", "http://evil.example", "null"):
            assert answer_of(app, "/config", host=own, origin=origin) == 403
        assert answer_of(app, "/config", host="evil.example", origin="http://evil.example") == 400
