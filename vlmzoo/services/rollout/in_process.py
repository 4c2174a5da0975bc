"""Rollouts by the model that is trained itself, in its own process.

A prompt, with its images, is read once whatever the number of its completions, and completions that have ended leave
the batch.

Letters: B prompts, N completions that are being written, T text positions, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.data.prompting import awaited_ids, end_ids, sampling_exclusions
from vlmzoo.errors import ConfigError
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Policy, Prompt, Rollout, Sampling
from vlmzoo.services.rollout._drawing import draw_tokens, uniforms

__all__ = ["InProcessEngine"]


@ROLLOUT_ENGINES.register("in_process", source="DeepSeekMath, arXiv:2402.03300, algorithm 1, line 7", tiny={})
class InProcessEngine:
    """Samples from the policy where it is.

    Args:
        batch_size: completions that are written at once, at least.
        policy: whose present weights are used; they must be whole (``policy.whole_weights()``).
        processor: of the model.
        sampling: how tokens are drawn.

    Raises:
        ConfigError: if ``batch_size`` is not positive.
    """

    num_cut = 0  # forbidden tokens are suppressed

    def __init__(self, *, batch_size: int = 64, policy: Policy, processor: Any, sampling: Sampling) -> None:
        if batch_size < 1:
            raise ConfigError(f"`batch_size` of the engine must be positive, but is {batch_size} instead.")
        self.batch_size = batch_size
        self.policy = policy
        self.processor = processor
        self.sampling = sampling
        self.collate = Collator(pad_token_id=processor.padding_id, side="left", adapter_inputs=processor.adapter_inputs)

    @torch.no_grad()
    def complete(self, prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        """Draw one completion for each seed of each prompt."""
        model = self.policy.module
        was_training = model.training
        model.eval()
        try:
            return [group for batch in self._batches(prompts) for group in self._complete_batch(model, batch)]
        finally:
            model.train(was_training)

    def _batches(self, prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
        batch: list[Prompt] = []
        for prompt in prompts:
            batch.append(prompt)
            if sum(len(one.seeds) for one in batch) >= self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _complete_batch(self, model: Any, prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        device = model.device
        batch = self.collate([{**prompt.encoded, "labels": []} for prompt in prompts])
        inputs = {name: _moved(value, model) for name, value in batch.inputs.items() if name != "labels"}
        state = _State(model, inputs, counts=[len(prompt.seeds) for prompt in prompts])
        seeds = [seed for prompt in prompts for seed in prompt.seeds]
        numbers = uniforms(seeds, self.sampling.max_new_tokens).to(device)  # (N, max_new_tokens)
        ends = torch.tensor(sorted(end_ids(model, self.processor)), device=device)
        excluded = self._excluded(model, state.logits.shape[-1])
        ids: list[list[int]] = [[] for _ in seeds]
        logprobs: list[list[float]] = [[] for _ in seeds]
        finished = [False] * len(seeds)
        for step in range(self.sampling.max_new_tokens):
            active = state.active  # (N,), which completions the rows are
            drawn, nats = draw_tokens(state.logits, numbers[active, step], self.sampling, excluded)
            told = zip(active.tolist(), drawn.tolist(), nats.tolist(), torch.isin(drawn, ends).tolist(), strict=True)
            for row, id, nat, is_end in told:
                if not finished[row]:
                    ids[row].append(id)
                    logprobs[row].append(nat)
                    finished[row] = is_end
            if step + 1 == self.sampling.max_new_tokens or all(finished):
                break
            goes_on = torch.tensor([not finished[row] for row in active.tolist()], device=device)
            state.advance(drawn, goes_on)
        rollouts = iter(
            Rollout(ids=tuple(own), logprobs=tuple(nats), text=self._text(own), is_finished=over)
            for own, nats, over in zip(ids, logprobs, finished, strict=True)
        )
        return [[next(rollouts) for _ in prompt.seeds] for prompt in prompts]

    def _excluded(self, model: Any, vocabulary: int) -> Tensor:
        """Return True where a token may not be said, ``(V,)``: an adapter's token may, and so may what ends."""
        keep = {*end_ids(model, self.processor), *awaited_ids(model, self.processor)}
        excluded = torch.zeros(vocabulary, dtype=torch.bool)
        places = [id for id in sampling_exclusions(self.processor, keep=keep) if id < vocabulary]
        excluded[places] = True
        return excluded.to(model.device)

    def _text(self, ids: Sequence[int]) -> str:
        return self.processor.tokenizer.decode(ids, skip_special_tokens=True)


class _State:
    """What is known of the completions that are still being written.

    Args:
        model: in evaluation mode.
        inputs: of B prompts, padded on the left.
        counts: completions of each.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any], *, counts: Sequence[int]) -> None:
        self.model = model
        positions, next_position = _positions(model, inputs)
        outputs = model(**inputs, position_ids=positions, use_cache=True, logits_to_keep=1)
        rows = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(model.device)
        self.cache = outputs.cache
        self.cache.batch_select_indices(rows)
        self.logits: Tensor = outputs.logits[rows, -1]
        self.attention_mask: Tensor = inputs["attention_mask"][rows]
        self.position: Tensor = next_position[rows]  # (N,)
        self.num_axes = positions.shape[0] if positions.ndim == 3 else 0
        self.active = torch.arange(len(rows), device=model.device)

    def advance(self, drawn: Tensor, goes_on: Tensor) -> None:
        """Read the drawn tokens; leave out the completions that have ended, as soon as they are half of them."""
        if goes_on.float().mean() <= 0.5 or not len(drawn) > 8:
            self._keep(goes_on.nonzero().squeeze(1))
            drawn = drawn[goes_on]
        self.attention_mask = torch.nn.functional.pad(self.attention_mask, (0, 1), value=1)
        position = self.position.unsqueeze(1)
        outputs = self.model(
            input_ids=drawn.unsqueeze(1),
            attention_mask=self.attention_mask,
            position_ids=position.expand(self.num_axes, -1, -1) if self.num_axes else position,
            cache=self.cache,
            use_cache=True,
        )
        self.logits = outputs.logits[:, -1]
        self.position = self.position + 1

    def _keep(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.active, self.position = self.active[rows], self.position[rows]
        self.attention_mask = self.attention_mask[rows]


def _positions(model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the positions of the prompts, and where each completion begins.

    Returns:
        ``(B, T)``, or ``(3, B, T)`` where images have positions in space; and ``(B,)``.
    """
    mask = inputs["attention_mask"].long()
    inner: Any = getattr(model, "model", None)
    if hasattr(inner, "get_rope_index") and inputs.get("image_grid_thw") is not None:
        names = ("input_ids", "image_grid_thw", "attention_mask", "mm_token_type_ids")
        positions, deltas = inner.get_rope_index(**{name: inputs[name] for name in names})
        return positions, mask.sum(dim=1) + deltas.view(-1).to(mask.device)
    return (mask.cumsum(dim=1) - 1).clamp(min=0), mask.sum(dim=1)


def _moved(value: Any, model: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
