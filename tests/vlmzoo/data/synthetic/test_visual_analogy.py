import hashlib
import pickle
from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.data.synthetic._analogy import HARD_LABELS, LABELS, SIMPLE_LABELS, VALUES, Label, Line, Panel, Shape
from vlmzoo.data.synthetic._analogy_relations import labels_met
from vlmzoo.data.synthetic.visual_analogy import AnalogyInstance, VisualAnalogy
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

SEEDS, INDICES = st.integers(0, 2**40), st.integers(0, 10**9)
SMALL = {"image": {"panel_px": 40}}
TASK = {level: VisualAnalogy(level=level, **SMALL) for level in ("simple", "hard")}
LEVELS = pytest.mark.parametrize("level", ["simple", "hard"])
STYLES = ("standard", "template", "order", "value")
HEADINGS = ("type:", "color:", "size:", "quantity:", "position:")
KNOWN_DIGESTS = ["2e3823e8b06d5305", "dcd93f8bdf6a86d9"]  # of simple and hard
KNOWN = """Example 1:
Panel 1:
type: diamond lines, horizontal line, V-shape facing up, color: 135, 189, 0
Panel 2:
type: rising diagonal line, falling diagonal line, color: 90, 135
Panel 3:
type: V-shape facing right, color: 135
Example 2:
Panel 1:
2 shapes; type: circle, color: 255, 135, size: 34, position: (2, 2), (0, 1)
Panel 2:
2 shapes; type: circle, hexagon, color: 90, 135, size: 20, 34, position: (1, 0), (0, 0)
Panel 3:
2 shapes; type: triangle, rectangle, color: 135, size: 27, 41, position: (1, 2), (2, 0)
Query:
Panel 1:
type: V-shape facing left, V-shape facing down, color: 135, 189
Panel 2:
type: V-shape facing down, color: 189
Options:
Option 1:
type: falling diagonal line, color: 189
Option 2:
type: V-shape facing left, color: 0
Option 3:
type: vertical line, color: 135
Option 4:
type: V-shape facing left, V-shape facing down, color: 0
"""


def rows_of(puzzle):
    """All rows of three panels, each with its label."""
    examples = list(zip(puzzle.examples, puzzle.example_labels, strict=True))
    return examples + [
        ((*puzzle.query, o), label) for o, label in zip(puzzle.options, puzzle.option_labels, strict=True)
    ]


def draw(level, num, seed=0):
    return [TASK[level].instance(seed, index) for index in range(num)]


def sets_of(panels, domain):
    return [frozenset(panel.values(domain.split("_")[1])) for panel in panels]


def follows(panels, label):
    """The rules of the paper, on sets, one after the other."""
    one, two, three = sets_of(panels, label.domain)
    if label.relation != "Progression":
        return three == {"XOR": one ^ two, "OR": one | two, "AND": one & two}[label.relation]
    if label.domain.endswith("type"):
        return one < two < three
    if label.domain == "shape_position":
        steps = [(0, 1), (1, 0), (1, 1)]
        return any({((r + dr) % 3, (c + dc) % 3) for r, c in one} == two and
                   {((r + dr) % 3, (c + dc) % 3) for r, c in two} == three for dr, dc in steps)  # fmt: skip
    if not len(one) == len(two) == len(three) == 1:
        return False
    ranks = [VALUES[label.domain].index(next(iter(values))) for values in (one, two, three)]
    return ranks[0] < ranks[1] < ranks[2] or ranks[0] > ranks[1] > ranks[2]


@st.composite
def any_panels(draw_from):
    """Three panels of few values, so that relations are met often."""
    if draw_from(st.booleans()):
        types, colors = VALUES["line_type"][:4], VALUES["line_color"][:3]
        lines = st.lists(st.builds(Line, st.sampled_from(types), st.sampled_from(colors)), min_size=1, max_size=3)
        return [Panel(tuple(draw_from(lines))) for _ in range(3)]
    shapes = st.builds(
        Shape,
        st.sampled_from(VALUES["shape_type"]),
        st.sampled_from(VALUES["shape_color"][:3]),
        st.sampled_from(VALUES["shape_size"]),
        st.sampled_from(VALUES["shape_position"]),
    )
    many = st.lists(shapes, min_size=1, max_size=3, unique_by=lambda shape: shape.position)
    return [Panel(tuple(draw_from(many))) for _ in range(3)]


@given(any_panels())
def test_relations_are_those_of_sets(panels):
    kinds = [label for label in LABELS if label.kind == panels[0].kind]
    expected = [label for label in kinds if follows(panels, label)]
    assert labels_met(*panels) == expected


@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1)])
@given(places=st.sets(st.sampled_from(VALUES["shape_position"]), min_size=1, max_size=4))
def test_positions_progress_by_a_step(step, places):
    def panel(times):
        moved = [((r + times * step[0]) % 3, (c + times * step[1]) % 3) for r, c in sorted(places)]
        return Panel(tuple(Shape("circle", 0, 20, place) for place in moved))

    assert Label("shape_position", "Progression") in labels_met(panel(0), panel(1), panel(2))


def test_there_are_25_combinations():
    assert (len(LABELS), len(SIMPLE_LABELS), len(HARD_LABELS)) == (25, 17, 8)
    assert set(SIMPLE_LABELS) | set(HARD_LABELS) == set(LABELS)


@LEVELS
@given(seed=SEEDS, index=INDICES)
def test_every_row_follows_its_label_and_no_other(level, seed, index):
    for panels, label in rows_of(TASK[level].instance(seed, index)):
        kinds = [other for other in LABELS if other.kind == label.kind]
        assert [other for other in kinds if follows(panels, other)] == [label]


@LEVELS
@given(seed=SEEDS, index=INDICES)
def test_one_option_has_the_relation_of_the_examples(level, seed, index):
    puzzle = TASK[level].instance(seed, index)
    relation = puzzle.query_label.relation
    assert {label.relation for label in puzzle.example_labels} == {relation}
    assert [label.relation == relation for label in puzzle.option_labels].count(True) == 1
    assert len(set(puzzle.option_labels)) == len(set(puzzle.options)) == 4
    assert {label.kind for label in puzzle.option_labels} == {puzzle.query_label.kind}


def test_simple_puzzles_show_one_simple_combination():
    puzzles = draw("simple", 600)
    assert {puzzle.query_label for puzzle in puzzles} == set(SIMPLE_LABELS)
    assert min(Counter(puzzle.query_label for puzzle in puzzles).values()) > 14  # uniform: 35 each
    assert all(set(puzzle.example_labels) == {puzzle.query_label} for puzzle in puzzles)
    assert all(set(puzzle.option_labels) <= set(SIMPLE_LABELS) for puzzle in puzzles)


def test_hard_puzzles_show_a_relation_in_two_domains():
    puzzles = draw("hard", 600)
    assert {puzzle.query_label for puzzle in puzzles} == set(HARD_LABELS)
    assert min(Counter(puzzle.query_label for puzzle in puzzles).values()) > 45  # uniform: 75 each
    assert all(len(set(puzzle.example_labels)) == 2 for puzzle in puzzles)
    assert all(set(puzzle.example_labels) <= set(HARD_LABELS) for puzzle in puzzles)
    assert len({label for puzzle in puzzles for label in puzzle.option_labels}) > 20


@LEVELS
def test_panels_do_not_overlap_themselves(level):
    for puzzle in draw(level, 300):
        for panel in [panel for panels, _ in rows_of(puzzle) for panel in panels]:
            unique = [item.position if isinstance(item, Shape) else item.type for item in panel.objects]
            assert len(unique) == len(set(unique)) >= 1
            assert panel.kind == "line" or len(panel.objects) <= 5


@LEVELS
def test_logic_rows_have_a_common_value_and_one_of_the_first_alone(level):
    for puzzle in draw(level, 300):
        for (first, second, _), label in zip(puzzle.examples, puzzle.example_labels, strict=True):
            if label.relation != "Progression":
                one, two = sets_of((first, second), label.domain)
                assert one & two
                assert one - two
                sizes = len(first.objects), len(second.objects)
                assert sizes == (2, 2) if label.kind == "shape" else sizes in product((2, 3), (1, 2))


@LEVELS
def test_progressions_leave_room_for_the_third_panel(level):
    for puzzle in draw(level, 400):
        for panels, label in zip(puzzle.examples, puzzle.example_labels, strict=True):
            _, two, three = sets_of(panels, label.domain)
            if label.relation == "Progression" and label.attribute == "type":
                assert len(three) == len(two) + 1
            elif label.relation == "Progression" and label.attribute != "position":
                assert two.isdisjoint({VALUES[label.domain][0], VALUES[label.domain][-1]})


def directions(puzzle):
    """The directions of the ordered rows of a puzzle: rising or falling."""
    rows = [*zip(puzzle.examples, puzzle.example_labels, strict=True)]
    rows.append(((*puzzle.query, puzzle.options[puzzle.answer_index]), puzzle.query_label))
    ordered = [(panels, label) for panels, label in rows if label.attribute in ("color", "size", "quantity")]
    pairs = [sets_of(panels[:2], label.domain) for panels, label in ordered if label.relation == "Progression"]
    return [min(one) < min(two) for one, two in pairs]


def test_progressions_of_a_puzzle_run_the_same_way_unless_as_released():
    released = VisualAnalogy(level="simple", compat="s2h", **SMALL)
    together = [found for found in map(directions, draw("simple", 400)) if found]
    apart = [found for found in (directions(released.instance(0, index)) for index in range(400)) if found]
    assert all(len(set(found)) == 1 for found in together)
    assert 0.3 < sum(found[0] for found in together) / len(together) < 0.7
    assert 0.6 < sum(len(set(found)) > 1 for found in apart) / len(apart) < 0.9  # 3/4


def test_positions_move_in_all_three_directions():
    moves = Counter()
    for puzzle in draw("simple", 1500):
        if puzzle.query_label == Label("shape_position", "Progression"):
            one, two = sets_of(puzzle.query, "shape_position")
            steps = [(0, 1), (1, 0), (1, 1)]
            moves.update(step for step in steps if {((r + step[0]) % 3, (c + step[1]) % 3) for r, c in one} == two)
    assert min(moves[step] for step in [(0, 1), (1, 0), (1, 1)]) > 0.2 * moves.total()


def test_the_order_of_objects_does_not_tell_the_common_value():
    """Where two sets of two share a value, it comes first in both in a quarter of random orders."""
    rows = [(example, label) for puzzle in draw("simple", 800) for example, label in rows_of(puzzle)[:2]]
    rows = [(panels, label.attribute) for panels, label in rows if label.relation != "Progression"]
    pairs = [[panel.values(attribute) for panel in panels[:2]] for panels, attribute in rows]
    pairs = [(one, two) for one, two in pairs if len(one) == len(two) == 2 and len(set(one) & set(two)) == 1]
    assert len(pairs) > 200
    assert 0.15 < sum(one[0] == two[0] for one, two in pairs) / len(pairs) < 0.35


@LEVELS
def test_answers_stand_in_every_place(level):
    places = Counter(puzzle.answer_index for puzzle in draw(level, 600))
    assert min(places[index] for index in range(4)) > 110


@LEVELS
@given(seed=SEEDS, index=INDICES)
def test_equal_arguments_give_equal_instances(level, seed, index):
    again = VisualAnalogy(level=level)
    again.instance(seed, index + 1)
    assert again.instance(seed, index) == TASK[level].instance(seed, index)


def test_level_seed_and_index_all_matter():
    instances = [*draw("simple", 2), *draw("simple", 1, seed=1), *draw("hard", 1)]
    assert len(set(instances)) == 4


def test_instances_do_not_depend_on_the_hash_seed(fresh_python, monkeypatch):
    code = (
        "from vlmzoo.data.synthetic import TASKS\n"
        "task = TASKS.build({'type': 'visual_analogy', 'level': 'hard'})\n"
        "print([task.response(task.instance(3, index), 'image_via_text', cot_style='value') for index in range(20)])\n"
    )
    found = set()
    for hash_seed in ("0", "1", "77"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        found.add(fresh_python(code))
    task = TASK["hard"]
    puzzles = [task.instance(3, index) for index in range(20)]
    assert found == {str([task.response(puzzle, "image_via_text", cot_style="value") for puzzle in puzzles])}


def test_a_known_instance_stays_what_it_is():
    """The stream of draws is part of the interface: a data set is named by task, level, seed and index."""
    released = VisualAnalogy(level="hard", compat="s2h")
    assert released.text_form(released.instance(0, 16)) == KNOWN
    digests = [hashlib.sha256(task.text_form(task.instance(0, 16)).encode()).hexdigest()[:16] for task in TASK.values()]
    assert digests == KNOWN_DIGESTS


@LEVELS
@given(seed=SEEDS, index=INDICES)
def test_all_kinds_show_the_same_instance(level, seed, index):
    task = TASK[level]
    samples = {kind: task.sample(kind, seed, index) for kind in ("text", "image_via_text", "conversion")}
    puzzle = task.instance(seed, index)
    text_form = task.text_form(puzzle)
    assert samples["text"].messages[0]["content"][0]["text"].startswith(text_form)
    assert text_form in samples["image_via_text"].messages[1]["content"][0]["text"]
    assert samples["conversion"].messages[1]["content"][0]["text"].endswith(text_form.rstrip())
    assert {sample.reference for sample in samples.values()} == {task.answer(puzzle)}
    assert text_form.count("type: ") == 12


@LEVELS
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["text", "image", "image_via_text"])
def test_responses_score_one(level, style, kind):
    task = TASK[level]
    exact, partial = (SCORES.build({"type": f"analogy_{name}"}) for name in ("exact_match", "partial_score"))
    for index in range(20):
        puzzle, other = task.instance(5, index), task.instance(5, index + 1)
        answer, response = task.answer(puzzle), task.response(puzzle, kind, cot_style=style)
        short = task.response(puzzle, kind, cot=False)
        assert (
            exact(response, answer) == partial(response, answer) == exact(short, answer) == partial(short, answer) == 1
        )
        assert exact(response, task.answer(other)) == 0
        assert partial(response, task.answer(other)) == (puzzle.answer_index == other.answer_index)


def test_a_response_without_reasoning_is_the_answer():
    task, puzzle = TASK["hard"], TASK["hard"].instance(0, 0)
    answer = task.answer(puzzle)
    assert task.response(puzzle, "image", cot=False) == task.response(puzzle, "text", cot=False) == answer
    via = task.response(puzzle, "image_via_text", cot=False)
    assert via == f"Convert the image into a text version of the puzzle.\n{task.text_form(puzzle)}\n{answer}"


@pytest.mark.parametrize("style", STYLES)
@given(index=INDICES, keep=st.floats(0, 1))
def test_what_is_kept_of_a_chain_is_its_beginning(style, index, keep):
    task, puzzle = TASK["simple"], TASK["simple"].instance(0, index)
    whole, answer = task.response(puzzle, "text", cot_style=style), task.answer(puzzle)
    chain = whole.removesuffix(f"\n\n\n{answer}")
    kept = chain[: int(len(chain) * keep)]
    expected = f"{kept}\n\n\n{answer}" if kept else answer
    assert task.response(puzzle, "image", cot_style=style, keep=keep) == expected
    via = task.response(puzzle, "image_via_text", cot_style=style, keep=keep)
    assert via.endswith(f"\n\n{expected}")


def test_the_ends_of_keeping_are_all_and_nothing():
    task, puzzle = TASK["hard"], TASK["hard"].instance(0, 0)
    for kind in ("text", "image", "image_via_text"):
        assert task.response(puzzle, kind, keep=1.0) == task.response(puzzle, kind)
        assert task.response(puzzle, kind, keep=0.0) == task.response(puzzle, kind, cot=False)


def test_another_order_goes_through_the_attributes_of_the_examples_otherwise():
    """NumPy's permutation for the authors' seed, of five and of two attributes."""
    found = set()
    for puzzle in draw("hard", 60):
        response = TASK["hard"].response(puzzle, "text", cot_style="order")
        standard = TASK["hard"].response(puzzle, "text")
        assert sorted(response) == sorted(standard)
        assert response.partition("Now, we analyze")[2] == standard.partition("Now, we analyze")[2]
        for part in response.partition("The examples suggest")[0].split("Example ")[1:]:
            found.add(tuple(line for line in part.splitlines() if line in HEADINGS))
    assert found == {("color:", "position:", "size:", "type:", "quantity:"), ("color:", "type:")}


def test_other_values_are_the_same_values_in_another_order():
    num_changed = 0
    for puzzle in draw("simple", 60):
        standard = TASK["simple"].response(puzzle, "text").splitlines()
        other = TASK["simple"].response(puzzle, "text", cot_style="value").splitlines()
        for line, changed in zip(standard, other, strict=True):
            assert sorted(line) == sorted(changed)
            num_changed += line != changed
        start = standard.index("Now, we analyze the images in the query:")
        assert standard[start:] == other[start:]
    assert num_changed > 100


def test_empty_panels_have_no_values():
    puzzle = TASK["simple"].instance(0, 0)
    example = (*puzzle.examples[0][:2], Panel(()))
    empty = AnalogyInstance(**{**vars(puzzle), "examples": (example, *puzzle.examples[1:])})
    assert "Panel 3:\nExample 2:" in TASK["simple"].text_form(empty)
    assert "Image 3: NA\n" in TASK["simple"].response(empty, "text")
    assert "Image 3: NA\n" in TASK["simple"].response(empty, "text", cot_style="template")
    options = (Panel(()), *puzzle.options[1:])
    no_option = AnalogyInstance(**{**vars(puzzle), "options": options})
    assert "Option 1 does not have " in TASK["simple"].response(no_option, "text")


def test_a_sample_is_a_conversation_with_its_image():
    sample = TASK["hard"].sample("image", 3, 4)
    question, answer = sample.messages
    assert question["content"][0] == {"type": "image"}
    assert question["content"][1]["text"].startswith("\n\nThe image shows a a puzzle")
    assert answer["role"] == "assistant"
    assert [(image.mode, image.size) for image in sample.images] == [("RGB", (160, 160))]
    assert sample.id == "visual_analogy/hard/image/3/4"
    assert sample.meta == {"task": "visual_analogy", "level": "hard", "kind": "image", "seed": 3, "index": 4}
    assert TASK["hard"].sample("text", 3, 4).images == ()


def test_no_text_holds_an_image_placeholder():
    for kind in KINDS:
        for message in TASK["simple"].sample(kind, 0, 0).messages:
            assert all("<image>" not in block.get("text", "") for block in message["content"])


def test_distinct_prompts_ask_for_the_text_form():
    plain, distinct = TASK["simple"], VisualAnalogy(distinct_prompts=True, **SMALL)
    puzzle = plain.instance(0, 0)
    assert plain.prompt(puzzle, "image") == plain.prompt(puzzle, "image_via_text")
    assert distinct.prompt(puzzle, "image") == plain.prompt(puzzle, "image")
    request = distinct.prompt(puzzle, "conversion")
    assert distinct.prompt(puzzle, "image_via_text").startswith(f"{request}\n")


def test_tasks_travel_to_other_processes():
    task = TASK["hard"]
    task.image(task.instance(0, 0))
    again = pickle.loads(pickle.dumps(task))
    assert again.sample("image", 0, 1).images[0].tobytes() == task.sample("image", 0, 1).images[0].tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "medium"}, "`level` must be one of `simple`, `hard`, but is 'medium' instead"),
        ({"level": "Hard"}, "Did you mean `hard`"),
        ({"compat": "yes"}, "`compat` must be one of `s2h`, `None`"),
        ({"image": {"panel": 56}}, "`image` takes no `panel`. Did you mean `panel_px`"),
        ({"image": {"panel_px": 23}}, "`image.panel_px` must be an integer from 24 to 1000"),
        ({"image": {"panel_px": 56.0}}, "`image.panel_px` must be an integer"),
        ({"image": {"panel_px": True}}, "`image.panel_px` must be an integer"),
        ({"image": 56}, "`image` must be a mapping"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build({"type": "visual_analogy", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "images"}, "Did you mean `image`"),
        ({"cot_style": "values"}, "`cot_style` must be one of .* Did you mean `value`"),
        ({"keep": 1.5}, "`keep` must be a share from 0 to 1, but is 1.5"),
        ({"keep": True}, "`keep` must be a share"),
        ({"keep": float("nan")}, "`keep` must be a share"),
        ({"keep": 0.5, "cot": False}, "must be left out with `cot=False`"),
        ({"cot_style": "order", "cot": False}, "must be left out with `cot=False`"),
    ],
)
def test_responses_that_do_not_exist_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        TASK["simple"].sample(**{"kind": "text", "seed": 0, "index": 0, **options})
