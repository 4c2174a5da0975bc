"""Does each pathway matter? Disturb one at a time, ask the same questions, and compare answer by answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeAlias

from rich.table import Table

from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import Benchmark
from vlmzoo.evaluation.pathways import Pathway
from vlmzoo.registry import nearest_hint
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample

__all__ = ["Ask", "Audit", "AuditRow", "audit_pathways", "audit_table"]

Ask: TypeAlias = Callable[[Sequence[Sample]], Sequence[str]]
"""Answers questions, all at once."""

_LEAST_QUESTIONS = 20  # a bootstrap over fewer says nothing
_ERROR_RATE = 0.05  # of the whole audit


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One pathway, disturbed in one way.

    Args:
        pathway: its label.
        kind: of the disturbance.
        score: of the disturbed answers.
        change: disturbed minus undisturbed score, question by question; its confidence holds for all rows together.
        changed_answers: share of answers that are others than before.
    """

    pathway: str
    kind: str
    score: Interval
    change: Interval
    changed_answers: float

    @property
    def matters(self) -> bool:
        """Whether the score falls beyond what chance explains."""
        return self.change.high < 0


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What the disturbances did.

    Args:
        score_name: what was compared.
        baseline: the score of the undisturbed answers.
        rows: pathway by pathway.
        confidence: of each ``change``, so that all of them hold together with 95 %.
    """

    score_name: str
    baseline: Interval
    rows: Sequence[AuditRow]
    confidence: float

    @property
    def carriers(self) -> list[str]:
        """The pathways without which the answers are worse, the most important first."""
        worst: dict[str, float] = {}
        for row in self.rows:
            if row.matters:
                worst[row.pathway] = min(worst.get(row.pathway, 0.0), row.change.mean)
        return sorted(worst, key=lambda name: worst[name])

    @property
    def verdict(self) -> str:
        """The finding in a sentence."""
        labels = list(dict.fromkeys(row.pathway for row in self.rows))
        idle = [label for label in labels if label not in self.carriers]
        if not self.carriers:
            return f"No pathway matters: {self.score_name} stays at {self.baseline.mean:.3f} whatever is disturbed."
        found = f"The answers depend on {_listed(self.carriers)}."
        return f"{found} No effect beyond chance: {_listed(idle)}." if idle else found

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        rows = [{**asdict(row), "matters": row.matters} for row in self.rows]
        return {
            "score": self.score_name,
            "baseline": self.baseline.to_dict(),
            "confidence": self.confidence,
            "carriers": self.carriers,
            "verdict": self.verdict,
            "rows": rows,
        }


def audit_pathways(
    ask: Ask,
    benchmark: Benchmark,
    pathways: Mapping[str, Pathway],
    *,
    kinds: Sequence[str] | None = None,
    batch_size: int = 16,
    seed: int = 0,
    report: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Ask all questions undisturbed, then once for each pathway and each way to disturb it.

    A change is the mean of the differences question by question (paired), with a percentile bootstrap interval whose
    confidence is Bonferroni's: all intervals of the audit hold together with 95 %.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; Dunn, Multiple Comparisons
    Among Means, JASA 56 (1961).

    Args:
        ask: whoever answers; it must not change between calls.
        benchmark: questions and the main score.
        pathways: by label.
        kinds: of disturbance; None takes all that a pathway knows.
        batch_size: questions asked at once, and swapped among.
        seed: of disturbances and bootstrap.
        report: told the label of the arm, the number of answered questions, and of all, after each batch.

    Raises:
        ConfigError: if there are no pathways, one does not know a kind, or there are too few questions.
        DataError: if questions cannot be disturbed.
    """
    arms = _arms(pathways, kinds)
    batches = list(_batches(benchmark.questions(), batch_size))
    num = sum(len(batch) for batch in batches)
    if num < _LEAST_QUESTIONS:
        raise ConfigError(f"`num_questions` must be at least {_LEAST_QUESTIONS} for an audit, but is {num} instead.")
    name, score = next(iter(benchmark.scores.items()))

    def run(label: str, pathway: Pathway | None, kind: str) -> tuple[list[str], list[float]]:
        answers: list[str] = []
        scores: list[float] = []
        for number, batch in enumerate(batches):
            said = _ask(ask, batch, pathway, kind, seed=seed + number)
            answers += said
            scores += [float(score(text, sample.reference)) for text, sample in zip(said, batch, strict=True)]
            if report is not None:
                report(label, len(answers), num)
        return answers, scores

    answers, scores = run("undisturbed", None, "")
    confidence = 1.0 - _ERROR_RATE / len(arms)
    rows: list[AuditRow] = []
    for label, kind in arms:
        others, worse = run(f"{label}: {kind}", pathways[label], kind)
        differences = [after - before for before, after in zip(scores, worse, strict=True)]
        rows.append(
            AuditRow(
                pathway=label,
                kind=kind,
                score=bootstrap_interval(worse, seed=seed),
                change=bootstrap_interval(differences, confidence=confidence, seed=seed),
                changed_answers=sum(a != b for a, b in zip(answers, others, strict=True)) / num,
            )
        )
    return Audit(score_name=name, baseline=bootstrap_interval(scores, seed=seed), rows=rows, confidence=confidence)


def audit_table(audit: Audit, *, title: str | None = None) -> Table:
    """Return the table that a console prints: a row for each pathway and disturbance.

    ``mean`` is the score, ``other`` the share of answers that are others than before; it fits 80 characters.
    """
    table = Table(title=title, title_justify="left", caption=audit.verdict, caption_justify="left")
    for heading in ("pathway", "by"):
        table.add_column(heading, no_wrap=True)
    for heading in ("mean", "change", "interval", "other", "matters"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("none", "", f"{audit.baseline.mean:.3f}", *[""] * 4)
    for row in audit.rows:
        table.add_row(
            row.pathway,
            row.kind,
            f"{row.score.mean:.3f}",
            f"{row.change.mean:+.3f}",
            f"{row.change.low:+.3f} to {row.change.high:+.3f}",
            f"{row.changed_answers:.0%}",
            "yes" if row.matters else "no",
        )
    return table


def _arms(pathways: Mapping[str, Pathway], kinds: Sequence[str] | None) -> list[tuple[str, str]]:
    if not pathways:
        raise ConfigError("`pathways` must name at least one, but names none.")
    for label, pathway in pathways.items():
        for kind in kinds or ():
            if kind not in pathway.kinds:
                known = ", ".join(pathway.kinds)
                hint = nearest_hint(kind, pathway.kinds)
                raise ConfigError(f"Pathway `{label}` cannot be disturbed by `{kind}`.{hint} It knows {known}.")
    return [(label, kind) for label, pathway in pathways.items() for kind in kinds or pathway.kinds]


def _batches(samples: Any, size: int) -> Iterator[list[Sample]]:
    """Cut into batches of at least two, so that every question can be swapped with another."""
    if size < 2:
        raise ConfigError(f"`batch_size` must be at least 2 for an audit, but is {size} instead.")
    iterator = iter(samples)
    held = list(islice(iterator, size))
    while batch := list(islice(iterator, size)):
        if len(batch) == 1:
            held += batch
            continue
        yield held
        held = batch
    if held:
        yield held


def _ask(ask: Ask, batch: Sequence[Sample], pathway: Pathway | None, kind: str, *, seed: int) -> list[str]:
    if pathway is None:
        return list(ask(batch))
    with pathway.disturbed(kind, batch, seed=seed) as disturbed:
        return list(ask(disturbed))


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
