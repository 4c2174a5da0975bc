"""The pairs that OViP's paper describes: a margin, a floor for the better answer, a ceiling for the worse one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vlmzoo.errors import ConfigError
from vlmzoo.scoring.selections import REFERENCE_SCORE, SELECTIONS, PairChoice

__all__ = ["OvipPaperSelection"]


@SELECTIONS.register("ovip_paper", source="OViP, arXiv:2505.15963, section on the online loop", tiny={})
@dataclass(frozen=True, kw_only=True)
class OvipPaperSelection:
    """Best against worst, second best against second worst, while both are good and bad enough.

    Args:
        margin: the least gap of a pair.
        chosen_from: the least score of a better answer.
        rejected_up_to: the highest score of a worse one.
        fallback_when: when the reference answer stands against the worst one: ``all_weak``, where no answer is good
            enough to be chosen; ``worst_weak``, where no pair is found and the worst is weak; or ``never``.
        max_pairs: of one prompt.

    Raises:
        ConfigError: if an option makes no sense.
    """

    margin: float = 3.0
    chosen_from: float = 6.0
    rejected_up_to: float = 4.0
    fallback_when: Literal["all_weak", "worst_weak", "never"] = "all_weak"
    max_pairs: int = 2

    def __post_init__(self) -> None:
        """Check the options."""
        if self.margin <= 0 or self.max_pairs < 1:
            raise ConfigError(
                f"`margin` and `max_pairs` must be positive, but are {self.margin} and {self.max_pairs} instead."
            )
        if self.fallback_when not in ("all_weak", "worst_weak", "never"):
            raise ConfigError(
                f"`fallback_when` must be all_weak, worst_weak or never, but is {self.fallback_when!r} instead."
            )

    def __call__(self, scores: Sequence[float | None]) -> list[PairChoice]:
        """Return the pairs, the widest first; equal scores keep the order of sampling."""
        ranked = sorted(
            ((score, number) for number, score in enumerate(scores) if score is not None), key=lambda one: -one[0]
        )
        pairs: list[PairChoice] = []
        for (good, better), (bad, worse) in list(zip(ranked, reversed(ranked), strict=True))[: len(ranked) // 2]:
            if good - bad < self.margin or good < self.chosen_from or bad > self.rejected_up_to:
                break
            pairs.append(PairChoice(chosen=better, rejected=worse, chosen_score=good, rejected_score=bad))
        if not pairs and ranked and self._falls_back(ranked[0][0], ranked[-1][0]):
            worst, number = ranked[-1]
            return [PairChoice(chosen=None, rejected=number, chosen_score=REFERENCE_SCORE, rejected_score=worst)]
        return pairs[: self.max_pairs]

    def _falls_back(self, best: float, worst: float) -> bool:
        if self.fallback_when == "all_weak":
            return best < self.chosen_from and worst <= self.rejected_up_to
        return self.fallback_when == "worst_weak" and worst <= self.rejected_up_to
