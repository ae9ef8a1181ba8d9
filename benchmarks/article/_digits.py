"""The judge of generated digits: a small classifier trained on real MNIST, and what it says about a set of pictures.

Its weights are kept outside the checkout (AGNLIB_CACHE, else ~/.cache/agnlib) and are a function of the seed.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from scipy import linalg
from torch import Tensor, nn

from agnlib.losses import rgb_to_lab
from agnlib.training import mnist
from agnlib.training.safety.collapse import hue_entropy

SIDE = 28
LEAST_ACCURACY = 0.985
_EPOCHS, _BATCH, _TILT = 4, 128, 15.0


class DigitClassifier(nn.Module):
    """Three convolutions and two fully connected layers; pictures `(B, 1, 28, 28)` in [0, 1], ink white -> logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(48, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)),
            *(nn.Linear(96 * 49, 64), nn.ReLU()),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(image))
        return logits


def classifier(folder: Path, *, seed: int = 0) -> DigitClassifier:
    """The judge in eval mode, trained once (about three minutes on a core) and then read from the cache."""
    cache = Path(os.environ.get("AGNLIB_CACHE", Path.home() / ".cache" / "agnlib")) / f"digit-judge-{seed}.safetensors"
    network = DigitClassifier()
    if cache.is_file():
        network.load_state_dict(load_file(cache))
        return network.eval()
    _train(network, folder, seed)
    right = accuracy(network.eval(), folder)
    if right < LEAST_ACCURACY:
        raise RuntimeError(f"the judge has {right:.2%} of the test set right; expected at least {LEAST_ACCURACY:.1%}")
    cache.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), cache)
    return network


def accuracy(network: DigitClassifier, folder: Path) -> float:
    """Share of MNIST's test set that the judge has right."""
    test = mnist(folder, train=False)
    return float((_judged(network, _unit(test.data))[0].argmax(1) == test.targets).float().mean())


def _train(network: DigitClassifier, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    network.apply(lambda module: module.reset_parameters() if hasattr(module, "reset_parameters") else None)
    data = mnist(folder)
    pictures, steps = _unit(data.data), len(data) // _BATCH
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=_EPOCHS * steps)
    network.train()
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(data))[: steps * _BATCH].view(steps, _BATCH):
            loss = F.cross_entropy(network(_tilted(pictures[chosen])), data.targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _tilted(pictures: Tensor) -> Tensor:
    """The batch, its second half turned by up to 15 degrees and scaled a little: not every digit stands upright."""
    half = pictures[len(pictures) // 2 :]
    angle = (torch.rand(len(half)) * 2 - 1) * math.radians(_TILT)
    scale = 0.9 + 0.3 * torch.rand(len(half))
    cosine, sine, zero = angle.cos() * scale, angle.sin() * scale, torch.zeros(len(half))
    turns = torch.stack([torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)], 1)
    turned = F.grid_sample(half, F.affine_grid(turns, list(half.shape), align_corners=False), align_corners=False)
    return torch.cat([pictures[: len(pictures) // 2], turned])


def _unit(data: Tensor) -> Tensor:
    return data[:, None].float() / 255


def as_digits(images: Tensor) -> Tensor:
    """Generated pictures `(N, C, H, W)` in [-1, 1] as the judge sees them: luminance, 28 px, in [0, 1]."""
    gray = images.clamp(-1, 1).add(1).div(2)
    if gray.shape[1] == 3:
        gray = (gray * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return gray if gray.shape[-1] == SIDE else F.interpolate(gray, (SIDE, SIDE), mode="bilinear", antialias=True)


@torch.no_grad()
def _judged(network: DigitClassifier, digits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(N, 10)` and features `(N, 64)`."""
    features = torch.cat([network.body(part) for part in digits.split(500)])
    return network.head(features), features


def judge(network: DigitClassifier, digits: Tensor, real: Tensor, asked: Tensor | None = None) -> dict[str, Any]:
    """What the judge says about digits `(N, 1, 28, 28)` in [0, 1].

    "confidence" is the mean of the highest probability, "shares" each digit's, "asked" the share classified as asked,
    "frechet" the distance to `real` on the features before the last layer, "detail" the high-frequency energy over that
    of `real`.
    """
    logits, features = _judged(network, digits)
    found = logits.argmax(1)
    shares = torch.bincount(found, minlength=10).double() / len(found)
    result: dict[str, Any] = {
        "confidence": float(logits.softmax(1).amax(1).mean()),
        "shares": [round(float(share), 4) for share in shares],
        "least_share": float(shares.min()),
        "frechet": frechet_distance(features, _judged(network, real)[1]),
        "detail": detail(digits) / detail(real),
    }
    if asked is not None:
        result["asked"] = float((found == asked).float().mean())
    return result


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (Heusel et al., NeurIPS 2017)."""
    a, b = features.double().numpy(), others.double().numpy()
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    eigenvalues = linalg.eigvals(cov_a @ cov_b)
    root = np.sqrt(eigenvalues.real.clip(0)).sum()  # the trace of the product's root
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def detail(digits: Tensor) -> float:
    """Mean energy of a picture's Fourier spectrum above a quarter of the sampling rate."""
    power = torch.fft.fft2(digits.double(), norm="ortho").abs().square()
    down, across = (torch.fft.fftfreq(length).abs() for length in digits.shape[-2:])
    high = torch.maximum(down[:, None], across[None]) > 0.25
    return float(power[..., high].sum(-1).mean())


def colors(images: Tensor) -> dict[str, float]:
    """How varied the colors of pictures `(N, 3, H, W)` in [-1, 1] are.

    "hue_entropy" is `agnlib.training.safety.collapse.hue_entropy`, 1 for all hues alike; "distance" the mean distance
    in CIE Lab between the mean colors of two pictures.
    """
    lab = rgb_to_lab(images.clamp(-1, 1)).mean((2, 3)).double()
    distance = torch.cdist(lab, lab).sum() / (len(lab) * (len(lab) - 1))
    return {"hue_entropy": hue_entropy(images.clamp(-1, 1)), "distance": float(distance)}
