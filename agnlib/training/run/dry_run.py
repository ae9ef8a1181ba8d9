"""What a run will take, from a few steps that are measured and forgotten: `agnlib train --dry-run`."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from agnlib.training.objective.terms import TargetCache
from agnlib.training.safety.checkpoint import pack
from agnlib.training.safety.trainer_state import take

if TYPE_CHECKING:
    from agnlib.training.data.pairs import PairData
    from agnlib.training.trainer import AdversarialTrainer

__all__ = ["estimate"]


def estimate(
    trainer: AdversarialTrainer, data: PairData, *, steps: int | None, minutes: float | None, kept: float = 0.0
) -> list[str]:
    """Lines about parameters, time, memory and disk. The trainer is used up: its networks take a few steps.

    Args:
        trainer: of the run, with its terms.
        data: of the run.
        steps, minutes: the limits of the run, one of them None.
        kept: of the minutes, for other things than training.
    """
    trainer.callbacks = ()
    first, later, penalty = _seconds(trainer, data)
    lines = [f"{name}: {_parameters(module)}" for name, module in trainer._modules().items()]
    fresh = max(len(data.content), len(data.style)) // data.batch  # steps until the targets of all crops are kept
    share = 1 / trainer._objective.penalty_every
    lines.append(f"a step of {data.batch} pairs: {later:.2f} s ({first:.2f} s in the first {fresh}), measured")
    ordinary, early = later + share * (penalty - later), first + share * (penalty - later)
    if steps is not None:
        whole = (min(steps, fresh) * early + max(0, steps - fresh) * ordinary) / 60
        lines.append(f"{steps} steps: about {whole:.0f} minutes")
    if minutes is not None:
        seconds = (minutes - kept) * 60
        left = max(0.0, seconds - fresh * early)
        lines.append(f"{minutes:g} minutes: about {min(seconds / early, fresh + left / ordinary):.0f} steps")
    memory = f"memory: {_gigabytes(_peak(trainer.device))} at most so far"
    lines.append(f"{memory}, and {_gigabytes(_caches(trainer, data))} more as decoded crops and targets are kept")
    lines.append(f"disk: {_gigabytes(_checkpoint_bytes(trainer))} a checkpoint")
    return lines


def _seconds(trainer: AdversarialTrainer, data: PairData) -> tuple[float, float, float]:
    """Of a step on new crops, on crops seen before, and of one with a penalty, all with every term at work."""
    every, past = (
        trainer._objective.penalty_every,
        trainer.config.warmup + trainer.config.adversarial_ramp + trainer.step,
    )
    penalty = next(s for s in range(past, past + 10**6) if s % every == 0 and s % trainer.config.identity_every)
    plain = next(
        s for s in range(past, past + 10**6) if s % trainer.config.identity_every and (s % every or every == 1)
    )
    _step(trainer, data, 0, plain)  # the first one is slower than all others
    return _step(trainer, data, 1, plain), _step(trainer, data, 1, plain), _step(trainer, data, 1, penalty)


def _step(trainer: AdversarialTrainer, data: PairData, index: int, step: int) -> float:
    trainer.step = step
    begun = time.perf_counter()
    trainer.fit([data[index]], steps=step + 1, progress=False)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return time.perf_counter() - begun


def _parameters(module: nn.Module) -> str:
    counts = [sum(p.numel() for p in module.parameters() if p.requires_grad is trained) for trained in (True, False)]
    frozen = f", {counts[1] / 1e6:.2f} M frozen" if counts[1] else ""
    return f"{counts[0] / 1e6:.2f} M parameters{frozen}"


def _peak(device: torch.device) -> int | None:
    """Bytes: on a GPU the most that was allocated, else the most that the process had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    peak: int = importlib.import_module("resource").getrusage(0).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _caches(trainer: AdversarialTrainer, data: PairData) -> int:
    """Bytes that the caches grow to."""
    crops = {"content": len(data.content), "style": len(data.style)}
    decoded = min(data.cache_bytes, sum(crops.values()) * 3 * data.content.size**2)
    terms = (getattr(weighted.term, "cache", None) for weighted in trainer.terms.values())
    caches = [cache for cache in (*terms, trainer._statistics) if isinstance(cache, TargetCache)]
    return decoded + sum(cache.size_for(max(crops.values())) for cache in caches)


def _checkpoint_bytes(trainer: AdversarialTrainer) -> int:
    tensors: dict[str, torch.Tensor] = {}
    pack("state", take(trainer), tensors)
    return sum(tensor.nbytes for tensor in tensors.values())


def _gigabytes(count: int | None) -> str:
    return "an unknown amount" if count is None else f"{count / 2**30:.2f} GiB"
