"""Divergence from a reference, estimated at the sampled tokens: k1, k2, k3 and their relatives.

Letters: B sequences, T text positions.
"""

from typing import Literal, TypeAlias, get_args

from torch import Tensor

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["KlEstimator", "check_kl_estimator", "kl_per_token"]

KlEstimator: TypeAlias = Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "abs+"]
"""``k1``: the log-ratio, unbiased, of either sign. ``k2``: half its square. ``k3``: unbiased and never negative
(DeepSeekMath, arXiv:2402.03300, equation 4). ``abs``: its magnitude. With ``+``: that value, with the gradient of
``k2``, which is the gradient of the divergence itself."""


def kl_per_token(
    logprobs: Tensor,
    reference_logprobs: Tensor,
    *,
    estimator: KlEstimator = "k3",
    log_ratio_limit: float | None = None,
    limit: float | None = None,
) -> Tensor:
    """Estimate the divergence of the policy from the reference.

    Args:
        logprobs: ``(B, T)``, the policy's, in nats.
        reference_logprobs: ``(B, T)``.
        estimator: which one.
        log_ratio_limit: ``k3`` cuts the log-ratio at this before it is exponentiated; None does not.
        limit: ``k3`` itself is cut at this; None does not.

    Returns:
        ``(B, T)``, in nats.
    """
    log_ratio = logprobs - reference_logprobs
    if estimator.endswith("+"):
        value = _plain(log_ratio, estimator[:-1], log_ratio_limit, limit)
        half_square = _plain(log_ratio, "k2", None, None)
        return half_square - half_square.detach() + value.detach()
    return _plain(log_ratio, estimator, log_ratio_limit, limit)


def _plain(log_ratio: Tensor, estimator: str, log_ratio_limit: float | None, limit: float | None) -> Tensor:
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return 0.5 * log_ratio**2
    if estimator == "abs":
        return log_ratio.abs()
    back = -log_ratio if log_ratio_limit is None else (-log_ratio).clamp(-log_ratio_limit, log_ratio_limit)
    value = back.exp() - back - 1.0
    return value if limit is None else value.clamp(-limit, limit)


def check_kl_estimator(estimator: str) -> None:
    """Check an option of an objective.

    Raises:
        ConfigError: if it is unknown.
    """
    known = get_args(KlEstimator)
    if estimator not in known:
        raise ConfigError(
            f"`kl_estimator` must be one of {', '.join(known)}, but is {estimator!r} instead."
            f"{nearest_hint(estimator, known)}"
        )
