import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.data.synthetic._grid_search import MOVES
from vlmzoo.data.synthetic.grid_navigation import GridInstance, GridNavigation
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

SEEDS, INDICES = st.integers(0, 2**40), st.integers(0, 10**9)
LEVELS = {level: GridNavigation(level=level) for level in ("simple", "hard")}
SMALL = GridNavigation(num_rows=[3, 4], num_cols=[3, 5], num_objects=[1, 2], num_states=[2, 20], image={"cell_px": 28})
EXACT = SCORES.build({"type": "grid_exact_match"})


@pytest.mark.parametrize("task", [*LEVELS.values(), SMALL], ids=["simple", "hard", "small"])
@given(seed=SEEDS, index=INDICES)
def test_the_moves_lead_over_all_objects_in_order_to_the_destination(task, seed, index):
    instance = task.instance(seed, index)
    cells = [instance.start]
    for action in instance.actions:
        cells.append(tuple(a + b for a, b in zip(cells[-1], MOVES[action], strict=True)))
    codes = [instance.cells[row][col] for row, col in cells]
    assert min(codes) >= 0
    assert codes.index(2) == len(codes) - 1
    firsts = [codes.index(code) for code in range(3, len(instance.objects) + 3)]
    assert firsts == sorted(firsts)


@given(SEEDS, INDICES)
def test_equal_arguments_give_equal_instances(seed, index):
    again = GridNavigation(level="hard")
    again.instance(seed, index + 1)
    assert again.instance(seed, index) == LEVELS["hard"].instance(seed, index)


def test_level_seed_and_index_all_matter():
    instances = [LEVELS["simple"].instance(0, 0), LEVELS["simple"].instance(0, 1), LEVELS["simple"].instance(1, 0)]
    assert len({instance.cells for instance in [*instances, LEVELS["hard"].instance(0, 0)]}) == 4


def test_instances_do_not_depend_on_the_hash_seed(fresh_python, monkeypatch):
    code = (
        "from vlmzoo.data.synthetic import TASKS\n"
        "task = TASKS.build({'type': 'grid_navigation', 'level': 'hard'})\n"
        "print([task.instance(3, index) for index in range(5)])\n"
    )
    found = set()
    for hash_seed in ("0", "1", "77"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        found.add(fresh_python(code))
    assert found == {str([LEVELS["hard"].instance(3, index) for index in range(5)])}


def test_a_known_instance_stays_what_it_is():
    """The stream of draws is part of the interface: a data set is named by task, level, seed and index."""
    instance = SMALL.instance(0, 1)
    assert SMALL.text_form(instance) == (
        " & a & b & c & d\n a & O & integral & O & plus\n b & S & umbrella & O & O\n c & plus & O & D & O\n"
    )
    assert SMALL.response(instance, "image") == (
        "We follow a depth first search, always moving towards the destination.\n"
        "Source:( b, a) Destination:( c, c)\nCollect objects: umbrella( b, b) integral( a, b)\nAvoid plus\n"
        " b, a:\n right: b, b okay\n b, b: Collect umbrella\n up: a, b okay\n a, b: Collect integral\n"
        " down: b, b okay\n b, b:\n down: c, b okay\n c, b:\n right: c, c okay\nAnswer: right up down down right"
    )


def test_search_and_answer_are_written_state_by_state():
    instance = GridInstance(
        cells=((1, -1, 4), (0, 2, 0), (-2, 0, 3)), objects=("moon", "star"), obstacles=("dot", "plus")
    )
    text = (
        "We follow a depth first search, always moving towards the destination.\n"
        "Source:( a, a) Destination:( b, b)\nCollect objects: moon( c, c) star( a, c)\nAvoid dot plus\n"
        " a, a:\n down: b, a okay\n b, a:\n right: b, b future-collect (destination)\n down: c, a closed( plus)\n"
        " up: a, a visited\n left: b, ` outside\nNo available actions. retrace 1 step\n"
        " a, a:\n down: b, a visited\n right: a, b closed( dot)\n up: `, a outside\n left: a, ` outside\n"
        "No available actions. retrace 1 step\nAnswer: No path exists"
    )
    assert SMALL.response(instance, "text") == text


def test_an_object_met_too_early_has_its_name_or_as_released_that_of_the_target():
    instance = GridInstance(cells=((1, 4, 0), (0, 2, 3)), objects=("moon", "star"), obstacles=("dot",))
    released = GridNavigation(compat="s2h")
    assert " right: a, b future-collect ( star)\n" in SMALL.response(instance, "text")
    assert " right: a, b future-collect ( moon)\n" in released.response(instance, "text")
    assert SMALL.response(instance, "text").count("moon") < released.response(instance, "text").count("moon")


def test_a_chain_without_refusals_has_the_moves_that_were_not_taken_back():
    cells = ((0, 0, 0, 0), (0, -1, 0, 3), (1, 0, -1, 2))
    instance = GridInstance(cells=cells, objects=("moon",), obstacles=("dot",))
    assert "retrace" in SMALL.response(instance, "text")
    chain = SMALL.response(instance, "text", cot_style="template")
    assert chain.partition("Avoid dot\n")[2] == (
        " c, a:\n up: b, a okay\n b, a:\n up: a, a okay\n a, a:\n right: a, b okay\n a, b:\n right: a, c okay\n"
        " a, c:\n down: b, c okay\n b, c:\n right: b, d okay\n b, d: Collect moon\n down: c, d okay\n"
        "Answer: up up right right down right down"
    )


@pytest.mark.parametrize("task", [LEVELS["hard"], SMALL], ids=["hard", "small"])
@given(seed=SEEDS, index=INDICES)
def test_all_kinds_show_the_same_instance(task, seed, index):
    samples = {kind: task.sample(kind, seed, index) for kind in ("text", "image_via_text", "conversion")}
    instance = task.instance(seed, index)
    text_form = task.text_form(instance)
    assert samples["text"].messages[0]["content"][0]["text"].startswith(text_form)
    assert text_form in samples["image_via_text"].messages[1]["content"][0]["text"]
    assert samples["conversion"].messages[1]["content"][0]["text"] == text_form
    assert {sample.reference for sample in samples.values()} == {task.answer(instance)}
    for name, stop in zip(instance.objects, instance.stops, strict=True):
        assert text_form.split("\n")[stop[0] + 1].split(" & ")[stop[1] + 1] == name


@pytest.mark.parametrize("kind", ["text", "image", "image_via_text"])
@given(seed=SEEDS, index=INDICES)
def test_responses_score_one_and_broken_ones_zero(kind, seed, index):
    task = LEVELS["simple"]
    instance = task.instance(seed, index)
    answer = task.answer(instance)
    response = task.response(instance, kind)
    assert EXACT(response, answer) == EXACT(task.response(instance, kind, cot=False), answer) == 1.0
    assert EXACT(response.rpartition(" ")[0], answer) == 0.0  # the last move is missing
    assert EXACT(response + "s", answer) == 0.0


@given(st.floats(0, 1), INDICES)
def test_what_is_internalised_is_cut_off_the_end_of_the_chain(keep, index):
    task = LEVELS["simple"]
    instance = task.instance(0, index)
    whole, short = task.response(instance, "image"), task.response(instance, "image", cot=False)
    chain = whole.removesuffix(f"\n{short}")
    kept = task.response(instance, "image", keep=keep).removesuffix(short).removesuffix("\n")
    assert whole == f"{chain}\n{short}"
    assert kept == chain[: int(len(chain) * keep)]
    assert task.response(instance, "image", keep=0) == short
    via_text = task.response(instance, "image_via_text", keep=keep)
    assert via_text.endswith(task.response(instance, "image", keep=keep))
    assert task.text_form(instance) in via_text


@pytest.mark.parametrize("keep", [-0.1, 1.1, True, "half", float("nan")])
def test_shares_that_are_none_are_refused(keep):
    with pytest.raises(ConfigError, match="`keep` must be a share from 0 to 1"):
        SMALL.sample("text", 0, 0, keep=keep)


def test_a_share_of_no_chain_is_refused():
    with pytest.raises(ConfigError, match="must be left out"):
        SMALL.sample("text", 0, 0, cot=False, keep=0.5)


def test_distinct_prompts_ask_for_the_text_form():
    distinct = GridNavigation(distinct_prompts=True)
    instance = SMALL.instance(0, 0)
    assert SMALL.prompt(instance, "image") == SMALL.prompt(instance, "image_via_text")
    assert distinct.prompt(instance, "image") == SMALL.prompt(instance, "image")
    request = distinct.prompt(instance, "conversion")
    assert distinct.prompt(instance, "image_via_text").startswith(f"{request}\n")
    assert distinct.prompt(instance, "image_via_text").count("<image>") == 1


def test_a_sample_is_a_conversation_with_its_image():
    sample = SMALL.sample("image", 3, 4)
    question, answer = sample.messages
    assert question["content"][0] == {"type": "image"}
    assert question["content"][1]["text"].startswith("\n\nThe image shows a 2 dimensional grid.")
    assert answer["role"] == "assistant"
    assert [image.mode for image in sample.images] == ["RGB"]
    assert sample.id == "grid_navigation/simple/image/3/4"
    assert sample.meta == {"task": "grid_navigation", "level": "simple", "kind": "image", "seed": 3, "index": 4}
    assert SMALL.sample("text", 3, 4).images == ()


def test_no_text_holds_an_image_placeholder():
    for kind in KINDS:
        for message in SMALL.sample(kind, 0, 0).messages:
            assert all("<image>" not in block.get("text", "") for block in message["content"])


def test_tasks_travel_to_other_processes():
    SMALL.image(SMALL.instance(0, 0))
    again = pickle.loads(pickle.dumps(SMALL))
    assert again.sample("image", 0, 1).images[0].tobytes() == SMALL.sample("image", 0, 1).images[0].tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "medium"}, "`level` must be one of `simple`, `hard`"),
        ({"num_rows": 2}, "`num_rows` must be .* from 3 to 26"),
        ({"num_cols": [8, 27]}, "`num_cols` must be .* from 3 to 26"),
        ({"num_cols": [9, 8]}, "`num_cols` must be"),
        ({"num_rows": True}, "`num_rows` must be"),
        ({"num_objects": 0}, "`num_objects` must be .* from 1 to 31"),
        ({"num_objects": 8, "num_rows": 3, "num_cols": 3}, "`num_objects` must be at most 7"),
        ({"num_kinds": 6}, "`num_kinds` must be .* from 1 to 5"),
        ({"num_states": [1, 5]}, "`num_states` must be .* from 2"),
        ({"num_states": [2, 3], "num_objects": 5}, "`num_states` must be lengths .* none of"),
        ({"num_states": [200, 300], "num_rows": [3, 12]}, "none of 10000 grids of 3 x 8 cells with 1 objects"),
        ({"compat": "s2"}, "`compat` must be one of `s2h`, `None`, but is 's2' instead. Did you mean `s2h`"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build({"type": "grid_navigation", **options})


def test_unknown_kinds_are_refused():
    with pytest.raises(ConfigError, match="Did you mean `image`"):
        SMALL.sample("images", 0, 0)
