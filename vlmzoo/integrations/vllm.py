"""vLLM in this process as a rollout engine. Not run: written after the documentation of vLLM 0.11, without a GPU."""

import copy
import importlib
from collections.abc import Sequence
from typing import Any

from vlmzoo.data.conversations import with_images
from vlmzoo.data.prompting import awaited_ids, end_ids, sampling_exclusions
from vlmzoo.errors import ConfigError, MissingExtraError
from vlmzoo.models.merging import merge_adapters
from vlmzoo.services.rollout import Policy, Prompt, Rollout, Sampling, check_temperature, short_seed

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
        try:
            vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise MissingExtraError.for_package("vllm", "vllm") from error
        self._parameters = vllm.SamplingParams
        self._llm = vllm.LLM(
            model=path,
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
        found = self._llm.chat([with_images(prompt.sample) for prompt, _ in asked], parameters, use_tqdm=False)
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
        self._llm.collective_rpc("load_weights", args=(list(module.state_dict().items()),))
