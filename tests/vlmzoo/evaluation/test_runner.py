import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.runner import run_benchmark
from vlmzoo.types import Sample, user


def read_lines(folder):
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


def test_each_question_leaves_one_line_that_says_what_was_asked_and_answered(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    run_benchmark(make_model(answers), processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    lines = read_lines(tmp_path)
    assert [line["id"] for line in lines] == [sample.id for sample in samples]
    assert lines[2] == {
        "id": "q2",
        "prompt": "???",
        "completion": "answer 2",
        "reference": "answer 2",
        "scores": {"exact_match": 1.0},
        "num_prompt_tokens": 3,
        "num_completion_tokens": len("answer 2") + 1,
        "finished": True,
        "meta": {"index": 2},
    }


def test_the_result_holds_mean_interval_and_the_papers_number(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    result = run_benchmark(make_model(answers), processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    interval = result.scores["exact_match"]
    assert interval.mean == pytest.approx(6 / 7)
    assert interval.low < interval.mean < interval.high
    assert interval.num == 7
    assert result.expected is not None
    assert result.expected.value == 0.5
    assert result.num_unfinished == 0


def test_a_completion_cut_at_the_limit_is_marked_unfinished(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    benchmark = make_benchmark(samples, max_new_tokens=4)
    result = run_benchmark(make_model(answers), processor, benchmark, out_dir=tmp_path, batch_size=3)
    assert result.num_unfinished == 7
    assert {generation.completion for generation in result.generations} == {"answ", "no i"}


@pytest.mark.parametrize("calls_before_kill", [0, 1, 2])
def test_a_killed_run_goes_on_and_ends_with_the_file_of_an_uninterrupted_one(
    tmp_path, make_model, make_benchmark, processor, samples, answers, calls_before_kill
):
    benchmark = make_benchmark(samples)
    whole = run_benchmark(make_model(answers), processor, benchmark, out_dir=tmp_path / "whole", batch_size=3)
    killed = make_model(answers, calls_before_kill=calls_before_kill)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(killed, processor, benchmark, out_dir=tmp_path / "killed", batch_size=3)
    second = make_model(answers)
    resumed = run_benchmark(second, processor, benchmark, out_dir=tmp_path / "killed", batch_size=3)
    assert second.num_asked == 7 - 3 * calls_before_kill
    assert resumed == whole
    assert read_lines(tmp_path / "killed") == read_lines(tmp_path / "whole")


@given(share=st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_file_cut_anywhere_becomes_whole_again_byte_for_byte(
    tmp_path, make_model, make_benchmark, processor, samples, answers, share
):
    benchmark = make_benchmark(samples)
    whole = run_benchmark(make_model(answers), processor, benchmark, out_dir=tmp_path, batch_size=3)
    path = tmp_path / "generations.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    assert run_benchmark(make_model(answers), processor, benchmark, out_dir=tmp_path, batch_size=3) == whole
    assert path.read_bytes() == content


def test_a_finished_run_is_read_back_without_asking_the_model(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    first = run_benchmark(make_model(answers), processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    idle = make_model(answers, calls_before_kill=0)
    again = run_benchmark(idle, processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    assert again == first
    assert idle.num_asked == 0


def test_answers_of_another_model_are_refused_and_can_be_overwritten(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    benchmark = make_benchmark(samples)
    run_benchmark(make_model(answers, seed=0), processor, benchmark, out_dir=tmp_path, batch_size=3)
    other = make_model(dict.fromkeys(answers, "silence"), seed=1)
    with pytest.raises(DataError, match=r"`model` was .* and is .*; give another output folder"):
        run_benchmark(other, processor, benchmark, out_dir=tmp_path, batch_size=3)
    result = run_benchmark(other, processor, benchmark, out_dir=tmp_path, batch_size=3, overwrite=True)
    assert result.scores["exact_match"].mean == 0
    assert len(read_lines(tmp_path)) == 7


def test_answers_to_another_benchmark_are_refused(tmp_path, make_model, make_benchmark, processor, samples, answers):
    run_benchmark(make_model(answers), processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    fewer = make_benchmark(samples[:3])
    with pytest.raises(DataError, match="`benchmark` was"):
        run_benchmark(make_model(answers), processor, fewer, out_dir=tmp_path, batch_size=3)


def test_images_reach_the_model_in_the_order_of_the_questions(
    tmp_path, make_model, make_benchmark, processor, image_samples
):
    result = run_benchmark(make_model({}), processor, make_benchmark(image_samples), out_dir=tmp_path, batch_size=2)
    assert result.scores["exact_match"].mean == 1.0
    assert result.generations[0].prompt == "[image]\nwhich?"


@pytest.mark.parametrize("id", ["", "twice"])
def test_questions_without_an_id_of_their_own_are_refused(tmp_path, make_model, make_benchmark, processor, id):
    benchmark = make_benchmark([Sample(messages=[user("?")], id="twice"), Sample(messages=[user("?")], id=id)])
    with pytest.raises(DataError, match="`id` of a question must be its own"):
        run_benchmark(make_model({"?": ""}), processor, benchmark, out_dir=tmp_path, batch_size=3)


def test_a_batch_size_below_one_is_refused(tmp_path, make_model, make_benchmark, processor, samples):
    with pytest.raises(ConfigError, match="`batch_size` must be at least 1, but is 0 instead"):
        run_benchmark(make_model({}), processor, make_benchmark(samples), out_dir=tmp_path, batch_size=0)


def test_progress_is_told_after_each_batch(tmp_path, make_model, make_benchmark, processor, samples, answers):
    told = []
    run_benchmark(
        make_model(answers),
        processor,
        make_benchmark(samples),
        out_dir=tmp_path,
        batch_size=3,
        report=lambda done, total: told.append((done, total)),
    )
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_a_model_in_training_mode_is_given_back_in_training_mode(
    tmp_path, make_model, make_benchmark, processor, samples, answers
):
    model = make_model(answers).train()
    run_benchmark(model, processor, make_benchmark(samples), out_dir=tmp_path, batch_size=3)
    assert model.training
