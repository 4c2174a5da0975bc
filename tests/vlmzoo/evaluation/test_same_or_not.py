"""Same or not, measured: every score by hand on a few answers, and a tiny model asked for real."""

import pytest

from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation import BENCHMARKS, run_benchmark
from vlmzoo.evaluation.records import Generation
from vlmzoo.evaluation.same_or_not import scores_of, summarise_answers

FGVQA = {"type": "fgvqa", "path": str(TINY / "twin" / "fgvqa" / "test.jsonl")}


def answer(number, reference, said, *, subset="twin", pair=True, **more):
    scores = scores_of(said, is_right=said == reference, is_parsed=said is not None, is_pair=pair)
    return Generation(
        id=str(number), prompt="", completion="", reference=reference, scores={**scores, **more},
        num_prompt_tokens=0, num_completion_tokens=0, finished=True, meta={"subset": subset},
    )  # fmt: skip


def test_every_score_is_what_it_says():
    rows = [("yes", "yes"), ("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", None)]
    odds, alike = [3.0, 1.0, -1.0, 0.5, -2.0], [1, 1, 0, 0, 1]
    answers = [
        answer(number, *row, log_odds=odds[number], consistent=float(alike[number])) for number, row in enumerate(rows)
    ]
    answers += [answer(5, "2", "2", pair=False, subset="cub"), answer(6, "0", "3", pair=False, subset="cub")]
    found = {name: interval.mean for name, interval in summarise_answers(answers, seed=0).items()}
    assert next(iter(found)) == "overall"
    assert found["overall"] == pytest.approx(3 / 7) and found["pair"] == pytest.approx(2 / 5) and found["multi"] == 0.5
    assert found["accuracy/yes"] == pytest.approx(2 / 3) and found["accuracy/no"] == 0 and found["accuracy/0"] == 0
    assert found["balanced_accuracy"] == pytest.approx(1 / 3) and found["yes_rate"] == pytest.approx(3 / 5)
    assert found["parsed"] == pytest.approx(6 / 7) and found["order_consistency"] == pytest.approx(3 / 5)
    assert found["auroc"] == pytest.approx(5 / 6) and found["d_prime"] > 1
    assert found["subset/twin"] == pytest.approx(2 / 5) and found["mean_over_subsets"] == pytest.approx(0.45)


def test_one_class_alone_has_no_balance_and_nothing_has_no_score():
    found = summarise_answers([answer(0, "yes", "yes"), answer(1, "yes", "no")], seed=0)
    assert "balanced_accuracy" not in found and found["pair"].mean == 0.5
    with pytest.raises(DataError, match="there are none"):
        summarise_answers([], seed=0)


def test_a_model_is_asked_twice_and_looked_at(tmp_path):
    model = make_base("llava-llama").eval()
    spec = {"type": "same_or_not", "source": FGVQA, "swap_order": True, "log_probs": True, "max_new_tokens": 4}
    result = run_benchmark(model, model.processor, BENCHMARKS.build(spec), out_dir=tmp_path, batch_size=4)
    assert {"overall", "pair", "multi", "auroc", "order_consistency", "mean_over_subsets"} <= set(result.scores)
    assert len(result.generations) == 4 and "log_odds" not in result.generations[2].scores


def test_what_is_not_there_cannot_be_asked():
    with pytest.raises(ConfigError, match="`num` must be at least 1 and within the source, but 9"):
        BENCHMARKS.build({"type": "same_or_not", "source": FGVQA, "num": 9})
    endless = {"type": "synthetic", "kinds": {"image": 1.0}, "task": {"type": "same_or_not"}}
    with pytest.raises(ConfigError, match="it has no end"):
        BENCHMARKS.build({"type": "same_or_not", "source": endless})
