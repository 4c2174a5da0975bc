"""Perplexity of greedy answers."""

import pytest
import torch

from vlmzoo.data.mia.selection import greedy_perplexity

GOLDEN = ("mia_dpo", "perplexity.jsonl")


def test_perplexity_is_the_authors(golden):
    scores = torch.tensor(golden.content["scores"])
    best = scores.log_softmax(-1).max(-1).values
    torch.testing.assert_close(best.exp(), torch.tensor(golden.content["max_probs"]), rtol=1e-5, atol=0)
    assert greedy_perplexity(best.tolist()) == pytest.approx(golden.content["ppl"], rel=1e-5)
