import pickle
from collections import Counter
from fractions import Fraction
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.data.synthetic._readout_paths import TRIMS, WALKS, random_walk, trimmed
from vlmzoo.data.synthetic._readout_rules import PathRule, level_paths
from vlmzoo.data.synthetic.table_readout import TableReadout
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

SEEDS, INDICES = st.integers(0, 2**40), st.integers(0, 10**9)
LATEX = {level: TableReadout(level=level) for level in ("simple", "hard")}
COMPACT = TableReadout(style="compact", num_rows=6, num_cols=[5, 7], paths=[{"type": "random"}, {"type": "sinusoid"}])
RULES = sorted({rule for level in LATEX for group in level_paths(level, "train") for rule in group}, key=str)


class Script:
    """Draws that were decided before; after the last decision the first outcome is taken, and noted."""

    def __init__(self, decisions):
        self.decisions, self.counts = list(decisions), []

    def integer(self, low, high):
        self.counts.append(high - low + 1)
        if len(self.counts) > len(self.decisions):
            self.decisions.append(0)
        return low + self.decisions[len(self.counts) - 1]

    def coin(self):
        return bool(self.integer(0, 1))


def law_of(draw, first=()):
    """Return the probability of each outcome, by trying every sequence of decisions that begins with ``first``."""
    law, stack = Counter(), [first]
    while stack:
        script = Script(start := stack.pop())
        outcome = draw(script)
        law[outcome] += Fraction(1, int(np.prod(script.counts, dtype=object)))
        for place in range(len(start), len(script.counts)):
            stack.extend((*script.decisions[:place], other) for other in range(1, script.counts[place]))
    return law


def paths_of(num, **options):
    task = TableReadout(**options)
    return [task.instance(3, index).path for index in range(num)]


@settings(max_examples=300)
@given(rule=st.sampled_from(RULES), seed=SEEDS, size=st.tuples(st.integers(7, 12), st.integers(7, 12)))
def test_paths_go_from_neighbour_to_neighbour_and_never_cross_themselves(rule, seed, size):
    options = {"num_rows": size[0], "num_cols": size[1], "paths": [vars(rule)]}
    path = TableReadout(style="compact", **options).instance(seed, 0).path
    assert len(set(path)) == len(path) > 0
    assert all(0 <= row < size[0] and 0 <= col < size[1] for row, col in path)
    assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(path))


@pytest.mark.parametrize(
    ("kind", "gap"),
    [("random", 0), ("sinusoid", 0), ("sinusoid", 1), ("spiral", 0), ("spiral", 1), ("compositional", 0)],
)
def test_the_least_table_has_a_path_whatever_is_drawn(kind, gap):
    for pieces in (1, 4):
        least = PathRule(type=kind, pieces=pieces, gap=gap).least_size
        for size in ((least, least), (least, least + 1), (least + 1, least)):
            walks = law_of(lambda script, size=size, pieces=pieces: tuple(WALKS[kind](script, size, pieces, gap)))
            assert min(map(len, walks)) > 2 * TRIMS.get(kind, 0)
            assert all(len(set(walk)) == len(walk) for walk in walks)


def test_ends_of_one_piece_follow_the_authors_rejections():
    """Their rule: a coin for the direction, two places along it, one across; anew until 4 apart."""
    size, accepted = (6, 5), Counter()
    for axis in (0, 1):
        pairs, across = list(permutations(range(size[axis]), 2)), size[1 - axis]
        for start, stop in pairs:
            for place in range(across):
                ends = [(start, place), (stop, place)] if axis == 0 else [(place, start), (place, stop)]
                if abs(start - stop) >= 4:
                    accepted[tuple(ends)] += Fraction(1, 2 * len(pairs) * across)
    total = sum(accepted.values())
    law = law_of(lambda script: (lambda path: (path[0], path[-1]))(random_walk(script, size, 1, 0)))
    assert law == {ends: odds / total for ends, odds in accepted.items()}


def test_ends_of_more_pieces_follow_the_authors_rejections():
    """Their rule: a start of 0 … n-5 and 4 … n-1, an end 4 or more away, never 0; anew where there is none."""

    def along(length):
        starts, law = [*range(length - 4), *range(4, length)], Counter()
        for start in starts:
            ends = [place for place in range(1, length) if abs(place - start) >= 4]
            for end in ends:
                law[start, end] += Fraction(1, len(starts) * len(ends))
        total = sum(law.values())
        return {pair: odds / total for pair, odds in law.items()}

    size = (9, 6)
    rows, cols = (along(length) for length in size)
    expected = {((r, c), (r_, c_)): p * q for (r, r_), p in rows.items() for (c, c_), q in cols.items()}
    found = Counter()
    for path, odds in law_of(lambda script: tuple(random_walk(script, size, 2, 0)), first=(1,)).items():
        found[path[0], path[-1]] += 2 * odds  # the first decision is for two pieces
    assert found == expected


def test_early_turns_are_uniform_on_the_side_of_the_end_but_not_beside_it():
    size, turns = (8, 6), {}
    for path, odds in law_of(lambda script: tuple(random_walk(script, size, 3, 0)), first=(2,)).items():
        axis = int(path[0][0] == path[1][0])
        turn = next(a for a, b in pairwise(path) if a[axis] == b[axis])
        turns.setdefault((path[0], path[-1], axis), Counter())[turn[axis]] += odds
    assert len(turns) > 50
    for (start, end, axis), law in turns.items():
        towards = 1 if end[axis] > start[axis] else -1
        expected = {
            place
            for place in range(size[axis])
            if (place - start[axis]) * towards > 0 and place not in (end[axis] - 1, end[axis], end[axis] + 1)
        }
        assert set(law) == expected
        assert len(set(law.values())) == 1


def test_trimming_drops_cells_at_both_ends_and_turns_half_of_the_paths_around():
    law = law_of(lambda script: trimmed(script, "abcdefg", 2))
    kept = {tuple("abcdefg"[front : 7 - back]) for front in range(3) for back in range(3)}
    assert law == {path: Fraction(1, 18) for whole in kept for path in (whole, whole[::-1])}


@pytest.mark.parametrize(
    ("kind", "pieces", "mean"),
    [
        ("sinusoid", 3, 16),
        ("sinusoid", 4, 17),
        ("sinusoid", 8, 33),
        ("sinusoid", 10, 37),
        ("spiral", 3, 21),
        ("spiral", 4, 26),
        ("spiral", 6, 34),
        ("spiral", 8, 37),
    ],
)
def test_waves_and_spirals_are_as_long_as_the_authors(kind, pieces, mean):
    """Ours is the exact mean over gaps and sizes; theirs was measured on the released generators, and rounded."""
    lengths = []
    for num_rows, num_cols, gap in product(range(7, 13), range(7, 11), (0, 1)):
        law = law_of(lambda script, size=(num_rows, num_cols), gap=gap: len(WALKS[kind](script, size, pieces, gap)))
        lengths.append(sum(length * odds for length, odds in law.items()))
    trimmed_mean = sum(lengths) / len(lengths) - TRIMS[kind]  # half of the cells that may go, at each of two ends
    assert round(trimmed_mean) == mean


@pytest.mark.parametrize(("kind", "mean"), [("random", 10.1), ("compositional", 45.9)])
def test_other_paths_are_as_long_as_the_authors(kind, mean):
    rule = {"type": kind, "pieces": 4 if kind == "random" else [8, 10]}
    lengths = [len(path) for path in paths_of(3000, style="compact", paths=[rule], num_cols=(7, 10))]
    assert abs(np.mean(lengths) - mean) < 0.05 * np.std(lengths) + 0.05  # of some three standard errors, and rounding


@pytest.mark.parametrize(
    ("level", "split", "mean"), [("simple", "train", 17), ("hard", "train", 39), ("hard", "eval", 46)]
)
def test_levels_differ_in_the_length_of_paths(level, split, mean):
    assert abs(np.mean([len(path) for path in paths_of(1500, level=level, split=split)]) - mean) < 1.2


def test_simple_questions_are_of_each_rule_equally_often():
    assert [len(group) for group in level_paths("simple", "eval")] == [1] * 9
    assert {rule for group in level_paths("simple", "eval") for rule in group} == {
        rule for group in level_paths("simple", "train") for rule in group
    }


def test_tables_have_all_sizes_distinct_names_and_digits():
    sizes = Counter()
    for index in range(1200):
        instance = LATEX["hard"].instance(0, index)
        num_rows, num_cols = len(instance.row_names), len(instance.col_names)
        sizes[num_rows, num_cols] += 1
        assert len(set(instance.row_names)) == num_rows == len(instance.values)
        assert len(set(instance.col_names)) == num_cols
        assert all(len(row) == num_cols and set(row) <= set(range(10)) for row in instance.values)
    assert set(sizes) == {(num_rows, num_cols) for num_rows in range(7, 13) for num_cols in range(7, 11)}
    assert min(sizes.values()) > 20  # uniform: 50 each


@given(SEEDS, INDICES)
def test_equal_arguments_give_equal_instances(seed, index):
    again = TableReadout(level="hard")
    again.instance(seed, index + 1)
    assert again.instance(seed, index) == LATEX["hard"].instance(seed, index)


def test_level_seed_and_index_all_matter():
    places = [(LATEX["simple"], 0, 0), (LATEX["simple"], 0, 1), (LATEX["simple"], 1, 0), (LATEX["hard"], 0, 0)]
    assert len({task.instance(seed, index).values for task, seed, index in places}) == 4


def test_instances_do_not_depend_on_the_hash_seed(fresh_python, monkeypatch):
    code = (
        "from vlmzoo.data.synthetic import TASKS\n"
        "task = TASKS.build({'type': 'table_readout', 'level': 'hard'})\n"
        "print([task.instance(3, index) for index in range(20)])\n"
    )
    found = set()
    for hash_seed in ("0", "1", "77"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        found.add(fresh_python(code))
    assert found == {str([LATEX["hard"].instance(3, index) for index in range(20)])}


def test_a_known_instance_stays_what_it_is():
    """The stream of draws is part of the interface: a data set is named by task, level, seed and index."""
    paths = [{"type": "random"}, {"type": "sinusoid"}]
    task = TableReadout(style="compact", num_rows=5, num_cols=[5, 6], paths=paths)
    instance = task.instance(0, 1)
    assert task.text_form(instance) == (
        " May Feb Jun Nov Jan\n Ben 1* 5* 0* 1* 6*\n Ann 7 3 5 2 3*\n Max 9 2 9 7 8*\n Zoe 3 1 3 1 1*\n Ruth 6 3 9 4 8*"
    )
    assert task.answer(instance) == "1,5,0,1,6,3,8,1,8"


@pytest.mark.parametrize("task", [LATEX["hard"], COMPACT], ids=["latex", "compact"])
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


@pytest.mark.parametrize("task", [*LATEX.values(), COMPACT], ids=["simple", "hard", "compact"])
@given(seed=SEEDS, index=INDICES, data=st.data())
def test_responses_score_one_and_changed_ones_zero(task, seed, index, data):
    exact, cot = SCORES.build({"type": "table_exact_match"}), SCORES.build({"type": "table_cot_exact_match"})
    instance, kind = task.instance(seed, index), data.draw(st.sampled_from(["text", "image", "image_via_text"]))
    answer, response = task.answer(instance), task.response(instance, kind)
    assert (exact(response, answer), cot(response, answer)) == (1.0, 1.0)
    wrong = [str(value) for value in instance.addends]
    place = data.draw(st.integers(0, len(wrong) - 1))
    wrong[place] = str((instance.addends[place] + data.draw(st.integers(1, 9))) % 10)
    assert (exact(response, ",".join(wrong)), cot(response, ",".join(wrong))) == (0.0, 0.0)
    total = " + ".join(wrong)
    before, found, after = response.rpartition(f"The total is {' + '.join(map(str, instance.addends))}")
    assert found
    changed = f"{before}The total is {total}{after}"
    assert (exact(changed, answer), cot(changed, answer)) == (0.0, 1.0)


@pytest.mark.parametrize("kind", ["text", "image", "image_via_text"])
@pytest.mark.parametrize("task", [LATEX["simple"], COMPACT], ids=["latex", "compact"])
@given(seed=SEEDS, keep=st.floats(0, 1))
def test_what_is_kept_of_the_chain_is_its_beginning(task, kind, seed, keep):
    exact = SCORES.build({"type": "table_exact_match"})
    instance = task.instance(seed, 0)
    whole, none = task.response(instance, kind), task.response(instance, kind, cot=False)
    solution = none[none.rindex("The total is") :]
    conversion, chain = none.removesuffix(solution), whole.removeprefix(none.removesuffix(solution))
    chain = chain.removesuffix(solution)
    gap = chain[len(chain.rstrip("\n")) :]
    chain = chain.removesuffix(gap)
    kept = task.response(instance, kind, keep=keep)
    expected = chain[: int(len(chain) * keep)]
    assert kept == conversion + (f"{expected}{gap}" if expected else "") + solution
    assert exact(kept, task.answer(instance)) == 1.0


def test_all_or_nothing_may_be_kept():
    instance = LATEX["hard"].instance(0, 0)
    for kind in ("text", "image", "image_via_text"):
        whole, none = LATEX["hard"].response(instance, kind), LATEX["hard"].response(instance, kind, cot=False)
        assert LATEX["hard"].response(instance, kind, keep=1.0) == whole
        assert LATEX["hard"].response(instance, kind, keep=0.0) == none
    total = " + ".join(map(str, instance.addends))
    assert LATEX["hard"].response(instance, "image", cot=False) == (
        f"The total is {total} = {instance.total}.\n\nAnswer: {instance.total}"
    )
    half = LATEX["hard"].sample("text", 0, 0, keep=0.5).messages[1]["content"][0]["text"]
    assert half == LATEX["hard"].response(instance, "text", keep=0.5)
    assert len(half) < 0.7 * len(LATEX["hard"].response(instance, "text"))


@pytest.mark.parametrize(
    ("task", "style", "expected"),
    [
        (LATEX["hard"], "template", "Row Name, Column Name, Value\n{row}\t{col}\t{value}\n"),
        (
            LATEX["hard"],
            "order",
            "Column Name, Row Name, Column Index, Row Index, Value\n{col}\t{row}\t{c}\t{r}\t{value}\n",
        ),
        (COMPACT, "template", "{r} {c} {value}\n"),
        (COMPACT, "order", "\n{c} {r} {value}\n"),
    ],
    ids=["names", "turned", "indices", "turned indices"],
)
def test_another_chain_has_other_fields_of_the_same_cells(task, style, expected):
    instance = task.instance(0, 1)
    row, col = instance.path[0]
    cell = {"row": instance.row_names[row], "col": instance.col_names[col], "r": row + 1, "c": col + 1}
    chain = task.response(instance, "text", cot_style=style)
    assert expected.format(**cell, value=instance.addends[0]) in chain
    assert SCORES.build({"type": "table_cot_exact_match"})(chain, task.answer(instance)) == (task is COMPACT)
    assert chain.endswith(task.response(instance, "text", cot=False))
    assert ("We enumerate" in chain) == (task is not COMPACT and style != "template")


def test_a_sample_is_a_conversation_with_its_image():
    sample = LATEX["hard"].sample("image", 3, 4)
    question, answer = sample.messages
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert question["content"][0] == {"type": "image"}
    assert question["content"][1]["text"].startswith("\n\nThe image shows the sales data")
    assert [(image.mode, image.size) for image in sample.images] == [("RGB", (1500, 800))]
    assert sample.id == "table_readout/hard/image/3/4"
    assert sample.meta == {"task": "table_readout", "level": "hard", "kind": "image", "seed": 3, "index": 4}
    for kind in KINDS:
        for message in LATEX["simple"].sample(kind, 0, 0).messages:
            assert all("<image>" not in block.get("text", "") for block in message["content"])


@given(st.integers(0, 10**6))
def test_yellow_is_where_the_path_is(index):
    instance = COMPACT.instance(0, index)
    pixels = np.asarray(COMPACT.image(instance))
    num_rows, num_cols = len(instance.row_names) + 1, len(instance.col_names) + 1
    assert pixels.shape == (32 * num_rows, 32 * num_cols, 3)
    cells = pixels.reshape(num_rows, 32, num_cols, 32, 3).swapaxes(1, 2)
    is_yellow = (cells == (255, 255, 0)).all(axis=-1).any(axis=(2, 3))
    assert {(r - 1, c - 1) for r, c in np.argwhere(is_yellow)} == set(instance.path)


@pytest.mark.parametrize("num_rows", [7, 9, 10, 12])
def test_figures_hold_the_whole_table(num_rows):
    task = TableReadout(num_rows=num_rows)
    for index in range(8):
        instance = task.instance(0, index)
        pixels = np.asarray(task.image(instance)).astype(int)
        rows = np.flatnonzero((pixels != 255).any(axis=(1, 2)))
        assert abs(rows[0] - (799 - rows[-1])) <= 2  # in the middle
        is_body = (np.abs(pixels - (245, 245, 245)).max(axis=2) == 0) | (pixels == (255, 255, 0)).all(axis=2)
        starts = is_body[:, 1:] & ~is_body[:, :-1]
        lines = Counter(starts[y].sum() for y in range(rows[0], rows[-1]))
        assert lines[len(instance.col_names)] >= 4 * num_rows  # above and below the words, each cell is one run


def test_tasks_travel_to_other_processes():
    COMPACT.image(COMPACT.instance(0, 0))
    again = pickle.loads(pickle.dumps(COMPACT))
    assert again.sample("image", 0, 1).images[0].tobytes() == COMPACT.sample("image", 0, 1).images[0].tobytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "medium"}, "`level` must be one of `simple`, `hard`"),
        ({"split": "test"}, "`split` must be one of `train`, `eval`"),
        ({"style": "markdown"}, "`style` must be one of"),
        ({"compat": "s2h"}, "takes no `compat`"),
        ({"num_rows": 6}, "`num_rows` must be .* from 7 to 100, but is 6 instead; its paths"),
        ({"num_rows": [8, 7]}, "`num_rows` must be"),
        ({"num_rows": [7, 8, 9]}, "`num_rows` must be"),
        ({"num_rows": 7.0}, "`num_rows` must be"),
        ({"num_rows": True}, "`num_rows` must be"),
        ({"num_rows": "79"}, "`num_rows` must be"),
        ({"num_cols": [7, 13]}, "`num_cols` must be .* from 7 to 12"),
        ({"num_cols": 4, "paths": [{"type": "random"}]}, "`num_cols` must be .* from 5 to 12"),
        ({"num_rows": 9, "num_cols": 8, "paths": [{"type": "spiral", "gap": 2}]}, "`num_cols` must be .* from 9 to 12"),
        ({"name_pools": [3]}, "`name_pools` must be two sizes of at most 100 and 12"),
        ({"name_pools": [12, 13]}, "`name_pools` must be two sizes"),
        ({"name_pools": [8, 12]}, "`num_rows` must be .* from 7 to 8"),
        ({"paths": []}, "`paths` must be a list of at least one"),
        ({"paths": {"type": "random"}}, "`paths` must be a list"),
        ({"paths": "random"}, "`paths` must be a list"),
        ({"paths": ["random"]}, "A path of `paths` must be a mapping with a `type`"),
        ({"paths": [{"pieces": 3}]}, "A path of `paths` must be a mapping with a `type`"),
        ({"paths": [{"type": "spirals"}]}, "`paths.type` must be one of .* Did you mean `spiral`"),
        ({"paths": [{"type": ["spiral"]}]}, "`paths.type` must be one of"),
        ({"paths": [{"type": "spiral", "piece": 3}]}, "takes no `piece`. Did you mean `pieces`"),
        ({"paths": [{"type": "spiral", "pieces": []}]}, "must name at least one number"),
        ({"paths": [{"type": "spiral", "pieces": [3, 0]}]}, "`pieces` of a `spiral` path must be .* from 1"),
        ({"paths": [{"type": "random", "pieces": 5}]}, "`pieces` of a `random` path must be .* from 1 to 4"),
        ({"paths": [{"type": "sinusoid", "gap": -1}]}, "`gap` of a `sinusoid` path must be .* from 0"),
        ({"paths": [{"type": "compositional", "gap": 1}]}, "`gap` of a `compositional` path must be .* from 0 to 0"),
        ({"num_rows": [7, 30]}, "`image.width` and `image.height` must hold 30 rows"),
        ({"image": {"cellwidth": 3}}, "`image` takes no `cellwidth`. Did you mean `cell_width`"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build({"type": "table_readout", **options})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"keep": 1.5}, "`keep` must be a share from 0 to 1"),
        ({"keep": float("nan")}, "`keep` must be a share"),
        ({"keep": True}, "`keep` must be a share"),
        ({"keep": 0.5, "cot": False}, "must be left out with `cot=False`"),
        ({"kind": "images"}, "Did you mean `image`"),
    ],
)
def test_samples_that_cannot_be_made_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        COMPACT.sample(**{"kind": "text", "seed": 0, "index": 0, **arguments})
