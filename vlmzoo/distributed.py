"""How many processes train together, and sums over them; alone, everything is what it is."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

__all__ = ["barrier", "gather_over_ranks", "is_main", "max_over_ranks", "rank", "sum_over_ranks", "world_size"]


def rank() -> int:
    """Return this process's number, 0 for the one that writes and speaks."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Say whether this process writes and speaks."""
    return rank() == 0


def barrier() -> None:
    """Wait until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def sum_over_ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Add each value up over all processes, in float64.

    Args:
        values: the same names on every process.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return {name: float(value) for name, value in values.items()}
    names = sorted(values)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    totals = torch.tensor([float(values[name]) for name in names], dtype=torch.float64, device=device)
    dist.all_reduce(totals)
    return dict(zip(names, totals.tolist(), strict=True))


def max_over_ranks(value: int) -> int:
    """Return the largest of a number over all processes; all must call."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    largest = torch.tensor(value, dtype=torch.int64, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return int(largest)


T = TypeVar("T")


def gather_over_ranks(values: Sequence[T]) -> list[T]:
    """Return the values of all processes, in the order of the ranks; all must call.

    Args:
        values: of this process; they are pickled on the way, so they must be small and our own.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return list(values)
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, list(values))
    return [value for own in found for value in own]
