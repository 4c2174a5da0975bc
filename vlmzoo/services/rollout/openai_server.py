"""Rollouts by a server that speaks OpenAI's protocol and says which tokens it drew, such as vLLM's."""

import base64
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from vlmzoo.data.conversations import with_images
from vlmzoo.data.prompting import awaited_ids, end_ids, sampling_exclusions
from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.services.calling import Caller, CallPolicy, plain_url
from vlmzoo.services.posting import key_from, post_json
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Policy, Prompt, Rollout, Sampling, check_temperature, short_seed

__all__ = ["OpenAiServerEngine"]

logger = logging.getLogger(__name__)

_NEVER = -100  # a logit_bias that bans a token
_TOKEN = "token_id:"  # vLLM's form of a token under `return_tokens_as_token_ids`
_CALLS = {"timeout_s": 600.0, "retries": 4, "pause_s": 1.0}  # a run waits longer for its server than a judge does


@ROLLOUT_ENGINES.register(
    "openai_server",
    source="OpenAI API reference, chat completions; vLLM documentation, extra parameters of the server",
    tiny={"base_url": "http://127.0.0.1:9/v1", "model": "policy"},
)
class OpenAiServerEngine:
    """Asks a server for completions; what it serves is kept up to date by whoever runs it.

    The server must tell the ids that it drew (``return_tokens_as_token_ids``) and their log-probabilities, so that
    nothing is tokenised again; with them, an objective that compares with ``behaviour: sampled`` corrects for a server
    that is some updates behind.

    Args:
        base_url: of the server, up to ``/v1``.
        model: the name under which it serves the policy.
        api_key_env: environment variable with the key, if the server wants one; no config holds the key itself.
        num_parallel: completions that are asked for at once.
        calls: ``timeout_s`` (600 unless given), ``retries`` (4), ``pause_s`` (1), ``breaker_after`` …, see
            ``CallPolicy``.
        policy: whose end-of-sequence ids and placeholders count.
        processor: of the model.
        sampling: how tokens are drawn; all of it is sent.

    Raises:
        ConfigError: if the address is none, a number makes no sense, there is no key where one is named, or the
            temperature is not 1.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        num_parallel: int = 16,
        calls: Mapping[str, Any] | CallPolicy | None = None,
        policy: Policy,
        processor: Any,
        sampling: Sampling,
    ) -> None:
        if urlsplit(base_url).scheme not in ("http", "https") or num_parallel < 1:
            raise ConfigError(
                "`base_url` must begin with http:// or https://, and `num_parallel` be positive, but they are "
                f"{base_url!r} and {num_parallel} instead."
            )
        check_temperature(sampling, engine="openai_server")
        self.url = f"{plain_url(base_url)}/chat/completions"
        self.model, self.num_parallel = model, num_parallel
        self.call = Caller(
            self.url, calls if isinstance(calls, CallPolicy) else CallPolicy.parse(_CALLS | dict(calls or {}))
        )
        self._key = None if api_key_env is None else key_from(api_key_env, url=self.url)
        self.policy, self.processor, self.sampling = policy, processor, sampling
        self.num_cut = 0
        """Completions, since the start, that were cut before a token that must not be said."""

    def complete(self, prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        """Return one completion for each seed of each prompt; a seed of its own goes with every completion.

        Raises:
            ServiceError: if the server does not answer, or does not say which tokens it drew.
        """
        model = self.policy.module
        ends = end_ids(model, self.processor)
        excluded = set(sampling_exclusions(self.processor, keep={*ends, *awaited_ids(model, self.processor)}))
        asked = [(prompt, seed) for prompt in prompts for seed in prompt.seeds]
        with ThreadPoolExecutor(self.num_parallel) as pool:
            answers = list(pool.map(lambda one: self._ask(*one, excluded=excluded), asked))
        rollouts = iter(self._rollout(answer, ends, excluded) for answer in answers)
        return [[next(rollouts) for _ in prompt.seeds] for prompt in prompts]

    def _ask(self, prompt: Prompt, seed: int, *, excluded: Collection[int]) -> Mapping[str, Any]:
        """Send one request, again if need be.

        Raises:
            ServiceError: if it is refused, or not answered however often it is sent.
        """
        body = self._request(prompt, seed, excluded=excluded)
        try:
            return self.call(lambda: post_json(self.url, body, timeout_s=self.call.policy.timeout_s, key=self._key))
        except ServiceError as error:
            raise ServiceError(
                f"{error} Mend or start the server, then start the same run again: it goes on from its last "
                "checkpoint, and no prompt is lost."
            ) from error

    def _request(self, prompt: Prompt, seed: int, *, excluded: Collection[int]) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [_message(message) for message in with_images(prompt.sample)],
            "max_tokens": self.sampling.max_new_tokens,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "top_k": self.sampling.top_k or -1,
            "repetition_penalty": 1.0,
            "seed": short_seed(seed),
            "n": 1,
            "logprobs": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            "logit_bias": {str(id): _NEVER for id in sorted(excluded)},
        }

    def _rollout(self, answer: Mapping[str, Any], ends: set[int], excluded: set[int]) -> Rollout:
        """Read one completion; should the server have said a token that is banned, it is cut before it, and counted.

        Raises:
            ServiceError: if it does not say which tokens were drawn.
        """
        try:
            told = answer["choices"][0]["logprobs"]["content"]
            pairs = [(int(one["token"].removeprefix(_TOKEN)), float(one["logprob"])) for one in told]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ServiceError(
                f"`{self.url}` must tell each token as `{_TOKEN}N` with its logprob, but does not ({error!r}); serve "
                "the model with vLLM 0.6 or newer, which knows `return_tokens_as_token_ids`."
            ) from error
        stop = next((place for place, (id, _) in enumerate(pairs) if id in excluded), len(pairs))
        end = next((place + 1 for place, (id, _) in enumerate(pairs[:stop]) if id in ends), stop)
        kept = pairs[:end]
        if end == stop < len(pairs) and not (kept and kept[-1][0] in ends):
            self.num_cut += 1
            logger.warning("`%s` said token %d, which is banned by `logit_bias`: cut.", self.url, pairs[stop][0])
        if not kept:
            raise ServiceError(f"`{self.url}` gave a completion without a token that can be trained.")
        ids = tuple(id for id, _ in kept)
        return Rollout(
            ids=ids,
            logprobs=tuple(nats for _, nats in kept),
            text=self.processor.tokenizer.decode(ids, skip_special_tokens=True),
            is_finished=ids[-1] in ends,
        )


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {"role": message["role"], "content": [_block(block) for block in blocks]}


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    if block["type"] != "image":
        return {"type": "text", "text": block["text"]}
    buffer = io.BytesIO()
    block["image"].convert("RGB").save(buffer, format="PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}
