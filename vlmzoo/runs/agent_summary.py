"""What a study of a fast-and-slow agent says: accuracy and cost of each way to decide, and how searches went.

Letters: S seeds, Q rooms.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from vlmzoo.agents.switch_curve import CurvePoint, switch_curve
from vlmzoo.config import AgentStudyConfig
from vlmzoo.config.resolved import find_commit, installed_versions
from vlmzoo.data.json_lines import write_whole
from vlmzoo.integrations.plots import draw_path
from vlmzoo.scoring.statistics import Interval, bootstrap_interval

__all__ = ["AgentSummary", "summarise_agent"]

Row = Mapping[str, Any]
_SETS = ("tiny", "large", "both")
_MODES: Mapping[str, str] = {
    "fast": "at a glance",
    "slow": "always looking",
    "random": "always looking, in random order",
    "switch": "looking after a refusal",
    "oracle": "an oracle decides",
}


@dataclass(frozen=True, kw_only=True)
class AgentSummary:
    """Figures over seeds and rooms.

    Args:
        config: of the study.
        scores: ``{(set, mode): interval}``, over S · Q answers.
        costs: ``{(set, mode): (positions, images, seconds)}``, means of an answer.
        differences: ``{what: (interval, target)}``.
        searches: ``{mode: {what: interval}}`` on tiny targets.
        refusals: precision and recall of refusals, tiny targets being what should be refused.
        curve: what each threshold of the confidence comes to, on both sets.
        seeds: that are finished.
    """

    config: AgentStudyConfig
    scores: Mapping[tuple[str, str], Interval]
    costs: Mapping[tuple[str, str], tuple[float, float, float]]
    differences: Mapping[str, tuple[Interval, str]]
    searches: Mapping[str, Mapping[str, Interval]]
    refusals: Mapping[str, float]
    curve: Sequence[CurvePoint]
    seeds: Sequence[int]

    @property
    def title(self) -> str:
        """The heading."""
        return self.config.title or Path(self.config.output_dir).name

    def write(self, folder: Path) -> None:
        """Write ``summary.json``, ``summary.md`` and ``curve.png``."""
        content = {
            "scores": {f"{one}/{mode}": interval.to_dict() for (one, mode), interval in self.scores.items()},
            "costs": {f"{one}/{mode}": list(values) for (one, mode), values in self.costs.items()},
            "differences": {name: interval.to_dict() for name, (interval, _) in self.differences.items()},
            "searches": {
                mode: {name: interval.to_dict() for name, interval in values.items()}
                for mode, values in self.searches.items()
            },
            "refusals": dict(self.refusals),
            "seeds": list(self.seeds),
            "versions": installed_versions(),
            "commit": find_commit(),
        }
        write_whole(folder / "summary.json", json.dumps(content, indent=2) + "\n")
        write_whole(folder / "summary.md", self.markdown())
        self.draw(folder / "curve.png")

    def draw(self, path: Path) -> None:
        """Draw accuracy over cost: the path of thresholds, and a point for each way to decide."""
        points = {
            _MODES[mode]: (self.costs["both", mode][0], self.scores["both", mode].mean)
            for mode in ("fast", "slow", "switch", "oracle")
        }
        draw_path(
            path,
            [(point.cost, point.accuracy) for point in self.curve],
            points,
            x_label="positions through language models, mean of an answer",
            y_label="right answers",
        )

    def table(self) -> Table:
        """Return the table that a console prints."""
        table = Table(title=self.title, title_justify="left")
        table.add_column("decided", no_wrap=True)
        for one in _SETS:
            table.add_column(one, justify="right")
            table.add_column("cost", justify="right")
        for mode, name in _MODES.items():
            cells = [
                cell
                for one in _SETS
                for cell in (
                    (f"{self.scores[one, mode].mean:.3f}", f"{self.costs[one, mode][0]:.0f}")
                    if (one, mode) in self.scores
                    else ("", "")
                )
            ]
            table.add_row(name, *cells)
        return table

    def markdown(self, *, pictures: str | None = None) -> str:
        """Return the tables with intervals, and what made them.

        Args:
            pictures: beginning of the names of pictures that lie beside the file; None shows none.
        """
        versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
        parts = [
            f"# {self.title}",
            f"Seeds {', '.join(map(str, self.seeds))}; {self.config.num_rooms} rooms with tiny targets and as many "
            f"with large ones for each. {date.today().isoformat()}. Commit {find_commit() or 'unknown'}; {versions}.",
            "\n".join(f"- {note}" for note in self.config.notes),
            "Intervals are 95 % bootstrap over all answers.",
            _markdown(
                ["decided", "rooms", "right", "positions", "images", "seconds"],
                [
                    [_MODES[mode], one, _cell(interval), *(f"{value:.2f}" for value in self.costs[one, mode])]
                    for (one, mode), interval in self.scores.items()
                ],
            ),
            "## Targets\n\n"
            + _markdown(
                ["what", "target", "measured"],
                [[name, target, _cell(interval, sign="+")] for name, (interval, target) in self.differences.items()],
            ),
            "## Searches for tiny targets\n\n"
            + _markdown(
                ["order", "what", "measured"],
                [
                    [mode, name, _cell(interval)]
                    for mode, values in self.searches.items()
                    for name, interval in values.items()
                ],
            ),
            "Refusals: precision "
            f"{self.refusals['precision']:.3f}, recall {self.refusals['recall']:.3f} (tiny targets are to be refused).",
        ]
        if pictures is not None:
            parts += [f"![Right answers over cost]({pictures}.png)", f"![One search]({pictures}-strip.png)"]
        return "\n\n".join(part for part in parts if part) + "\n"


def summarise_agent(config: AgentStudyConfig, rows: Mapping[int, Sequence[Row]]) -> AgentSummary:
    """Summarise the answers of the seeds that are finished.

    Args:
        config: of the study.
        rows: of each seed, a row for each room.
    """
    flat = [row for seed in sorted(rows) for row in rows[seed]]
    sets = {one: [row for row in flat if one in (row["size"], "both")] for one in _SETS}
    keys = [
        (one, mode)
        for mode in _MODES
        for one in _SETS
        if mode != "random" or (one == "tiny" and all("random" in row for row in sets["tiny"]))
    ]
    return AgentSummary(
        config=config,
        scores={key: bootstrap_interval([_taken(row, key[1])["score"] for row in sets[key[0]]]) for key in keys},
        costs={key: _cost(sets[key[0]], key[1]) for key in keys},
        differences=_differences(sets),
        searches={
            name: _searched(sets["tiny"], mode)
            for mode, name in (("slow", "guided"), ("random", "random"))
            if all(mode in row for row in sets["tiny"])
        },
        refusals=_refusals(flat),
        curve=switch_curve(
            [row["confidence"] for row in flat],
            fast_scores=[row["fast"]["score"] for row in flat],
            slow_scores=[row["slow"]["score"] for row in flat],
            fast_costs=[row["fast"]["cost"]["lm_tokens"] for row in flat],
            slow_costs=[max(row["slow"]["cost"]["lm_tokens"] - row["fast"]["cost"]["lm_tokens"], 0.0) for row in flat],
        ),
        seeds=sorted(rows),
    )


def _taken(row: Row, mode: str) -> Any:
    """Return the answer that a way to decide gives: score and cost."""
    if mode == "switch":
        return row["slow"] if row["is_refused"] else row["fast"]
    if mode == "oracle":
        return row["slow"] if row["slow"]["score"] > row["fast"]["score"] else row["fast"]
    return row[mode]


def _cost(rows: Sequence[Row], mode: str) -> tuple[float, float, float]:
    taken = [_taken(row, mode)["cost"] for row in rows]
    first, second, third = (sum(one[name] for one in taken) / len(taken) for name in ("lm_tokens", "images", "seconds"))
    return first, second, third


def _differences(sets: Mapping[str, Sequence[Row]]) -> dict[str, tuple[Interval, str]]:
    """Return what the targets are about, in shares of one."""

    def paired(one: str, mode: str, other: str) -> Interval:
        return bootstrap_interval([_taken(row, mode)["score"] - _taken(row, other)["score"] for row in sets[one]])

    share: Callable[[str], float] = lambda mode: _cost(sets["both"], mode)[0]  # noqa: E731
    ratio = share("switch") / max(share("slow"), 1e-9)
    return {
        "tiny: always looking - at a glance": (paired("tiny", "slow", "fast"), "≥ +0.35"),
        "both: after a refusal - always looking": (paired("both", "switch", "slow"), "≥ -0.03"),
        "both: cost after a refusal ÷ always looking": (Interval(ratio, ratio, ratio, len(sets["both"])), "≤ 0.70"),
        "large: after a refusal - at a glance": (paired("large", "switch", "fast"), "within ± 0.02"),
    }


def _searched(rows: Sequence[Row], mode: str) -> dict[str, Interval]:
    return {
        "IoU above 0.5": bootstrap_interval([float(row[mode]["iou"] > 0.5) for row in rows]),
        "hits": bootstrap_interval([float(row[mode]["is_hit"]) for row in rows]),
        "patches": bootstrap_interval([float(row[mode]["num_patches"]) for row in rows]),
        "path length": bootstrap_interval([float(row[mode]["path_length"]) for row in rows]),
    }


def _refusals(rows: Sequence[Row]) -> dict[str, float]:
    refused = [row for row in rows if row["is_refused"]]
    tiny = [row for row in rows if row["size"] == "tiny"]
    right = sum(row["size"] == "tiny" for row in refused)
    return {"precision": right / max(len(refused), 1), "recall": right / max(len(tiny), 1)}


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows))


def _cell(interval: Interval, *, sign: str = "") -> str:
    if interval.low == interval.high:
        return f"{interval.mean:.3f}"
    return f"{interval.mean:{sign}.3f} ({interval.low:{sign}.3f} – {interval.high:{sign}.3f})"
