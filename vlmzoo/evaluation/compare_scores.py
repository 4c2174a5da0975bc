"""One file of answers, scored as lmms-eval, VLMEvalKit and the paper do; where they differ, and why.

Letters: Q questions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.table import Table

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import DataError
from vlmzoo.evaluation.harness_tasks import HarnessTask, harness_task, options_of, reference_of
from vlmzoo.evaluation.records import Generation, read_generations
from vlmzoo.scoring.harness_rules import Judged

__all__ = ["Cause", "Disagreement", "Gap", "ScoreComparison", "compare_scores", "comparison_tables"]


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """An answer that two rules judge differently.

    Args:
        id: of the question.
        completion: what was answered.
        reference: what it was compared with.
        judged: by the two rules, by their names.
        cause: the smallest change after which they judge alike; see `compare_scores`.
    """

    id: str
    completion: str
    reference: Any
    judged: Mapping[str, Judged]
    cause: str

    @property
    def difference(self) -> Fraction:
        """The first rule's score minus the second's, exactly."""
        first, second = self.judged.values()
        return Fraction(first.score) - Fraction(second.score)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        judged = {name: {"read": one.read, "score": one.score} for name, one in self.judged.items()}
        return {
            "id": self.id, "completion": self.completion, "reference": self.reference, "cause": self.cause, **judged
        }  # fmt: skip


@dataclass(frozen=True)
class Cause:
    """What a cause adds to a gap.

    Args:
        num: answers with it.
        share: of the gap; the shares of all causes add up to it.
    """

    num: int
    share: Fraction


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What lies between two rules.

    Args:
        first: name of a rule.
        second: name of another.
        num_questions: Q.
        disagreements: in the order of the questions.
    """

    first: str
    second: str
    num_questions: int
    disagreements: Sequence[Disagreement]

    @property
    def value(self) -> Fraction:
        """The first rule's mean minus the second's, exactly."""
        return sum((one.difference for one in self.disagreements), Fraction(0)) / self.num_questions

    @property
    def causes(self) -> dict[str, Cause]:
        """The causes, those of most answers first."""
        found: dict[str, Cause] = {}
        for one in self.disagreements:
            known = found.get(one.cause, Cause(0, Fraction(0)))
            found[one.cause] = Cause(known.num + 1, known.share + one.difference / self.num_questions)
        return dict(sorted(found.items(), key=lambda item: (-item[1].num, item[0])))


@dataclass(frozen=True, kw_only=True)
class ScoreComparison:
    """The scores of one file by all rules.

    Args:
        task: name.
        num_questions: Q.
        means: by rule, exactly.
        gaps: of every two rules.
        num_unread: answers in which a rule finds nothing, by rule.
    """

    task: str
    num_questions: int
    means: Mapping[str, Fraction]
    gaps: Sequence[Gap]
    num_unread: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; a fraction is ``{value, exactly}``."""
        return {
            "task": self.task,
            "num_questions": self.num_questions,
            "means": {name: _number(mean) for name, mean in self.means.items()},
            "num_unread": dict(self.num_unread),
            "gaps": [
                {
                    "first": gap.first,
                    "second": gap.second,
                    "gap": _number(gap.value),
                    "num_disagreements": len(gap.disagreements),
                    "causes": {
                        name: {"num": cause.num, "share": _number(cause.share)} for name, cause in gap.causes.items()
                    },
                }
                for gap in self.gaps
            ],
        }

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``compare_<task>.json``, and a line for each disagreement to ``compare_<task>.jsonl``."""
        paths = [Path(folder) / f"compare_{self.task}{suffix}" for suffix in (".json", ".jsonl")]
        write_whole(paths[0], json.dumps(self.to_dict(), indent=2) + "\n")
        rows = [one.to_dict() for gap in self.gaps for one in gap.disagreements]
        write_whole(paths[1], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return paths


def compare_scores(generations: str | Path | Sequence[Generation], *, task: str) -> ScoreComparison:
    """Score answers by all rules of a task, and find out why they differ.

    The cause of a disagreement is the first repair of the task, small ones first, after which both rules give one
    score; ``several of these`` where all repairs one upon the other do, and else what the rules read: ``only X reads
    an answer``, or ``they read different answers``.

    Args:
        generations: a ``generations.jsonl``, or what is in it.
        task: name in ``HARNESS_TASKS``.

    Raises:
        ConfigError: if the task is unknown.
        DataError: if there is no answer, or one lacks what the rules need.
    """
    rules = harness_task(task)
    answers = read_generations(Path(generations)) if isinstance(generations, (str, Path)) else list(generations)
    if not answers:
        raise DataError(f"`generations` must hold at least one answer, but `{generations}` holds none; check the path.")
    judged = [{name: rule(*_asked(one, rules)) for name, rule in rules.rules.items()} for one in answers]
    total = len(answers)
    return ScoreComparison(
        task=task,
        num_questions=total,
        means={name: sum((Fraction(row[name].score) for row in judged), Fraction(0)) / total for name in rules.rules},
        gaps=[_gap(first, second, answers, judged, rules) for first, second in combinations(rules.rules, 2)],
        num_unread={name: sum(row[name].read is None for row in judged) for name in rules.rules},
    )


def comparison_tables(comparison: ScoreComparison) -> list[Table]:
    """Return what a console prints: the scores, and for each gap its causes."""
    scores = Table(title=f"{comparison.task}, {comparison.num_questions} answers", title_justify="left")
    for heading in ("rules of", "score", "unread"):
        scores.add_column(heading, justify="left" if heading == "rules of" else "right")
    for name, mean in comparison.means.items():
        scores.add_row(name, f"{float(mean):.4f}", str(comparison.num_unread[name]))
    tables = [scores]
    for gap in comparison.gaps:
        table = Table(title=f"{gap.first} minus {gap.second}", title_justify="left", show_footer=True)
        table.add_column("cause", footer="the gap")
        table.add_column("answers", justify="right", footer=str(len(gap.disagreements)))
        table.add_column("share of the gap", justify="right", footer=f"{float(gap.value):+.4f}")
        for name, cause in gap.causes.items():
            table.add_row(name, str(cause.num), f"{float(cause.share):+.4f}")
        tables.append(table)
    return tables


def _asked(answer: Generation, task: HarnessTask) -> tuple[str, Any, dict[str, str]]:
    return answer.completion, reference_of(answer), options_of(answer) if task.has_options else {}


def _gap(
    first: str,
    second: str,
    answers: Sequence[Generation],
    judged: Sequence[Mapping[str, Judged]],
    task: HarnessTask,
) -> Gap:
    found = [
        Disagreement(
            id=answer.id,
            completion=answer.completion,
            reference=answer.reference,
            judged={first: row[first], second: row[second]},
            cause=_cause(answer, {first: row[first], second: row[second]}, task),
        )
        for answer, row in zip(answers, judged, strict=True)
        if row[first].score != row[second].score
    ]
    return Gap(first=first, second=second, num_questions=len(answers), disagreements=found)


def _cause(answer: Generation, judged: Mapping[str, Judged], task: HarnessTask) -> str:
    completion, reference, options = _asked(answer, task)
    said, wanted = completion, reference
    for name, repair in task.repairs.items():
        if _agree(repair(completion, options), _mended(reference, repair, task), options, judged, task):
            return name
        said, wanted = repair(said, options), _mended(wanted, repair, task)
    if _agree(said, wanted, options, judged, task):
        return "several of these"
    readers = [name for name, one in judged.items() if one.read is not None]
    return f"only {readers[0]} reads an answer" if len(readers) == 1 else "they read different answers"


def _agree(
    completion: str, reference: Any, options: Mapping[str, str], judged: Mapping[str, Judged], task: HarnessTask
) -> bool:
    return len({task.rules[name](completion, reference, options).score for name in judged}) == 1


def _mended(reference: Any, repair: Any, task: HarnessTask) -> Any:
    if not task.repairs_reference:
        return reference
    return [repair(str(one), {}) for one in reference] if isinstance(reference, list) else repair(str(reference), {})


def _number(value: Fraction) -> dict[str, Any]:
    return {"value": float(value), "exactly": str(value)}
