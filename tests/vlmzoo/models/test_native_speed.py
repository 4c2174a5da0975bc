"""What a native base costs beside transformers alone: measured in pairs, one thread."""

import statistics
import time

import pytest
import torch
import transformers

from vlmzoo import build_model
from vlmzoo.zoo import load_card

NUM_PAIRS = 12


@pytest.mark.slow
def test_a_step_takes_at_most_three_percent_longer_than_with_transformers_alone(record_property):
    torch.set_num_threads(1)
    architecture = load_card("qwen2.5-vl-3b").miniature()
    text = {**architecture["config"]["text_config"], "hidden_size": 256, "intermediate_size": 1024}
    text |= {"num_hidden_layers": 4, "num_attention_heads": 16, "vocab_size": 8192}
    vision = {**architecture["config"]["vision_config"], "out_hidden_size": 256}
    architecture["config"] = {**architecture["config"], "text_config": text, "vision_config": vision}
    ours = build_model(architecture).train()
    theirs = getattr(transformers, type(ours).__name__)(ours.config).train()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(300, 500, (4, 160))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids, "use_cache": False}

    def seconds(model, **more):
        started = time.perf_counter()
        model(**inputs, **more).loss.backward()
        model.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    for model in (ours, theirs):
        seconds(model)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(NUM_PAIRS)]
    ratio = statistics.median(one / other for one, other in pairs)
    record_property("ratio", ratio)
    assert statistics.median(other for _, other in pairs) >= 0.2
    assert ratio <= 1.03, f"{ratio:.3f}"
