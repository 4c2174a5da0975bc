"""Laws of the rewards that Visual-RFT trains with, and what no text may make them do."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES
from vlmzoo.scoring._answers import answer_of, first_answer_of

BOXES = "<answer>[{'Position': [100, 120, 300, 320], 'Confidence': 1}, {'Position': [500, 520, 800, 820]}]</answer>"
CORNERS = "<answer>(100,100),(300,300)</answer>"
HIGHEST = {"grounding": 2.0}
REFERENCES = {"iou": BOXES, "confidence": BOXES, "grounding": CORNERS}
REWARDS = ("iou", "confidence", "grounding", "class_exact", "class_contains", "format_think_answer")
HACKS = ("hack_empty_thought", "hack_silent_boxes", "hack_reversed_box", "hack_several_labels")
PIECES = (
    *("<think>", "</think>", "<answer>", "</answer>", "[", "]", "{", "}", "(", ")", ",", ":", "},", "]]", "[["),
    *("'Position'", '"Confidence"', "NaN", "1e999", "-", "--", "0", "9" * 30, "0.5", "No Objects", "rose", "\\", "'"),
    *(
        "\n",
        " ",
        "\x00",
        "\u200b",
        "🐕",
        "\uff11",
        "...",
        "None",
        "__import__('os')",
        "not ",
        "lambda:",
        "1_0",
        "0x1",
        "#",
    ),
)


def build(name, **options):
    return SCORES.build({"type": name, **options})


def reference_of(name):
    return REFERENCES.get(name, "<answer>rose</answer>")


def detections(*boxes):
    return f"<answer>{[{'Position': list(box), 'Confidence': confidence} for box, confidence in boxes]}</answer>"


edge = st.integers(0, 999)
box = st.tuples(edge, edge, edge, edge).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]) + 1, max(e[1], e[3]) + 1)
)


@given(st.lists(box, min_size=1, max_size=4, unique=True))
def test_the_truth_itself_earns_all(boxes):
    text = detections(*((one, 1.0) for one in boxes))
    assert build("iou")(text, text) == pytest.approx(1.0)
    assert build("confidence")(text, text) == 1.0


@given(box, box)
def test_iou_and_giou_do_not_care_which_box_is_the_truth(a, b):
    for name, write in (("iou", lambda x: detections((x, 1.0))), ("grounding", corners)):
        found = [build(name)(write(one), write(other)) for one, other in ((a, b), (b, a))]
        assert found[0] == pytest.approx(found[1], abs=1e-12)


def corners(box):
    return f"<answer>({box[0]},{box[1]}),({box[2]},{box[3]})</answer>"


@given(box, box)
def test_grounding_lies_between_0_and_2_and_is_2_for_the_truth_alone(a, b):
    reward = build("grounding")(corners(a), corners(b))
    assert 0.0 <= reward <= 2.0
    assert (reward == 2.0) == (a == b)


@given(box, st.floats(0, 1))
def test_a_missed_box_earns_confidence_only_where_no_match_is_needed(truth, confidence):
    away = detections(((2000, 2000, 2001, 2001), confidence))
    truth = detections((truth, 1.0))
    assert build("confidence")(away, truth) == pytest.approx(1.0 - confidence)
    assert build("confidence", needs_match=True)(away, truth) == 0.0


@pytest.mark.parametrize("word", ["No Objects", "no objects.", "'No Objects'", "NO OBJECTS"])
def test_nothing_to_find_is_answered_by_saying_so(word):
    for name in ("iou", "confidence"):
        assert build(name)(f"<answer>{word}</answer>", "<answer>No Objects</answer>") == 1.0
        assert build(name)(BOXES, "No Objects") == build(name)(f"<answer>{word}</answer>", BOXES) == 0.0
        assert build(name)("<answer>No Objects here</answer>", "No Objects") == 0.0


def test_a_hedge_is_right_for_published_rules_alone():
    hedge, truth = "<answer>rose or tulip</answer>", "<answer>rose</answer>"
    assert build("class_exact")(hedge, truth) == 0.0
    assert build("class_exact", compat="virft")(hedge, truth) == build("class_contains")(hedge, truth) == 1.0
    assert build("class_contains", classes=["rose", "tulip"])(hedge, truth) == 0.0


def test_a_label_inside_another_one_is_not_named():
    score = build("class_contains", classes=["rose", "primrose"])
    assert score("<answer>it is a primrose</answer>", "primrose") == 1.0
    assert score("<answer>it is a primrose</answer>", "rose") == 0.0


def test_a_thought_can_be_asked_to_have_a_length():
    short, long = "<think> ... </think><answer>a</answer>", "<think>as it has wings</think><answer>a</answer>"
    score = build("format_think_answer", min_think_chars=10)
    assert (score(short, None), score(long, None)) == (0.0, 1.0)
    assert build("format_think_answer")(short, None) == 1.0


@pytest.mark.parametrize(
    ("name", "guilty", "innocent"),
    [
        ("hack_empty_thought", "<think> ... </think><answer>a</answer>", "<think>red</think><answer>a</answer>"),
        ("hack_silent_boxes", detections(((0, 0, 1, 1), 0.0)), detections(((0, 0, 1, 1), 0.5))),
        ("hack_reversed_box", corners((9, 1, 1, 9)), corners((1, 1, 9, 9))),
        ("hack_reversed_box", detections(((9, 1, 1, 9), 0.5)), detections(((1, 1, 9, 9), 0.5))),
        ("hack_several_labels", "<answer>rose or tulip</answer>", "<answer>rose of orion</answer>"),
    ],
)
def test_monitors_see_the_trick_and_nothing_else(name, guilty, innocent):
    assert (build(name)(guilty, None), build(name)(innocent, None)) == (1.0, 0.0)


def test_several_labels_are_told_by_the_list_of_classes():
    score = build("hack_several_labels", classes=["rose", "primrose", "tulip"])
    assert [score(f"<answer>{a}</answer>", None) for a in ("rose tulip", "primrose", "a, rose")] == [1.0, 0.0, 0.0]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_the_last_complete_answer_is_found_as_a_regular_expression_finds_it(text):
    import re

    blocks = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    expected = blocks[-1].strip() if blocks else (None if "<answer>" in text else text.strip())
    assert answer_of(text) == expected
    line = re.search(r"<answer>(.*?)</answer>", text)
    assert first_answer_of(text) == (line.group(1).strip() if line else text.strip())


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(), st.sampled_from([*REWARDS, *HACKS]))
def test_no_text_raises_or_leaves_the_range(text, name):
    check(name, text)


def check(name, text):
    for completion in (text, f"<think>a</think><answer>{text}</answer>"):
        reward = build(name)(completion, reference_of(name))
        assert 0.0 <= reward <= HIGHEST.get(name, 1.0), (name, completion)


@pytest.mark.slow
def test_twenty_thousand_texts_raise_nothing_and_leave_no_range():
    draw = random.Random(0)
    valid = [BOXES, CORNERS, detections(((1, 2, 3, 4), 0.5)), "<think>a</think> <answer>rose</answer>"]
    for number in range(24_000):
        if number % 2:
            text = "".join(draw.choices(PIECES, k=draw.randrange(60)))
        else:
            characters = list(draw.choice(valid))
            for _ in range(draw.randrange(8)):
                place = draw.randrange(len(characters))
                characters[place] = draw.choice([*PIECES, "", chr(draw.randrange(0x20, 0xD800))])
            text = "".join(characters)
        for name in (*REWARDS, *HACKS):
            check(name, text)


LONG = {
    "opened, never closed": "<answer>" * 125_000,
    "closed, never opened": "</answer>" * 111_000,
    "blanks after the tag": "<answer>" + " " * 1_000_000,
    "brackets": "<answer>" + "[" * 1_000_000 + "</answer>",
    "brackets without tags": "[" * 1_000_000,
    "digits": "(" + "1" * 1_000_000,
    "corners": "(1,1),(" * 140_000,
    "corners of blanks": ("(" + " " * 9) * 100_000,
    "thoughts": "<think>" * 140_000 + "</answer>",
    "thoughts and blanks": "<think>" + ("</think>" + " " * 20) * 35_000 + "</answer>",
    "signs": "<answer>[" + "-" * 1_000_000 + "1]</answer>",
    "signs that are short enough": "<answer>[" + "-" * 19_000 + "1]</answer>",
    "apostrophes": "<answer>" + "'" * 1_000_000 + "</answer>",
    "letters": "rose " * 200_000,
    "elements": "[" + "{'Position': [1, 2, 3, 4], 'Confidence': 0.5}, " * 21_000,
    "elements in tags": "<answer>[" + "{'Position': [1, 2, 3, 4], 'Confidence': 0.5}, " * 400 + "]</answer>",
    "different boxes": detections(*(((i, i, i + 9, i + 9), 0.5) for i in range(380))),
    "lines": "<answer>\n" * 110_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_a_megabyte_takes_no_time(kind):
    for name in (*REWARDS, *HACKS):
        for options in ({}, {"compat": "virft"}) if name in REWARDS and name != "class_contains" else ({},):
            reward = build(name, **options)
            best = min(timed(reward, LONG[kind], reference_of(name)) for _ in range(3))
            assert best < 0.05, (name, options, best)


def timed(reward, completion, reference):
    started = time.perf_counter()
    reward(completion, reference)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"type": "iou", "compat": "vrft"}, "`compat` must be virft, virft_released or null, but is 'vrft'"),
        ({"type": "iou", "denominator": "mean"}, "`denominator` must be max or pred, but is 'mean'"),
        ({"type": "format_think_answer", "min_think_chars": -1}, "`min_think_chars` must be zero or more, but is -1"),
        ({"type": "python", "function": "os.path.exists"}, "must be `package.module:name`, but is 'os.path.exists'"),
        ({"type": "python", "function": "os:nowhere"}, "'os:nowhere' cannot be found"),
        ({"type": "python", "function": "os:name"}, "'os:name' must be callable"),
    ],
)
def test_bad_options_are_refused(spec, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SCORES.build(spec)


def test_any_function_can_be_a_reward():
    assert SCORES.build({"type": "python", "function": "operator:eq"})("a", "a") == 1.0


@pytest.mark.parametrize("confidence", ["7", "3", "1e300", "9" * 400])
def test_boxes_are_matched_in_the_order_of_what_was_written_and_only_the_reward_cuts_it(confidence):
    """Both lie on the one true box: the surer is matched, though both are surer than one can be."""
    truth = "<answer>[{'Position': [0, 0, 100, 100]}]</answer>"
    exact, near = "[0, 0, 100, 100]", "[0, 0, 100, 80]"
    one = f"[{{'Position': {near}, 'Confidence': 2}}, {{'Position': {exact}, 'Confidence': {confidence}}}]"
    assert build("iou")(f"<answer>{one}</answer>", truth) == pytest.approx(0.5)
    assert build("confidence")(f"<answer>{one}</answer>", truth) == pytest.approx(0.5)
    assert build("iou")(f"<answer>{one}</answer>".replace("'Confidence': 2", "'Confidence': -1"), truth) == 0.5
