"""A page that paints in the browser, as a folder of files: it needs no server of its own, and uploads nothing.

The command line has it as `agnlib export --web DIR`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from agnlib import __version__
from agnlib.web._folder import new_folder
from agnlib.web._runtime import VERSION, runtime_files
from agnlib.web._styles import Choice, choices

if TYPE_CHECKING:
    from agnlib.stylizer import Stylizer

__all__ = ["write_page"]

_ASSETS = ("index.html", "page.css", "page.js", "worker.js", "example.jpg")
_LICENSES = """\
What lies in this folder, and its licenses

index.html, page.css, page.js, worker.js, page.json: agnlib {agnlib}, Apache License 2.0
  http://www.apache.org/licenses/LICENSE-2.0
network.onnx, extractor.onnx: the weights {weights}, {license}
example.jpg: the Château de Chenonceau by Alf van Beem, public domain
styles/: small pictures of the styles
{styles}
runtime/: onnxruntime-web {runtime}, MIT License, below; what it contains in turn is listed in the file
  ThirdPartyNotices.txt of the project ONNX Runtime

"""


def write_page(
    stylizer: Stylizer,
    folder: str | os.PathLike[str],
    styles: Sequence[str | os.PathLike[str]] | None = None,
    *,
    seed: int | None = None,
    runtime: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> int:
    """Write a page that paints photos and the webcam in a browser to a folder, whole or not at all.

    The folder holds the page, both networks as ONNX (weights in 16 bits), the styles and onnxruntime-web, which runs
    the networks on WebAssembly, or on WebGPU where it paints the same. Any server of files will do, such as
    `python -m http.server`; a browser refuses the page as a file. The page asks nothing of other hosts.

    Args:
        stylizer: whose networks paint. Extra `onnx`.
        folder: a new or empty one, made if need be.
        styles: to choose on the page, beside a picture of one's own: paths of pictures and of files that
            `StyleCode.save` wrote, and styles by name. None for the works of art that come with agnlib.
        seed: of styles by name, see `agnlib.stylizer.Stylizer.encode_style`.
        runtime: the npm package onnxruntime-web, as .tgz or unpacked, of the version that the page was tested with.
            None has npm fetch it, which needs a network; nothing else here does.
        overwrite: whether a page that this wrote before may be replaced.

    Returns:
        How many bytes were written.

    Raises:
        InputError: a folder that has other files or cannot be written, a style that is none, two of one name, another
            package than onnxruntime-web of that version, or networks that cannot be exported.
        ImageError: a style's picture cannot be read.
        MissingDependencyError: a package of the extra or npm is not there, or npm cannot fetch the package.

    Example:
        >>> from agnlib.models import Generator, StyleExtractor
        >>> from agnlib.stylizer import Stylizer
        >>> stylizer = Stylizer(Generator(style_dim=16), StyleExtractor(style_dim=16), device="cpu")
        >>> write_page(stylizer, "page", ["wave"], runtime="missing.tgz")
        Traceback (most recent call last):
        ...
        agnlib.errors.InputError: runtime: 'missing.tgz' does not exist; get the package where npm is ...
    """
    with new_folder(folder, overwrite=overwrite) as put:
        of_runtime = {f"runtime/{name}": content for name, content in runtime_files(runtime).items()}
        chosen = choices(stylizer, styles, seed)
        assets = {name: (files("agnlib.web") / "assets" / name).read_bytes() for name in _ASSETS}
        pictures = {choice.file: choice.picture for choice in chosen if choice.picture}
        about = {"page.json": _about(stylizer, chosen), "LICENSES.txt": _licenses(stylizer, chosen)}
        written = {**assets, **about, **pictures, **_networks(stylizer), **of_runtime}
        put(written)
    return sum(map(len, written.values()))


def _networks(stylizer: Stylizer) -> dict[str, bytes]:
    from agnlib.engines._export import Order, content_of
    from agnlib.styles._reader import STYLE_SIDE

    given = (stylizer.generator, stylizer.extractor)
    notes: dict[str, Any] = {"side": STYLE_SIDE, "name": stylizer.name or "agnlib", "license": stylizer.license}
    orders = {part: Order(part, "uint8", half=True) for part in ("network", "extractor")}
    return {f"{part}.onnx": content_of(".onnx", *given, order, **notes) for part, order in orders.items()}


def _about(stylizer: Stylizer, chosen: Sequence[Choice]) -> bytes:
    about = {
        "agnlib": __version__,
        "weights": stylizer.name or "given",
        "license": stylizer.license,
        "style_dim": stylizer.generator.config.style_dim,
        "styles": [choice.about() for choice in chosen],
    }
    return json.dumps(about, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")


def _licenses(stylizer: Stylizer, chosen: Sequence[Choice]) -> bytes:
    styles = "\n".join(f"  {choice.name}: {choice.title}" for choice in chosen)
    names = {"agnlib": __version__, "weights": stylizer.name or "given", "runtime": VERSION}
    text = _LICENSES.format(**names, license=stylizer.license, styles=styles)
    notes = text.encode("utf-8", "backslashreplace")  # names of files
    return notes + (files("agnlib.web") / "assets" / "onnxruntime-web.txt").read_bytes()
