"""Callbacks: objects with any of the hooks, no base class; a hook name that does not exist is an error."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from agnlib import image as images
from agnlib.errors import ImageError, InputError, WeightsError

if TYPE_CHECKING:
    from agnlib.training.data import Batch
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["LogScalars", "ProgressBar", "SaveCheckpoints", "SaveSamples", "call_hooks", "check_hooks"]

HOOKS = ("on_fit_start", "on_step_end", "on_checkpoint", "on_fit_end")


def check_hooks(callbacks: Iterable[object]) -> None:
    """Raise `InputError` where a callback has a method `on_...` that the trainer would never call."""
    for callback in callbacks:
        unknown = [name for name in dir(callback) if name.startswith("on_") and name not in HOOKS]
        if unknown:
            raise InputError(
                f"{type(callback).__name__} has unknown hooks {', '.join(unknown)}; expected {', '.join(HOOKS)}"
            )


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
    except (ImageError, WeightsError, OSError) as error:
        warnings.warn(f"{error}; training goes on", RuntimeWarning, stacklevel=4)


class LogScalars:
    """A JSON line every `every` steps: step, seconds, pictures per second, and each named number's mean since then."""

    def __init__(self, path: Path, *, every: int = 50, batch: int = 1) -> None:
        self.path, self.every, self.batch = path, every, batch
        self._sums: dict[str, list[float]] = {}

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._started = self._last = time.monotonic()

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        for name, value in logs.items():
            self._sums.setdefault(name, []).append(value)
        if trainer.step % self.every:
            return
        now = time.monotonic()
        line: dict[str, Any] = {"step": trainer.step, "seconds": round(now - self._started, 1)}
        line["pictures_per_second"] = round(self.every * self.batch / max(now - self._last, 1e-9), 3)
        line |= {name: round(sum(values) / len(values), 5) for name, values in sorted(self._sums.items())}
        self._sums, self._last = {}, now
        with _going_on(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class ProgressBar:
    """A bar on standard error with the generator's loss and pictures per second."""

    def __init__(self, *, steps: int | None, batch: int = 1) -> None:
        self.steps, self.batch = steps, batch

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        self._bar = tqdm(total=self.steps, initial=trainer.step, unit="step", dynamic_ncols=True, mininterval=0.5)

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        loss = sum(value for name, value in logs.items() if name.startswith("generator/"))
        rate = self._bar.format_dict["rate"] or 0.0
        self._bar.set_postfix_str(f"loss {loss:.3f}, {rate * self.batch:.1f} img/s", refresh=False)
        self._bar.update()

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        self._bar.close()


class SaveCheckpoints:
    """A checkpoint every `every` steps and at the end; the last `keep` are kept."""

    def __init__(self, folder: Path, *, every: int = 500, keep: int = 2) -> None:
        self.folder, self.every, self.keep = folder, every, keep

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        if trainer.step % self.every == 0:
            self._save(trainer)

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        if trainer.step and trainer.step % self.every:
            self._save(trainer)

    def _save(self, trainer: AdversarialTrainer) -> None:
        with _going_on():
            trainer.save_checkpoint(self.folder / f"step-{trainer.step:08d}.safetensors")
            for old in sorted(self.folder.glob("step-*.safetensors"))[: -self.keep]:
                old.unlink()


class SaveSamples:
    """Every `every` steps a PNG: photos down the left, references along the top, the averaged generator's between.

    Args:
        folder: where the PNGs go.
        batch: whose photos and references are used, the same every time.
        every: steps between pictures.
    """

    def __init__(self, folder: Path, batch: Batch, *, every: int = 500) -> None:
        self.folder, self.batch, self.every = folder, batch, every

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        if trainer.step % self.every == 0:
            with _going_on():
                images.save(_to_pil(self._grid(trainer)), self.folder / f"step-{trainer.step:08d}.png")

    def on_fit_start(self, trainer: AdversarialTrainer) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def _grid(self, trainer: AdversarialTrainer) -> Tensor:
        photos, references = self.batch.content.to(trainer.device), self.batch.style.to(trainer.device)
        extractor = trainer.averaged_extractor
        if extractor is None:
            codes = trainer.averaged_generator.sample_style(_latents(trainer, len(references)))
        else:
            codes = extractor(references)
        corner = torch.ones_like(photos[0])
        rows = [torch.cat([corner, *references], dim=2)]
        for photo in photos:
            painted = [trainer.averaged_generator(None, code[None], content=photo[None])[0] for code in codes]
            rows.append(torch.cat([photo, *painted], dim=2))
        return torch.cat(rows, dim=1)


def _latents(trainer: AdversarialTrainer, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, trainer.generator.config.latent_dim, generator=generator).to(trainer.device)


def _to_pil(image: Tensor) -> Image.Image:
    pixels = (image.clamp(-1, 1) + 1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)
