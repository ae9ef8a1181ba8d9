"""Styles by name that tell their class: the code is learned by which a classifier of real pictures knows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.engines._device import placed
from agnlib.errors import InputError
from agnlib.losses import content_loss
from agnlib.models import Generator, StyleExtractor
from agnlib.styles._refining import drawing_of
from agnlib.training.class_styles.calibration import as_style, at_most, farthest

__all__ = ["ClassJudge", "sharpen_classes"]

BATCH = 4  # paintings in a step
_MOST = 5.0  # deviations; a statistic further out counts as so far


@dataclass(frozen=True)
class ClassJudge:
    """Linear discriminant analysis of pictures' statistics: which class is it?

    Paper: Friedman, "Regularized discriminant analysis", Journal of the American Statistical Association, 1989.

    Args:
        mean, deviation: `(n,)`, of all that it has seen.
        weight: `(n, classes)`.
        bias: `(classes,)`; minus infinity for a class that it has not seen.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fitted(cls, statistics: Tensor, labels: Tensor, classes: int, *, shrinkage: float = 0.3) -> ClassJudge:
        """Fitted to `(N, n)` with labels int64 `(N,)`; every class is as likely.

        Args:
            statistics, labels: of real pictures.
            classes: how many there are.
            shrinkage: how much of the covariance within classes is a sphere, above 0 to 1, as there are more numbers
                than pictures of a class.

        Raises:
            InputError: statistics and labels that do not fit each other, or no statistics.

        Example:
            >>> statistics, labels = torch.tensor([[0.0], [1.0], [8.0], [9.0]]), torch.tensor([0, 0, 1, 1])
            >>> ClassJudge.fitted(statistics, labels, 2)(torch.tensor([[0.5], [7.0]])).argmax(1)
            tensor([0, 1])
        """
        if statistics.ndim != 2 or labels.shape != statistics.shape[:1] or not len(labels):
            raise InputError(
                f"ClassJudge: statistics {tuple(statistics.shape)} and labels {tuple(labels.shape)};"
                " expected (N, n) and (N,) with N above 0"
            )
        mean, deviation = statistics.mean(0), statistics.std(0, correction=0).clamp_min(1e-4)
        seen = _standard(statistics, mean, deviation).double()
        counts = torch.bincount(labels, minlength=classes)
        sums = seen.new_zeros(classes, seen.shape[1]).index_add_(0, labels, seen)
        means = sums / counts.clamp_min(1)[:, None]
        rest = seen - means[labels]
        within = rest.T @ rest / len(rest)
        eye = torch.eye(len(within), device=within.device, dtype=within.dtype)
        sphere = eye * within.diagonal().mean().clamp_min(1e-6)
        weight = torch.linalg.solve(torch.lerp(within, sphere, shrinkage), means.T)
        bias = (means.T * weight).sum(0) / -2
        bias[counts == 0] = -torch.inf
        return cls(mean, deviation, weight.to(mean), bias.to(mean))

    def __call__(self, statistics: Tensor) -> Tensor:
        """Logits `(B, classes)` of statistics `(B, n)`."""
        return _standard(statistics, self.mean, self.deviation) @ self.weight + self.bias


def _standard(statistics: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    return ((statistics - mean) / deviation).clamp(-_MOST, _MOST)


@torch.enable_grad()
def sharpen_classes(
    generator: Generator,
    extractor: StyleExtractor,
    photos: Tensor,
    judge: ClassJudge,
    *,
    steps: int = 16,
    rate: float = 0.15,
    reach: float = 1.5,
    drawing: float = 12.0,
    seconds: float = math.inf,
    first: int = 0,
    begun: Tensor | None = None,
    on_class: Callable[[int], None] = lambda label: None,
    stopping: Callable[..., bool] = lambda: False,
) -> None:
    """Learn the means of the classes' maps by which paintings in a class's random styles are known as the class.

    What a class's codes have in common is not what tells it from the others, and the network answers to some parts of a
    code more than to others. So each class's mean follows the gradient of what a classifier of real pictures says of
    photos painted in it. Networks and covariances stay as they are, and so does the map without a class; a class that
    the judge has not seen is left alone. The same photos give the same maps.

    Args:
        generator: whose mapping is changed, after `fit_mapping` and `calibrate_classes`.
        extractor: whose statistics the judge is asked about.
        photos: `(N, 3, H, W)` in [-1, 1].
        judge: fitted to `extractor.statistics` of real pictures, with labels as the generator's.
        steps: of four paintings, for each class.
        rate: of the steps of Adam.
        reach: how far a class's mean may go from the middle of the classes, in root mean squares of the distance that
            its codes had before: beyond, codes are unlike all that the network has seen.
        drawing: weight, beside the judge's cross-entropy, of what is lost of the photos' drawing, as the extractor's
            trunk sees it, beyond what is lost to begin with. Without it codes in which photos dissolve please the judge
            best.
        seconds: for all classes together, each its share of what is left; a class takes fewer steps if it has to.
        first: the class to begin with, where those before it are done.
        begun: `generator.mapping.weight` before the first of them; None for what it is now.
        on_class: told each class that is done.
        stopping: asked before each step; once it says yes, a class that is not done stays as it was.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> generator, extractor = Generator(8, 16, num_classes=2).eval(), StyleExtractor(16).eval()
        >>> photos = torch.rand(2, 3, 40, 30) * 2 - 1
        >>> judge = ClassJudge.fitted(extractor.statistics(photos), torch.tensor([0, 1]), 2)
        >>> before = generator.mapping.weight.clone()
        >>> sharpen_classes(generator, extractor, photos, judge, steps=1)
        >>> (generator.mapping.weight != before).any(1)
        tensor([False,  True,  True])
    """
    config = generator.config
    if config.num_classes < 2:
        return
    shape = (-1, config.style_dim, config.latent_dim + 1)
    maps = generator.mapping.weight.detach().view(shape)[1:]
    means, spreads = maps[:, :, -1], maps[:, :, :-1]
    middle, most = farthest(maps if begun is None else begun.to(maps).view(shape)[1:], reach)
    end = time.monotonic() + seconds
    for label in range(first, config.num_classes):
        if stopping():
            return
        if judge.bias[label].isinf():
            continue
        now, rng = time.monotonic(), torch.Generator().manual_seed(label)
        share = (end - now) / (config.num_classes - label)
        mean = means[label].clone().requires_grad_()
        optimizer = torch.optim.Adam([mean], lr=rate)
        target = torch.full((BATCH,), label, device=mean.device, dtype=torch.int64)
        for _ in range(steps):
            if stopping():
                return
            if time.monotonic() - now > share:
                break
            chosen = torch.randint(len(photos), (BATCH,), generator=rng, device="cpu")
            spread = (
                torch.randn(BATCH, config.latent_dim, generator=rng, device="cpu", dtype=torch.float32).to(mean)
                @ spreads[label].T
            )
            content = placed(photos[chosen], mean.device)
            painted = as_style(generator(None, spread + mean, content=content))
            with torch.no_grad():
                drawn = drawing_of(extractor, as_style(content))
                before = as_style(generator(None, spread + means[label], content=content))
                allowed = content_loss(extractor.features(before), drawn)
            features = extractor.features(painted)
            lost = F.relu(content_loss(features, drawn) - allowed)
            loss = F.cross_entropy(judge(extractor.statistics(painted, features)), target) + drawing * lost
            (mean.grad,) = torch.autograd.grad(loss, mean)
            optimizer.step()
            with torch.no_grad():
                mean.copy_(middle + at_most(mean - middle, most[label]))
        means[label] = mean.detach()
        on_class(label)
