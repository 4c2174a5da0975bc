"""Decisions at and around the thresholds."""

from vlmzoo.data.mia.selection import Candidate, reference_keeps

GOLDEN = ("mia_dpo", "decisions.jsonl")


def test_decision_is_the_authors(golden):
    content = golden.content
    candidate = Candidate(
        kind=content["kind"],
        num_images=content["n_images"],
        ratio=float(content["ratio"]),
        perplexity=float(content["ppl"]),
        chosen=content["gt"],
        rejected=content["response"],
    )
    assert reference_keeps(candidate) is content["selected"]
