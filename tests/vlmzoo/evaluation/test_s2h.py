"""Simple-to-hard measures: paired by instance, with seeds and questions drawn anew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import Generation
from vlmzoo.evaluation.s2h import accuracy, modality_imbalance, paired_difference, s2h_generalisation

SCORE = "table_exact_match"
marks = st.integers(1, 3).flatmap(
    lambda seeds: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=5), min_size=seeds, max_size=seeds
    )
)


def make(table, *, kind="image", level="hard", first_index=0):
    return [
        [
            Generation(
                id=f"{level}/{kind}/{index}",
                prompt="?",
                completion="!",
                reference="1",
                scores={SCORE: value},
                num_prompt_tokens=1,
                num_completion_tokens=1,
                finished=True,
                meta={"task": "t", "level": level, "kind": kind, "seed": 9, "index": first_index + index},
            )
            for index, value in enumerate(row)
        ]
        for row in table
    ]


@given(marks)
def test_generalisation_is_the_mean_over_seeds_and_questions(table):
    interval = s2h_generalisation(make(table), SCORE)
    assert interval.mean == pytest.approx(np.mean(table)) and interval.num == np.size(table)


@given(marks)
def test_a_model_is_not_imbalanced_against_itself_and_the_sign_follows_the_text(table):
    same = modality_imbalance(make(table, kind="text"), make(table), SCORE)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    right = make(np.ones_like(table).tolist(), kind="text")
    assert modality_imbalance(right, make(table), SCORE).mean == pytest.approx(1 - np.mean(table))


@given(marks)
def test_a_difference_turns_its_sign_with_its_sides(table):
    other = (1 - np.array(table)).tolist()
    there, back = (paired_difference(make(a), make(b), SCORE) for a, b in ((table, other), (other, table)))
    assert there.mean == pytest.approx(-back.mean)


def test_pairing_makes_the_interval_narrower_than_two_apart():
    rng = np.random.default_rng(0)
    easy = (rng.random((3, 200)) < 0.5).astype(float)
    better = np.maximum(easy, (rng.random((3, 200)) < 0.1).astype(float))
    paired = paired_difference(make(better.tolist()), make(easy.tolist()), SCORE)
    apart = accuracy(make(better.tolist()), SCORE)
    assert paired.low > 0 and paired.high - paired.low < apart.high - apart.low


def test_what_does_not_pair_is_refused():
    with pytest.raises(DataError, match="equally many, but are 2 and 1"):
        paired_difference(make([[1.0], [0.0]]), make([[1.0]]), SCORE)
    with pytest.raises(DataError, match="same instances in the same order"):
        paired_difference(make([[1.0]]), make([[1.0]], first_index=5), SCORE)
    with pytest.raises(DataError, match="same questions"):
        accuracy([*make([[1.0]]), *make([[1.0]], first_index=5)], SCORE)
    with pytest.raises(DataError, match="must have the score `exact_match`, but has table_exact_match"):
        accuracy(make([[1.0]]), "exact_match")


@pytest.mark.parametrize("options", [{"level": "simple"}, {"kind": "text"}])
def test_generalisation_is_told_by_hard_images_alone(options):
    with pytest.raises(DataError, match="HARD questions with images"):
        s2h_generalisation(make([[1.0]], **options), SCORE)
