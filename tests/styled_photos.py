"""A dataset for loaders' workers, in a module that imports little: spawned ones begin from nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.data import Dataset


def photo(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (values * 255).round().to(dtype) if dtype == torch.uint8 else values.to(dtype)


class Photos(Dataset[torch.Tensor]):
    """Photos through a transform; with `seeded` each by a seed of its own index."""

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor], seeded: bool) -> None:
        self.transform, self.seeded = transform, seeded

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        image = photo(3, 64, 64, seed=index)
        assert not torch.cuda.is_initialized()
        if not self.seeded:
            return self.transform(image)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(index)
            return self.transform(image)
