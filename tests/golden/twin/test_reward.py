"""TWIN's reward: the authors' own value on every row."""

from vlmzoo.scoring import SCORES

GOLDEN = ("twin", "reward*.jsonl")


def test_the_reward_is_the_authors(golden):
    case = golden.content
    for name in ("same_or_not", "answer_tag"):
        assert SCORES.build({"type": name})(case["completion"], case["ground_truth"]) == case["reward"], name
