"""Judging while training: numbers on pairs that are not trained on, and an end when they get no better."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from agnlib import metrics
from agnlib._shared.optional import require
from agnlib.errors import InputError

if TYPE_CHECKING:
    from agnlib.models import PerceptualEncoder
    from agnlib.training.data.pairs import Batch
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["EarlyStop", "Evaluate", "frechet_distance"]


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians with two sets' means and covariances.

    Paper: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS
    2017. With fewer pictures than features it is biased upwards: compare only what was measured on as many.

    Args:
        real, fake: features `(N, n)` and `(M, n)` of at least two pictures each.

    Raises:
        InputError: fewer, or other shapes.

    Example:
        >>> points = torch.randn(8, 3)
        >>> round(frechet_distance(points, points + 2), 4)  # moved by 2 along three axes
        12.0
    """
    if real.ndim != 2 or real.shape[1:] != fake.shape[1:] or min(len(real), len(fake)) < 2:
        raise InputError(
            f"frechet_distance: features {tuple(real.shape)} and {tuple(fake.shape)}; expected (N, n) and (M, n) of at"
            " least two pictures each"
        )
    means, roots = [], []
    for features in (real.double(), fake.double()):
        means.append(features.mean(0))
        roots.append((features - means[-1]) / (len(features) - 1) ** 0.5)  # root.T @ root is the covariance
    spread = roots[0].square().sum() + roots[1].square().sum()
    shared = torch.linalg.matrix_norm(roots[0] @ roots[1].T, ord="nuc")  # the trace of the covariances' geometric mean
    return max(0.0, float((means[0] - means[1]).square().sum() + spread - 2 * shared))


def inception_is_installed() -> bool:
    """Whether the package torch-fidelity is there."""
    return importlib.util.find_spec("torch_fidelity") is not None


class Evaluate:
    """A callback that measures the averaged networks on pairs kept apart, and gives the numbers to those after it.

    `evaluate/palette_distance`, `color_ratio` and `structure` are means of `agnlib.metrics`, with an encoder
    `style_distance` too. `evaluate/fid` compares all results with all references by Inception features where the
    package torch-fidelity is installed and has its weights; otherwise `evaluate/frechet` does, by the statistics that
    the run's style extractor reads, which needs no file. The two have different scales, hence two names.

    Args:
        batches: the pairs, always the same.
        every: steps between evaluations.
        encoder: one that takes no part in training.

    Raises:
        InputError: no pairs, or `every` below 1.
    """

    def __init__(
        self, batches: Sequence[Batch], *, every: int = 1000, encoder: PerceptualEncoder | None = None
    ) -> None:
        if not batches or every < 1:
            raise InputError(f"Evaluate: {len(batches)} batches, every {every}; expected at least 1 of each")
        self.batches, self.every, self.encoder = batches, every, encoder
        self._inception = inception_is_installed()

    def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
        """Measure every so many steps, unless training is about to stop."""
        if trainer.step % self.every == 0:
            logs |= {f"evaluate/{name}": value for name, value in self.measure(trainer).items()}

    @torch.no_grad()
    def measure(self, trainer: AdversarialTrainer) -> dict[str, float]:
        """The numbers by name; none if training is told to stop meanwhile."""
        results, references, found = [], [], []
        for batch in self.batches:
            if trainer.stopping:
                return {}
            placed = batch.to(trainer.device)
            results.append(_paint(trainer, placed).clamp(-1, 1))
            references.append(placed.style)
            found.append(self._compare(results[-1], placed))
        numbers = {name: float(torch.cat([each[name] for each in found]).mean()) for name in found[0]}
        return numbers | self._distribution(trainer, torch.cat(references), torch.cat(results))

    def _compare(self, result: Tensor, batch: Batch) -> dict[str, Tensor]:
        if result.shape[1] != 3:
            return {}
        numbers = {
            "palette_distance": metrics.palette_distance(result, batch.style),
            "color_ratio": metrics.color_ratio(result, batch.style),
        }
        if self.encoder is not None:
            numbers["style_distance"] = metrics.style_distance(result, batch.style, self.encoder)
        if batch.content is not None and min(batch.content.shape[2:]) >= 3:
            numbers["structure"] = metrics.structure(result, batch.content)
        return numbers

    def _distribution(self, trainer: AdversarialTrainer, real: Tensor, fake: Tensor) -> dict[str, float]:
        if len(real) < 2:
            return {}
        if self._inception:
            try:
                return {"fid": _inception_distance(real, fake, trainer.device)}
            except Exception as error:  # its weights are downloaded, which fails in as many ways as there are networks
                self._inception = False
                warnings.warn(
                    f"torch-fidelity cannot run here ({error}); Evaluate goes on with agnlib's own features",
                    RuntimeWarning,
                    stacklevel=3,
                )
        extractor = trainer.averaged_extractor
        features: Callable[[Tensor], Tensor] = _pixels if extractor is None else extractor.statistics
        return {"frechet": frechet_distance(features(real), features(fake))}


class EarlyStop:
    """A callback that ends training when a named number has not got better for a while.

    Args:
        name: of a number in the logs, such as "evaluate/palette_distance" of an `Evaluate` before it.
        patience: how many times it may appear without being better than the best so far.
        mode: "min" where less is better, else "max".
        least: by how much it has to be better.

    Raises:
        InputError: another mode, a patience below 1, or a negative difference.

    Example:
        >>> EarlyStop("evaluate/structure", mode="max").patience
        5
    """

    def __init__(self, name: str, *, patience: int = 5, mode: str = "min", least: float = 0.0) -> None:
        if mode not in ("min", "max") or patience < 1 or least < 0:
            raise InputError(
                f"EarlyStop: mode {mode!r}, patience {patience}, least {least}; expected 'min' or 'max', a patience of"
                " at least 1, no negative difference"
            )
        self.name, self.patience, self.mode, self.least = name, patience, mode, least
        self.best, self.waited, self._seen = math.inf, 0, False

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        """Look for the number, and stop training when it is time."""
        if self.name not in logs:
            return
        self._seen = True
        value = logs[self.name] if self.mode == "min" else -logs[self.name]
        if value < self.best - self.least:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            best = self.best if self.mode == "min" else -self.best
            trainer.stop(f"{self.name} was no better than {best:.5g} for {self.waited} times")

    def on_fit_end(self, trainer: AdversarialTrainer) -> None:
        """Say so where the number never came: its name may be misspelled, or its callback stand after this one."""
        if not self._seen:
            warnings.warn(f"EarlyStop: no step had a number {self.name!r}", RuntimeWarning, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.waited = float(state["best"]), int(state["waited"])


def _paint(trainer: AdversarialTrainer, batch: Batch) -> Tensor:
    """The averaged generator's results for a batch, the same at every step for the same weights."""
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    rng = torch.Generator().manual_seed(batch.step)
    latent = torch.randn(
        len(batch.style), generator.config.latent_dim, generator=rng, device="cpu", dtype=torch.float32
    ).to(trainer.device)
    label = batch.label if generator.config.num_classes else None
    painted: Tensor
    if getattr(generator.config, "style_dim", None) is None:  # the article's, which takes no codes
        painted = generator(latent, label=label)
        return painted
    code = generator.sample_style(latent, label) if extractor is None else extractor(batch.style)
    if batch.content is not None:
        painted = generator(None, code, content=batch.content)
    else:
        painted = generator(latent, code, size=tuple(batch.style.shape[2:]))
    return painted


def _pixels(images: Tensor) -> Tensor:
    """What there is to compare by where no extractor was trained: pictures reduced to 8 x 8."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)


def _inception_distance(real: Tensor, fake: Tensor, device: torch.device) -> float:
    fidelity = require("torch_fidelity", extra="", purpose="FID by Inception features")
    sets = [_Pictures(images) for images in (real, fake)]
    found = fidelity.calculate_metrics(
        input1=sets[0], input2=sets[1], fid=True, cuda=device.type == "cuda", batch_size=16, verbose=False
    )
    return float(found["frechet_inception_distance"])


class _Pictures(Dataset[Tensor]):
    """Pictures as torch-fidelity takes them: uint8 `(3, H, W)` one by one."""

    def __init__(self, images: Tensor) -> None:
        self.images = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index].expand(3, -1, -1)
