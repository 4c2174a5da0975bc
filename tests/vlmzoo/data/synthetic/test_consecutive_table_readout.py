import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.data.synthetic.consecutive_table_readout import ConsecutiveTableReadout
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

SEEDS, INDICES = st.integers(0, 2**40), st.integers(0, 10**9)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 12))
LATEX = {level: ConsecutiveTableReadout(level=level) for level in ("simple", "medium", "hard")}
COMPACT = ConsecutiveTableReadout(style="compact", num_rows=4, num_cols=5, path_cells=(2, 5))
RELEASED = ConsecutiveTableReadout(level="hard", compat="s2h")


def positions(task, instance):
    return [row * task.num_cols + col for row, col in instance.path]


@given(SEEDS, INDICES, SIZES, st.data())
def test_paths_take_consecutive_cells_of_the_table(seed, index, size, data):
    num_cells = size[0] * size[1]
    low = data.draw(st.integers(1, num_cells))
    high = data.draw(st.integers(low, num_cells))
    task = ConsecutiveTableReadout(style="compact", num_rows=size[0], num_cols=size[1], path_cells=[low, high])
    instance = task.instance(seed, index)
    places = positions(task, instance)
    assert low <= len(places) <= high
    assert places in (list(range(places[0], places[-1] + 1)), list(range(places[0], places[-1] - 1, -1)))
    assert all(0 <= row < size[0] and 0 <= col < size[1] for row, col in instance.path)


@given(SEEDS, INDICES)
def test_tables_have_distinct_names_and_digits(seed, index):
    instance = LATEX["simple"].instance(seed, index)
    assert len(set(instance.row_names)) == 5
    assert len(set(instance.col_names)) == 10
    assert [len(row) for row in instance.values] == [10] * 5
    assert all(0 <= value <= 9 for row in instance.values for value in row)


@pytest.mark.parametrize(("level", "lengths"), [("simple", (5, 10)), ("medium", (15, 20)), ("hard", (25, 30))])
def test_levels_differ_in_the_length_of_paths(level, lengths):
    found = Counter(len(LATEX[level].instance(0, index).path) for index in range(600))
    assert (min(found), max(found)) == lengths
    assert min(found.values()) > 60  # uniform: 100 each


def test_half_of_the_paths_run_backwards():
    forward = sum(p[0] < p[-1] for p in (LATEX["simple"].instance(1, index).path for index in range(1000)))
    assert 430 < forward < 570


def test_starts_are_uniform_where_the_path_fits():
    task = ConsecutiveTableReadout(style="compact", num_rows=2, num_cols=3, path_cells=(3, 3))
    found = Counter(min(positions(task, task.instance(0, index))) for index in range(2000))
    assert sorted(found) == [0, 1, 2, 3]
    assert min(found.values()) > 400


def test_the_released_generator_draws_short_paths_at_every_level():
    lengths = [len(RELEASED.instance(0, index).path) for index in range(4000)]
    assert (min(lengths), max(lengths)) == (1, 10)
    assert abs(sum(lengths) / len(lengths) - 7.42) < 0.15
    assert abs(sum(length < 5 for length in lengths) / len(lengths) - 0.08) < 0.02


@given(SEEDS, INDICES)
def test_equal_arguments_give_equal_instances(seed, index):
    again = ConsecutiveTableReadout(style="compact", num_rows=4, num_cols=5, path_cells=(2, 5))
    again.instance(seed, index + 1)
    assert again.instance(seed, index) == COMPACT.instance(seed, index)


def test_level_seed_and_index_all_matter():
    hard = ConsecutiveTableReadout(level="hard")
    instances = [LATEX["simple"].instance(0, 0), LATEX["simple"].instance(0, 1), LATEX["simple"].instance(1, 0)]
    instances.append(hard.instance(0, 0))
    assert len({instance.values for instance in instances}) == 4


def test_instances_do_not_depend_on_the_hash_seed(fresh_python, monkeypatch):
    code = (
        "from vlmzoo.data.synthetic import TASKS\n"
        "task = TASKS.build({'type': 'consecutive_table_readout', 'level': 'hard'})\n"
        "print([task.instance(3, index) for index in range(20)])\n"
    )
    found = set()
    for hash_seed in ("0", "1", "77"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        found.add(fresh_python(code))
    assert found == {str([LATEX["hard"].instance(3, index) for index in range(20)])}


def test_a_known_instance_stays_what_it_is():
    """The stream of draws is part of the interface: a data set is named by task, level, seed and index."""
    instance = COMPACT.instance(0, 1)
    assert COMPACT.text_form(instance) == (
        " Jul Jan Dec Aug May\n Hugh 5 9 7 8* 4*\n Kate 1 9 8 4 8\n Ruth 3 0 4 4 6\n Dan 7 1 7 1 0"
    )
    assert COMPACT.response(instance, "text") == (
        " Jul 1 Jan 2 Dec 3 Aug 4 May 5\n Hugh 1 Kate 2 Ruth 3 Dan 4\n"
        " Hugh 1 Aug 4 to Hugh 1 May 5\n1 4 8\n1 5 4\nThe total is 8 + 4 = 12.\nAnswer: 12"
    )


def test_names_come_from_the_pools_that_were_asked_for():
    task = ConsecutiveTableReadout(style="compact", num_rows=2, num_cols=3, path_cells=(2, 3), name_pools=[2, 4])
    instances = [task.instance(0, index) for index in range(50)]
    assert len({name for instance in instances for name in instance.row_names}) == 2
    assert len({name for instance in instances for name in instance.col_names}) == 4


@pytest.mark.parametrize("task", [LATEX["medium"], COMPACT], ids=["latex", "compact"])
@given(seed=SEEDS, index=INDICES)
def test_all_kinds_show_the_same_instance(task, seed, index):
    samples = {kind: task.sample(kind, seed, index) for kind in ("text", "image_via_text", "conversion")}
    instance = task.instance(seed, index)
    text_form = task.text_form(instance)
    assert samples["text"].messages[0]["content"][0]["text"].startswith(text_form)
    assert text_form in samples["image_via_text"].messages[1]["content"][0]["text"]
    assert samples["conversion"].messages[1]["content"][0]["text"] == text_form
    assert {sample.reference for sample in samples.values()} == {task.answer(instance)}
    assert text_form.count("*") == len(instance.path)


@pytest.mark.parametrize("task", [LATEX["hard"], COMPACT], ids=["latex", "compact"])
@pytest.mark.parametrize("kind", ["text", "image", "image_via_text"])
def test_responses_score_one(task, kind):
    exact, cot = SCORES.build({"type": "table_exact_match"}), SCORES.build({"type": "table_cot_exact_match"})
    for index in range(20):
        instance = task.instance(5, index)
        answer = task.answer(instance)
        response, short = task.response(instance, kind), task.response(instance, kind, cot=False)
        assert (exact(response, answer), cot(response, answer)) == (1.0, 1.0)
        assert (exact(short, answer), cot(short, answer)) == (1.0, 0.0)
        assert exact(response, task.answer(task.instance(5, index + 1))) == 0.0


def test_a_response_without_reasoning_is_the_total_and_the_answer():
    instance = LATEX["simple"].instance(0, 0)
    total = " + ".join(map(str, instance.addends))
    expected = f"The total is {total} = {instance.total}.\n\nAnswer: {instance.total}"
    assert LATEX["simple"].response(instance, "image", cot=False) == expected
    assert LATEX["simple"].response(instance, "text", cot=False) == expected
    assert LATEX["simple"].response(instance, "image_via_text", cot=False).endswith(f"\\end{{table}}\n\n{expected}")


def test_a_sample_is_a_conversation_with_its_image():
    sample = COMPACT.sample("image", 3, 4)
    question, answer = sample.messages
    assert question["role"] == "user"
    assert question["content"][0] == {"type": "image"}
    assert question["content"][1]["text"].startswith("\n\nAdd the yellow cells from ")
    assert answer["role"] == "assistant"
    assert [image.mode for image in sample.images] == ["RGB"]
    assert sample.id == "consecutive_table_readout/simple/image/3/4"
    assert sample.meta == {
        "task": "consecutive_table_readout",
        "level": "simple",
        "kind": "image",
        "seed": 3,
        "index": 4,
    }
    assert COMPACT.sample("text", 3, 4).images == ()


def test_no_text_holds_an_image_placeholder():
    for kind in KINDS:
        for message in COMPACT.sample(kind, 0, 0).messages:
            assert all("<image>" not in block.get("text", "") for block in message["content"])


@pytest.mark.parametrize("style", ["latex", "compact"])
def test_distinct_prompts_ask_for_the_text_form(style):
    size = {"num_rows": 4, "num_cols": 5, "path_cells": [2, 5]}
    plain, distinct = (ConsecutiveTableReadout(style=style, distinct_prompts=flag, **size) for flag in (False, True))
    instance = plain.instance(0, 0)
    assert plain.prompt(instance, "image") == plain.prompt(instance, "image_via_text")
    assert distinct.prompt(instance, "image") == plain.prompt(instance, "image")
    request = distinct.prompt(instance, "conversion")
    assert distinct.prompt(instance, "image_via_text").startswith(f"{request}\n")


def test_compact_texts_are_short():
    tokenizers = pytest.importorskip("tokenizers")
    pairs = []
    for index in range(300):
        instance = COMPACT.instance(0, index)
        pairs.append((COMPACT.prompt(instance, "text"), COMPACT.response(instance, "text")))
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator((text for pair in pairs for text in pair), vocab_size=400, show_progress=False)
    lengths = [(len(tokenizer.encode(prompt).ids), len(tokenizer.encode(response).ids)) for prompt, response in pairs]
    assert max(prompt + response for prompt, response in lengths) <= 130


def test_tasks_travel_to_other_processes():
    COMPACT.image(COMPACT.instance(0, 0))
    again = pickle.loads(pickle.dumps(COMPACT))
    assert again.sample("image", 0, 1).images[0].tobytes() == COMPACT.sample("image", 0, 1).images[0].tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "Simple"}, "`level` must be one of `simple`, .* Did you mean `simple`"),
        ({"style": "markdown"}, "`style` must be one of"),
        ({"compat": "s2"}, "`compat` must be one of .* Did you mean `s2h`"),
        ({"num_rows": 0}, "`num_rows` must be an integer from 1 to 100"),
        ({"num_cols": 13}, "`num_cols` must be an integer from 1 to 12"),
        ({"num_rows": True}, "`num_rows` must be an integer"),
        ({"name_pools": [3]}, "`name_pools` must be two sizes of at most 100 and 12"),
        ({"name_pools": [3, 13]}, "`name_pools` must be two sizes"),
        ({"name_pools": [3, 12]}, "`num_rows` must be an integer from 1 to 3"),
        ({"path_cells": [5, 51]}, "`path_cells` must be .* from 1 to the 50 cells"),
        ({"path_cells": [6, 5]}, "`path_cells` must be"),
        ({"path_cells": [0, 5]}, "`path_cells` must be"),
        ({"path_cells": 5}, "`path_cells` must be two integers"),
        ({"path_cells": [1.0, 5]}, "`path_cells` must be two integers"),
        ({"level": "hard", "num_rows": 2}, "`path_cells` must be .* 20 cells"),
        ({"compat": "s2h", "path_cells": [5, 10]}, "`path_cells` must be left out"),
        ({"num_rows": 20}, "`image.width` and `image.height` must hold 20 rows"),
        ({"image": {"cellwidth": 3}}, "`image` takes no `cellwidth`. Did you mean `cell_width`"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build({"type": "consecutive_table_readout", **options})


def test_unknown_kinds_are_refused():
    with pytest.raises(ConfigError, match="Did you mean `image`"):
        COMPACT.sample("images", 0, 0)
