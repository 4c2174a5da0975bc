"""The pairs that OViP's released code makes of a prompt's answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmzoo.errors import ConfigError
from vlmzoo.scoring.selections import REFERENCE_SCORE, SELECTIONS, PairChoice

__all__ = ["OvipCodeSelection"]

_FEW = 4  # answers; up to so many, the extremes alone are compared
_FEW_GAP, _CHOSEN_FROM, _WEAK_UP_TO = 4, 6, 5
_LEAST_DEVIATION = 1.5
_MIXED_GAP = 2


@SELECTIONS.register("ovip_code", source="OViP, arXiv:2505.15963, released code, online trainer", tiny={})
@dataclass(frozen=True, kw_only=True)
class OvipCodeSelection:
    """Best against worst, second best against second worst, and so on, while the gap is over twice the deviation.

    Where no pair is found and the worst answer is weak, the reference answer stands against it, however good the other
    answers are.

    Args:
        online_only: leave the reference answer out.
        extremes: with ``online_only``: where the reference answer would have stood, take best and worst from a gap of 2
            on.
        max_pairs: the first so many are kept; None keeps all (without a buffer, the authors' code keeps 3).

    Raises:
        ConfigError: if ``max_pairs`` is not positive, or ``extremes`` would have no effect.
    """

    online_only: bool = False
    extremes: bool = False
    max_pairs: int | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.max_pairs is not None and self.max_pairs < 1:
            raise ConfigError(f"`max_pairs` must be positive or null, but is {self.max_pairs} instead.")
        if self.extremes and not self.online_only:
            raise ConfigError("`extremes` must stand beside `online_only: true`; elsewhere it has no effect.")

    def __call__(self, scores: Sequence[float | None]) -> list[PairChoice]:
        """Return the pairs, the widest first; equal scores keep the order of sampling."""
        ranked = sorted(
            ((score, number) for number, score in enumerate(scores) if score is not None), key=lambda one: -one[0]
        )
        if not ranked:
            return []
        pairs = self._among_few(ranked) if len(ranked) <= _FEW else self._among_many(ranked)
        return (pairs or self._fallback(ranked))[: self.max_pairs]

    def _among_few(self, ranked: Sequence[tuple[float, int]]) -> list[PairChoice]:
        best, worst = ranked[0], ranked[-1]
        is_wide = best[0] - worst[0] >= _FEW_GAP and best[0] >= _CHOSEN_FROM
        return [_pair(best, worst)] if is_wide else []

    def _among_many(self, ranked: Sequence[tuple[float, int]]) -> list[PairChoice]:
        limit = 2 * max(_LEAST_DEVIATION, _deviation([score for score, _ in ranked]))
        pairs: list[PairChoice] = []
        for better, worse in zip(ranked, reversed(ranked), strict=True):
            if not (better[0] - worse[0] > limit and better[0] >= _CHOSEN_FROM):
                break
            pairs.append(_pair(better, worse))
        return pairs

    def _fallback(self, ranked: Sequence[tuple[float, int]]) -> list[PairChoice]:
        (best, _), (worst, number) = ranked[0], ranked[-1]
        if worst > _WEAK_UP_TO:
            return []
        if self.online_only:
            return [_pair(ranked[0], ranked[-1])] if self.extremes and best - worst >= _MIXED_GAP else []
        return [PairChoice(chosen=None, rejected=number, chosen_score=REFERENCE_SCORE, rejected_score=worst)]


def _pair(better: tuple[float, int], worse: tuple[float, int]) -> PairChoice:
    return PairChoice(chosen=better[1], rejected=worse[1], chosen_score=better[0], rejected_score=worse[0])


def _deviation(values: Sequence[float]) -> float:
    """Return the sample's standard deviation."""
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
