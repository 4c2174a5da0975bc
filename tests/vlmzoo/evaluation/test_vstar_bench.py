"""V*Bench: the files, both protocols, and the search alone."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.search_samples import search_spec
from vlmzoo.agents import fast_slow
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks._vstar import read_vstar
from vlmzoo.evaluation.runner import run_benchmark
from vlmzoo.models.switching import SwitchAnswer
from vlmzoo.scoring.nearest_option import nearest_option, word_overlap

SWITCH = {"type": "switch", "depth": 1, "head_dim": 8, "num_heads": 2, "num_latents": 2}


def make_row(folder, stem, *, options=("red", "blue"), targets=("cup",), boxes=((1, 1, 2, 2),), picture=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    told = {"target_object": targets, "bbox": boxes, "question": "What colour is the cup?", "options": options}
    (folder / f"{stem}.json").write_text(json.dumps(told))
    if picture:
        Image.new("RGB", (8, 8), "grey").save(folder / f"{stem}{picture}")


@pytest.fixture
def root(tmp_path):
    make_row(tmp_path / "direct_attributes", "sa_1.v2")
    make_row(tmp_path / "relative_position", "rp_1", picture=".png")
    return tmp_path


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return make_base("llava-llama", adapters=[SWITCH, search_spec(cache_size=8)]).eval()


def test_a_question_finds_its_picture_by_the_whole_stem(root):
    rows = read_vstar(str(root), ("direct_attributes", "relative_position"))
    assert [row.image.name for row in rows] == ["sa_1.v2.jpg", "rp_1.png"]
    assert rows[0].boxes()[0].xyxy == (1, 1, 3, 3)


def test_the_option_with_the_least_loss_counts_and_the_first_is_right(root, model, monkeypatch, tmp_path):
    losses = iter([[1.0, 2.0], [2.0, 1.0]])

    def choose(model, image, question, options, *, objects, layout):
        own = next(losses)
        best = own.index(min(own))
        return SwitchAnswer(text=options[best], missing=None, confidence=0.5, option=best, losses=own)

    monkeypatch.setattr(fast_slow, "choose", choose)
    benchmark = BENCHMARKS.build({"type": "vstar_bench", "root": str(root), "decide": "fast", "max_new_tokens": 2})
    result = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path / "out", batch_size=2)
    mean = {name: interval.mean for name, interval in result.scores.items()}
    assert result.main_score == "accuracy"
    assert (mean["accuracy"], mean["direct_attributes"], mean["relative_position"]) == (0.5, 1.0, 0.0)
    assert mean["is_slow"] == 0.0 and mean["lm_tokens"] > 0


def test_an_answer_in_words_counts_by_the_nearest_option(root, model, monkeypatch, tmp_path):
    said = [SwitchAnswer(text=text, missing=None, confidence=0.5) for text in ("It is red.", "maybe blue")]
    monkeypatch.setattr(fast_slow, "ask_samples", lambda model, samples, **options: said[: len(samples)])
    benchmark = BENCHMARKS.build({"type": "vstar_bench", "root": str(root), "protocol": "free"})
    result = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path / "out", batch_size=2)
    assert [one.completion for one in result.generations] == ["It is red.", "maybe blue"]
    assert [one.scores["accuracy"] for one in result.generations] == [1.0, 0.0]


def test_a_slow_answer_tells_its_evidence(root, model, tmp_path):
    options = {"type": "vstar", "max_visits": 1, "max_new_tokens": 8}
    benchmark = BENCHMARKS.build(
        {"type": "vstar_bench", "root": str(root), "decide": "slow", "max_new_tokens": 2, "proposer": options}
    )
    result = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path / "out", batch_size=2)
    assert [one.meta["evidence"][0]["name"] for one in result.generations] == ["cup", "cup"]
    assert benchmark.identity["proposer"] == options


def test_a_search_is_measured_for_each_object(tmp_path, model):
    make_row(tmp_path / "relative_position", "rp_1", targets=("cup", "dog"), boxes=((1, 1, 2, 2), (4, 4, 3, 3)))
    benchmark = BENCHMARKS.build(
        {
            "type": "vstar_search",
            "root": str(tmp_path),
            "subsets": ["relative_position"],
            "max_visits": 1,
            "max_new_tokens": 8,
        }
    )
    assert benchmark.num_questions == 2
    result = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path / "out", batch_size=2)
    assert result.main_score == "top1_iou" and {"iou", "path_length", "patches"} <= set(result.scores)
    assert [one.id for one in result.generations] == ["relative_position/rp_1/0", "relative_position/rp_1/1"]
    assert all(one.scores["top1_iou"] == float(one.scores["iou"] > 0.5) for one in result.generations)
    assert result.scores["patches"].mean == 1.0


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(DataError, match="must hold the questions of V"):
        read_vstar(str(tmp_path), ("direct_attributes",))
    with pytest.raises(ConfigError, match="`subsets` must name at least one folder"):
        read_vstar(str(tmp_path), ())
    for number, (options, sentence) in enumerate(
        [
            ({"picture": None}, "There is no picture beside"),
            ({"boxes": ()}, "must have a box of four numbers for each of its 1 objects"),
            ({"boxes": ((1, 2),)}, "must have a box of four numbers"),
            ({"options": ("red",)}, "must have at least two options, but has 1"),
        ]
    ):
        make_row(tmp_path / str(number), "x", **options)
        with pytest.raises(DataError, match=sentence):
            read_vstar(str(tmp_path), (str(number),))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.json").write_text("{")
    with pytest.raises(DataError, match="must hold `target_object`"):
        read_vstar(str(tmp_path), ("broken",))
    with pytest.raises(ConfigError, match="`protocol` must be options or free"):
        BENCHMARKS.build({"type": "vstar_bench", "root": str(tmp_path), "protocol": "both"})


WORDS = st.text(alphabet="abcde ", max_size=12)


@given(WORDS, WORDS)
def test_word_overlap_is_symmetric_and_one_where_words_are_the_same(one, other):
    assert word_overlap(one, other) == word_overlap(other, one)
    assert 0.0 <= word_overlap(one, other) <= 1.0
    if one.split():
        assert word_overlap(one, " ".join(reversed(one.split()))) == 1.0


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("The color of the cup is red.", 1.0),
        ("Red!", 1.0),
        ("blue", 0.0),
        ("red or blue", 0.0),
        ("green", 0.0),
        ("the cup", 0.0),
        ("", 0.0),
    ],
)
def test_only_the_nearest_option_counts(said, worth):
    options = ["The color of the cup is red.", "The color of the cup is blue."]
    assert nearest_option()(said, {"options": options, "answer": 0}) == worth
    assert nearest_option()(said, None) == 0.0
