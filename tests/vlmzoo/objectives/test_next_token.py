"""Laws of next-token prediction."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.next_token import NextTokenObjective
from vlmzoo.outputs import Batch, VlmOutput

sixteenths = st.integers(-64, 0).map(lambda count: count / 16)  # exact in float32, so are their sums


def make(rows):
    """Rows of (is_target, logprob), the first position never a target."""
    width = max(len(row) for row in rows)
    labels = torch.full((len(rows), width + 1), -100)
    logprobs = torch.zeros(len(rows), width + 1)
    for i, row in enumerate(rows):
        for j, (is_target, logprob) in enumerate(row):
            if is_target:
                labels[i, j + 1] = 7
                logprobs[i, j + 1] = logprob
    return VlmOutput(logprobs=logprobs), Batch(inputs={"labels": labels})


def add(counts):
    return {name: sum(count[name] for count in counts) for name in counts[0]}


rows_of_tokens = st.lists(
    st.lists(st.tuples(st.booleans(), sixteenths), min_size=1, max_size=5), min_size=2, max_size=6
)


@given(rows_of_tokens, st.data(), st.sampled_from(["global_token", "sequence"]))
def test_the_loss_does_not_depend_on_how_a_step_is_cut(rows, data, normaliser):
    objective = NextTokenObjective(normaliser=normaliser)
    outputs, batch = make(rows)
    whole = objective(outputs, batch, batch.count()).loss
    cut = data.draw(st.integers(1, len(rows) - 1))
    pieces = [make(rows[:cut]), make(rows[cut:])]
    denominators = add([piece.count() for _, piece in pieces])
    parts = [objective(out, piece, denominators).loss for out, piece in pieces]
    torch.testing.assert_close(sum(parts), whole)


@given(rows_of_tokens)
def test_positions_that_are_no_targets_contribute_nothing(rows):
    silent = [[(False, logprob) for _, logprob in row] for row in rows]
    outputs, batch = make(silent)
    assert NextTokenObjective()(outputs, batch, batch.count()).loss == 0


def test_the_arithmetic_by_hand():
    """Targets of -1, -2 and -3 nats in rows of one and two: 6 / 3 per token; (1 + 2.5) / 2 per sequence."""
    outputs, batch = make([[(True, -1.0)], [(True, -2.0), (True, -3.0)]])
    count = batch.count()
    assert count == {"tokens": 3.0, "sequences": 2.0, "micro_batches": 1.0}
    assert NextTokenObjective()(outputs, batch, count).loss == 2.0
    assert NextTokenObjective(normaliser="sequence")(outputs, batch, count).loss == 1.75


def test_bad_options_and_shapes_are_refused():
    with pytest.raises(ConfigError, match="global_token or sequence, but is 'micro'"):
        OBJECTIVES.build({"type": "next_token", "normaliser": "micro"})
    outputs, batch = make([[(True, -1.0)]])
    with pytest.raises(ShapeError, match="must have the shape of `labels`"):
        NextTokenObjective()(VlmOutput(logprobs=outputs.logprobs[:, :1]), batch, batch.count())
    with pytest.raises(ShapeError, match="has None"):
        NextTokenObjective()(VlmOutput(), batch, batch.count())
