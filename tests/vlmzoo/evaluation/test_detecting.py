"""Average precision of what models say: right boxes, no boxes, and questions that do not say what they are about."""

import json

import pytest

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation import BENCHMARKS, run_benchmark

pytest.importorskip("pycocotools")
TASK = {"type": "shape_detection", "canvas_px": 48}


def make(**options):
    return BENCHMARKS.build(
        {"type": "synthetic_detection", "task": TASK, "num_questions": 12, "seed": 5, "num_resamples": 10, **options}
    )


@pytest.fixture
def answered(monkeypatch):
    """Let a function of the question answer in the model's place."""

    def answer_with(say):
        from vlmzoo.evaluation import detecting
        from vlmzoo.evaluation.generation import Completion

        def complete(model, processor, samples, *, max_new_tokens):
            return [
                Completion(text=say(one), num_prompt_tokens=1, num_completion_tokens=1, finished=True)
                for one in samples
            ]

        monkeypatch.setattr(detecting, "complete", complete)

    return answer_with


def run(tmp_path, benchmark, table_model, processor):
    return run_benchmark(table_model, processor, benchmark, out_dir=tmp_path, batch_size=5)


def test_a_model_that_says_the_solution_has_precision_1(tmp_path, answered, make_model, processor):
    answered(lambda sample: sample.reference)
    result = run(tmp_path, make(score=["iou", "confidence"]), make_model({}), processor)
    assert list(result.scores) == ["ap", "ap50", "iou", "confidence", "unreadable"]
    assert {name: pytest.approx(one.mean) for name, one in result.scores.items()} == {
        "ap": 1,
        "ap50": 1,
        "iou": 1,
        "confidence": 1,
        "unreadable": 0,
    }


def test_a_score_that_is_named_twice_is_refused():
    with pytest.raises(ConfigError, match="`score` must name each score once"):
        make(score=["iou", {"type": "iou"}])


def test_what_cannot_be_read_is_counted_and_finds_nothing(tmp_path, answered, make_model, processor):
    answered(lambda sample: "I see a cat." if sample.meta["image_id"] % 3 == 0 else "<answer>[]</answer>")
    result = run(tmp_path, make(), make_model({}), processor)
    assert result.scores["ap"].mean == 0
    assert result.scores["unreadable"].mean == pytest.approx(4 / 12)


def test_a_box_without_an_area_is_dropped_and_counted(answered, tmp_path, make_model, processor):
    answered(lambda sample: "<answer>[{'Position': [500, 500, 100, 100], 'Confidence': 1}]</answer>")
    result = run(tmp_path, make(), make_model({}), processor)
    assert all(one.meta["dropped_boxes"] == 1 and not one.meta["predictions"] for one in result.generations)


def test_answers_on_disk_are_judged_as_fresh_ones(answered, tmp_path, make_model, processor):
    answered(lambda sample: sample.reference.replace("'Confidence': 1", "'Confidence': 0.3"))
    first = run(tmp_path, make(), make_model({}), processor)
    assert run(tmp_path, make(), make_model({}), processor).scores == first.scores
    assert json.loads((tmp_path / "generations.jsonl").read_text().splitlines()[0])["meta"]["size_px"] == [48, 48]


def test_a_question_must_say_what_it_is_about():
    benchmark = make()
    question = next(benchmark.questions())
    with pytest.raises(DataError, match="must have `image_id` in its `meta`"):
        list(benchmark.answer(None, None, [type(question)(messages=question.messages, id="x")]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_questions": 0}, "`num_questions` must be at least 1"),
        ({"task": {"type": "consecutive_table_readout"}}, "`task` must give samples that name a category"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(**options)
