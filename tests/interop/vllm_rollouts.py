"""What vLLM draws beside what the policy thinks of it: ``vllm_rollouts.py FOLDER [URL]``, one JSON line out.

In this process, or of a server at URL. For two policies, the folder's and one whose weights have moved (in this process
only), and three conversations of no, one and two images: the tokens, the prompt's length, and the largest gap between
the log-probabilities that vLLM told and those of the policy.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vlmzoo import load_model
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Prompt, Rollout, Sampling
from vlmzoo.types import Sample, user


def prompts_of(processor) -> list[Prompt]:
    """Conversations of no, one and two images, two seeds each."""
    rng = np.random.default_rng(0)
    sizes = ((56, 56), (40, 90))
    images = [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]
    prompts = []
    for chosen in ([], [0], [1, 0]):
        sample = Sample(
            messages=[user("What is it?", num_images=len(chosen))],
            images=[images[index] for index in chosen],
            id=f"{len(chosen)} images",
        )
        prompts.append(Prompt(sample=sample, encoded=processor.encode_prompt(sample), seeds=[7, 8]))
    return prompts


@torch.no_grad()
def gap(model, prompt: Prompt, rollout: Rollout) -> float:
    """The largest difference between the told log-probabilities and those of the model."""
    ids = torch.tensor([[*prompt.encoded["input_ids"], *rollout.ids]])
    inputs = {name: value for name, value in prompt.encoded.items() if isinstance(value, torch.Tensor)}
    if model.family == "native":
        inputs["mm_token_type_ids"] = (ids == model.processor.image_token_id).long()
    logprobs = model(input_ids=ids, **inputs).logits[0].log_softmax(-1)
    own = logprobs[-len(rollout.ids) - 1 : -1].gather(-1, torch.tensor(rollout.ids)[:, None])[:, 0]
    return float((own - torch.tensor(rollout.logprobs)).abs().max())


def main() -> None:
    folder, *url = sys.argv[1:]
    model, processor = load_model(folder)
    spec = {"type": "openai_server", "base_url": url[0], "model": "policy"} if url else {"type": "vllm", "path": folder}
    prompts = prompts_of(processor)
    engine = ROLLOUT_ENGINES.build(
        spec,
        policy=types.SimpleNamespace(module=model),
        processor=processor,
        sampling=Sampling(max_new_tokens=12),
    )
    torch.manual_seed(1)
    told = []
    for _ in range(1 if url else 2):
        drawn = engine.complete(prompts)
        told.append(
            {
                "ids": [[list(rollout.ids) for rollout in group] for group in drawn],
                "logprobs": [[list(rollout.logprobs) for rollout in group] for group in drawn],
                "gap": max(
                    gap(model, prompt, rollout)
                    for prompt, group in zip(prompts, drawn, strict=True)
                    for rollout in group
                ),
            }
        )
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.3 * parameter.std(correction=0)
    Path("said.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
