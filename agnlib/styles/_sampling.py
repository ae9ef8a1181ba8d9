"""Styles by chance and by name: codes that the generator's mapping network makes of latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.models import Generator
from agnlib.styles._names import ANY, as_known, known_names
from agnlib.styles.code import StyleCode

__all__ = ["latent", "sampled"]


def latent(generator: Generator, seed: int) -> Tensor:
    """z ~ N(0, I) as `(1, latent_dim)`; drawn on the CPU, so that a seed means the same anywhere.

    Raises:
        InputError: a seed that is none.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}")
    source = torch.Generator().manual_seed(int(seed))
    return torch.randn(1, generator.config.latent_dim, generator=source, device="cpu", dtype=torch.float32)


@torch.inference_mode()
def sampled(generator: Generator, class_names: Sequence[str], name: str, seed: int | None) -> StyleCode:
    """A style of a class, or of any, by seed; without one a class gives that of seed 0, `ANY` a new one each time.

    Raises:
        InputError: a name that the weights do not know, or a seed that is none.
    """
    name = as_known(name, (ANY, *class_names))
    if name not in (ANY, *class_names):
        raise InputError(f"style: {name!r} is neither a file nor a name that is known: {known_names(class_names)}")
    if seed is None:
        seed = int(torch.randint(2**62, (), device="cpu")) if name == ANY else 0
    z = latent(generator, seed)
    label = None if name == ANY else torch.tensor([list(class_names).index(name)], device="cpu", dtype=torch.int64)
    device = generator.seed_gain.device
    code = generator.sample_style(z.to(device), None if label is None else label.to(device))[0]
    return StyleCode(code, f"{name}, seed {seed}")
