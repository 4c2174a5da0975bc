"""A function of many rows, a chunk at a time, whose gradients are added up in one place.

Letters: M rows, S results of a row.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states

__all__ = ["in_chunks"]

Run = Callable[[Tensor, Tensor], Tensor]


@torch.compiler.disable()
def in_chunks(run: Run, states: Tensor, targets: Tensor, *, num_chunks: int) -> Tensor:
    """Compute what ``run`` makes of rows, chunk by chunk, and each chunk again in the backward pass.

    What one chunk needs exists for one chunk at a time. The gradient of a parameter is added up in place, so that the
    share of a single chunk stands beside the sum; autograd, left to itself, keeps two more tensors of its size. The
    sum is kept in float32 at least, and is handed on once, as hooks on gradients (ZeRO's) want it. There is no second
    derivative.

    Args:
        run: makes ``(S, m)`` of m rows and their targets, none included; it may use dropout, and modules whose weights
            ZeRO-3 gathers.
        states: ``(M, …)``, the rows.
        targets: ``(M,)``, which go with them.
        num_chunks: how many; some may be empty. Under ZeRO-3 the same on all ranks.

    Returns:
        ``(S, M)``.
    """
    if not torch.is_grad_enabled():
        chunks = zip(states.tensor_split(num_chunks), targets.tensor_split(num_chunks), strict=True)
        return torch.cat([run(*chunk) for chunk in chunks], dim=1)
    # Without rows, only to see what learns. ZeRO-3 gathers weights for it: an edge to a weight in shards would refuse
    # a whole gradient.
    with _Circumstances(states).casts():
        empty = run(states[:0].detach(), targets[:0])
    result: Any = _InChunks.apply(run, num_chunks, states, targets, *_leaves_of(empty))
    return result


def _leaves_of(found: Tensor) -> list[Tensor]:
    """Return the tensors that learn from ``found``, in the order in which its graph names them."""
    leaves: dict[int, Tensor] = {}
    seen: set[Any] = set()
    open_nodes: list[Any] = [found.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves[id(node.variable)] = node.variable
        open_nodes += [following for following, _ in node.next_functions]
    return list(leaves.values())


class _InChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Run, num_chunks: int, states: Tensor, targets: Tensor, *parameters: Tensor) -> Tensor:
        ctx.run, ctx.num_chunks, ctx.parameters = run, num_chunks, parameters
        ctx.save_for_backward(states, targets)
        ctx.circumstances = _Circumstances(states)
        with ctx.circumstances.casts():
            chunks = zip(states.tensor_split(num_chunks), targets.tensor_split(num_chunks), strict=True)
            return torch.cat([run(*chunk) for chunk in chunks], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        states, targets = ctx.saved_tensors
        needs_states = ctx.needs_input_grad[2]
        for_states = torch.zeros_like(states) if needs_states else None
        sums: list[Tensor | None] = [None] * len(ctx.parameters)
        parts = [states.detach(), targets, gradient.T, *([] if for_states is None else [for_states])]
        chunks = zip(*(part.tensor_split(ctx.num_chunks) for part in parts), strict=True)
        with ctx.circumstances.again(), torch.enable_grad():
            for rows, own_targets, own_gradient, *place in chunks:
                rows = rows.detach().requires_grad_(needs_states)
                found = ctx.run(rows, own_targets)
                wanted = [*([rows] if place else []), *ctx.parameters]
                shares: list[Tensor | None] = list(
                    torch.autograd.grad(found, wanted, own_gradient.T, allow_unused=True)
                )
                del found
                if place and (share := shares.pop(0)) is not None:
                    place[0].copy_(share)
                _add(sums, shares)
            if any(p.shape != total.shape for p, total in zip(ctx.parameters, sums, strict=True) if total is not None):
                # ZeRO-3 has split the weights again, and a whole gradient needs a whole weight beside it. Their module
                # lets go of them when the gradient of its input is known; here none is wanted, so they stay.
                empty = ctx.run(states[:0].detach(), targets[:0])
                torch.autograd.grad(empty, ctx.parameters, gradient.T[:0].T, allow_unused=True)
        whole = [None if total is None else total.to(p.dtype) for total, p in zip(sums, ctx.parameters, strict=True)]
        return None, None, for_states, None, *whole


def _add(sums: list[Tensor | None], shares: list[Tensor | None]) -> None:
    """Add a chunk's shares to the sums, in place; a share is let go as soon as it is counted."""
    for index, total in enumerate(sums):
        share = shares[index]
        shares[index] = None
        if share is None:
            continue
        if total is None:
            dtype = torch.promote_types(share.dtype, torch.float32)  # 32 shares in bfloat16 would lose 5 of its 8 bits
            sums[index] = total = torch.zeros(share.shape, dtype=dtype, device=share.device)
        total.add_(share)


class _Circumstances:
    """What a forward pass depends on beside its arguments: the random state, and automatic casts.

    Args:
        reference: on the device that is computed on.
    """

    def __init__(self, reference: Tensor) -> None:
        self._random = torch.get_rng_state()
        self._devices, self._device_states = get_device_states(reference)
        self._type = reference.device.type
        self._cast = torch.get_autocast_dtype(self._type) if torch.is_autocast_enabled(self._type) else None

    @contextmanager
    def casts(self) -> Iterator[None]:
        """Cast as before, remembering no cast weight: one that was made without gradients would be taken with them."""
        with ExitStack() as stack:
            if self._cast is not None:
                stack.enter_context(torch.autocast(self._type, dtype=self._cast, cache_enabled=False))
            yield

    @contextmanager
    def again(self) -> Iterator[None]:
        """Restore them for a while."""
        with torch.random.fork_rng(self._devices, device_type=self._type if self._devices else "cuda"), self.casts():
            torch.set_rng_state(self._random)
            if self._devices:
                set_device_states(self._devices, self._device_states, device_type=self._type)
            yield
