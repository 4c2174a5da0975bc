"""Which answers become rejected ones: those given while looking elsewhere, less the outliers.

Source: MIA-DPO, arXiv:2410.17637, sections 3.2 and 3.3; its released code has the perplexity rule only, the other
filters of the paper have no published thresholds and are ours.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from vlmzoo.data.mia import LAYOUT_KINDS, LayoutKind
from vlmzoo.errors import ConfigError

__all__ = ["Candidate", "PostSelection", "Thresholds", "greedy_perplexity", "reference_keeps", "same_answer"]

_LEAST_PERPLEXITY = 1.1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An answer that may become a rejected one.

    Args:
        kind: how the images are laid out.
        num_images: n.
        ratio: share of the attention on the asked image, within [0, 1].
        perplexity: of the greedy answer, at least 1.
        chosen: what should have been said.
        rejected: what the model said.
    """

    kind: LayoutKind
    num_images: int
    ratio: float
    perplexity: float
    chosen: str
    rejected: str


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of the attention ratio by layout and number of images.

    Args:
        limits: ``{kind: {rule: up_to | below, limits: {n: value}}}``.

    Raises:
        ConfigError: if a layout or a rule is unknown, or a limit is outside (0, 1].
    """

    limits: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        """Check the table."""
        for kind, rule in self.limits.items():
            if kind not in LAYOUT_KINDS:
                raise ConfigError(f"Thresholds must be of the layouts {LAYOUT_KINDS}, but name {kind!r} instead.")
            if set(rule) != {"rule", "limits"} or rule["rule"] not in ("up_to", "below"):
                raise ConfigError(f"`{kind}` must hold `rule: up_to` or `below` and `limits`, but is {dict(rule)!r}.")
            for count, limit in rule["limits"].items():
                if not 0 < limit <= 1:
                    raise ConfigError(f"`{kind}.limits.{count}` must lie in (0, 1], but is {limit} instead.")

    @classmethod
    def published(cls) -> "Thresholds":
        """Return the authors' table."""
        return _published()

    def admits(self, candidate: Candidate) -> bool:
        """Say whether the answer was given while looking elsewhere; False where there is no limit for the count."""
        rule = self.limits.get(candidate.kind, {"rule": "below", "limits": {}})
        limit = rule["limits"].get(candidate.num_images)
        if limit is None:
            return False
        return candidate.ratio <= limit if rule["rule"] == "up_to" else candidate.ratio < limit

    def require(self, kind: LayoutKind, num_images: int) -> None:
        """Refuse a layout without a limit, before anything is generated.

        Raises:
            ConfigError: naming the counts that have one.
        """
        known = self.limits.get(kind, {"limits": {}})["limits"]
        if num_images not in known:
            raise ConfigError(
                f"The layout `{kind}` must have one of {sorted(known)} images, for which there are thresholds, but has "
                f"{num_images} instead; add `{kind}.limits.{num_images}` to the thresholds."
            )


@cache
def _published() -> Thresholds:
    text = files("vlmzoo.data.mia").joinpath("thresholds.yaml").read_text(encoding="utf-8")
    return Thresholds(limits=yaml.safe_load(text))


def greedy_perplexity(max_logprobs: Sequence[float]) -> float:
    """Return ``exp`` of the mean negative log-probability of the likeliest token at each step; 1 is certainty.

    Args:
        max_logprobs: of all generated tokens, in nats.
    """
    return math.exp(-math.fsum(max_logprobs) / len(max_logprobs)) if max_logprobs else math.nan


def reference_keeps(candidate: Candidate, thresholds: Thresholds | None = None) -> bool:
    """Say whether MIA-DPO's released selection keeps an answer, to be compared with; a build uses ``PostSelection``.

    The rule: the attention's limit, a perplexity above 1.1, another answer than the chosen one, neither of them empty.
    """
    return (
        (thresholds or Thresholds.published()).admits(candidate)
        and candidate.perplexity > _LEAST_PERPLEXITY
        and candidate.chosen != candidate.rejected
        and bool(candidate.chosen)
        and bool(candidate.rejected)
    )


def same_answer(one: str, other: str) -> bool:
    """Say whether two answers differ in blanks and capitals at most."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


Reason = Literal["attention", "empty", "same answer", "too certain", "too uncertain", "length ratio", "edit distance"]


@dataclass(kw_only=True)
class PostSelection:
    """Attention and the three filters of the paper, each counted by layout.

    Args:
        thresholds: of the attention ratio.
        perplexity: least and largest, both excluded (1.1 is the authors', 20 is ours).
        max_length_ratio: of the longer to the shorter answer, in characters (ours).
        length_matters_from: answers both shorter than this are not compared in length (ours).
        min_edit_distance: Levenshtein distance over the longer length, of answers in lower case with blanks collapsed
            (ours).
    """

    thresholds: Thresholds = field(default_factory=Thresholds.published)
    perplexity: tuple[float, float] = (_LEAST_PERPLEXITY, 20.0)
    max_length_ratio: float = 4.0
    length_matters_from: int = 20
    min_edit_distance: float = 0.1
    kept: Counter[str] = field(default_factory=Counter[str])
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def keeps(self, candidate: Candidate) -> bool:
        """Say whether an answer becomes a rejected one, and count it."""
        reason = self.reason(candidate)
        if reason is None:
            self.kept[candidate.kind] += 1
        else:
            self.dropped[candidate.kind, reason] += 1
        return reason is None

    def reason(self, candidate: Candidate) -> Reason | None:
        """Return the first filter that drops an answer, or None."""
        chosen, rejected = candidate.chosen.strip(), candidate.rejected.strip()
        least, largest = self.perplexity
        lengths = sorted((len(chosen), len(rejected)))
        tests: list[tuple[Reason, bool]] = [
            ("empty", not chosen or not rejected),
            ("attention", not self.thresholds.admits(candidate)),
            ("same answer", same_answer(chosen, rejected)),
            ("too certain", not candidate.perplexity > least),
            ("too uncertain", not candidate.perplexity < largest),
            (
                "length ratio",
                lengths[1] >= self.length_matters_from and lengths[1] > self.max_length_ratio * lengths[0],
            ),
        ]
        for name, drops in tests:
            if drops:
                return name
        return "edit distance" if _edit_distance(chosen, rejected) < self.min_edit_distance else None

    def report(self) -> dict[str, dict[str, int]]:
        """Return kept and dropped answers by layout and filter."""
        found: dict[str, dict[str, int]] = {kind: {"kept": count} for kind, count in self.kept.items()}
        for (kind, reason), count in self.dropped.items():
            found.setdefault(kind, {"kept": 0})[reason] = count
        return found


def _edit_distance(one: str, other: str) -> float:
    """Return the Levenshtein distance over the longer length, of texts in lower case with blanks collapsed."""
    first, second = (" ".join(text.split()).lower() for text in (one, other))
    if not first or not second:
        return float(first != second)
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, start=1):
        diagonal, row[0] = row[0], place
        for column, against in enumerate(second, start=1):
            substituted = diagonal + (letter != against)
            diagonal, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, substituted)
    return row[-1] / max(len(first), len(second))
