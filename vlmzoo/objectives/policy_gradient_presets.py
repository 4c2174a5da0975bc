"""Published policy gradients by name: each is the one objective with its authors' values."""

from dataclasses import dataclass
from typing import Literal

from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.advantages import AdvantageEstimator, SingletonRule
from vlmzoo.objectives.policy_gradient import Normaliser, PolicyGradientObjective

__all__ = [
    "CispoObjective",
    "DapoObjective",
    "DrGrpoObjective",
    "GrpoVerlObjective",
    "GrpoVirftObjective",
    "GspoObjective",
]


@OBJECTIVES.register(
    "grpo_virft", source="Visual-RFT, arXiv:2503.01785, section 3.1, and its released trainer", tiny={}
)
@dataclass(frozen=True, kw_only=True)
class GrpoVirftObjective(PolicyGradientObjective):
    """GRPO as Visual-RFT trains: one update per batch, nothing clipped, a mean over each completion's own tokens."""

    behaviour: Literal["sampled", "current"] = "current"
    clip_low: float | None = None
    clip_high: float | None = None
    log_ratio_limit: float | None = None
    kl_coef: float = 0.04
    normaliser: Normaliser = "sequence"


@OBJECTIVES.register(
    "grpo_verl", source="verl 0.6, core_algos; TWIN, arXiv:2512.23592, as its launcher sets it", tiny={}
)
@dataclass(frozen=True, kw_only=True)
class GrpoVerlObjective(PolicyGradientObjective):
    """GRPO as verl computes it, with TWIN's weight of the divergence.

    The authors' runs divide by the tokens of each micro-batch, ``normaliser: micro_token``, which makes the result
    depend on the split; the default here is the whole step's.
    """

    advantage_eps: float = 1e-6
    singleton: SingletonRule = "own_reward"
    dual_clip: float | None = 3.0
    kl_coef: float = 0.01
    kl_limit: float | None = 10.0


@OBJECTIVES.register("dr_grpo", source="Dr. GRPO, arXiv:2503.20783, section 3.2", tiny={"max_completion_tokens": 8})
@dataclass(frozen=True, kw_only=True)
class DrGrpoObjective(PolicyGradientObjective):
    """GRPO without the two divisions that favour long wrong answers and easy questions."""

    estimator: AdvantageEstimator = "mean"
    kl_coef: float = 0.0
    normaliser: Normaliser = "constant"


@OBJECTIVES.register("dapo", source="DAPO, arXiv:2503.14476, sections 3.1 to 3.3", tiny={})
@dataclass(frozen=True, kw_only=True)
class DapoObjective(PolicyGradientObjective):
    """A higher upper limit, every token of the step equal, no reference.

    Its dynamic sampling is the experience's: ``rollouts`` with ``on_zero_variance: resample``.
    """

    clip_high: float | None = 0.28
    kl_coef: float = 0.0


@OBJECTIVES.register("gspo", source="GSPO, arXiv:2507.18071, equations 5 to 7 and section 5.1", tiny={})
@dataclass(frozen=True, kw_only=True)
class GspoObjective(PolicyGradientObjective):
    """The ratio and its limits are the sequence's."""

    ratio: Literal["token", "sequence"] = "sequence"
    clip_low: float | None = 3e-4
    clip_high: float | None = 4e-4
    kl_coef: float = 0.0
    normaliser: Normaliser = "sequence"


@OBJECTIVES.register("cispo", source="MiniMax-M1, arXiv:2506.13585, equations 4 and 5", tiny={})
@dataclass(frozen=True, kw_only=True)
class CispoObjective(PolicyGradientObjective):
    """Ratios are limited, but no token loses its gradient.

    The paper limits from above alone and does not print the value; 4 (a ratio of at most 5) is ScaleRL's,
    arXiv:2510.13786.
    """

    surrogate: Literal["clipped", "cispo"] = "cispo"
    clip_low: float | None = None
    clip_high: float | None = 4.0
    kl_coef: float = 0.0
