import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, AnsweringBenchmark, Expected
from vlmzoo.evaluation.benchmarks.synthetic import SyntheticBenchmark, derangement

TASK = {"type": "consecutive_table_readout", "level": "simple", "num_rows": 4, "num_cols": 5, "path_cells": [2, 5]}
TASK = {**TASK, "style": "compact"}


def make_benchmark(**options):
    return SyntheticBenchmark(**{"task": TASK, "kind": "image", "num_questions": 4, "seed": 7, **options})


@given(st.integers(2, 200), st.integers(0, 2**32))
def test_a_derangement_is_a_permutation_without_a_fixed_point(num, seed):
    permutation = derangement(num, seed=seed)
    assert sorted(permutation) == list(range(num))
    assert all(place != value for place, value in enumerate(permutation))


def test_a_single_thing_cannot_be_deranged():
    with pytest.raises(ConfigError, match="at least 2"):
        derangement(1, seed=0)


@pytest.mark.parametrize("kind", ["text", "image", "image_via_text"])
def test_questions_end_with_the_user_and_keep_the_reference(kind):
    questions = list(make_benchmark(kind=kind).questions())
    assert len({question.id for question in questions}) == 4
    for question in questions:
        assert [message["role"] for message in question.messages] == ["user"]
        assert question.reference
        assert len(question.images) == (kind != "text")


def test_the_reference_answer_of_the_task_gets_full_marks():
    benchmark = make_benchmark(kind="text")
    score = benchmark.scores["table_exact_match"]
    for index, question in enumerate(benchmark.questions()):
        whole = benchmark._sample(index)
        assert score(whole.messages[-1]["content"][0]["text"], question.reference) == 1.0


def test_swapped_questions_differ_in_the_image_alone_and_no_image_is_lost():
    plain, swapped = list(make_benchmark().questions()), list(make_benchmark(swap_images=True).questions())
    assert [q.messages for q in plain] == [q.messages for q in swapped]
    assert [q.reference for q in plain] == [q.reference for q in swapped]
    before, after = ([q.images[0].tobytes() for q in questions] for questions in (plain, swapped))
    assert sorted(before) == sorted(after)
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_questions_are_the_same_at_each_call():
    benchmark = make_benchmark()
    first, second = list(benchmark.questions()), list(benchmark.questions())
    assert [(q.id, q.reference, q.images[0].tobytes()) for q in first] == [
        (q.id, q.reference, q.images[0].tobytes()) for q in second
    ]


def test_images_cannot_be_swapped_where_there_are_none():
    with pytest.raises(ConfigError, match=r"`swap_images` must be false .* kind `text`"):
        make_benchmark(kind="text", swap_images=True)


@pytest.mark.parametrize(("options", "least"), [({}, 1), ({"swap_images": True}, 2)])
def test_too_few_questions_are_refused(options, least):
    with pytest.raises(ConfigError, match=f"`num_questions` must be at least {least}"):
        make_benchmark(num_questions=least - 1, **options)


def test_the_identity_tells_swapped_from_plain_and_one_seed_from_another():
    benchmarks = [make_benchmark(), make_benchmark(swap_images=True), make_benchmark(seed=8)]
    assert len({json.dumps(benchmark.identity) for benchmark in benchmarks}) == 3


def test_a_papers_number_is_read_from_the_config():
    benchmark = make_benchmark(expected={"value": 0.9, "source": "a table"})
    assert benchmark.expected == Expected(0.9, "a table")
    with pytest.raises(ConfigError, match="`value` and `source`"):
        make_benchmark(expected={"value": 0.9})


def test_every_benchmark_builds_from_its_tiny_arguments_and_asks_what_it_promises():
    for entry in BENCHMARKS:
        benchmark = entry.build(**entry.tiny)
        assert len(list(benchmark.questions())) == benchmark.num_questions
        assert benchmark.scores or isinstance(benchmark, AnsweringBenchmark)
        json.dumps(benchmark.identity)


def test_several_scores_judge_one_answer_and_the_first_is_the_main_one():
    benchmark = make_benchmark(kind="text", score=["table_exact_match", {"type": "table_cot_exact_match"}])
    assert list(benchmark.scores) == ["table_exact_match", "table_cot_exact_match"]
    whole = benchmark._sample(0)
    assert all(
        score(whole.messages[-1]["content"][0]["text"], whole.reference) == 1 for score in benchmark.scores.values()
    )
    assert json.dumps(benchmark.identity) != json.dumps(make_benchmark(kind="text").identity)
    with pytest.raises(ConfigError, match="at least one score, and each once"):
        make_benchmark(score=["table_exact_match", "table_exact_match"])


S2H = ["consecutive_table_readout", "grid_navigation", "table_readout", "visual_analogy"]


@pytest.mark.parametrize("task", S2H)
def test_a_forced_conversion_begins_with_what_stands_before_the_text_form(task):
    benchmark = SyntheticBenchmark(
        task={"type": task}, kind="image_via_text", num_questions=2, seed=7, force_conversion=True
    )
    for index, question in enumerate(benchmark.questions()):
        assert [message["role"] for message in question.messages] == ["user", "assistant"]
        begun = question.messages[-1]["content"][0]["text"]
        instance = benchmark._task.instance(7, index)
        target = benchmark._sample(index).messages[-1]["content"][0]["text"]
        assert begun and target.startswith(begun + benchmark._task.text_form(instance))


def test_only_image_via_text_can_be_forced_to_convert():
    with pytest.raises(ConfigError, match=r"`force_conversion` must be false unless .* true for `image`"):
        make_benchmark(force_conversion=True)
    with pytest.raises(ConfigError, match="do not announce the text form"):
        make_benchmark(task={"type": "shape_scenes"}, kind="image_via_text", force_conversion=True)
