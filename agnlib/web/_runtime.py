"""onnxruntime-web, which runs the networks in a browser: fetched by npm or given, and of one version that is tested."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agnlib._shared.paths import is_file, is_folder, text_of, why_not
from agnlib.errors import InputError, MissingDependencyError

__all__ = ["FILES", "VERSION", "runtime_files"]

VERSION = "1.30.0"
# What the page loads, and the SHA-256 of each: two for WebAssembly alone, and their like for WebGPU
FILES: Mapping[str, str] = MappingProxyType(
    {
        "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
        "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    }
)

_PACKAGE = f"onnxruntime-web@{VERSION}"
_REMEDY = f"get the package where npm is (npm pack {_PACKAGE}), and name the .tgz by runtime=... (--runtime PATH)"
_PATIENCE = 600  # seconds for a download of 30 MB


def runtime_files(path: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """The files of onnxruntime-web by name, each checked to be the one that the page was tested with.

    Args:
        path: of the npm package, as .tgz or unpacked; None has npm fetch it.

    Raises:
        MissingDependencyError: no path was given, and npm is not there or cannot fetch it.
        InputError: there is no such package, or it is another one.
    """
    if path is not None:
        return _read(text_of(path, "runtime"))
    with tempfile.TemporaryDirectory() as folder:
        return _read(_packed(folder))


def _packed(folder: str) -> str:
    """Where npm has put the package."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError(f"the page needs {_PACKAGE}, and npm is not installed; install npm, or {_REMEDY}")
    command = [npm, "pack", _PACKAGE, "--prefer-offline", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingDependencyError(f"npm has not fetched {_PACKAGE} in {_PATIENCE} seconds; {_REMEDY}") from error
    packed = Path(folder, f"onnxruntime-web-{VERSION}.tgz")
    if done.returncode or not is_file(packed):
        said = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
        raise MissingDependencyError(f"npm could not fetch {_PACKAGE} ({said.strip()}); {_REMEDY}")
    return str(packed)


def _read(path: str) -> dict[str, bytes]:
    if is_folder(path):
        found = _in_folder(Path(path))
    elif is_file(path):
        found = _in_archive(path)
    else:
        raise InputError(f"runtime: {path!r} {why_not(path, 'a file or folder')}; {_REMEDY}")
    for name, digest in FILES.items():
        if hashlib.sha256(found.get(name, b"")).hexdigest() != digest:
            what = "is not that" if name in found else "is missing: it is not the npm package"
            raise InputError(f"runtime: {path!r}: {name} {what} of {_PACKAGE}; {_REMEDY}")
    return found


def _in_folder(folder: Path) -> dict[str, bytes]:
    """Of the package, or of its files alone."""
    places = (folder / "dist", folder)
    found = {name: next((each / name for each in places if is_file(each / name)), None) for name in FILES}
    return {name: path.read_bytes() for name, path in found.items() if path is not None}


def _in_archive(path: str) -> dict[str, bytes]:
    """Read by name and never unpacked, so that nothing else of it goes anywhere."""
    wanted = {f"package/dist/{name}": name for name in FILES}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in wanted and member.isfile() else None
                if file is not None:
                    found[wanted[member.name]] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"runtime: {path!r} cannot be read ({error}); {_REMEDY}") from error
    return found
