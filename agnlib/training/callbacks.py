"""Callbacks: objects with any of the hooks, no base class; a hook name that does not exist is an error."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from agnlib import image as images
from agnlib._shared.atomic import write_bytes
from agnlib._shared.numbers import checked_count, is_count
from agnlib._shared.paths import is_file, text_of
from agnlib.errors import ImageError, InputError, WeightsError
from agnlib.training.run.tensorboard import EventFile
from agnlib.training.run.tensorboard import is_installed as tensorboard_is_installed
from agnlib.training.safety.checkpoint import checkpoints_in

if TYPE_CHECKING:
    from agnlib.training.data.pairs import Batch
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["LogScalars", "ProgressBar", "SaveCheckpoints", "SaveSamples", "call_hooks", "check_hooks"]

HOOKS = ("on_fit_start", "on_before_optimizer_step", "on_step_end", "on_checkpoint", "on_fit_end")


def check_hooks(callbacks: Any) -> tuple[object, ...]:
    """The callbacks, where the trainer will call each, and each method `on_...` of it.

    Raises:
        InputError: they are no list; one is a class, has no hook or a hook that does not exist.
    """
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise InputError(f"callbacks are a {type(callbacks).__name__}; expected several, such as a list of one")
    for callback in callbacks:
        unknown = [name for name in dir(callback) if name.startswith("on_") and name not in HOOKS]
        if unknown:
            raise InputError(
                f"{type(callback).__name__} has unknown hooks {', '.join(unknown)}; expected {', '.join(HOOKS)}"
            )
        known = [name for name in (*HOOKS, "state_dict") if hasattr(callback, name)]
        if isinstance(callback, type) or not known:
            kind = f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
            raise InputError(f"callbacks: got {kind}; expected objects with some of {', '.join(HOOKS)}")
    return tuple(callbacks)


def call_hooks(callbacks: Iterable[object], hook: str, *arguments: object) -> None:
    """Call a hook on every callback that has it."""
    for callback in callbacks:
        method = getattr(callback, hook, None)
        if method is not None:
            method(*arguments)


@contextmanager
def _going_on() -> Iterator[None]:
    """Turn a file that cannot be written into a warning: a full disk must not end a training of hours."""
    try:
        yield
    except (ImageError, OSError) as error:
        warnings.warn(f"{error}; training goes on", RuntimeWarning, stacklevel=4)


class LogScalars:
    """A JSON line every `every` steps and at the end: step, seconds, pictures per second, each named number's mean.

    The mean is over the finite values since the line before, null where there is none. A resumed run goes on with the
    sums of its checkpoint; lines that were written after that checkpoint are taken out of the file. Where TensorBoard
    is installed the same numbers are in a folder `tensorboard` beside the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, every: int = 50, batch: int = 1) -> None:
        self.path, self.batch = Path(text_of(path, "LogScalars: path")), batch
        self.every = checked_count(every, "LogScalars: every", 1)
        self._sums: dict[str, list[float]] = {}  # of each number its sum and how many
        self._steps = self._fresh = 0  # since the last line, and of those the steps of this fit
        self._events: EventFile | None = None

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        """Take the lines out that this fit will write again."""
        self._last, self._fresh, self._open = trainer.seconds, 0, ""
        with _going_on():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if is_file(self.path):
                lines = self.path.read_text("utf-8", errors="replace").splitlines()
                kept = [line for line in lines if self._is_kept(line, trainer.step)]
                at_the_end = lines and _step_of(lines[-1]) == trainer.step and lines[-1:] != kept[-1:]
                self._open = lines[-1] if at_the_end else ""
                write_bytes(self.path, "".join(f"{line}\n" for line in kept).encode())
            if tensorboard_is_installed():
                self._events = EventFile(self.path.parent / "tensorboard", after=trainer.step)

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Add the numbers up, and write a line when it is time."""
        self._steps, self._fresh = self._steps + 1, self._fresh + 1
        for name, value in logs.items():
            total = self._sums.setdefault(name, [0.0, 0])
            if math.isfinite(value):
                total[:] = total[0] + value, total[1] + 1
        if trainer.step % self.every == 0:
            self._write(trainer)
            self._sums, self._steps, self._last, self._fresh = {}, 0, trainer.seconds, 0

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        """Write what is left; it stays in the sums, for the line of a fit that goes on."""
        if self._open and not self._fresh:  # nothing was added to it
            with _going_on(), self.path.open("a", encoding="utf-8") as file:
                file.write(f"{self._open}\n")
        elif self._steps:
            self._write(trainer)
        if self._events is not None:
            self._events.close()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"sums": {name: list(total) for name, total in self._sums.items()}, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._sums = {name: [float(total), int(count)] for name, (total, count) in state["sums"].items()}
        self._steps = int(state["steps"])

    def _is_kept(self, line: str, step: int) -> bool:
        written = _step_of(line)
        return written is not None and written <= step and written % self.every == 0

    def _write(self, trainer: AdversarialTrainer) -> None:
        speed = self._fresh * self.batch / max(trainer.seconds - self._last, 1e-9) if self._fresh else None
        line: dict[str, Any] = {"step": trainer.step, "seconds": round(trainer.seconds, 1)}
        line["pictures_per_second"] = None if speed is None else round(speed, 3)
        line |= {
            name: round(total / count, 5) if count else None for name, (total, count) in sorted(self._sums.items())
        }
        with _going_on(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is not None:
            self._events.write(line.pop("step"), line)


def _step_of(line: str) -> int | None:
    """The step of a line; None where a crash has torn it."""
    try:
        step = json.loads(line)["step"]
        return step if is_count(step) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


class ProgressBar:
    """A bar on standard error with the generator's loss, pictures per second and the time that is left."""

    def __init__(self, *, steps: int | None = None, minutes: float | None = None, batch: int | None = None) -> None:
        self.steps, self.minutes, self.batch = steps, minutes, batch

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        """Show it."""
        self._begun = trainer.step, trainer.seconds
        self._bar = tqdm(total=self.steps, initial=trainer.step, unit="step", dynamic_ncols=True, mininterval=0.5)

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Move it on."""
        loss = sum(v for name, v in logs.items() if name.startswith("generator/") and not name.endswith("_norm"))
        said = f"loss {loss:.3f}"
        if self.batch:
            step, seconds = self._begun
            rate = self.batch * (trainer.step - step) / max(trainer.seconds - seconds, 1e-9)
            said += f", {rate:.1f} img/s"
        if self.minutes:
            said += f", {trainer.seconds / 60:.1f} of {self.minutes:g} min"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update()

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        """Leave it as it is."""
        self._bar.close()


class SaveCheckpoints:
    """A checkpoint every `every` steps and at the end of a fit; the last `keep` are kept, and the best.

    It stands behind the callbacks whose state and numbers it keeps. A periodic checkpoint that cannot be written is a
    warning; whether the last one was, `saved` tells. In the middle of a step that an error broke off none is written.

    Args:
        folder: where they go, made if need be: `step-00000500.safetensors` and so on.
        every: steps between them.
        keep: how many, the best not counted.
        best: a named number of the logs; the checkpoint with the least mean of it since the one before is written to
            `best.safetensors` as well.
        mode: "max" where more is better.

    Raises:
        InputError: `every` or `keep` below 1, or another mode.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int = 500,
        keep: int = 2,
        best: str | None = None,
        mode: str = "min",
    ) -> None:
        if mode not in ("min", "max"):
            raise InputError(f"SaveCheckpoints: mode is {mode!r}; expected 'min' or 'max'")
        self.every, self.keep = (
            checked_count(value, f"SaveCheckpoints: {name}", 1) for name, value in (("every", every), ("keep", keep))
        )
        self.folder, self.best, self.mode = Path(text_of(folder, "SaveCheckpoints: folder")), best, mode
        self.saved: int | None = None  # the step of the last one that was written
        self._best: float | None = None
        self._seen: list[float] = []
        self._named = False  # whether a step had a number of that name

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Save when it is time."""
        if self.best is not None and self.best in logs:
            self._named = True
            self._seen.append(logs[self.best])
        if trainer.step % self.every == 0:
            self._save(trainer)

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        """Save what is not saved yet; say so where the number never came, whose name may be misspelled."""
        if trainer.step and trainer.between_steps and self.saved != trainer.step:
            self._save(trainer)
        if self.best is not None and not self._named and self._best is None:
            warnings.warn(f"SaveCheckpoints: no step had a number {self.best!r}", RuntimeWarning, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"saved": self.saved, "best": self._best, "seen": list(self._seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.saved, self._best = state["saved"], state["best"]
        self._seen = [float(value) for value in state["seen"]]

    def _save(self, trainer: AdversarialTrainer) -> None:
        before = self.saved, self._best, self._seen
        is_best = self._is_best()
        self.saved, self._seen = trainer.step, []
        try:
            if is_best:  # first: a crash after it is made good by the resumed run, which writes the same again
                trainer.save_checkpoint(self.folder / "best.safetensors")
            trainer.save_checkpoint(self.folder / f"step-{trainer.step:08d}.safetensors")
        except WeightsError as error:
            self.saved, self._best, self._seen = before
            warnings.warn(f"{error}; training goes on", RuntimeWarning, stacklevel=3)
            return
        with _going_on():
            for old in checkpoints_in(self.folder)[: -self.keep]:
                old.unlink()

    def _is_best(self) -> bool:
        """Whether the number seen since the last checkpoint is the best so far, which is then noted."""
        if not self._seen:
            return False
        mean = sum(self._seen) / len(self._seen) * (1 if self.mode == "min" else -1)
        if not math.isfinite(mean) or (self._best is not None and mean >= self._best):
            return False
        self._best = mean
        return True


class SaveSamples:
    """Every `every` steps and at the end a PNG: photos on the left, references above, the averaged generator's between.

    Args:
        folder: where the PNGs go.
        batch: whose photos and references are used, the same every time.
        every: steps between pictures.
    """

    def __init__(self, folder: str | os.PathLike[str], batch: Batch, *, every: int = 500) -> None:
        self.folder, self.batch = Path(text_of(folder, "SaveSamples: folder")), batch
        self.every = checked_count(every, "SaveSamples: every", 1)
        self._painted: int | None = None  # the step of the last one

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        """Make the folder."""
        with _going_on():
            self.folder.mkdir(parents=True, exist_ok=True)

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Paint when it is time; left off when training stops, since the end paints the same."""
        if trainer.step % self.every == 0:
            self._save(trainer, may_leave_off=True)

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        """Paint the last state, if it is not painted yet."""
        if trainer.step and trainer.between_steps and self._painted != trainer.step:
            self._save(trainer, may_leave_off=False)

    def _save(self, trainer: AdversarialTrainer, *, may_leave_off: bool) -> None:
        with _going_on():
            grid = self._grid(trainer, may_leave_off=may_leave_off)
            if grid is not None:
                images.save(_to_pil(grid), self.folder / f"step-{trainer.step:08d}.png")
                self._painted = trainer.step

    @torch.inference_mode()
    def _grid(self, trainer: AdversarialTrainer, *, may_leave_off: bool) -> Tensor | None:
        photos, references = self.batch.photos.to(trainer.device), self.batch.style.to(trainer.device)
        extractor = trainer.averaged_extractor
        if extractor is None:
            codes = trainer.averaged_generator.sample_style(_latents(trainer, len(references)))
        else:
            codes = extractor(references)
        shown = F.interpolate(references, photos.shape[2:], mode="bicubic").clamp(-1, 1)
        corner = torch.ones_like(photos[0])
        rows = [torch.cat([corner, *shown], dim=2)]
        for photo in photos:
            if may_leave_off and trainer.stopping:
                return None
            painted = [trainer.averaged_generator(None, code[None], content=photo[None])[0] for code in codes]
            rows.append(torch.cat([photo, *painted], dim=2))
        return torch.cat(rows, dim=1)


def _latents(trainer: AdversarialTrainer, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(
        count, trainer.generator.config.latent_dim, generator=generator, device="cpu", dtype=torch.float32
    ).to(trainer.device)


def _to_pil(image: Tensor) -> Image.Image:
    pixels = (image.clamp(-1, 1) + 1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)
