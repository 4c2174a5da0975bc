"""What a study says where its arms cover equally much: scores of one, along its steps, beside those of another.

Letters: S seeds, K checkpoints, Q questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlmzoo.config import MatchConfig, RunConfig, StudyConfig
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation import BENCHMARKS
from vlmzoo.evaluation.records import Generation, read_generations
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.tables import interval_cell, listed_values, markdown_table
from vlmzoo.scoring.coverage import Course, CoverageMatch, match_coverage

__all__ = ["MatchedArms", "Ratios", "check_matched", "match_arms", "matched_table", "ratios_of"]

Ratios = Mapping[str, Mapping[str, tuple[str, str]]]
"""By label and score: the counts that are divided, where a score is a ratio of sums."""


@dataclass(frozen=True, kw_only=True)
class MatchedArms:
    """Two arms where they cover equally much.

    Args:
        arms: the one, and what is compared with it.
        seeds: of the runs of both that are finished.
        match: over all seeds.
        by_seed: the difference, seed by seed; each has a coverage of its own.
    """

    arms: tuple[str, str]
    seeds: tuple[int, ...]
    match: CoverageMatch
    by_seed: tuple[float, ...]


def ratios_of(config: RunConfig) -> Ratios:
    """Return the scores of a run's benchmarks that are ratios of sums over answers."""
    built = {label: BENCHMARKS.build(spec) for label, spec in config.evaluation.items()}
    return {label: dict(getattr(benchmark, "ratios", {})) for label, benchmark in built.items()}


def check_matched(config: StudyConfig, start: RunConfig | None, arms: Sequence[RunConfig]) -> None:
    """Check, before anything is trained, that arms can be compared where they cover equally much.

    Raises:
        ConfigError: if there is no start, an arm is not evaluated along the way, or a score is no ratio.
    """
    matched = config.matched
    if matched is None:
        return
    if start is None:
        raise ConfigError("`matched` needs a `start`: arms that begin with other models need not share any coverage.")
    ratios = ratios_of(start).get(matched.label)
    if ratios is None or not {matched.score, matched.at} <= set(ratios):
        known = ", ".join(f"`{label}`: {', '.join(found)}" for label, found in ratios_of(start).items() if found)
        raise ConfigError(
            f"`matched` must name a label and two of its ratios ({known or 'there are none'}), but names "
            f"`{matched.label}`, `{matched.score}` and `{matched.at}` instead."
        )
    for arm in arms:
        if not arm.evaluate_every:
            raise ConfigError(
                f"`matched` reads scores along the steps, but `{arm.output_dir}` is evaluated at its end alone; "
                "give its run `evaluate_every`."
            )


def match_arms(config: StudyConfig, finished: Mapping[tuple[str, int], RunFolder], ratios: Ratios) -> list[MatchedArms]:
    """Compare the arms that a study compares, where they cover equally much; the start is not compared with.

    Args:
        config: of the study.
        finished: folders of runs by arm and seed, those of the start among them.
        ratios: of the benchmarks.

    Raises:
        DataError: if runs were evaluated at other steps or on other questions.
    """
    if config.matched is None:
        return []
    found: list[MatchedArms] = []
    for one, other in config.comparisons:
        seeds = tuple(seed for seed in config.seeds if all((arm, seed) in finished for arm in (one, other)))
        if not seeds or not {one, other} <= set(config.arms):
            continue
        courses = [_course(config.matched, finished, arm, seeds, ratios) for arm in (one, other)]
        single = [[_course(config.matched, finished, arm, (seed,), ratios) for arm in (one, other)] for seed in seeds]
        found.append(
            MatchedArms(
                arms=(one, other),
                seeds=seeds,
                match=match_coverage(*courses),
                by_seed=tuple(match_coverage(*pair, num_resamples=1).difference.mean for pair in single),
            )
        )
    return found


def matched_table(matched: MatchConfig | None, found: Sequence[MatchedArms]) -> str:
    """Return the section of a summary; empty if there is nothing to tell."""
    if matched is None or not found:
        return ""
    rows = [
        [
            " - ".join(one.arms),
            f"{one.match.coverage:.3f}",
            *[f"{score:.3f} (step {step:.0f})" for score, step in zip(one.match.scores, one.match.steps, strict=True)],
            interval_cell(one.match.difference.mean, one.match.difference, sign="+"),
            listed_values(one.by_seed, sign="+"),
        ]
        for one in found
    ]
    score, at = f"`{matched.score}`", f"`{matched.at}`"
    return "\n\n".join(
        [
            f"## {score} of `{matched.label}` where {at} is equal",
            f"Each arm is read along its steps, the start included, at the {at} that the second arm ends with, or the "
            f"nearest that the first one has, too. Where both are read at step 0, they share nothing but their start.",
            markdown_table(["arms", at, f"first: {score}", f"second: {score}", "difference", "seed by seed"], rows),
        ]
    )


def _course(
    matched: MatchConfig, finished: Mapping[tuple[str, int], RunFolder], arm: str, seeds: Sequence[int], ratios: Ratios
) -> Course:
    """Read what an arm answered at its start, along the way and at its end."""
    along = [_answers_along(finished["start", seed], finished[arm, seed], matched.label) for seed in seeds]
    steps = list(along[0])
    if any(list(one) != steps for one in along):
        told = "; ".join(f"seed {seed}: {list(one)}" for seed, one in zip(seeds, along, strict=True))
        raise DataError(f"The runs of `{arm}` must be evaluated at the same steps, but are at {told} instead.")
    score, coverage = (ratios[matched.label][name] for name in (matched.score, matched.at))

    def counts(name: str) -> NDArray[np.float64]:
        return np.array([[[one.scores[name] for one in answers] for answers in run.values()] for run in along])

    return Course(
        score_above=counts(score[0]),
        score_below=counts(score[1]),
        coverage_above=counts(coverage[0]),
        coverage_below=counts(coverage[1]),
        steps=steps,
    )


def _answers_along(start: RunFolder, folder: RunFolder, label: str) -> dict[int, list[Generation]]:
    """Return answers by step; what the start answered is step 0, and what the run answered in the end is its last."""
    parents = sorted(folder.evaluation.glob("steps/step-*"), key=lambda path: int(path.name[5:]))
    found = {0: read_generations(start.evaluation / label / "generations.jsonl")}
    found |= {int(parent.name[5:]): read_generations(parent / label / "generations.jsonl") for parent in parents}
    found[int(read_journal(folder.journal)[-1]["step"])] = read_generations(
        folder.evaluation / label / "generations.jsonl"
    )
    questions = [[one.id for one in answers] for answers in found.values()]
    if any(asked != questions[0] for asked in questions) or not questions[0]:
        raise DataError(f"`{folder.evaluation}` must hold answers to the same questions at every step, but does not.")
    return found
