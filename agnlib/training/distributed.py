"""Training by several processes at once, on `torch.distributed`: gloo between CPUs, NCCL between GPUs.

Every process has all the networks and its own rows of each batch. The gradients are averaged in one flat all-reduce
before each optimizer step, and everything random is drawn for the whole batch, of which each process takes its rows: so
two processes compute what one does, up to rounding.

`DistributedDataParallel` is not used. It averages while a backward runs, in hooks on one wrapped `forward`, and its
documentation excludes what this training is made of: several forwards before a backward, calls of other methods than
`forward` (`patch_logits`, `features`), gradients by `torch.autograd.grad` for the penalties, and networks whose
parameters are frozen for half of a step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from agnlib.errors import InputError

__all__ = ["BatchDraws", "World", "batch_draws", "is_launched", "join", "local_device"]

_PATIENCE = timedelta(minutes=10)  # a process that has not come by then is given up for lost
_PATIENCE_AT_THE_END = timedelta(hours=2)  # for the main one, which names styles and writes


@dataclass(frozen=True)
class World:
    """The processes that train together: this one's `rank`, and how many there are. Alone, nothing is sent.

    Example:
        >>> alone = World.current()
        >>> alone.rank, alone.size, alone.is_main
        (0, 1, True)
        >>> alone.rows(torch.arange(4))
        tensor([0, 1, 2, 3])
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The process group that this process has joined, else it alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, count: int, parts: int = 1) -> list[int]:
        """Which of a batch's `count` rows are this process's: its rows of each of the `parts` that it is trained in.

        Raises:
            InputError: they cannot be shared out evenly.

        Example:
            >>> World(rank=1, size=2).share(8, parts=2)
            [2, 3, 6, 7]
        """
        if count % (self.size * parts):
            raise InputError(
                f"a batch of {count} cannot be shared out to {self.size} processes in {parts} parts;"
                f" give a multiple of {self.size * parts}"
            )
        share = count // self.size // parts
        starts = (part * count // parts + self.rank * share for part in range(parts))
        return [row for start in starts for row in range(start, start + share)]

    def rows(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor for all rows of a part."""
        share = len(whole) // self.size
        return whole[self.rank * share : (self.rank + 1) * share]

    def gather(self, part: Tensor) -> Tensor:
        """The rows of all processes, without a gradient."""
        if self.size == 1:
            return part.detach()
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)

    def roll(self, part: Tensor) -> Tensor:
        """This process's rows after the whole batch was moved on by one: row i holds what row i - 1 held."""
        return self.rows(self.gather(part).roll(1, 0))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes.

        Its gradient is that of the process's own value: averaged over the processes with all others, it is the whole's.
        """
        if self.size == 1:
            return value
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return value + (total / self.size - value.detach())

    def agree(self, *values: float) -> tuple[float, ...]:
        """The largest of each number over the processes."""
        if self.size == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64, device=_exchange_device())
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return tuple(numbers.tolist())

    def average_gradients(self, parameters: Iterable[nn.Parameter], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average the parameters' gradients over the processes in place, and the losses, detached, which are returned.

        A parameter without a gradient anywhere is left without one, since an optimizer passes those by.
        """
        if self.size == 1:
            return {name: loss.detach() for name, loss in losses.items()}
        trained = [p for p in parameters if p.requires_grad]
        if not trained:
            return {name: self.mean(loss.detach()) for name, loss in losses.items()}
        present = trained[0].new_tensor([float(p.grad is not None) for p in trained])
        scalars = torch.stack([loss.detach().to(present) for loss in losses.values()])
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([present, scalars, *(piece.detach().reshape(-1) for piece in pieces)])
        dist.all_reduce(flat)
        shared, means, *gradients = torch.split(flat, [len(trained), len(losses), *(p.numel() for p in trained)])
        for parameter, anywhere, gradient in zip(trained, shared.tolist(), gradients, strict=True):
            if anywhere:
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter)).div_(self.size)
        return dict(zip(losses, (means / self.size).unbind(), strict=True))

    def broadcast(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the main one's weights and buffers."""
        if self.size == 1:
            return
        for module in modules:
            for value in module.state_dict().values():
                sent = value.contiguous()
                dist.broadcast(sent, 0)
                value.copy_(sent)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            self.agree(0.0)


class BatchDraws(TorchFunctionMode):
    """Random numbers for the rows of a batch, drawn as if this process had the whole batch.

    Inside, what torch's functions draw for `rows` rows, from torch's own generator or from `rng`, are this process's
    rows of what a single process would draw, and every process's generators move on alike. Draws of another first size,
    and from other generators, are left alone.

    Args:
        world: who draws together.
        rows: of the batch in this process.
        rng: a generator that all processes have in the same state.
    """

    def __init__(self, world: World, rows: int, rng: torch.Generator) -> None:
        super().__init__()
        self.world, self.count, self.rng = world, rows, rng

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SIZED and kwargs.get("generator") in (None, self.rng):
            return self._sized(func, args, kwargs)
        if func in _LIKE and kwargs.get("generator") in (None, self.rng) and self._has_rows(args[0]):
            return self._like(func, args, kwargs)
        return func(*args, **kwargs)

    def _has_rows(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.count

    def _sized(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        size = args[0] if args and isinstance(args[0], (tuple, list)) else args
        size = tuple(kwargs.pop("size", size))
        if not size or size[0] != self.count:
            return func(size, **kwargs)
        return self.world.rows(func((size[0] * self.world.size, *size[1:]), **kwargs))

    def _like(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        whole = [torch.cat([a] * self.world.size) if self._has_rows(a) else a for a in args]
        drawn = self.world.rows(func(*whole, **kwargs))
        return args[0].copy_(drawn) if func in _IN_PLACE else drawn


def batch_draws(world: World, rows: int, rng: torch.Generator) -> AbstractContextManager[object]:
    """`BatchDraws`, or nothing where one process has the whole batch."""
    return BatchDraws(world, rows, rng) if world.size > 1 else nullcontext()


_SIZED = frozenset({torch.randn, torch.rand})
_IN_PLACE = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.exponential_})
_LIKE = _IN_PLACE | {torch.randn_like, torch.rand_like, torch.normal, torch.bernoulli, torch.poisson}
_LIKE |= {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}


def is_launched() -> bool:
    """Whether torchrun started this process, alone or with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and dist.is_available()


def local_device(kind: str) -> torch.device:
    """The device of this process of those on its machine: its own GPU, or the CPU."""
    return torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun has started, for the time inside; alone where it has not.

    None leaves before all have come to the end.

    Raises:
        InputError: a device that processes cannot train on together.
    """
    if not is_launched() or dist.is_initialized():
        yield World.current()
        return
    if device.type not in _BACKENDS:
        raise InputError(f"torchrun: training on {device.type} is for one process; take --device cpu or cuda")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(_BACKENDS[device.type], timeout=_PATIENCE)
    last = dist.new_group(backend="gloo", timeout=_PATIENCE_AT_THE_END)
    try:
        yield World.current()
        # the main one still writes when the others are done; the launcher ends all when one of them ends badly
        dist.barrier(group=last)  # type: ignore[arg-type]
    finally:
        dist.destroy_process_group()


_BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


def _exchange_device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
