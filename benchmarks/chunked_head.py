"""The head in chunks: what log-probabilities and their gradients take beside full float32 logits.

``python benchmarks/chunked_head.py``: V = 131,072 words, M = 4,096 targets, D = 1,024; float32, one thread, each way in
a process of its own. Weights and gradients (of the head and of the hidden states) count on neither side.
"""

import json
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from measuring import MB, in_fresh_process, peak_allocated_mb, reset_peak_rss
from recording import record
from torch import Tensor, nn

from vlmzoo.blocks.language.causal_lm import target_logprobs
from vlmzoo.runs.memory import peak_rss_mb, rss_mb

VOCAB_SIZE, NUM_TARGETS, WIDTH = 2**17, 2**12, 2**10
TARGET = 0.15


class Head(nn.Module):
    """As much of a language model as the head needs."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(WIDTH, VOCAB_SIZE, bias=False)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=VOCAB_SIZE))

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.lm_head


def in_chunks(head: Head, hidden: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-probability as this library computes it."""
    model: Any = head
    return -target_logprobs(model, hidden, labels).sum() / NUM_TARGETS


def naive(head: Head, hidden: Tensor, labels: Tensor) -> Tensor:
    """The same from all logits at once."""
    logits = head.lm_head(hidden).float()
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


WAYS: dict[str, Callable[[Head, Tensor, Tensor], Tensor]] = {"chunks": in_chunks, "naive": naive}


def measure(way: str) -> dict[str, float]:
    """Run forward and backward once, under torch's profiler, which counts allocations beside the resident memory."""
    torch.manual_seed(0)
    head = Head()
    hidden = torch.randn(1, NUM_TARGETS + 1, WIDTH, requires_grad=True)
    labels = torch.randint(VOCAB_SIZE, (1, NUM_TARGETS + 1))
    gradients_mb = sum(tensor.numel() * tensor.element_size() for tensor in (head.lm_head.weight, hidden)) / MB
    losses: list[float] = []
    seconds: list[float] = []

    def step() -> None:
        started = time.perf_counter()
        loss = WAYS[way](head, hidden, labels)
        loss.backward()
        seconds.append(time.perf_counter() - started)
        losses.append(float(loss))

    before = rss_mb()
    reset_peak_rss()
    allocated = peak_allocated_mb(step) - gradients_mb
    resident = peak_rss_mb() - before - gradients_mb
    return {"resident_mb": resident, "allocated_mb": allocated, "seconds": seconds[0], "loss": losses[0]}


def main() -> None:
    """Measure both ways and record them."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")
        return
    found = {way: in_fresh_process(__file__, way) for way in WAYS}
    ours, theirs = found["chunks"], found["naive"]
    torch.testing.assert_close(ours["loss"], theirs["loss"], rtol=1e-5, atol=0)
    record(
        "chunked_head",
        vocab_size=VOCAB_SIZE,
        targets=NUM_TARGETS,
        width=WIDTH,
        **{f"{way}_{name}": round(value, 4) for way, told in found.items() for name, value in told.items()},
        resident_ratio=round(ours["resident_mb"] / theirs["resident_mb"], 4),
        allocated_ratio=round(ours["allocated_mb"] / theirs["allocated_mb"], 4),
        seconds_ratio=round(ours["seconds"] / theirs["seconds"], 3),
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    size = f"V = {entry['vocab_size']:,}, {entry['targets']:,} targets, D = {entry['width']:,}"
    ratio = entry["resident_ratio"]
    return [
        (
            f"head in chunks beside full logits, {size}: extra resident memory beyond weights and gradients",
            f"at most {TARGET}",
            f"{ratio:.3f} ({entry['chunks_resident_mb']:,.0f} of {entry['naive_resident_mb']:,.0f} MB)"
            + ("" if ratio <= TARGET else ", **missed**"),
        ),
        (
            "the same, as torch's profiler counts allocations",
            f"at most {TARGET}",
            f"{entry['allocated_ratio']:.3f} ({entry['chunks_allocated_mb']:,.0f} of "
            f"{entry['naive_allocated_mb']:,.0f} MB)",
        ),
        (
            "the same, time of forward and backward",
            "none; logits are computed twice",
            f"{entry['seconds_ratio']:.2f} ({entry['chunks_seconds']:.1f} s, {entry['naive_seconds']:.1f} s)",
        ),
    ]


if __name__ == "__main__":
    main()
