"""A native base beside transformers alone: forward and backward of the same weights, in turn.

``python benchmarks/native_base.py``: Qwen2.5-VL of 4 layers, width 256, vocabulary 8,192, 4 × 160 tokens; one thread.
"""

import statistics
import time
from typing import Any

import torch
import transformers
from recording import record

from vlmzoo import build_model
from vlmzoo.zoo import load_card

NUM_PAIRS = 12
TARGET = 1.03


def make_pair() -> tuple[Any, Any]:
    """Return our base and transformers' own class with the same weights."""
    architecture = load_card("qwen2.5-vl-3b").miniature()
    text = {**architecture["config"]["text_config"], "hidden_size": 256, "intermediate_size": 1024}
    text |= {"num_hidden_layers": 4, "num_attention_heads": 16, "vocab_size": 8192}
    vision = {**architecture["config"]["vision_config"], "out_hidden_size": 256}
    architecture["config"] = {**architecture["config"], "text_config": text, "vision_config": vision}
    ours = build_model(architecture).train()
    theirs = getattr(transformers, type(ours).__name__)(ours.config).train()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def main() -> None:
    """Measure pairs with all logits and without, and record the medians."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours, theirs = make_pair()
    ids = torch.randint(300, 500, (4, 160))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids, "use_cache": False}

    def seconds(model: Any, **more: Any) -> float:
        started = time.perf_counter()
        model(**inputs, **more).loss.backward()
        model.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    def ratio(**more: Any) -> tuple[float, float]:
        pairs = [(seconds(ours, **more), seconds(theirs)) for _ in range(NUM_PAIRS)]
        of_all = statistics.median(one / other for one, other in pairs)
        return round(of_all, 4), round(statistics.median(other for _, other in pairs), 4)

    for model in (ours, theirs):
        seconds(model)
    with_logits, step_seconds = ratio()
    without_logits, _ = ratio(return_logits=False)
    record(
        "native_base",
        pairs=NUM_PAIRS,
        transformers_seconds=step_seconds,
        with_logits_ratio=with_logits,
        without_logits_ratio=without_logits,
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    size = f"median of {entry['pairs']} pairs, step of transformers {1000 * entry['transformers_seconds']:.0f} ms"
    return [
        (
            f"native Qwen2.5-VL beside transformers alone, forward and backward, {head}; {size}",
            f"at most {TARGET}",
            f"{entry[name]:.3f}" + ("" if entry[name] <= TARGET else ", **missed**"),
        )
        for head, name in (("all logits", "with_logits_ratio"), ("without logits", "without_logits_ratio"))
    ]


if __name__ == "__main__":
    main()
