"""What a study says: every score of every arm, differences question by question, and how training went."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from vlmzoo.config import StudyConfig
from vlmzoo.config.resolved import find_commit, installed_versions
from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import Generation, read_generations
from vlmzoo.evaluation.s2h import accuracy, paired_difference
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.study_matched import MatchedArms, Ratios, match_arms, matched_table
from vlmzoo.runs.tables import interval_cell, listed_values, markdown_table
from vlmzoo.scoring.coverage import ratio_difference
from vlmzoo.scoring.statistics import Interval

__all__ = ["START", "ArmScore", "Difference", "StudySummary", "summarise_study"]

START = "start"


@dataclass(frozen=True, kw_only=True)
class ArmScore:
    """One score of one arm on one label of the evaluation.

    Args:
        arm: its name.
        label: of the evaluation.
        score: its name.
        seeds: of the runs that are finished.
        by_seed: the score, seed by seed.
        interval: over seeds and questions; None for a score of all answers at once, such as average precision.
    """

    arm: str
    label: str
    score: str
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    interval: Interval | None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.by_seed) / len(self.by_seed)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One score of one arm minus that of another, with equal seeds on equal questions.

    Args:
        arms: the one, and what is taken away.
        label: of the evaluation.
        score: its name.
        by_seed: seed by seed.
        interval: over seeds and questions; None as in :class:`ArmScore`.
    """

    arms: tuple[str, str]
    label: str
    score: str
    by_seed: tuple[float, ...]
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """The figures of a study, finished or not.

    Args:
        config: of the study.
        scores: arm by arm.
        differences: in the order of ``comparisons``.
        matched: likewise, where arms cover equally much.
        courses: ``{arm: {column: (first tenth, last tenth)}}`` of the journals, means over seeds.
        num_runs: how many runs are finished.
        expected: how many runs the whole study has.
    """

    config: StudyConfig
    scores: Sequence[ArmScore]
    differences: Sequence[Difference]
    matched: Sequence[MatchedArms]
    courses: Mapping[str, Mapping[str, tuple[float, float]]]
    num_runs: int
    expected: int

    @property
    def title(self) -> str:
        """The heading."""
        return self.config.title or Path(self.config.output_dir).name

    def write(self, folder: Path) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        content = {
            "scores": [_plain(one) for one in self.scores],
            "differences": [_plain(one) for one in self.differences],
            "matched": [asdict(one) for one in self.matched],
            "courses": self.courses,
            "versions": installed_versions(),
            "commit": find_commit(),
        }
        write_whole(folder / "summary.json", json.dumps(content, indent=2) + "\n")
        write_whole(folder / "summary.md", self.markdown())

    def table(self) -> Table:
        """Return the table that a console prints: means over seeds."""
        table = Table(title=self.title, title_justify="left")
        for heading in ("label", "score"):
            table.add_column(heading, no_wrap=True)
        arms = list(dict.fromkeys(one.arm for one in self.scores))
        for arm in arms:
            table.add_column(arm, justify="right")
        found = {(one.label, one.score, one.arm): one for one in self.scores}
        for label, score in dict.fromkeys((one.label, one.score) for one in self.scores):
            cells = [found.get((label, score, arm)) for arm in arms]
            table.add_row(label, score, *["" if one is None else f"{one.mean:.3f}" for one in cells])
        return table

    def markdown(self) -> str:
        """Return the tables with intervals, and what made them."""
        versions = ", ".join([f"{name} {version}" for name, version in installed_versions().items()])
        parts = [
            f"# {self.title}",
            f"{self.num_runs} of {self.expected} runs, {date.today().isoformat()}. "
            f"Commit {find_commit() or 'unknown'}; {versions}.",
            "\n".join([f"- {note}" for note in self.config.notes]),
            "Means over seeds and questions, with 95 % intervals in which both are drawn anew; a score of all answers "
            "at once has none.",
            markdown_table(
                ["arm", "questions", "score", "mean", "seed by seed"],
                [
                    [one.arm, one.label, one.score, interval_cell(one.mean, one.interval), listed_values(one.by_seed)]
                    for one in self.scores
                ],
            ),
            self._differences(),
            matched_table(self.config.matched, self.matched),
            self._courses(),
        ]
        return "\n\n".join([part for part in parts if part]) + "\n"

    def _differences(self) -> str:
        if not self.differences:
            return ""
        rows = [
            [
                " - ".join(one.arms),
                one.label,
                one.score,
                interval_cell(math.fsum(one.by_seed) / len(one.by_seed), one.interval, sign="+"),
                listed_values(one.by_seed, sign="+"),
            ]
            for one in self.differences
        ]
        return "## Differences, question by question\n\n" + markdown_table(
            ["arms", "questions", "score", "difference", "seed by seed"], rows
        )

    def _courses(self) -> str:
        rows = [
            [arm, column, f"{first:.4g}", f"{last:.4g}"]
            for arm, columns in self.courses.items()
            for column, (first, last) in columns.items()
        ]
        if not rows:
            return ""
        heading = "## In training: means over the first and the last tenth of the steps"
        return f"{heading}\n\n" + markdown_table(["arm", "column", "first", "last"], rows)


def summarise_study(
    config: StudyConfig, finished: Mapping[tuple[str, int], RunFolder], *, expected: int, ratios: Ratios | None = None
) -> StudySummary:
    """Read what finished runs left behind, and compare them.

    Args:
        config: of the study.
        finished: folders of runs by arm and seed.
        expected: how many runs the whole study has.
        ratios: scores that are ratios of sums over answers, by label.

    Raises:
        DataError: if runs answered different questions, or a folder cannot be read.
    """
    ratios = ratios or {}
    told = {key: _scores_of(folder) for key, folder in finished.items()}
    answers = {
        key: {label: read_generations(folder.evaluation / label / "generations.jsonl") for label in told[key]}
        for key, folder in finished.items()
    }
    arms = [name for name in (START, *config.arms) if any(arm == name for arm, _ in finished)]
    seeds = {arm: tuple(seed for seed in config.seeds if (arm, seed) in finished) for arm in arms}
    return StudySummary(
        config=config,
        scores=[
            _arm_score(arm, label, score, seeds[arm], told, answers, ratios)
            for arm in arms
            for label, score in _named(told, arm)
        ],
        differences=[
            _difference((one, other), label, score, shared, told, answers, ratios)
            for one, other in config.comparisons
            if (shared := [seed for seed in seeds.get(one, ()) if seed in seeds.get(other, ())])
            for label, score in _named(told, one)
        ],
        matched=match_arms(config, finished, ratios),
        courses={arm: _course([finished[arm, seed] for seed in seeds[arm]], config.journal) for arm in arms},
        num_runs=len(finished),
        expected=expected,
    )


Told = Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]]
Answers = Mapping[tuple[str, int], Mapping[str, list[Generation]]]


def _named(told: Told, arm: str) -> list[tuple[str, str]]:
    """Return the labels and scores of an arm, in their order."""
    first = next(labels for (name, _), labels in told.items() if name == arm)
    return [(label, score) for label, scores in first.items() for score in scores]


def _arm_score(
    arm: str, label: str, score: str, seeds: Sequence[int], told: Told, answers: Answers, ratios: Ratios
) -> ArmScore:
    runs = [answers[arm, seed][label] for seed in seeds]
    return ArmScore(
        arm=arm,
        label=label,
        score=score,
        seeds=tuple(seeds),
        by_seed=tuple(told[arm, seed][label][score] for seed in seeds),
        interval=_interval_of(score, ratios.get(label, {}).get(score), runs),
    )


def _difference(
    arms: tuple[str, str],
    label: str,
    score: str,
    seeds: Sequence[int],
    told: Told,
    answers: Answers,
    ratios: Ratios,
) -> Difference:
    one, other = arms
    mine, theirs = ([answers[arm, seed][label] for seed in seeds] for arm in arms)
    return Difference(
        arms=arms,
        label=label,
        score=score,
        by_seed=tuple(told[one, seed][label][score] - told[other, seed][label][score] for seed in seeds),
        interval=_interval_of(score, ratios.get(label, {}).get(score), mine, theirs),
    )


Runs = Sequence[list[Generation]]


def _interval_of(score: str, ratio: tuple[str, str] | None, mine: Runs, theirs: Runs | None = None) -> Interval | None:
    """Return the interval of a score of single answers or of a ratio of sums over them, or of a difference of two."""
    both = [mine] if theirs is None else [mine, theirs]
    answered = [one for runs in both for run in runs for one in run]
    if all(score in one.scores for one in answered):
        return accuracy(mine, score) if theirs is None else paired_difference(mine, theirs, score)
    asked = {tuple(one.id for one in run) for runs in both for run in runs}
    if ratio is None or len(asked) > 1 or not all(set(ratio) <= set(one.scores) for one in answered):
        return None
    counts = [
        tuple(np.array([[one.scores[name] for one in run] for run in runs], dtype=np.float64) for name in ratio)
        for runs in both
    ]
    return ratio_difference(*((above, below) for above, below in counts))


def _course(folders: Sequence[RunFolder], columns: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the means of columns over the first and the last tenth of the steps; a column that is not there, not."""
    course: dict[str, tuple[float, float]] = {}
    journals = [list(read_journal(folder.journal)) for folder in folders]
    for column in columns:
        kept = [[float(line[column]) for line in journal if column in line] for journal in journals]
        if all(kept):
            ends = [(values[: (n := max(1, len(values) // 10))], values[-n:]) for values in kept]
            first, last = (
                math.fsum(sum(part) / len(part) for part in side) / len(side) for side in zip(*ends, strict=True)
            )
            course[column] = (first, last)
    return course


def _scores_of(folder: RunFolder) -> dict[str, dict[str, float]]:
    """Return ``{label: {score: mean}}`` of a finished run."""
    path = folder.evaluation / "scores.json"
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {
            label: {score: float(one["mean"]) for score, one in scores.items()} for label, scores in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"`{path}` must hold the scores of a finished run, but cannot be read: {error}.") from error


def _plain(one: ArmScore | Difference) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return {**values, "interval": None if one.interval is None else one.interval.to_dict()}
