"""Curricula: exact counts of every kind, the same instances in each, budgets that must divide, and resuming."""

import json
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo import build_processor
from vlmzoo.data.sources import STRETCH
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._curriculum_source import CurriculumSource, kept_share
from vlmzoo.experience._supervisions import SUPERVISIONS, levels_of, plan_phases
from vlmzoo.experience.curriculum import steps_of

TABLE = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3}
TASKS = {
    "simple": {**TABLE, "path_cells": [2, 3]},
    "medium": {**TABLE, "path_cells": [4, 4], "level": "medium"},
    "hard": {**TABLE, "path_cells": [5, 6], "level": "hard"},
}
SIMPLE, MEDIUM, HARD = "simple", "medium", "hard"
EXPECTED = {  # presentations, as shares of N, and different instances, likewise
    "text": {(SIMPLE, "text"): (1, 1 / 2)},
    "image": {(SIMPLE, "image"): (1, 1 / 2)},
    "image_3ep": {(SIMPLE, "image"): (1, 1 / 3)},
    "image_via_text": {(SIMPLE, "image_via_text"): (1, 1 / 3)},
    "image_text": {(SIMPLE, "text"): (1 / 2, 1 / 3), (SIMPLE, "image"): (1 / 2, 1 / 3)},
    "mix": {(SIMPLE, kind): (1 / 3, 1 / 3) for kind in ("text", "image", "image_via_text")},
    "mix_plus": {
        **{(SIMPLE, kind): (1 / 6, 1 / 6) for kind in ("text", "image", "image_via_text")},
        (HARD, "text"): (1 / 2, 1 / 2),
    },
    "mix_plus_medium": {
        **{(SIMPLE, kind): (1 / 6, 1 / 6) for kind in ("text", "image", "image_via_text")},
        (MEDIUM, "text"): (1 / 2, 1 / 2),
    },
    "image_via_text_plus": {(SIMPLE, "image_via_text"): (1 / 2, 1 / 6), (HARD, "text"): (1 / 2, 1 / 2)},
}
"""The table of the specification, apart from the two phases of `align_mix_plus`."""


@pytest.fixture(scope="module")
def processor():
    return build_processor(
        {
            "family": "llava",
            "encoder": {
                "type": "clip",
                "image_size": 28,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 2,
                "num_heads": 2,
            },
            "projector": {"type": "linear"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
            },
            "processor": {
                "image": {"size": 28},
                "tokenizer": {"type": "byte_bpe", "corpus": [TASKS["simple"]], "vocab_size": 320, "num_samples": 20},
            },
        }
    )


def make(processor, **options):
    given = {"processor": processor, "micro_batch_size": 2, "accumulation_steps": 3, "seed": options.pop("seed", 0)}
    spec = {"type": "curriculum", "supervision": "mix_plus", "budget": 36, "tasks": TASKS, **options}
    return EXPERIENCES.build(spec, **given)


def make_source(supervision, budget, *, num_domains=1, compat=None, align_budget=24):
    plans = plan_phases(supervision, budget=budget, align_budget=align_budget, num_domains=num_domains, compat=compat)
    return CurriculumSource([{level: None for level in TASKS}] * num_domains, plans)


def shown(source, *, stretch=0):
    places = range(source.num_presentations)
    return [source.locate(stretch * STRETCH + place) for place in places]


def rows_of(steps):
    return [row for step in steps for batch in step.micro_batches for row in batch.inputs["input_ids"].tolist()]


@pytest.mark.parametrize("supervision", [name for name in SUPERVISIONS if name != "align_mix_plus"])
@settings(deadline=None, max_examples=15)
@given(sixths=st.integers(1, 40), stretch=st.integers(0, 3))
def test_every_kind_is_shown_exactly_as_often_as_its_share_of_the_budget(supervision, sixths, stretch):
    budget = 12 * sixths
    seen = shown(make_source(supervision, budget), stretch=stretch)
    assert len(seen) == budget
    counts = Counter((part.level, part.kind) for part, _ in seen)
    unique = {key: len({n for part, n in seen if (part.level, part.kind) == key}) for key in counts}
    assert {key: (counts[key], unique[key]) for key in counts} == {
        key: (round(budget * share), round(budget * different))
        for key, (share, different) in EXPECTED[supervision].items()
    }


@pytest.mark.parametrize("supervision", ["image_text", "mix", "mix_plus", "align_mix_plus"])
@settings(deadline=None, max_examples=15)
@given(sixths=st.integers(1, 40))
def test_all_kinds_of_a_level_show_the_same_instances_equally_often(supervision, sixths):
    source = make_source(supervision, 6 * sixths)
    start = source.plans[0].total if len(source.plans) > 1 else 0
    by_kind = {}
    for part, number in shown(source)[start:]:
        if part.level == SIMPLE:
            by_kind.setdefault(part.kind, Counter())[number] += 1
    first, *others = by_kind.values()
    assert others and all(other == first for other in others)


@pytest.mark.parametrize(("supervision", "epochs"), [("image", 2), ("image_3ep", 3)])
def test_no_instance_comes_again_before_all_have_come(supervision, epochs):
    numbers = [number for _, number in shown(make_source(supervision, 60))]
    size = 60 // epochs
    whole = [numbers[start : start + size] for start in range(0, 60, size)]
    assert all(sorted(epoch) == list(range(size)) for epoch in whole)
    assert whole[0] != whole[1]


def test_the_kinds_are_mixed_and_not_laid_end_to_end():
    kinds = [part.kind for part, _ in shown(make_source("mix_plus", 600))]
    assert all(0.3 < kinds[start : start + 200].count("text") / 200 < 0.95 for start in (0, 200, 400))
    assert "image" in kinds[:60] and "image_via_text" in kinds[-60:]


def test_the_align_phase_comes_first_with_a_budget_of_its_own():
    seen = [(part.level, part.kind) for part, _ in shown(make_source("align_mix_plus", 60, align_budget=24))]
    assert Counter(seen[:24]) == {(SIMPLE, "text"): 12, (SIMPLE, "image_via_text"): 12}
    assert Counter(seen[24:])[HARD, "text"] == 30 and len(seen) == 84


def test_each_phase_can_be_a_run_of_its_own(processor):
    both = make(processor, supervision="align_mix_plus", align_budget=12)
    first = make(processor, supervision="align_mix_plus", align_budget=12, phase=1)
    second = make(processor, supervision="align_mix_plus", align_budget=12, phase=2)
    assert (both.num_steps, first.num_steps, second.num_steps) == (8, 2, 6)
    assert first.counts() == {(SIMPLE, "text"): 6, (SIMPLE, "image_via_text"): 6}
    assert second.counts() == make(processor).counts()


def test_domains_share_the_budget():
    source = make_source("mix_plus", 120, num_domains=2)
    assert Counter(part.domain for part, _ in shown(source)) == {0: 60, 1: 60}


def test_the_authors_rounding_cuts_at_each_division():
    source = make_source("mix", 160_000, compat="s2h")
    assert [(part.kind, part.unique) for part in source.plans[0].parts] == [
        ("text", 53_333),
        ("image", 53_333),
        ("image_via_text", 53_333),
    ]
    assert steps_of(source.num_presentations, batch_size=128, compat="s2h") == 1249
    halved = make_source("image_text", 10_000, compat="s2h")
    assert halved.num_presentations == int(2 * (10_000 * 2 // 3 // 2) * Fraction(3, 2))
    assert all(0 <= number < part.unique for part, number in shown(halved))


def test_what_lies_behind_the_end_can_be_looked_at():
    source = make_source("mix", 30)
    ahead = [source.locate(30 + place) for place in range(30)]
    assert Counter(part.kind for part, _ in ahead) == {"text": 10, "image": 10, "image_via_text": 10}


def test_a_run_has_the_steps_of_its_budget_and_no_more(processor):
    experience = make(processor)
    steps = list(experience)
    assert len(steps) == experience.num_steps == 6
    assert len(rows_of(steps)) == 36
    assert list(experience) == []


def test_another_takes_over_where_one_stood(processor):
    whole = rows_of(list(make(processor)))
    first = make(processor)
    steps = iter(first)
    before = rows_of([next(steps) for _ in range(2)])
    second = make(processor)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + rows_of(list(second)) == whole


def test_another_seed_sees_other_instances_and_the_same_seed_the_same(processor):
    first, same, other = (rows_of(list(make(processor, seed=seed))) for seed in (0, 0, 1))
    assert first == same != other


def test_targets_without_the_chain_of_thought_are_shorter(processor):
    lengths = [sum(map(len, rows_of(list(make(processor, cot=cot, supervision="text"))))) for cot in (True, False)]
    assert lengths[1] < lengths[0]


@given(st.integers(1, 5000))
def test_an_internalised_chain_is_whole_then_shrinks_and_then_is_gone(total):
    kept = [kept_share(place, total) for place in range(total)]
    assert kept == sorted(kept, reverse=True)
    assert all(0 <= share <= 1 for share in kept)
    assert sum(share == 1 for share in kept) >= 0.3 * total
    assert abs(sum(share == 0 for share in kept) - 0.3 * total) <= 0.4 * total / 101 + 1
    if total >= 1010:
        assert len(set(kept)) == 101


def test_targets_shrink_over_a_run_that_internalises(processor):
    def lengths(cot):
        source = make(processor, supervision="text", budget=60, cot=cot).source
        return [len(source.sample(place).messages[-1]["content"][0]["text"]) for place in range(60)]

    full, bare, found = lengths(True), lengths(False), lengths("internalised")
    assert found[:18] == full[:18] and found[42:] == bare[42:]
    assert all(low <= length <= high for low, length, high in zip(bare, found, full, strict=True))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"budget": 40}, "`budget` must be a multiple of 6.*`mix_plus`.*is 40 instead; take 36 or 42"),
        ({"budget": 0}, "`budget` must be a multiple of 6.*is 0 instead; take 6"),
        ({"budget": 1.5}, "`budget` must be a multiple of 6.*is 1.5 instead"),
        ({"supervision": "align_mix_plus", "align_budget": 7}, "`align_budget` must be a multiple of 2"),
        ({"budget": 42, "supervision": "image_text"}, None),
        ({"budget": 48 + 24 + 6, "supervision": "mix"}, None),
        ({"budget": 39, "supervision": "mix"}, "leave 3 over in steps of 6"),
        ({"supervision": "mix_pluss"}, "`supervision` must be one of.*Did you mean `mix_plus`"),
        ({"tasks": {"simple": TASKS["simple"]}}, "must have `hard` for supervision `mix_plus`, but has simple"),
        ({"tasks": {**TASKS, "hrd": {}}}, "`tasks` takes no `hrd`. Did you mean `hard`"),
        ({"tasks": []}, "at least one domain"),
        ({"tasks": "simple"}, "`tasks` must be .*but is 'simple' instead"),
        ({"cot": "some"}, "`cot` must be true, false or `internalised`, but is 'some'"),
        ({"cot_style": "plain"}, "`cot_style` must be one of `standard`.*but is 'plain'"),
        ({"phase": 2}, "`phase` must be from 1 to 1, the phases of `mix_plus`, but is 2"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(processor, options, sentence):
    if sentence is None:
        assert make(processor, **options).num_steps > 0
        return
    with pytest.raises(ConfigError, match=sentence):
        make(processor, **options)


def test_levels_are_asked_for_only_where_they_are_needed(processor):
    assert levels_of("mix_plus_medium") == [SIMPLE, MEDIUM]
    assert make(processor, supervision="image", tasks={"simple": TASKS["simple"]}).num_steps == 6
