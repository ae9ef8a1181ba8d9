"""Nearest neighbors among features, by the cosine between what is left after the mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["directions", "nearest", "nearest_by_share"]

_CHUNK = 2048  # queries at a time, for the memory
_ROUNDS = 60  # of moving the biases until the shares are right


def directions(rows: Tensor, mean: Tensor) -> Tensor:
    """Rows `(N, C)` less a mean `(C,)`, at length 1."""
    return F.normalize(rows - mean, dim=1)


def nearest(queries: Tensor, keys: Tensor) -> Tensor:
    """For each query the key with the largest dot product, int64 `(N,)`; the cosine, if the keys have length 1.

    Args:
        queries: `(N, C)`.
        keys: `(K, C)`.

    Example:
        >>> nearest(torch.tensor([[2.0, 1.0]]), torch.eye(2))
        tensor([0])
    """
    return torch.cat([(part @ keys.T).argmax(1) for part in torch.split(queries, _CHUNK)])


def nearest_by_share(queries: Tensor, keys: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """As `nearest` among several sets of keys, each of which gets its share of the queries.

    A set gets those queries that it suits best in comparison: to each set's best cosine a number is added, the same for
    all queries, so that the shares come out (the dual of an assignment problem, by gradient ascent).

    Args:
        queries: `(N, C)` of length 1.
        keys: `(K_i, C)` of length 1.
        shares: one for each set, 1 together.

    Returns:
        Indices into the sets one behind the other, int64 `(N,)`.

    Example:
        >>> queries = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [1.0, 0.4]]), dim=1)
        >>> nearest_by_share(queries, [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])], [0.5, 0.5])
        tensor([0, 0, 1, 1])
    """
    if len(keys) == 1:
        return nearest(queries, keys[0])
    best = [torch.cat([(part @ each.T).max(1).values for part in torch.split(queries, _CHUNK)]) for each in keys]
    owner = _shared_out(torch.stack(best, dim=1), queries.new_tensor(shares))
    result, offset = torch.empty(len(queries), dtype=torch.int64, device=queries.device), 0
    for index, each in enumerate(keys):
        mine = owner == index
        if mine.any():
            result[mine] = nearest(queries[mine], each) + offset
        offset += len(each)
    return result


def _shared_out(scores: Tensor, shares: Tensor) -> Tensor:
    """Which column each row of scores `(N, R)` goes to."""
    biases = torch.zeros_like(shares)
    step = float(scores.max() - scores.min()) + 1e-6
    for _ in range(_ROUNDS):
        owner = (scores + biases).argmax(1)
        got = torch.bincount(owner, minlength=len(shares)) / len(scores)
        biases += step * (shares - got)
        step *= 0.9
    return (scores + biases).argmax(1)
