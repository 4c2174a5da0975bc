"""What answers to same-or-not questions are worth: by kind, by class, by subset, and whatever the threshold.

Source: TWIN, arXiv:2512.23592, section 4 (FGVQA), and what its evaluation leaves out.
Letters: Q questions.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import Generation
from vlmzoo.scoring.signal import area_under_roc, balanced_accuracy, d_prime, statistic_interval
from vlmzoo.scoring.statistics import Interval, bootstrap_interval

__all__ = ["scores_of", "summarise_answers"]

Picked = NDArray[np.int64]


def summarise_answers(generations: Sequence[Generation], *, seed: int) -> dict[str, Interval]:
    """Return all scores with their intervals, ``overall`` first.

    ``overall``, ``pair`` and ``multi`` are shares of right answers, as FGVQA counts; ``accuracy/ANSWER`` those of one
    right answer; ``balanced_accuracy`` their mean over yes and no; ``yes_rate`` the share of pairs that are answered
    with yes; ``parsed`` that of answers that could be read; ``subset/NAME`` and ``mean_over_subsets`` what the data's
    subsets give. Where log-probabilities were asked for there are ``auroc`` and ``d_prime``; where pairs were asked
    twice, ``order_consistency``, the share that is answered alike in both orders.

    Args:
        generations: Q, with ``correct``, ``is_pair`` and ``parsed`` among their scores.
        seed: of the bootstrap.

    Raises:
        DataError: if there are none.
    """
    if not generations:
        raise DataError("There must be answers to summarise, but there are none.")
    pairs = [one for one in generations if one.scores["is_pair"]]
    multi = [one for one in generations if not one.scores["is_pair"]]
    found = {"overall": _share(generations, "correct", seed)}
    found |= {name: _share(part, "correct", seed) for name, part in (("pair", pairs), ("multi", multi)) if part}
    for answer in sorted({str(one.reference) for one in generations}):
        own = [one for one in generations if str(one.reference) == answer]
        found[f"accuracy/{answer}"] = _share(own, "correct", seed)
    if pairs:
        found |= dict(_of_pairs(pairs, seed))
    found["parsed"] = _share(generations, "parsed", seed)
    return found | _by_subset(generations, seed)


def _of_pairs(pairs: Sequence[Generation], seed: int) -> Iterator[tuple[str, Interval]]:
    yield "yes_rate", _share(pairs, "says_yes", seed)
    is_yes = np.array([str(one.reference) == "yes" for one in pairs])
    if is_yes.all() or not is_yes.any():
        return
    right = np.array([one.scores["correct"] for one in pairs])
    yield (
        "balanced_accuracy",
        _interval(lambda picked: balanced_accuracy(right[picked], is_yes[picked].tolist()), pairs, seed),
    )
    if all("log_odds" in one.scores for one in pairs):
        odds = np.array([one.scores["log_odds"] for one in pairs])
        yield "auroc", _interval(lambda picked: area_under_roc(odds[picked], is_yes[picked]), pairs, seed)
        yield "d_prime", _interval(lambda picked: d_prime(odds[picked], is_yes[picked]), pairs, seed)
    if all("consistent" in one.scores for one in pairs):
        yield "order_consistency", _share(pairs, "consistent", seed)


def _by_subset(generations: Sequence[Generation], seed: int) -> dict[str, Interval]:
    subsets: dict[str, list[int]] = {}
    for number, one in enumerate(generations):
        if "subset" in one.meta:
            subsets.setdefault(str(one.meta["subset"]), []).append(number)
    if len(subsets) < 2:
        return {}
    found = {
        f"subset/{name}": _share([generations[number] for number in numbers], "correct", seed)
        for name, numbers in subsets.items()
    }
    right = np.array([one.scores["correct"] for one in generations])
    owner = np.full(len(generations), -1)
    for place, numbers in enumerate(subsets.values()):
        owner[numbers] = place

    def mean_over_subsets(picked: Picked) -> float:
        means = [
            right[picked][owner[picked] == place].mean() for place in range(len(subsets)) if place in owner[picked]
        ]
        return float(np.mean(means)) if len(means) == len(subsets) else math.nan

    return found | {"mean_over_subsets": _interval(mean_over_subsets, generations, seed)}


def _share(generations: Sequence[Generation], score: str, seed: int) -> Interval:
    return bootstrap_interval([one.scores[score] for one in generations], seed=seed)


def _interval(statistic: Callable[[Picked], float], generations: Sequence[Generation], seed: int) -> Interval:
    return statistic_interval(statistic, len(generations), seed=seed)


def scores_of(parsed: str | None, *, is_right: bool, is_parsed: bool, is_pair: bool) -> Mapping[str, float]:
    """Return the scores of one answer by which they are summarised."""
    told = {"correct": float(is_right), "is_pair": float(is_pair), "parsed": float(is_parsed)}
    return {**told, **({"says_yes": float(parsed == "yes")} if is_pair else {})}
