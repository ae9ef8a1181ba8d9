"""The page without a server as a folder: what is in it, whole or not at all, and the runtime that is its own."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import __version__, web
from agnlib.cli.main import main
from agnlib.errors import ImageError, InputError, MissingDependencyError
from agnlib.models import Generator, StyleExtractor
from agnlib.styles import works
from agnlib.stylizer import Stylizer
from agnlib.web import _folder, _runtime, write_page
from agnlib.web._styles import choices

ASSETS = Path(web.__file__).parent / "assets"


def stylizer_of_small_networks() -> Stylizer:
    torch.manual_seed(0)
    generator = Generator(8, 16, channels=(4, 4, 8), blocks=(0, 0, 1))
    return Stylizer(generator, StyleExtractor(16, hidden=8, taps=("block0",)), device="cpu")


STYLIZER = stylizer_of_small_networks()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm package with files of the right names, which are taken for the right ones."""
    contents = {name: f"content of {name}".encode() for name in _runtime.FILES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(_runtime, "FILES", digests)
    path = tmp_path / "packed.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {**contents, "../../outside": b"evil", "ort.js": b"more"}.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the export, which takes seconds; tests/web/test_page_browser.py runs the true ones."""
    monkeypatch.setattr(web, "_networks", lambda _: {"network.onnx": b"network", "extractor.onnx": b"extractor"})


def picture(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return path


# -- the folder


def test_a_page_has_all_that_it_names(package: Path, networks: None, tmp_path: Path) -> None:
    own = picture(tmp_path / "My style!.png")
    target = tmp_path / "new" / "page"
    size = write_page(STYLIZER, target, ["wave", own], runtime=package)
    files = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert size == sum(path.stat().st_size for path in files.values())
    about = json.loads(files["page.json"].read_text("utf-8"))
    assert about["agnlib"] == __version__
    assert about["style_dim"] == 16
    wave, mine = about["styles"]
    assert (wave["name"], mine["name"]) == ("wave", "My style!")
    assert "Hokusai" in wave["title"]
    for each, style in ((wave, "wave"), (mine, own)):
        np.testing.assert_allclose(each["code"], STYLIZER.encode_style(style).vector, atol=1e-4)
        with Image.open(files[each["picture"]]) as small:
            assert small.size == (192, 192)
    named = re.findall(r'(?:src|href)="([\w./-]+)"', files["index.html"].read_text("utf-8"))
    scripts = "".join(files[name].read_text("utf-8") for name in ("page.js", "worker.js"))
    named += re.findall(r'["}`]([\w-]+\.(?:onnx|json|jpg|js))["`]', scripts)
    assert {"worker.js", "network.onnx", "extractor.onnx", "page.json", "example.jpg"} < set(named)
    assert set(named) <= set(files)
    loaded = set(re.findall(r'"(ort[\w.-]+)"', scripts))
    assert len(loaded) == 4
    assert loaded <= set(_runtime.FILES) <= {Path(name).name for name in files}
    assert not list(tmp_path.glob("**/.agnlib-*"))
    assert not (tmp_path / "outside").exists()


def test_licenses_of_all_parts_lie_beside_them(package: Path, networks: None, tmp_path: Path) -> None:
    write_page(STYLIZER, tmp_path / "page", ["wave"], runtime=package)
    text = (tmp_path / "page" / "LICENSES.txt").read_text("utf-8")
    assert "Copyright (c) Microsoft Corporation" in text
    assert "Permission is hereby granted, free of charge" in text
    assert "onnxruntime-web 1." in text
    assert "wave: Katsushika Hokusai" in text
    assert "{" not in text


def test_a_page_is_replaced_only_when_that_is_asked_for(package: Path, networks: None, tmp_path: Path) -> None:
    target = tmp_path / "page"
    write_page(STYLIZER, target, ["wave"], runtime=package)
    with pytest.raises(InputError, match=r"has a page already; .*--overwrite"):
        write_page(STYLIZER, target, ["lion"], runtime=package)
    write_page(STYLIZER, target, ["lion"], runtime=package, overwrite=True)
    assert [path.name for path in (target / "styles").iterdir()] == ["lion.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.tgz", "page"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_left_alone(overwrite: bool, package: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "index.html").write_text("mine")
    with pytest.raises(InputError, match="has other files than a page"):
        write_page(STYLIZER, target, ["wave"], runtime=package, overwrite=overwrite)
    with pytest.raises(InputError, match="is a file or a link"):
        write_page(STYLIZER, target / "index.html", ["wave"], runtime=package, overwrite=overwrite)
    assert (target / "index.html").read_text() == "mine"


def test_a_page_that_cannot_be_written_leaves_the_former_one(
    package: Path, networks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "page"
    write_page(STYLIZER, target, ["wave"], runtime=package)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_folder.Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        write_page(STYLIZER, target, ["lion"], runtime=package, overwrite=True)
    with pytest.raises(InputError, match="No space left"):
        write_page(STYLIZER, tmp_path / "other" / "page", ["lion"], runtime=package)
    assert (target / "styles" / "wave.jpg").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.tgz", "page"]


# -- the styles


def test_styles_are_the_works_where_none_are_given() -> None:
    found = choices(STYLIZER, None, None)
    assert [choice.name for choice in found] == list(works.available())


def test_styles_may_be_codes_and_chance(tmp_path: Path) -> None:
    STYLIZER.random_style(3).save(tmp_path / "mine.safetensors")
    saved, drawn = choices(STYLIZER, [tmp_path / "mine.safetensors", "random"], 3)
    assert (saved.name, saved.picture, drawn.picture) == ("mine", b"", b"")
    np.testing.assert_allclose(saved.code, drawn.code, atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_that_are_no_utf8_are_shown_as_far_as_they_are(package: Path, networks: None, tmp_path: Path) -> None:
    own = picture(tmp_path / "caf\udce9.png")
    write_page(STYLIZER, tmp_path / "page-\udce9", [own], runtime=package)
    (style,) = json.loads((tmp_path / "page-\udce9" / "page.json").read_text("utf-8"))["styles"]
    assert style["name"] == "caf\udce9"  # the browser shows what it can
    assert re.fullmatch(r"styles/caf--[0-9a-f]{8}\.jpg", style["picture"])


def test_names_of_other_letters_are_told_apart(tmp_path: Path) -> None:
    night, wave = picture(tmp_path / "ночь.png"), picture(tmp_path / "волна.png")
    found = choices(STYLIZER, [night, wave], None)
    assert [each.name for each in found] == ["ночь", "волна"]
    assert len({each.file for each in found}) == 2


def test_what_lies_beside_a_page_is_not_lost(package: Path, networks: None, tmp_path: Path) -> None:
    write_page(STYLIZER, tmp_path / "site", ["wave"], runtime=package)
    (tmp_path / "site" / "CNAME").write_text("example.org")
    with pytest.raises(InputError, match="'CNAME' beside the page"):
        write_page(STYLIZER, tmp_path / "site", ["wave"], runtime=package, overwrite=True)
    assert (tmp_path / "site" / "CNAME").read_text() == "example.org"
    (tmp_path / "site" / "CNAME").unlink()
    write_page(STYLIZER, tmp_path / "site", ["wave"], runtime=package, overwrite=True)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "file/page"])
def test_a_folder_that_cannot_be_made_is_said(name: str, package: Path, networks: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be") as error:
        write_page(STYLIZER, tmp_path / name, ["wave"], runtime=package)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "packed.tgz"]


def test_styles_that_cannot_be_are_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    first, second = picture(tmp_path / "a b.png"), picture(tmp_path / "folder" / "A B.png")
    for styles, said in (
        ([first, second], "two are called 'a b'"),
        ([], "at least one"),
        ("wave", "expected a list"),
        (["no-such-style"], "no-such-style"),
    ):
        with pytest.raises(InputError, match=said):
            choices(STYLIZER, styles, None)
    with pytest.raises(ImageError, match="missing"):
        choices(STYLIZER, [tmp_path / "missing.jpg"], None)


# -- the runtime


def test_a_runtime_is_read_packed_and_unpacked(package: Path, tmp_path: Path) -> None:
    packed = _runtime.runtime_files(package)
    assert set(packed) == set(_runtime.FILES)
    for folder in (tmp_path / "package" / "dist", tmp_path / "alone"):
        folder.mkdir(parents=True)
        for name, content in packed.items():
            (folder / name).write_bytes(content)
    assert _runtime.runtime_files(tmp_path / "package") == packed
    assert _runtime.runtime_files(tmp_path / "alone") == packed
    (tmp_path / "alone" / "ort.wasm.min.mjs").write_bytes(b"another version")
    with pytest.raises(InputError, match=r"ort\.wasm\.min\.mjs is not that of onnxruntime-web@1\.30\.0"):
        _runtime.runtime_files(tmp_path / "alone")
    (tmp_path / "alone" / "ort.wasm.min.mjs").unlink()
    with pytest.raises(InputError, match="is missing"):
        _runtime.runtime_files(tmp_path / "alone")
    (tmp_path / "text.tgz").write_text("no archive")
    with pytest.raises(InputError, match="cannot be read"):
        _runtime.runtime_files(tmp_path / "text.tgz")
    with pytest.raises(InputError, match="does not exist"):
        _runtime.runtime_files(tmp_path / "missing")


def test_without_npm_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_runtime.shutil, "which", lambda _: None)
    with pytest.raises(
        MissingDependencyError, match=r"npm is not installed; .*npm pack onnxruntime-web@1\.30\.0.*--runtime PATH"
    ):
        _runtime.runtime_files()


def test_npm_is_asked_for_the_pinned_version(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], cwd: str, **_: Any) -> Any:
        asked.append(command)
        Path(cwd, f"onnxruntime-web-{_runtime.VERSION}.tgz").write_bytes(package.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(_runtime.shutil, "which", lambda _: "/bin/npm")
    monkeypatch.setattr(subprocess, "run", run)
    assert set(_runtime.runtime_files()) == set(_runtime.FILES)
    assert asked[0][:3] == ["/bin/npm", "pack", "onnxruntime-web@1.30.0"]


def test_npm_without_a_network_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    failed = SimpleNamespace(returncode=1, stderr="npm error code ENOTFOUND\nnpm error more\n")
    monkeypatch.setattr(_runtime.shutil, "which", lambda _: "/bin/npm")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert main(["export", "--web", str(tmp_path / "page")]) == 2
    said = capsys.readouterr().err
    assert "npm could not fetch onnxruntime-web@1.30.0 (npm error code ENOTFOUND)" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


# -- the page's text


class Elements(HTMLParser):
    """What is in a page: its elements, and which have a label around them or elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


PAGE = (ASSETS / "index.html").read_text("utf-8")


def test_the_policy_lets_nothing_leave_the_folder() -> None:
    (policy,) = (each["content"] for tag, each in Elements(PAGE).found if tag == "meta" and each.get("http-equiv"))
    rules = {rule.split()[0]: set(rule.split()[1:]) for rule in str(policy).split(";")}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == {"'none'"}
    assert rules["connect-src"] == {"'self'"}
    assert set().union(*rules.values()) == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}
    assert rules["script-src"] == {"'self'", "'wasm-unsafe-eval'"}


@pytest.mark.parametrize("name", ["index.html", "page.css", "page.js", "worker.js"])
def test_our_files_name_no_host_and_are_small(name: str) -> None:
    text = (ASSETS / name).read_text("utf-8")
    assert not re.search(r"(https?|wss?):?//|//\w+\.\w+/", text)
    assert len(text) < 15_000
    assert max(map(len, text.splitlines())) <= 300


def test_no_script_and_no_style_stands_in_the_page_itself() -> None:
    for tag, attributes in Elements(PAGE).found:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_what_scripts_look_for_is_there() -> None:
    ids = {attributes["id"] for _, attributes in Elements(PAGE).found if attributes.get("id")}
    assert set(re.findall(r'\$\("([\w-]+)"\)', (ASSETS / "page.js").read_text("utf-8"))) <= ids
