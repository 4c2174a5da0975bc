"""The audit names what the answers depend on, whatever it is that is disturbed, and nothing else."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.audit import audit_pathways, audit_table
from vlmzoo.evaluation.benchmarks import BENCHMARKS

NUM = 60


class Questions:
    """Questions whose evidence lies in `meta`; the right answer is the colour of the left panel."""

    def __init__(self, num=NUM):
        spec = {"type": "conversations", "source": {"type": "colour_panels", "sides": ["left"]}, "num_questions": num}
        self._inner = BENCHMARKS.build(spec)
        self.scores, self.identity = self._inner.scores, self._inner.identity

    def questions(self):
        return [replace(q, meta={"clue": q.reference, "decoy": "x"}) for q in self._inner.questions()]


class MetaPathway:
    """Evidence that lies in a field of `meta`; a stranger to models, as an agent's would be."""

    kinds = ("blank", "swap")

    def __init__(self, field):
        self.field = field

    @contextmanager
    def disturbed(self, kind, samples, *, seed):
        values = [s.meta[self.field] for s in samples]
        others = [""] * len(values) if kind == "blank" else [*values[1:], values[0]]
        yield [replace(s, meta={**s.meta, self.field: value}) for s, value in zip(samples, others, strict=True)]


def from_clue(samples):
    return [sample.meta["clue"] for sample in samples]


def audit(ask=from_clue, pathways=None, **options):
    pathways = pathways or {"clue": MetaPathway("clue"), "decoy": MetaPathway("decoy")}
    return audit_pathways(ask, Questions(), pathways, **{"batch_size": 8, **options})


def test_the_pathway_that_carries_the_answer_is_named_and_the_other_is_not():
    found = audit()
    assert found.baseline.mean == 1.0
    assert found.carriers == ["clue"]
    assert found.verdict == "The answers depend on `clue`. No effect beyond chance: `decoy`."
    rows = {(row.pathway, row.kind): row for row in found.rows}
    assert set(rows) == {(label, kind) for label in ("clue", "decoy") for kind in ("blank", "swap")}
    assert rows["clue", "blank"].change.mean == -1.0 and rows["clue", "blank"].changed_answers == 1.0
    assert rows["decoy", "swap"].change.to_dict() == {"mean": 0.0, "low": 0.0, "high": 0.0, "num": NUM}
    assert json.loads(json.dumps(found.to_dict()))["carriers"] == ["clue"]


def test_a_change_is_paired_and_its_confidence_is_that_of_all_rows_together():
    found = audit()
    assert found.confidence == pytest.approx(1 - 0.05 / 4)
    for row in found.rows:
        assert row.change.mean == pytest.approx(row.score.mean - found.baseline.mean)
        assert row.change.low <= row.change.mean <= row.change.high


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_whoever_guesses_depends_on_nothing(seed):
    def guess(samples):
        return [("red", "blue")[hash((sample.id, seed)) % 2] for sample in samples]

    found = audit(guess)
    assert found.carriers == []
    assert found.verdict.startswith("No pathway matters: exact_match stays at")


def test_whoever_needs_both_has_both_named():
    found = audit(lambda samples: [s.meta["clue"] if s.meta["decoy"] == "x" else "?" for s in samples], kinds=["blank"])
    assert found.carriers == ["clue", "decoy"]
    assert found.verdict == "The answers depend on `clue`, `decoy`."


def test_every_question_can_be_swapped_even_one_that_is_left_over():
    seen = []
    audit(lambda samples: seen.append(len(samples)) or from_clue(samples), batch_size=59, kinds=["swap"])
    assert set(seen) == {NUM}
    seen.clear()
    audit(lambda samples: seen.append(len(samples)) or from_clue(samples), batch_size=29, kinds=["swap"])
    assert seen[:2] == [29, 29] and min(seen) >= 2 and sum(seen) == NUM * 3


def test_what_cannot_be_audited_is_refused():
    with pytest.raises(ConfigError, match="Pathway `clue` cannot be disturbed by `blanc`. Did you mean `blank`"):
        audit(kinds=["blanc"])
    with pytest.raises(ConfigError, match="`pathways` must name at least one"):
        audit_pathways(from_clue, Questions(), {}, batch_size=8)
    with pytest.raises(ConfigError, match="`batch_size` must be at least 2"):
        audit(batch_size=1)
    with pytest.raises(ConfigError, match="`num_questions` must be at least 20 for an audit, but is 5"):
        audit_pathways(from_clue, Questions(5), {"clue": MetaPathway("clue")}, batch_size=4)


def test_the_table_fits_a_log():
    console = Console(width=80, record=True)
    console.print(audit_table(audit(), title="an audit"))
    text = console.export_text()
    assert "…" not in text
    assert "clue" in text and "yes" in text and "no" in text
