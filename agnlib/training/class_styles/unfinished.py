"""What has been learned of styles by name so far, kept in a file, so that work that is ended goes on from there."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from agnlib._shared.atomic import write_bytes
from agnlib._shared.paths import is_file

__all__ = ["Unfinished"]


class Unfinished:
    """Named tensors in a file, of one piece of work.

    Args:
        path: of the file; None keeps nothing.
        work: says which work it is; what another left is not taken.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Unfinished(Path(folder, "styles.safetensors"), "step 3").keep(codes=torch.ones(2))
        ...     [Unfinished(Path(folder, "styles.safetensors"), f"step {n}").read() for n in (3, 4)]
        [{'codes': tensor([1., 1.])}, {}]
    """

    def __init__(self, path: Path | None, work: str = "") -> None:
        self._path, self._work = path, work

    def read(self) -> dict[str, Tensor]:
        """What was kept; nothing where there is none, or none that can be read."""
        if self._path is None or not is_file(self._path):
            return {}
        try:
            with safe_open(self._path, "pt") as file:
                if (file.metadata() or {}).get("work") != self._work:
                    return {}
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return {}

    def keep(self, **tensors: Tensor) -> None:
        """Write these, in place of what was kept."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            write_bytes(self._path, save(whole, {"work": self._work}))

    def remove(self) -> None:
        """It is finished."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
