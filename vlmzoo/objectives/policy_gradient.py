"""Policy gradient with a group-relative baseline: GRPO and what came of it.

Letters: B completions in a micro-batch, G completions of one prompt, T text positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.advantages import (
    AdvantageEstimator,
    SingletonRule,
    advantages_over_siblings,
    check_estimator,
)
from vlmzoo.objectives.divergence import KlEstimator, check_kl_estimator, kl_per_token
from vlmzoo.outputs import IGNORED_LABEL, Batch, LossOutput, VlmOutput
from vlmzoo.registry import nearest_hint

__all__ = ["Normaliser", "PolicyGradientObjective", "target_mask"]

Normaliser: TypeAlias = Literal["global_token", "sequence", "micro_token", "sequence_sum", "constant"]
"""What a sum over tokens is divided by. ``global_token``: the tokens of the whole step. ``sequence``: each completion's
own tokens, then the completions. ``micro_token``: the tokens of the micro-batch, then the micro-batches (verl's FSDP
actor; the result depends on the split). ``sequence_sum``: the completions alone. ``constant``: the completions times
``max_completion_tokens`` (Dr. GRPO)."""


@OBJECTIVES.register(
    "policy_gradient",
    source="DeepSeekMath, arXiv:2402.03300, equations 3 and 4",
    tiny={},
)
@dataclass(frozen=True, kw_only=True)
class PolicyGradientObjective:
    """Clipped policy gradient, with a penalty towards the reference and a bonus for entropy.

    Args:
        estimator: of the advantage, baseline and scale.
        advantage_eps: added to the standard deviation, in units of reward.
        singleton: what a completion without siblings gets.
        behaviour: ``sampled`` compares with the log-probabilities of sampling; ``current`` with the policy's own,
            cut from the gradient, which makes every ratio 1 (right where each batch is used for one update).
        ratio: per ``token``, or of the ``sequence``, the geometric mean over its tokens (GSPO).
        surrogate: ``clipped`` is the smaller of both terms; ``cispo`` weighs log-probabilities with a clipped ratio
            that has no gradient.
        clip_low: the ratio counts from ``1 - clip_low`` on; None for no limit.
        clip_high: up to ``1 + clip_high``; None for no limit.
        dual_clip: a negative advantage counts at most so many times; None for no limit.
        kl_coef: weight of the divergence from the reference; 0 leaves it out.
        kl_estimator: of the divergence, ``k1``, ``k2``, ``k3``, ``abs``; with ``+`` it has the gradient of ``k2``.
        log_ratio_limit: differences of log-probabilities are cut at this, in nats; None for no limit.
        kl_limit: the divergence of a token is cut at this, in nats; of ``k3`` only; None for no limit.
        entropy_coef: weight of the entropy, which is to be large.
        normaliser: what sums over tokens are divided by.
        max_completion_tokens: for the normaliser ``constant``.

    Raises:
        ConfigError: if an option is unknown, makes no sense or would have no effect.
    """

    learns_from: ClassVar[str] = "rewards"

    estimator: AdvantageEstimator = "mean_std"
    advantage_eps: float = 1e-4
    singleton: SingletonRule = "refuse"
    behaviour: Literal["sampled", "current"] = "sampled"
    ratio: Literal["token", "sequence"] = "token"
    surrogate: Literal["clipped", "cispo"] = "clipped"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    dual_clip: float | None = None
    kl_coef: float = 0.04
    kl_estimator: KlEstimator = "k3"
    log_ratio_limit: float | None = 20.0
    kl_limit: float | None = None
    entropy_coef: float = 0.0
    normaliser: Normaliser = "global_token"
    max_completion_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_estimator(self.estimator, self.singleton)
        check_kl_estimator(self.kl_estimator)
        for name, known in (
            ("behaviour", ("sampled", "current")),
            ("ratio", ("token", "sequence")),
            ("surrogate", ("clipped", "cispo")),
            ("normaliser", get_args(Normaliser)),
        ):
            value = getattr(self, name)
            if value not in known:
                hint = nearest_hint(str(value), known)
                raise ConfigError(f"`{name}` must be one of {', '.join(known)}, but is {value!r} instead.{hint}")
        for name in ("clip_low", "clip_high", "log_ratio_limit", "kl_limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"`{name}` must be positive or null, but is {value} instead.")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ConfigError(f"`dual_clip` must be above 1 or null, but is {self.dual_clip} instead.")
        for name in ("kl_coef", "entropy_coef", "advantage_eps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` must be zero or more, but is {getattr(self, name)} instead.")
        if (self.normaliser == "constant") != (self.max_completion_tokens is not None):
            raise ConfigError(
                "`max_completion_tokens` and `normaliser: constant` belong together, but one stands without the other: "
                f"{self.max_completion_tokens} and {self.normaliser}."
            )
        self._check_effects()

    def _check_effects(self) -> None:
        """Refuse what was set and would have no effect.

        Raises:
            ConfigError: naming the option, and where it has one.
        """
        is_current, is_cispo = self.behaviour == "current", self.surrogate == "cispo"
        sampled = "`behaviour: sampled`, as every ratio is 1 otherwise"
        idle = {
            "ratio": (is_current, sampled),
            "clip_low": (is_current, sampled),
            "clip_high": (is_current, sampled),
            "dual_clip": (is_current or is_cispo, f"`surrogate: clipped` and {sampled}"),
            "kl_limit": (not self.kl_estimator.startswith("k3"), "`kl_estimator: k3` or `k3+`"),
            "advantage_eps": (not self.estimator.startswith("mean_std"), "an estimator that divides by a deviation"),
        }
        for option in fields(self):
            is_idle, place = idle.get(option.name, (False, ""))
            value = getattr(self, option.name)
            if is_idle and value is not None and value != option.default:
                raise ConfigError(
                    f"`{option.name}` must be left at its default here, but is {value!r} instead; it has an effect "
                    f"only with {place}."
                )

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss.

        Args:
            outputs: with ``logprobs`` ``(B, T)``, and ``entropy`` ``(B, T)`` if it has a weight.
            batch: with ``labels`` ``(B, T)``; its targets are ``rewards`` ``(B,)``, ``group_rewards`` ``(B, G)`` and,
                where they are needed, ``behaviour_logprobs`` and ``reference_logprobs`` ``(B, T)``.
            denominators: ``tokens``, ``sequences`` and ``micro_batches`` of the whole step.

        Raises:
            ShapeError: if something that is needed is missing, or of another shape than the labels.
        """
        mask = target_mask(batch)
        logprobs = _checked("outputs.logprobs", outputs.logprobs, mask)
        log_ratio = self.log_ratio(logprobs, batch)
        losses, told = self.surrogate_losses(log_ratio, logprobs, self.advantages(batch))

        share = _Share(self.normaliser, mask, denominators, self.max_completion_tokens)
        policy_loss = loss = share(losses)
        told["drift_nats"] = -log_ratio
        metrics = {name: share.token_mean(value.detach()) for name, value in told.items()}
        if "reference_logprobs" in batch.targets or self.kl_coef:
            reference = _checked("reference_logprobs", batch.targets.get("reference_logprobs"), mask)
            reference = torch.where(mask, reference, logprobs.detach())  # the exponential of a gap may be infinite
            divergence = kl_per_token(
                logprobs,
                reference,
                estimator=self.kl_estimator,
                log_ratio_limit=self.log_ratio_limit,
                limit=self.kl_limit,
            )
            metrics["kl_nats"] = share(divergence)
            loss = loss + self.kl_coef * metrics["kl_nats"]
        if outputs.entropy is not None or self.entropy_coef:
            metrics["entropy_nats"] = share(_checked("outputs.entropy", outputs.entropy, mask))
            loss = loss - self.entropy_coef * metrics["entropy_nats"]
        metrics |= {"loss": loss, "policy_loss": policy_loss}
        return LossOutput(loss=loss, metrics={name: value.detach() for name, value in metrics.items()})

    def advantages(self, batch: Batch) -> Tensor:
        """Return the advantage of each completion, ``(B,)``.

        Raises:
            ShapeError: if the batch has no rewards.
        """
        for name in ("rewards", "group_rewards"):
            if name not in batch.targets:
                raise ShapeError(
                    f"`{name}` must be among the targets of a batch, but they are {sorted(batch.targets)} instead; a "
                    "policy gradient learns from rewards, as the experience `rollouts` brings them."
                )
        return advantages_over_siblings(
            batch.targets["rewards"],
            batch.targets["group_rewards"],
            estimator=self.estimator,
            eps=self.advantage_eps,
            singleton=self.singleton,
        )

    def log_ratio(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """Return the logarithm of policy over behaviour, 0 where nothing is learned, ``(B, T)``.

        Args:
            logprobs: of the policy, ``(B, T)``.
            batch: with labels and, unless ``behaviour`` is ``current``, log-probabilities of sampling.

        Raises:
            ShapeError: if the latter are missing, or of another shape than the labels.
        """
        mask = target_mask(batch)
        if self.behaviour == "current":
            behaviour = logprobs.detach()
        else:
            behaviour = _checked("behaviour_logprobs", batch.targets.get("behaviour_logprobs"), mask)
        log_ratio = torch.where(mask, logprobs - behaviour, 0.0)
        if self.ratio == "sequence":
            # The value is the sequence's, the gradient the token's own: GSPO, arXiv:2507.18071, equations 13 and 14.
            mean = log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
            log_ratio = torch.where(mask, mean.detach() + log_ratio - log_ratio.detach(), 0.0)
        limit = self.log_ratio_limit
        return log_ratio if limit is None else log_ratio.clamp(-limit, limit)

    def surrogate_losses(
        self, log_ratio: Tensor, logprobs: Tensor, advantages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what each token loses, and where a limit decided, 0 or 1 by its name.

        Args:
            log_ratio: of policy over behaviour, ``(B, T)``.
            logprobs: of the policy, ``(B, T)``.
            advantages: of the completions, ``(B,)``.

        Returns:
            ``(B, T)`` each: losses, ``clip_fraction`` and, with that limit, ``dual_clip_fraction``.
        """
        advantages = advantages.to(logprobs).unsqueeze(1)  # (B, 1)
        ratio = log_ratio.exp()
        low = 0.0 if self.clip_low is None else 1.0 - self.clip_low
        high = torch.inf if self.clip_high is None else 1.0 + self.clip_high
        trusted = ratio.clamp(low, high)
        if self.surrogate == "cispo":  # MiniMax-M1, arXiv:2506.13585, equations 4 and 5
            return -trusted.detach() * advantages * logprobs, {"clip_fraction": (trusted != ratio).to(ratio)}
        plain, clipped = -advantages * ratio, -advantages * trusted
        losses = torch.maximum(plain, clipped)
        told = {"clip_fraction": (clipped > plain).to(ratio)}
        if self.dual_clip is not None:  # arXiv:1912.09729, equation 5
            limit = -advantages * self.dual_clip
            told["dual_clip_fraction"] = ((losses > limit) & (advantages < 0)).to(ratio)
            losses = torch.where(advantages < 0, torch.minimum(losses, limit), losses)
        return losses, told


def target_mask(batch: Batch) -> Tensor:
    """Return which tokens of a batch are learned from, ``(B, T)``; the first of a row never is, as none precedes it."""
    mask = batch.inputs["labels"] != IGNORED_LABEL
    return torch.cat([torch.zeros_like(mask[:, :1]), mask[:, 1:]], dim=1)


@dataclass(frozen=True)
class _Share:
    """Sums over tokens, as this micro-batch's share of the step's mean."""

    normaliser: Normaliser
    mask: Tensor
    denominators: Mapping[str, float]
    max_completion_tokens: int | None

    def __call__(self, values: Tensor) -> Tensor:
        """Aggregate ``(B, T)`` to ``()``."""
        per_sequence = torch.where(self.mask, values, 0.0).sum(dim=1)  # (B,); gaps may hold anything
        num_sequences = max(self.denominators["sequences"], 1.0)
        if self.normaliser == "global_token":
            return per_sequence.sum() / max(self.denominators["tokens"], 1.0)
        if self.normaliser == "micro_token":
            return per_sequence.sum() / self.mask.sum().clamp(min=1) / max(self.denominators["micro_batches"], 1.0)
        if self.normaliser == "sequence":
            per_sequence = per_sequence / self.mask.sum(dim=1).clamp(min=1)
        elif self.normaliser == "constant":
            per_sequence = per_sequence / float(self.max_completion_tokens or 1)
        return per_sequence.sum() / num_sequences

    def token_mean(self, values: Tensor) -> Tensor:
        """Aggregate to the mean over all tokens of the step, as fractions are told."""
        return torch.where(self.mask, values, 0.0).sum() / max(self.denominators["tokens"], 1.0)


def _checked(name: str, values: Tensor | None, mask: Tensor) -> Tensor:
    """Return values that have a place for each label.

    Raises:
        ShapeError: if there are none, or too few.
    """
    if values is None or values.shape != mask.shape:
        found = None if values is None else tuple(values.shape)
        raise ShapeError(f"`{name}` must have the shape of `labels`, {tuple(mask.shape)}, but has {found} instead.")
    return values
