"""Every base with every adapter, at tiny size: which pairs there are, what each learns, and what is asked of it."""

from collections.abc import Sequence
from typing import Any

import torch

from tests.vlmzoo.adapters import search_samples, seg_samples, test_roi, test_switch
from tests.vlmzoo.adapters.bases import make_picture
from vlmzoo import build_model
from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.prompting import prompt_inputs, sampling_exclusions
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

BASES = {
    "llava-1.5-7b": "LLaVA (Llama)",
    "eagle-x2-llama3-8b": "Eagle, 2 encoders",
    "eagle-x5-7b": "Eagle, 5 encoders",
    "llava-1.5-7b-hf": "llava-hf",
    "qwen2-vl-2b": "Qwen2-VL",
    "qwen2.5-vl-3b": "Qwen2.5-VL",
    "qwen3-vl-4b": "Qwen3-VL",
    "internvl3.5-1b": "InternVL3.5",
}
"""A card of each architecture, and what the table calls it."""

LORA = {"type": "lora", "rank": 32, "whole": ["projector"]}
SETS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "lora": [LORA],
    "seg": [seg_samples.seg_spec(from_scratch=True)],
    "search": [search_samples.search_spec()],
    "switch": [test_switch.SWITCH],
    "roi": [{"type": "roi"}],
    "lora + seg": [LORA, seg_samples.seg_spec(from_scratch=True)],
}
"""Adapters by what the table calls them."""

PAIRS = [(base, adapters) for base in BASES for adapters in SETS]
MOST_STEPS = 400
LEARNED = 0.01
HEAD_SCALE = 12.0


def make_pair(base: str, adapters: str, *, seed: int = 0) -> Any:
    """Build a tiny base with its adapters; a head that LoRA leaves as it is, is scaled as trained heads are.

    Random heads give every token nearly the same logit, and nobody could learn anything by heart through a frozen one.
    """
    torch.manual_seed(seed)
    architecture = load_card(base).miniature()
    specs = [test_switch.on(architecture, spec) for spec in SETS[adapters]]
    model = build_model(architecture, adapters=specs, dtype="float32")
    if any(spec["type"] == "lora" for spec in SETS[adapters]):
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(HEAD_SCALE)
    return model


def samples_of(model: Any) -> list[Sample]:
    """Eight samples of the kind that the pair is made for."""
    kinds = {spec["type"] for spec in model.adapter_specs.values()}
    if "seg" in kinds:
        return [seg_samples.make_sample(number) for number in range(8)]
    if "search" in kinds:
        return [search_samples.make_sample(number) for number in range(8)]
    if "switch" in kinds:
        return [test_switch.make_sample(number) for number in range(8)]
    if "roi" in kinds:
        return [sample for number in range(4) for sample in test_roi.make_samples(model.adapters["roi"], number)]
    return [
        Sample(
            messages=[user(f"What is {number}?", num_images=1), assistant(f"It is {word}.")],
            images=[make_picture(number)],
            id=str(number),
        )
        for number, word in enumerate(test_switch.COLOURS)
    ]


def batch_of(model: Any, samples: Sequence[Sample]) -> Any:
    """Encode samples as training does."""
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    return collate([processor.encode(sample) for sample in samples])


class Learner:
    """Training in its smallest form: one batch, AdamW, a state that can be kept."""

    def __init__(self, model: Any, *, state: Any = None) -> None:
        self.model = model.train()
        self.batch = batch_of(model, samples_of(model))
        terms = {name: term for adapter in model.adapters.values() for name, term in adapter.loss_terms.items()}
        spec = {"type": "weighted_sum", "terms": {"text": {"type": "next_token"}, **terms}}
        self.objective = OBJECTIVES.build(spec)
        self.text = OBJECTIVES.build({"type": "next_token"})
        self.optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
        if state is not None:
            self.optimiser.load_state_dict(state)

    def step(self) -> float:
        """Take a step, and return the loss of the words before it."""
        outputs = self.model(**self.batch.inputs, return_logits=False)
        counts = self.batch.count()
        loss = self.objective(outputs, self.batch, counts).loss
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return float(self.text(outputs, self.batch, counts).loss.detach())


def learn_by_heart(model: Any) -> int:
    """Train until the words of eight samples are known; return the steps that it took."""
    learner = Learner(model)
    num_steps = 0
    while num_steps < MOST_STEPS and learner.step() >= LEARNED:
        num_steps += 1
    model.eval()
    return num_steps


def said_by(model: Any, *, max_new_tokens: int = 96) -> list[list[int]]:
    """Greedy answers to the questions of the eight samples, as ids up to the end of sequence."""
    prompts = [prompt_of(sample) for sample in samples_of(model)]
    inputs = prompt_inputs(model.processor, prompts, device="cpu", dtype=model.dtype)
    kept = list(model.token_ids.values()) if model.adapters else []
    ids = model.eval().generate(
        **inputs,
        suppress_tokens=sampling_exclusions(model.processor, keep=kept),
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    end = model.processor.tokenizer.eos_token_id
    rows = ids[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


def wanted_of(model: Any) -> list[list[int]]:
    """What the eight samples teach as their last answers, as ids without the end of sequence."""
    batch = batch_of(model, samples_of(model))
    end = model.processor.tokenizer.eos_token_id
    learned = [[token for token in row if token >= 0] for row in batch.inputs["labels"].tolist()]
    return [_last_answer(row, end) for row in learned]


def _last_answer(ids: list[int], end: int) -> list[int]:
    """The last answer of a conversation in which each ends with ``end``, without it."""
    answers: list[list[int]] = [[]]
    for token in ids:
        if token == end:
            answers.append([])
        else:
            answers[-1].append(token)
    return [answer for answer in answers if answer][-1]
