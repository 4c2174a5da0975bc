"""Questions from any source: the last answer is taken off and becomes the reference."""

import json

import pytest

from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS

PANELS = {"type": "colour_panels"}


def make(**options):
    return BENCHMARKS.build({"type": "conversations", "source": PANELS, "num_questions": 5, **options})


def test_questions_end_with_the_user_and_have_ids_of_their_own():
    benchmark = make(first=7)
    questions = list(benchmark.questions())
    assert [question.id for question in questions] == ["7", "8", "9", "10", "11"]
    for question in questions:
        assert [message["role"] for message in question.messages] == ["user"]
        assert benchmark.scores["exact_match"](question.reference, question.reference) == 1.0
    assert list(benchmark.questions())[2].messages == questions[2].messages
    json.dumps(benchmark.identity)


def test_an_answer_is_the_reference_where_the_source_names_none(tmp_path):
    said = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a b"}]
    (tmp_path / "rows.json").write_text(json.dumps([{"id": "1", "conversations": said}]))
    source = {"type": "llava_json", "path": str(tmp_path / "rows.json")}
    (question,) = make(source=source, num_questions=1).questions()
    assert (question.reference, question.id) == ("a b", "0")
    with pytest.raises(ConfigError, match="within the source, but 5 from 0 on are asked for, and it has 1"):
        make(source=source)


def test_panels_are_drawn_from_the_seed_and_the_question_names_the_right_side():
    from vlmzoo.data.sources import SOURCES
    from vlmzoo.data.sources.colour_panels import COLOURS

    source = SOURCES.build(PANELS | {"seed": 3})
    for position in range(30):
        sample, again = source.sample(position), source.sample(position)
        assert sample.images[0].tobytes() == again.images[0].tobytes()
        side, width = sample.meta["side"], sample.images[0].width
        pixel = sample.images[0].getpixel((width // 4 if side == "left" else 3 * width // 4, 5))
        nearest = min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], pixel, strict=True)))
        assert nearest == sample.reference
        assert side in sample.messages[0]["content"][-1]["text"]
    assert {SOURCES.build(PANELS | {"sides": ["left"]}).sample(i).meta["side"] for i in range(9)} == {"left"}
    with pytest.raises(ConfigError, match="has `lefd`. Did you mean `left`"):
        SOURCES.build(PANELS | {"sides": ["lefd"]})
    with pytest.raises(ConfigError, match="must name a side"):
        SOURCES.build(PANELS | {"sides": []})
