"""What it costs to watch one layer's attention while a model generates: time in pairs, and memory by layers.

``python benchmarks/attention_capture.py``: a LLaVA of width 256, 576 visual tokens, 4 prompts at once, 32 tokens each.
"""

import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
from PIL import Image
from recording import record

from vlmzoo import build_model
from vlmzoo.data.collation import Collator
from vlmzoo.models.attention_capture import capture_attention
from vlmzoo.types import Sample, user

NUM_PAIRS, NUM_TOKENS, NUM_PROMPTS = 12, 32, 4
TARGET = 1.15
LAYERS = (4, 8)


def make_model(num_layers: int) -> Any:
    """Return a model of random weights."""
    torch.manual_seed(0)
    encoder = {"type": "clip", "image_size": 336, "patch_size": 14, "hidden_size": 64, "intermediate_size": 128}
    return build_model(
        {
            "family": "llava",
            "encoder": {**encoder, "num_layers": 2, "num_heads": 2},
            "projector": {"type": "mlp2x_gelu"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                "hidden_size": 256,
                "intermediate_size": 1024,
                "num_hidden_layers": num_layers,
                "num_attention_heads": 8,
                "num_key_value_heads": 8,
                "max_position_embeddings": 1024,
            },
            "processor": {
                "image": {"aspect": "pad", "size": 336},
                "tokenizer": {"type": "llama_bpe", "vocab_size": 512},
            },
        }
    )


def generate(model: Any, *, is_watched: bool) -> tuple[float, int]:
    """Generate once; return seconds, and the bytes that the record holds."""
    processor = model.processor
    sample = Sample(messages=[user("What is it?", num_images=1)], images=[Image.new("RGB", (336, 336), "red")])
    rows = [{**processor.encode_prompt(sample), "labels": []} for _ in range(NUM_PROMPTS)]
    batch = Collator(pad_token_id=processor.padding_id, side="left")(rows)
    inputs = {name: value for name, value in batch.inputs.items() if name != "labels"}
    started = time.perf_counter()
    with capture_attention(model) if is_watched else nullcontext() as watched:
        model.generate(**inputs, max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, do_sample=False)
    seconds = time.perf_counter() - started
    held = 0
    if watched is not None and watched.prompt is not None:
        held = sum(row.numel() * row.element_size() for row in [watched.prompt, *watched.steps])
    return seconds, held


def main() -> None:
    """Measure pairs, and record the medians."""
    torch.set_num_threads(1)
    model = make_model(LAYERS[0])
    generate(model, is_watched=True)
    generate(model, is_watched=False)
    pairs = [(generate(model, is_watched=True)[0], generate(model, is_watched=False)[0]) for _ in range(NUM_PAIRS)]
    held = {str(layers): generate(make_model(layers), is_watched=True)[1] for layers in LAYERS}
    record(
        "attention_capture",
        pairs=NUM_PAIRS,
        ratio=round(statistics.median(one / other for one, other in pairs), 4),
        seconds=round(statistics.median(other for _, other in pairs), 4),
        held_bytes=held,
    )


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    ratio, held = entry["ratio"], entry["held_bytes"]
    few, many = (held[str(layers)] for layers in LAYERS)
    grows = "" if few == many else ", **missed**"
    return [
        (
            f"generation with one layer's attention watched, beside without; median of {entry['pairs']} pairs, "
            f"{entry['seconds']:.2f} s without",
            f"at most {TARGET}",
            f"{ratio:.3f}" + ("" if ratio <= TARGET else ", **missed**"),
        ),
        (
            f"what the record holds, {LAYERS[0]} and {LAYERS[1]} layers",
            "equal",
            f"{few / 1e3:.0f} and {many / 1e3:.0f} kB{grows}",
        ),
    ]


if __name__ == "__main__":
    main()
