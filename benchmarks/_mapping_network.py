"""A mapping network (z, class) -> style code: the alternative that the affine fit is measured against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["MappingNetwork", "energy_distance", "trained"]

Map = Callable[[Tensor, Tensor], Tensor]  # z (B, latent_dim) and labels (B,) -> codes (B, style_dim)


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """Twice the mean distance between the sets, less those within each: 0 for two samples of one distribution.

    Székely and Rizzo, "Energy statistics", 2013; without bias, so it may be below 0.
    """
    within = [torch.cdist(each, each).sum() / (len(each) * (len(each) - 1)) for each in (first, second)]
    return 2 * torch.cdist(first, second).mean() - within[0] - within[1]


class MappingNetwork(nn.Module):
    """An affine map of each class, and what a small network adds to it.

    Args:
        affine: (z, label) -> code, not trained.
        latent_dim, style_dim, classes: of the generator.
        width: of the hidden layers.
    """

    def __init__(self, affine: Map, latent_dim: int, style_dim: int, classes: int, width: int = 256) -> None:
        super().__init__()
        self.affine = affine
        self.classes = nn.Embedding(classes, 32)
        layers = [nn.Linear(latent_dim + 32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Linear(width, style_dim))
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        more: Tensor = self.body(torch.cat([z, self.classes(label)], dim=1))
        return self.affine(z, label) + more


def trained(
    affine: Map, codes: Tensor, labels: Tensor, latent_dim: int, *, steps: int = 1500, batch: int = 48, seed: int = 0
) -> MappingNetwork:
    """A network whose codes of each class lie as the real ones: energy distance, code regression, diversity.

    The regression reads z back off the code, as in BicycleGAN (Zhu et al., NeurIPS 2017); the diversity loss asks that
    different z give different codes (Mao et al., "Mode seeking GANs", CVPR 2019) and goes to zero over the steps.
    """
    torch.manual_seed(seed)
    classes, dice = int(labels.max()) + 1, torch.Generator().manual_seed(seed)
    network = MappingNetwork(affine, latent_dim, codes.shape[1], classes)
    reader = nn.Sequential(nn.Linear(codes.shape[1], 256), nn.SiLU(), nn.Linear(256, latent_dim))
    optimizer = torch.optim.Adam([*network.parameters(), *reader.parameters()], lr=1e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    groups = [codes[labels == label] for label in range(classes)]
    everyone = torch.arange(classes).repeat_interleave(batch)
    for step in range(steps):
        z = torch.randn(len(everyone), latent_dim, generator=dice)
        made = network(z, everyone)
        real = [group[torch.randint(len(group), (batch,), generator=dice)] for group in groups]
        distance = sum(map(energy_distance, made.split(batch), real), torch.zeros(()))
        regression = (reader(made) - z).square().mean()
        apart = (made - made.roll(1, 0)).norm(dim=1) / (z - z.roll(1, 0)).norm(dim=1)
        loss = distance + 0.1 * regression - 0.1 * (1 - step / steps) * apart.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False)
