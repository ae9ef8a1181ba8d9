"""onnxruntime in the network's place: exported once, kept for the next time, the same pictures."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from agnlib import __version__
from agnlib._shared.atomic import write_bytes
from agnlib._shared.optional import require
from agnlib.layers import current_window
from agnlib.models import Generator
from agnlib.models.pretrained import picklable

__all__ = ["ENGINES", "OnnxEngine"]

ENGINES = ("torch", "onnx")

_log = logging.getLogger("agnlib.engine")

_AGREEMENT = 1e-3  # of pictures in [0, 1]


class OnnxEngine:
    """The generator's work on whole photos in one style, by onnxruntime on the CPU.

    The first picture exports the network, which takes seconds, and leaves it in the user's cache (`AGNLIB_CACHE`, else
    `~/.cache/agnlib`) under a name made of the weights. A file that lies there is used if it paints a small picture as
    the network itself does. May be shared by threads, and pickled.

    Args:
        generator: as it is when the first picture is painted.

    Raises:
        MissingDependencyError: onnxruntime is not installed, or PyTorch is older than 2.9.
    """

    def __init__(self, generator: Generator) -> None:
        from agnlib.engines._export import check_torch, smallest_side  # torch.export takes a second to import

        _onnxruntime()
        check_torch()
        self._generator = generator
        self._least = smallest_side(generator)
        self._model: bytes | None = None
        self._forget_the_process()

    def __getstate__(self) -> dict[str, Any]:
        return {"_generator": picklable(self._generator), "_least": self._least, "_model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_the_process()

    def _forget_the_process(self) -> None:
        """What belongs to this process and cannot be pickled."""
        self._session: Any = None
        self._lock, self._said = Lock(), False

    def takes(self, photo: Tensor, latent: Tensor | None) -> bool:
        """Whether the exported network can paint this; what it cannot is left to PyTorch, which is logged."""
        taken = latent is None and current_window() is None and min(photo.shape[2:]) >= self._least
        if not taken and not self._said:
            self._said = True
            _log.info("PyTorch paints what the exported network does not hold: large pictures, regions, seeds")
        return taken

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        """Photos `(B, 3, H, W)` and codes `(B, style_dim)` -> paintings `(B, 3, H, W)`, all in [-1, 1]."""
        session = self._session or self._started()
        return _run(session, photo, style)

    def _started(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = self._from_cache() or self._exported()
        return self._session

    def _from_cache(self) -> Any:
        """A session of what an earlier process left; None if there is nothing or something else."""
        if self._model is not None:
            return _session_of(self._model)
        path = _cached(self._generator)
        try:
            model = path.read_bytes() if path is not None else b""
            session = _session_of(model) if model else None
            if session is not None and self._agrees(session):
                self._model = model
                return session
        except Exception as error:  # onnxruntime's errors for a damaged file have many kinds
            if not isinstance(error, FileNotFoundError):
                _log.info("%s is not used: %s", path, error)
        return None

    def _agrees(self, session: Any) -> bool:
        photo, style = (
            torch.linspace(-1, 1, 3 * 29 * 43, device="cpu", dtype=torch.float32).view(1, 3, 29, 43),
            torch.ones(1, self._style_dim, device="cpu", dtype=torch.float32),
        )
        with torch.inference_mode():
            expected = self._generator(None, style, content=photo)
        return bool((_run(session, photo, style) - expected).abs().max() <= 2 * _AGREEMENT)

    @property
    def _style_dim(self) -> int:
        return self._generator.config.style_dim

    def _exported(self) -> Any:
        from agnlib.engines._export import onnx_model

        path = _cached(self._generator)
        _log.info("exporting the network for onnxruntime; this happens once")
        self._model = model = onnx_model(self._generator, name="agnlib", license="unknown")
        if path is not None:
            with suppress(OSError):  # it is in memory all the same
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, model)
        return _session_of(model)


def _onnxruntime() -> Any:
    return require("onnxruntime", extra="onnx", purpose='engine="onnx"')


def _session_of(model: bytes) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _run(session: Any, photo: Tensor, style: Tensor) -> Tensor:
    image = photo.detach().to("cpu", torch.float32).mul(0.5).add_(0.5).contiguous()
    codes = style.detach().to("cpu", torch.float32).contiguous()
    (painted,) = session.run(["painted"], {"image": image.numpy(), "style": codes.numpy()})
    return torch.from_numpy(painted).mul_(2).sub_(1)


def _cached(generator: Generator) -> Path | None:
    """Where the exported network of these weights is kept; None without a home."""
    try:
        folder = Path(os.environ.get("AGNLIB_CACHE") or Path.home() / ".cache" / "agnlib")
    except RuntimeError:
        return None
    return folder / f"{_digest(generator)[:32]}.onnx"


def _digest(generator: Generator) -> str:
    digest = hashlib.sha256(f"{__version__} {type(generator).__qualname__} {generator.config}".encode())
    for name, value in generator.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
