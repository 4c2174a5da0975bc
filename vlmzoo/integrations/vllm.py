"""vLLM in this process as a rollout engine; run with vLLM 0.32 on a CPU, not on a GPU (docs/vllm.md)."""

import copy
import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.data.conversations import with_images
from vlmzoo.data.images import load_image
from vlmzoo.data.prompting import awaited_ids, end_ids, sampling_exclusions
from vlmzoo.errors import ConfigError, MissingExtraError, ServiceError
from vlmzoo.models.merging import merge_adapters
from vlmzoo.services.rollout import Policy, Prompt, Rollout, Sampling, check_temperature, short_seed
from vlmzoo.types import Sample

__all__ = ["VllmEngine"]


class VllmEngine:
    """Draws completions with vLLM, whose weights are set to the policy's before each batch.

    Args:
        path: a folder that vLLM can load, of the same architecture.
        gpu_memory_utilization: share of the device's memory that vLLM takes.
        policy: whose weights are pushed; LoRA is merged into them for the push, since vLLM would drop what lies on the
            image encoder without a word.
        processor: of the model.
        sampling: how tokens are drawn.

    Raises:
        ConfigError: if the policy has adapters that vLLM cannot run, or the temperature is not 1.
        MissingExtraError: if vLLM is not installed.
    """

    num_cut = 0  # forbidden tokens are suppressed

    def __init__(
        self,
        *,
        path: str,
        gpu_memory_utilization: float = 0.4,
        policy: Policy,
        processor: Any,
        sampling: Sampling,
    ) -> None:
        check_temperature(sampling, engine="vllm")
        others = [label for label, spec in policy.module.adapter_specs.items() if spec["type"] != "lora"]
        if others:
            raise ConfigError(f"vLLM runs no adapter but LoRA, and the policy has {', '.join(others)}; use in_process.")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # weights are handed over in this process
        try:
            vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise MissingExtraError.for_package("vllm", "vllm") from error
        self._parameters = vllm.SamplingParams
        self._llm = vllm.LLM(
            model=path,
            dtype=str(policy.module.dtype).removeprefix("torch."),  # by itself it makes halves of float32
            gpu_memory_utilization=gpu_memory_utilization,
            generation_config="vllm",  # a model's own sampling settings stay out
            logprobs_mode="raw_logprobs",
        )
        self.policy, self.processor, self.sampling = policy, processor, sampling

    def complete(self, prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        """Push the weights, then draw one completion for each seed of each prompt."""
        self._push()
        model = self.policy.module
        ends = end_ids(model, self.processor)
        excluded = sampling_exclusions(self.processor, keep={*ends, *awaited_ids(model, self.processor)})
        asked = [(prompt, seed) for prompt in prompts for seed in prompt.seeds]
        parameters = [
            self._parameters(
                max_tokens=self.sampling.max_new_tokens,
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                top_k=self.sampling.top_k or -1,
                seed=short_seed(seed),
                logprobs=0,
                stop_token_ids=sorted(ends),
                logit_bias=dict.fromkeys(excluded, -100.0),
            )
            for _, seed in asked
        ]
        chats = [_chat(prompt.sample) for prompt, _ in asked]
        found = self._llm.chat(chats, parameters, use_tqdm=False, chat_template_content_format="openai")
        for (prompt, _), request in zip(asked, found, strict=True):
            _check_prompt(prompt, request.prompt_token_ids)
        rollouts = iter(self._rollout(request.outputs[0], ends) for request in found)
        return [[next(rollouts) for _ in prompt.seeds] for prompt in prompts]

    def _rollout(self, output: Any, ends: set[int]) -> Rollout:
        ids = tuple(output.token_ids)
        return Rollout(
            ids=ids,
            logprobs=tuple(told[id].logprob for told, id in zip(output.logprobs, ids, strict=True)),
            text=self.processor.tokenizer.decode(ids, skip_special_tokens=True),
            is_finished=bool(ids) and ids[-1] in ends,
        )

    def _push(self) -> None:
        """Set vLLM's weights to the policy's, LoRA merged."""
        module = self.policy.module
        if module.adapter_specs:
            module = merge_adapters(copy.deepcopy(module))
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": list(module.state_dict().items())})
        self._llm.reset_prefix_cache()  # keys and values of the weights before
        self._llm.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()  # its scheduler still counts on what the worker has dropped


def _chat(sample: Sample) -> list[dict[str, Any]]:
    """Return a sample's messages with pictures as vLLM wants them."""

    def block(found: Mapping[str, Any]) -> dict[str, Any]:
        if found["type"] != "image":
            return dict(found)
        return {"type": "image_pil", "image_pil": load_image(found["image"])}

    return [{**message, "content": [block(found) for found in message["content"]]} for message in with_images(sample)]


def _check_prompt(prompt: Prompt, token_ids: Sequence[int]) -> None:
    """Compare what vLLM made of a conversation with what is trained.

    Raises:
        ServiceError: if they differ: log-probabilities would be those of another prompt.
    """
    expected = list(prompt.encoded["input_ids"])
    if list(token_ids) != expected:
        pairs = enumerate(zip(token_ids, expected, strict=False))
        place = next((at for at, (one, other) in pairs if one != other), min(len(token_ids), len(expected)))
        raise ServiceError(
            f"vLLM must read the prompt `{prompt.sample.id}` as it is trained, {len(expected)} tokens, but read "
            f"{len(token_ids)}, and another one at place {place}; give it a folder with the policy's chat template and "
            "processor."
        )
