"""Positions with gaps: ascending, gaps in answers alone, the same for the same row, refused where they mean nothing."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo import build_model
from vlmzoo.data.position_gaps import PositionGaps
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.zoo import load_card

TASK = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}
SOURCE = {"type": "synthetic", "task": TASK, "kinds": {"image": 1}}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(load_card("llava-1.5-7b").miniature())


def sample(index=0):
    return TASKS.build(TASK).sample("image", 0, index)


@settings(max_examples=20, deadline=None)
@given(num=st.integers(1, 5), longest=st.integers(1, 40), seed=st.integers(0, 9), index=st.integers(0, 20))
def test_gaps_are_in_answers_and_no_longer_than_said(model, num, longest, seed, index):
    encoded = PositionGaps(model.processor, num=num, longest=longest, seed=seed).encode(sample(index))
    positions = encoded["position_ids"]
    jumps = [after - before - 1 for before, after in pairwise([-1, *positions])]
    assert len(positions) == len(encoded["input_ids"])
    assert min(jumps) >= 0
    assert sum(jumps) <= num * longest
    assert all(not jump or label != IGNORED_LABEL for jump, label in zip(jumps, encoded["labels"], strict=True))
    assert sum(jump > 0 for jump in jumps) <= num


def test_a_row_has_its_gaps_and_each_seed_its_own(model):
    made = [PositionGaps(model.processor, seed=seed).encode(sample())["position_ids"] for seed in (0, 0, 1, 2, 3)]
    assert made[0] == made[1]
    assert len({tuple(positions) for positions in made}) > 1
    others = {tuple(PositionGaps(model.processor).encode(sample(index))["position_ids"][-3:]) for index in range(6)}
    assert len(others) > 1


def test_a_share_of_the_rows_has_gaps(model):
    encoder = PositionGaps(model.processor, num=3, longest=30, share=0.5)
    ends = [
        (made["position_ids"][-1], len(made["input_ids"]) - 1) for made in map(encoder.encode, map(sample, range(60)))
    ]
    assert 15 <= sum(end > last for end, last in ends) <= 45
    for share in (0, 1.5):
        with pytest.raises(ConfigError, match="above 0 and at most 1"):
            PositionGaps(model.processor, share=share)


def test_a_model_is_given_the_positions(model):
    options = {"processor": model.processor, "micro_batch_size": 2, "accumulation_steps": 1, "seed": 0}
    spec = {"type": "supervised", "source": SOURCE}
    plain = next(iter(EXPERIENCES.build(spec, **options))).micro_batches[0]
    gapped = next(iter(EXPERIENCES.build({**spec, "position_gaps": {"longest": 9}}, **options))).micro_batches[0]
    assert torch.equal(plain.inputs["input_ids"], gapped.inputs["input_ids"])
    seen = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    with hook, torch.no_grad():
        before, after = model(**plain.inputs), model(**gapped.inputs)
    assert torch.equal(seen[1], gapped.inputs["position_ids"])
    assert not torch.allclose(before.loss, after.loss, atol=1e-6)


def test_without_gaps_positions_count_as_ever(model):
    encoded = PositionGaps(model.processor, longest=1).encode(sample())
    counted = list(range(len(encoded["input_ids"])))
    options = {name: torch.tensor([encoded[name]]) for name in ("input_ids", "labels")}
    mask = torch.ones_like(options["input_ids"])
    with torch.no_grad():
        left_out = model(**options, attention_mask=mask, pixel_values=encoded["pixel_values"]).loss
        given_all = model(
            **options,
            attention_mask=mask,
            pixel_values=encoded["pixel_values"],
            position_ids=torch.tensor([counted]),
        ).loss
    torch.testing.assert_close(left_out, given_all)


@pytest.mark.parametrize("options", [{"num": 0}, {"longest": 0}, {"num": 1.5}, {"longest": True}])
def test_numbers_must_be_positive(model, options):
    with pytest.raises(ConfigError, match="must be a positive number"):
        PositionGaps(model.processor, **options)


def test_refused_where_positions_have_several_axes_or_rows_are_packed(model):
    native = build_model(load_card("qwen2.5-vl-3b").miniature())
    with pytest.raises(ConfigError, match="one axis"):
        PositionGaps(native.processor)
    with pytest.raises(ConfigError, match="cannot go together"):
        EXPERIENCES.build(
            {"type": "supervised", "source": SOURCE, "packing": True, "max_tokens": 600, "position_gaps": {}},
            processor=model.processor,
            micro_batch_size=2,
        )
