"""Rewards that raise, hang or return nonsense are worth nothing, are counted, and stop nobody."""

import math
import time

import pytest

from vlmzoo.errors import ConfigError, DataError, RegistryError, ServiceError
from vlmzoo.services.rewards import RewardBench

HERE = "tests.vlmzoo.services.test_rewards"


def length(completion, reference):
    return len(completion)


def raises_on_b(completion, reference):
    if "b" in completion:
        raise KeyError("no b")
    return 1.0


def nan_on_b(completion, reference):
    return math.nan if "b" in completion else 1.0


def hangs_on_b(completion, reference):
    if "b" in completion:
        time.sleep(2.0)
    return 1.0


def asks_for_a_word(completion, reference):
    return "high" if "b" in completion else 1.0


def make(function, **options):
    bench = {name: options.pop(name) for name in ("timeout_s", "strict") if name in options}
    return RewardBench([{"type": "python", "function": f"{HERE}:{function}", **options}], **bench)


COMPLETIONS = [(text, None, f"sample {text}") for text in ("a", "b", "c")]


def test_totals_are_weighted_sums_and_a_weight_of_zero_only_watches():
    bench = RewardBench(
        [
            {"type": "exact_match", "weight": 2.0},
            {"type": "python", "function": f"{HERE}:length", "name": "length", "weight": 0.5},
            {"type": "format_think_answer", "weight": 0},
        ]
    )
    found = bench([("abc", "abc", "1"), ("ab", "abc", "2")])
    assert found.totals == [3.5, 1.0]
    assert found.values == {"exact_match": [1.0, 0.0], "length": [3.0, 2.0], "format_think_answer": [0.0, 0.0]}
    assert not found.faults


@pytest.mark.parametrize(
    ("function", "kind", "told"),
    [
        ("raises_on_b", "errors", "raised KeyError('no b')"),
        ("nan_on_b", "nonfinite", "returned nan"),
        ("hangs_on_b", "timeouts", "took more than 0.1 s"),
        ("asks_for_a_word", "errors", "could not convert string to float"),
    ],
)
def test_a_fault_is_worth_nothing_is_counted_and_is_told(function, kind, told, caplog):
    found = make(function, timeout_s=0.1)(COMPLETIONS)
    assert found.totals == [1.0, 0.0, 1.0]
    assert found.faults == {f"{kind}/python": 1}
    assert told in caplog.text
    assert "for a completion of sample `sample b`; it counts as 0" in caplog.text


@pytest.mark.parametrize("function", ["raises_on_b", "nan_on_b", "hangs_on_b"])
def test_a_strict_bench_ends_the_run(function):
    with pytest.raises(DataError, match="for a completion of sample `sample b`; it must return a finite number"):
        make(function, timeout_s=0.1, strict=True)(COMPLETIONS)


def test_a_function_that_hangs_again_and_again_ends_the_run():
    with pytest.raises(DataError, match="has taken more than 0.01 s for 8 completions"):
        make("hangs_on_b", timeout_s=0.01)([("b", None, "s")] * 9)


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ([], "`rewards` must name at least one reward"),
        ([{"type": "iou"}, {"type": "iou"}], "Two rewards are called `iou`; give one of them a `name`"),
        ([{"type": "iou", "weight": "much"}], "`weight` of the reward `iou` must be a number, but is 'much'"),
        ([{"type": "iou", "weight": math.nan}], "must be a number, but is nan"),
    ],
)
def test_bad_specs_are_refused(specs, sentence):
    with pytest.raises(ConfigError, match=sentence):
        RewardBench(specs)


def test_a_time_must_be_given():
    with pytest.raises(ConfigError, match="`reward_timeout_s` must be positive, but is 0"):
        make("length", timeout_s=0)


JUDGED = {"type": "judge", "name": "judge", "judge": {"type": "object_f1"}}
SAID = [
    ("a red circle", "a red circle", "1", "What is there?"),
    ("a blue square", "a red circle", "2", "What is there?"),
]


def test_a_judge_is_a_reward_and_is_asked_once_for_each_answer(tmp_path):
    spec = {**JUDGED, "ledger": {"path": str(tmp_path / "judge.jsonl")}, "weight": 2.0}
    bench = RewardBench([spec, {"type": "exact_match"}])
    found = bench([*SAID, SAID[0]])
    assert found.values == {"judge": [1.0, 0.0, 1.0], "exact_match": [1.0, 0.0, 1.0]}
    assert found.totals == [3.0, 0.0, 3.0] and not found.faults
    again = RewardBench([{**spec, "ledger": {**spec["ledger"], "mode": "replay"}}])
    again._judges["judge"].judge.score = lambda items: pytest.fail("the judge was asked")
    assert again(SAID).totals == [2.0, 0.0]
    with pytest.raises(ServiceError, match="holds no judge call"):
        again([("something else", "a red circle", "3", "What is there?")])


def test_what_a_judge_cannot_judge_has_no_reward_and_is_counted(caplog):
    bench = RewardBench([{**JUDGED, "judge": {"type": "object_f1", "invalid": 1.0}}, {"type": "exact_match"}])
    found = bench(SAID)
    assert all(math.isnan(total) for total in found.totals) and found.faults == {"unjudged/judge": 2}
    assert "gave no score for a completion of sample `1` (invalid by request); it has no reward" in caplog.text
    watching = RewardBench([{**JUDGED, "judge": {"type": "object_f1", "invalid": 1.0}, "weight": 0}, *EXACT])
    assert watching(SAID).totals == [1.0, 0.0]
    with pytest.raises(DataError, match="every completion must have one"):
        RewardBench([{**JUDGED, "judge": {"type": "object_f1", "invalid": 1.0}}], strict=True)(SAID)


EXACT = [{"type": "exact_match"}]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"jugde": 1}, "takes judge, scale and ledger"),
        ({"ledger": {"file": "x"}}, "`ledger` takes path, mode, max_calls and max_cost"),
        ({"judge": {"type": "object_f2"}}, "object_f"),
    ],
)
def test_a_judge_that_cannot_be_built_is_refused(changes, sentence):
    with pytest.raises((ConfigError, RegistryError), match=sentence):
        RewardBench([{**JUDGED, **changes}])
