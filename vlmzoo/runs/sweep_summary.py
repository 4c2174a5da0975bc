"""What a sweep says: accuracies over seeds, the two gaps of simple-to-hard studies, and differences to a baseline."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from vlmzoo.config import SweepConfig
from vlmzoo.config.resolved import find_commit, installed_versions
from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import DataError, MissingExtraError
from vlmzoo.evaluation.records import Generation, read_generations
from vlmzoo.evaluation.s2h import accuracy, modality_imbalance, paired_difference, s2h_generalisation
from vlmzoo.integrations.plots import draw_lines
from vlmzoo.runs.tables import markdown_table
from vlmzoo.scoring.statistics import Interval

__all__ = ["Row", "Summary", "summarise"]

ArmKey = tuple[str, int, int]
"""Supervision, budget and seed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One supervision at one budget.

    Args:
        supervision: its name.
        budget: presentations.
        seeds: of the runs that are finished.
        scores: ``{label: {score: interval}}`` over seeds and questions; the first score of a label is its main one.
        by_seed: mean of the main score of each label, seed by seed.
        gaps: ``s2h_generalisation`` and ``modality_imbalance``, where the labels are there to tell them.
        against: ``{label: interval}`` of the difference to the baseline at the same budget, question by question.
        against_by_seed: means of the same, seed by seed.
    """

    supervision: str
    budget: int
    seeds: Sequence[int]
    scores: Mapping[str, Mapping[str, Interval]]
    by_seed: Mapping[str, Sequence[float]]
    gaps: Mapping[str, Interval]
    against: Mapping[str, Interval]
    against_by_seed: Mapping[str, Sequence[float]]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "supervision": self.supervision,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "scores": {label: _dicts(scores) for label, scores in self.scores.items()},
            "by_seed": {label: list(values) for label, values in self.by_seed.items()},
            "gaps": _dicts(self.gaps),
            "against": _dicts(self.against),
            "against_by_seed": {label: list(values) for label, values in self.against_by_seed.items()},
        }

    def main(self, label: str) -> Interval:
        """Return the interval of a label's main score."""
        return next(iter(self.scores[label].values()))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a sweep, finished or not.

    Args:
        config: of the sweep.
        rows: in the order of ``supervisions``, then of ``budgets``.
        expected: how many runs the whole sweep has.
    """

    config: SweepConfig
    rows: Sequence[Row]
    expected: int

    @property
    def labels(self) -> list[str]:
        """The labels of the evaluation."""
        return list(self.rows[0].scores)

    def write(self, folder: Path) -> None:
        """Write ``summary.json``, ``summary.md``, and ``accuracy.png`` where matplotlib is installed."""
        content = {
            "rows": [row.to_dict() for row in self.rows],
            "versions": installed_versions(),
            "commit": find_commit(),
        }
        write_whole(folder / "summary.json", json.dumps(content, indent=2) + "\n")
        write_whole(folder / "summary.md", self.markdown())
        try:
            self.draw(folder / "accuracy.png")
        except MissingExtraError:
            return  # the tables say the same

    def draw(self, path: Path) -> Path:
        """Draw accuracy against budget, a line for each supervision, with intervals."""
        lines = {
            supervision: [
                (row.budget, row.main(self.config.main)) for row in self.rows if row.supervision == supervision
            ]
            for supervision in dict.fromkeys(row.supervision for row in self.rows)
        }
        return draw_lines(path, lines, x_label="presentations", y_label=f"{self.config.main}, exact match")

    def table(self) -> Table:
        """Return the table that a console prints: means only, the width of a log."""
        table = Table(title=self.title, title_justify="left")
        table.add_column("supervision", no_wrap=True)
        for heading in ("budget", *self.labels, *(["- baseline"] if self.config.baseline else [])):
            table.add_column(heading.replace("_", " "), justify="right")
        for row in self.rows:
            cells = [f"{row.main(label).mean:.3f}" for label in self.labels]
            if self.config.baseline:
                found = row.against.get(self.config.main)
                cells.append("" if found is None else f"{found.mean:+.3f}")
            table.add_row(row.supervision, f"{row.budget:,}", *cells)
        return table

    @property
    def title(self) -> str:
        """The heading."""
        return self.config.title or Path(self.config.output_dir).name

    def markdown(self) -> str:
        """Return the tables with intervals, and what made them."""
        versions = ", ".join([f"{name} {version}" for name, version in installed_versions().items()])
        done = sum([len(row.seeds) for row in self.rows])
        parts = [
            f"# {self.title}",
            f"{done} of {self.expected} runs, {date.today().isoformat()}. "
            f"Commit {find_commit() or 'unknown'}; {versions}.",
            "Means over seeds and questions, with 95 % intervals in which both are drawn anew.",
            markdown_table(
                ["supervision", "budget", "seeds", *self.labels],
                [
                    [
                        row.supervision,
                        f"{row.budget:,}",
                        _numbers(row.seeds),
                        *[_cell(row.main(x)) for x in self.labels],
                    ]
                    for row in self.rows
                ],
            ),
            self._gaps(),
            self._differences(),
            "## Seed by seed",
            markdown_table(
                ["supervision", "budget", "seed", *self.labels],
                [
                    [
                        row.supervision,
                        f"{row.budget:,}",
                        str(seed),
                        *[f"{row.by_seed[x][place]:.3f}" for x in self.labels],
                    ]
                    for row in self.rows
                    for place, seed in enumerate(row.seeds)
                ],
            ),
        ]
        return "\n\n".join([part for part in parts if part]) + "\n"

    def _gaps(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows for name in row.gaps))
        if not names:
            return ""
        cells = [
            [row.supervision, f"{row.budget:,}", *[_cell(row.gaps.get(name)) for name in names]] for row in self.rows
        ]
        return "## Gaps\n\n" + markdown_table(
            ["supervision", "budget", *[name.replace("_", " ") for name in names]], cells
        )

    def _differences(self) -> str:
        rows = [row for row in self.rows if row.against]
        if not rows:
            return ""
        cells = [
            [
                row.supervision,
                f"{row.budget:,}",
                label,
                _cell(interval, sign="+"),
                ", ".join([f"{value:+.3f}" for value in row.against_by_seed[label]]),
            ]
            for row in rows
            for label, interval in row.against.items()
        ]
        heading = f"## Against `{self.config.baseline}`, question by question"
        return f"{heading}\n\n" + markdown_table(
            ["supervision", "budget", "questions", "difference", "seed by seed"], cells
        )


def summarise(config: SweepConfig, answers: Mapping[ArmKey, Path], *, expected: int) -> Summary:
    """Read the answers of finished runs and compare them.

    Args:
        config: of the sweep.
        answers: the folder of each run's evaluation.
        expected: how many runs the whole sweep has.

    Raises:
        DataError: if runs answered different questions.
    """
    read = {key: _read(folder) for key, folder in answers.items()}
    rows = [
        _row(config, supervision, budget, read)
        for supervision in config.supervisions
        for budget in config.budgets
        if any((supervision, budget, seed) in read for seed in config.seeds)
    ]
    return Summary(config=config, rows=rows, expected=expected)


def _row(
    config: SweepConfig, supervision: str, budget: int, read: Mapping[ArmKey, Mapping[str, list[Generation]]]
) -> Row:
    seeds = [seed for seed in config.seeds if (supervision, budget, seed) in read]
    runs = [read[supervision, budget, seed] for seed in seeds]
    labels = list(runs[0])
    main = {label: next(iter(runs[0][label][0].scores)) for label in labels}
    own = {label: [run[label] for run in runs] for label in labels}
    scores = {label: {score: accuracy(own[label], score) for score in runs[0][label][0].scores} for label in labels}
    paired = [seed for seed in seeds if config.baseline and (config.baseline, budget, seed) in read]
    against, by_seed = {}, {}
    if paired and supervision != config.baseline:
        for label in labels:
            mine = [read[supervision, budget, seed][label] for seed in paired]
            theirs = [read[str(config.baseline), budget, seed][label] for seed in paired]
            against[label] = paired_difference(mine, theirs, main[label])
            by_seed[label] = [
                paired_difference([one], [other], main[label]).mean for one, other in zip(mine, theirs, strict=True)
            ]
    return Row(
        supervision=supervision,
        budget=budget,
        seeds=seeds,
        scores=scores,
        by_seed={label: [accuracy([run], main[label]).mean for run in own[label]] for label in labels},
        gaps=_gaps_of(own, main),
        against=against,
        against_by_seed=by_seed,
    )


def _gaps_of(own: Mapping[str, list[list[Generation]]], main: Mapping[str, str]) -> dict[str, Interval]:
    gaps: dict[str, Interval] = {}
    if "hard_image" in own:
        gaps["s2h_generalisation"] = s2h_generalisation(own["hard_image"], main["hard_image"])
        if "hard_text" in own:
            gaps["modality_imbalance"] = modality_imbalance(own["hard_text"], own["hard_image"], main["hard_image"])
    return gaps


def _read(folder: Path) -> dict[str, list[Generation]]:
    """Read the answers of one run, by label, in the order in which they were asked for."""
    try:
        labels = list(json.loads((folder / "scores.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"`{folder}` must hold the scores of a finished run, but cannot be read: {error}.") from error
    return {label: read_generations(folder / label / "generations.jsonl") for label in labels}


def _cell(interval: Interval | None, *, sign: str = "") -> str:
    if interval is None:
        return ""
    return f"{interval.mean:{sign}.3f} ({interval.low:{sign}.3f} – {interval.high:{sign}.3f})"


def _numbers(values: Iterable[int]) -> str:
    return ", ".join([str(value) for value in values])


def _dicts(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: interval.to_dict() for name, interval in intervals.items()}
