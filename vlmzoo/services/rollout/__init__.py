"""Rollout engines: prompts in, completions of the policy out, with the log-probabilities that they were drawn with.

Letters: B prompts, G completions of one prompt.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from vlmzoo.errors import ConfigError
from vlmzoo.registry import Registry
from vlmzoo.types import Sample

__all__ = [
    "ROLLOUT_ENGINES",
    "Policy",
    "Prompt",
    "Rollout",
    "RolloutEngine",
    "Sampling",
    "check_engine",
    "check_temperature",
    "short_seed",
]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn; all of it is said here, so that nothing comes from a model's own generation settings.

    Args:
        max_new_tokens: the limit of each completion.
        temperature: divides the logits, in sampling and in the loss; 0 takes the most probable token.
        top_k: how many of the most probable tokens may be drawn; 0 for all.
        top_p: the smallest set of most probable tokens of this mass may be drawn.

    Raises:
        ConfigError: if a number makes no sense.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.max_new_tokens < 1:
            raise ConfigError(f"`max_new_tokens` must be positive, but is {self.max_new_tokens} instead.")
        if self.temperature < 0:
            raise ConfigError(f"`temperature` must be zero or more, but is {self.temperature} instead.")
        if self.top_k < 0:
            raise ConfigError(f"`top_k` must be zero (all tokens) or more, but is {self.top_k} instead.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"`top_p` must be above 0 and at most 1, but is {self.top_p} instead.")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked.

    Args:
        sample: ending with a user turn.
        encoded: the same as the processor's ``encode_prompt`` gives it.
        seeds: one for each completion that is wanted; equal seeds draw equal numbers on any rank.
    """

    sample: Sample
    encoded: Mapping[str, Any]
    seeds: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One completion.

    Args:
        ids: as they were drawn, the end of sequence with them; they are trained as they are, never tokenised again.
        logprobs: of each id under the policy that drew it, over the whole vocabulary at the sampling temperature.
        text: without special tokens, what rewards read.
        is_finished: whether the end of sequence came before the limit.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    is_finished: bool


def short_seed(seed: int) -> int:
    """Return 31 bits that depend on the whole of a seed, for engines that take no longer one."""
    digest = hashlib.blake2b(seed.to_bytes(32, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def check_temperature(sampling: Sampling, *, engine: str) -> None:
    """Refuse a temperature at which an engine does not tell the log-probabilities that training asks for.

    Servers tell those of the logits before the temperature divides them.

    Raises:
        ConfigError: if the temperature is not 1.
    """
    if sampling.temperature != 1:
        raise ConfigError(
            f"`temperature` must be 1 with the engine `{engine}`, which tells log-probabilities at no other, but is "
            f"{sampling.temperature} instead; set it to 1, or use `in_process`."
        )


class Policy(Protocol):
    """What an online experience sees of what is trained."""

    @property
    def module(self) -> Any:
        """The model that learns."""
        ...

    @property
    def frozen(self) -> Any:
        """A frozen copy of the starting weights; None where nobody asked for one."""
        ...

    def whole_weights(self) -> AbstractContextManager[None]:
        """Hold all weights on this rank for a while (ZeRO-3 splits them); all ranks must enter."""
        ...


class RolloutEngine(Protocol):
    """Draws completions from the present policy.

    Attributes:
        num_cut: completions that were cut at a token that must not be said, since the run began; 0 for engines that
            never say one.
    """

    num_cut: int

    def complete(self, prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        """Return one completion for each seed of each prompt, in order.

        Raises:
            ServiceError: if a server does not answer; nothing of the run's state is lost.
        """
        ...


ROLLOUT_ENGINES: Registry[RolloutEngine] = Registry("rollout engine", "vlmzoo.services.rollout")


def check_engine(spec: Mapping[str, Any]) -> None:
    """Check the spec of a rollout engine, building nothing.

    Raises:
        ConfigError: if it has arguments that the engine does not take.
        RegistryError: if there is no such engine.
    """
    ROLLOUT_ENGINES.check(spec, runtime=("policy", "processor", "sampling"))
