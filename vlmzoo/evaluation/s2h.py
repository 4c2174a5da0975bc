"""What simple-to-hard studies read off a model's answers: generalisation, imbalance, and paired differences.

Source: S2H, arXiv:2501.02669, sections 3 and 4.

Letters: S seeds (runs of one supervision and budget), Q questions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import Generation
from vlmzoo.scoring.statistics import Interval, crossed_interval

__all__ = ["accuracy", "modality_imbalance", "paired_difference", "s2h_generalisation"]

Answers = Sequence[Sequence[Generation]]
"""S runs, each with its answers to the same Q questions."""


def accuracy(answers: Answers, score: str, *, seed: int = 0) -> Interval:
    """Return the mean score over seeds and questions.

    Raises:
        DataError: if runs answered other questions, or lack the score.
    """
    return crossed_interval(_table(answers, score), seed=seed)


def s2h_generalisation(hard_image: Answers, score: str, *, seed: int = 0) -> Interval:
    """Return the accuracy on HARD images; the name fits models whose images were all SIMPLE in training.

    Source: S2H, arXiv:2501.02669, section 3.

    Args:
        hard_image: answers to HARD questions with images.
        score: that counts as accuracy, e.g. ``table_exact_match``.
        seed: of the bootstrap.

    Raises:
        DataError: if a question was not HARD, or had no image.
    """
    for generation in (one for run in hard_image for one in run):
        level, kind = generation.meta.get("level"), generation.meta.get("kind")
        if level != "hard" or kind == "text":
            raise DataError(
                f"Simple-to-hard generalisation is told by HARD questions with images, but `{generation.id}` is of "
                f"level {level!r} and kind {kind!r} instead."
            )
    return accuracy(hard_image, score, seed=seed)


def modality_imbalance(hard_text: Answers, hard_image: Answers, score: str, *, seed: int = 0) -> Interval:
    """Return the accuracy on HARD texts minus that on HARD images of the same instances, at equal budget.

    Both may come from one model, or from one trained on texts and one trained on images.

    Source: S2H, arXiv:2501.02669, section 3.

    Raises:
        DataError: if texts and images are not of the same instances.
    """
    return paired_difference(hard_text, hard_image, score, seed=seed)


def paired_difference(first: Answers, second: Answers, score: str, *, seed: int = 0) -> Interval:
    """Return the mean of first minus second, question by question and seed by seed.

    Args:
        first: answers of S runs.
        second: of as many runs, in the same order of seeds, to questions about the same instances.
        score: name of the score.
        seed: of the bootstrap.

    Raises:
        DataError: if seeds or instances do not pair up.
    """
    if len(first) != len(second):
        raise DataError(f"Paired runs must be equally many, but are {len(first)} and {len(second)} instead.")
    if any(_instances(one) != _instances(other) for one, other in zip(first, second, strict=True)):
        raise DataError("Paired answers must be about the same instances in the same order, but are not.")
    return crossed_interval(_table(first, score) - _table(second, score), seed=seed)


def _table(answers: Answers, score: str) -> NDArray[np.float64]:
    """Return the scores, ``(S, Q)``."""
    if not answers or any(_instances(run) != _instances(answers[0]) for run in answers):
        raise DataError("The runs of one row must have answered the same questions, but have not; evaluate them alike.")
    lacking = next((one for run in answers for one in run if score not in one.scores), None)
    if lacking is not None:
        raise DataError(f"`{lacking.id}` must have the score `{score}`, but has {', '.join(lacking.scores)} instead.")
    return np.array([[one.scores[score] for one in run] for run in answers], dtype=np.float64)


def _instances(run: Sequence[Generation]) -> list[tuple[object, ...]]:
    return [_instance(generation.meta) for generation in run]


def _instance(meta: Mapping[str, object]) -> tuple[object, ...]:
    return tuple([meta.get(name) for name in ("task", "level", "seed", "index")])
