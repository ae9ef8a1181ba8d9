"""Weights from the Hub, served here by a small server that speaks its protocol; and torch.hub."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import make_start

from agnlib import Stylizer
from agnlib.errors import MissingDependencyError, WeightsError
from agnlib.models import Generator, pretrained

CHECKOUT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = f"hf://somebody/paint@{COMMIT}"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for small files: one repository of one commit."""

    def __init__(self, folder: Path, *rest: object) -> None:
        self.folder = folder
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        start = f"/somebody/paint/resolve/{COMMIT}/"
        file = self.folder / self.path.removeprefix(start).split("?")[0]
        known = self.path.startswith(start) and file.is_file()
        data = file.read_bytes() if known else b""
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that is served."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra `hub` is not installed")
    folder = make_start(tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hub, folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in {
            "ENDPOINT": endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield folder
        server.shutdown()


def test_weights_come_from_the_hub_once_and_are_those_of_the_folder(hub: Path) -> None:
    photo, style = np.full((20, 30, 3), 90, np.uint8), np.full((20, 30, 3), 200, np.uint8)
    expected = Stylizer.from_pretrained(hub, device="cpu")(photo, style)
    np.testing.assert_array_equal(Stylizer.from_pretrained(ADDRESS, device="cpu")(photo, style), expected)
    shutil.rmtree(hub)  # from here on the server has nothing
    np.testing.assert_array_equal(Stylizer.from_pretrained(ADDRESS, device="cpu")(photo, style), expected)
    assert isinstance(Generator.from_pretrained(ADDRESS), Generator)


def test_tensors_that_are_not_those_of_the_configuration_are_refused(hub: Path) -> None:
    config = json.loads((hub / "config.json").read_text())
    config["sha256"] = "0" * 64
    (hub / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        pretrained.load(ADDRESS)


@pytest.mark.parametrize(
    "address",
    ["hf://somebody/paint", "hf://somebody/paint@main", f"hf://paint@{COMMIT}", f"hf://../../x@{COMMIT}/..", "hf://"],
)
def test_an_address_without_a_commit_says_what_is_expected(address: str) -> None:
    with pytest.raises(WeightsError, match="hf://OWNER/NAME@COMMIT"):
        Stylizer.from_pretrained(address)


def test_what_is_not_there_is_one_line(hub: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be had") as error:
        pretrained.load(ADDRESS.replace("paint", "missing"))
    assert "\n" not in str(error.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[hub\]"'):
        pretrained.load(ADDRESS)


def test_torch_hub_loads_a_stylizer_from_a_checkout(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "photo.png")
    code = f"""
import torch
stylizer = torch.hub.load({str(CHECKOUT)!r}, "stylizer", source="local", weights="agn-fast", device="cpu")
print(stylizer("photo.png", {str(CHECKOUT / "examples" / "images" / "auvers.jpg")!r}).size)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "(30, 20)\n", done.stderr
